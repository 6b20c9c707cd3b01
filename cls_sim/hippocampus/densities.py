"""The base class of hippocampi that store a density of each class instead of episodes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.draws import BatchDraws
from cls_sim.core.part import Spec
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless


class Densities(Slotless):
    """Answers with the class posterior of densities that are fitted to sums over all rows so far.

    match = exp(-½ max(0, d²/f - 1)), where d is the Mahalanobis distance from the nearest Gaussian of f numbers.
    """

    def setup(self, spec: Spec) -> Spec:
        kinds = {"class": "uniform", "kind": "uniform", "dream": "normal"}
        self._draws = {p: BatchDraws(spec.seeds, f"hippocampus.{p}", kind, spec.device) for p, kind in kinds.items()}
        self._fit: tuple[int, Any] | None = None
        return super().setup(spec)

    @abstractmethod
    def _made(self) -> Any:
        """The densities of the current sums."""

    def _fitted(self) -> Any:
        """The densities of the current sums; computed again only after a change."""
        if self._fit is None or self._fit[0] != self.changed:
            self._fit = (self.changed, self._made())
        return self._fit[1]

    def _recalled(self, x: Tensor, likely: Tensor, far: Tensor, known: Tensor) -> Recall:
        """Recall from log likelihoods [s, b, o], d²/f [s, b] and whether any class was met [s]."""
        known, blank = known[:, None], nothing(x, self.spec.outputs)
        posterior = torch.where(known[..., None], likely, 0.0).softmax(2) * known[..., None]
        return Recall(posterior, blank.x, (-0.5 * (far - 1).clamp(min=0)).exp() * known, blank.slot)

    def _dreamt(self, x: Tensor, y: Tensor, known: Tensor) -> Batch:
        """Generated rows x [s, n, x] of the classes y [s, n]; absent where no class was met (known [s])."""
        source = torch.full_like(y, DREAMED, dtype=torch.uint8)
        weight = known[:, None].float().expand(-1, y.shape[1])
        return Batch.lived(x.view(*y.shape, *self.spec.inputs), y, source=source, weight=weight)


def drawn(chances: Tensor, lot: Tensor) -> Tensor:
    """Indices [..., b] drawn with these chances [..., n], from uniform draws [..., b] in [0, 1)."""
    up_to = chances.cumsum(-1)
    found = torch.searchsorted(up_to, (lot * up_to[..., -1:]).contiguous(), right=True)
    return found.clamp_(max=chances.shape[-1] - 1)
