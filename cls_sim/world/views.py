"""Views of inputs by context: permuted pixels or rotated images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.draws import generator
from cls_sim.core.errors import ConfigError

KINDS = ("plain", "permuted", "rotated")


@dataclass(frozen=True)
class Views:
    """The views of all contexts: each pixel of a view is a weighted sum of c pixels of the row.

    source  [s, k, x, c]  int64, indices of the pixels
    share   [s, k, x, c]  their weights; None: 1 (a permutation, c = 1)
    """

    source: Tensor
    share: Tensor | None

    def seen(self, rows: Tensor, context: Tensor, quantum: float | None) -> Tensor:
        """Rows [r, b, x] in the views of contexts [s, b]: [s, b, x], rounded to multiples of the quantum."""
        s = torch.arange(len(context), device=context.device)[:, None]
        rows, found = rows.expand(len(context), -1, -1), []
        for corner in range(self.source.shape[3]):
            pixel = rows.gather(2, self.source[s, context, :, corner])
            found.append(pixel if self.share is None else pixel * self.share[s, context, :, corner])
        total = found[0] if len(found) == 1 else torch.stack(found).sum(0)
        if self.share is None or quantum is None:
            return total
        return (total / quantum).round_().mul_(quantum)


def views(kind: str, seeds: tuple[int, ...], contexts: int, pixels: int, device: torch.device) -> Views:
    """Draw views for each subject; the first context shows rows unchanged.

    permuted: pixels in a random order.  rotated: images rotated by an angle from U(0, 180) degrees, bilinearly.

    Source: Goodfellow et al. (2014); Lopez-Paz & Ranzato (2017).
    """
    if kind == "permuted":
        sources = [generator(seed, "world.permutation") for seed in seeds]
        orders = [[np.arange(pixels), *(g.permutation(pixels) for _ in range(contexts - 1))] for g in sources]
        return Views(torch.from_numpy(np.array(orders)[..., None]).to(device), None)
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ConfigError("views", f"rotates square images, and inputs are {pixels} numbers", "give permuted or plain")
    angles = [(0.0, *generator(seed, "world.angles").uniform(0, 180, contexts - 1)) for seed in seeds]
    turned = [[_turned(side, angle) for angle in some] for some in angles]
    source, share = (np.stack([np.stack([one[part] for one in row]) for row in turned]) for part in (0, 1))
    return Views(torch.from_numpy(source).to(device), torch.from_numpy(share.astype(np.float32)).to(device))


def _turned(side: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [x, 4] and weights [x, 4] from which each pixel of an image rotated about its centre is computed.

    >>> source, share = _turned(3, 90.0)
    >>> image = np.arange(9.0)
    >>> (image[source] * share).sum(1).round(6).reshape(3, 3).tolist()
    [[2.0, 5.0, 8.0], [1.0, 4.0, 7.0], [0.0, 3.0, 6.0]]
    """
    middle, angle = (side - 1) / 2, math.radians(degrees)
    y, x = np.divmod(np.arange(side * side), side) - np.array([[middle], [middle]])
    from_x = np.cos(angle) * x - np.sin(angle) * y + middle
    from_y = np.sin(angle) * x + np.cos(angle) * y + middle
    left, top = np.floor(from_x + 1e-9).astype(np.int64), np.floor(from_y + 1e-9).astype(np.int64)
    right, below = from_x - left, from_y - top
    source, share = [], []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + dy, left + dx
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        weight = (below if dy else 1 - below) * (right if dx else 1 - right)
        source.append(np.where(inside, row * side + column, 0))
        share.append(np.where(inside, weight, 0.0))
    return np.stack(source, 1), np.stack(share, 1)
