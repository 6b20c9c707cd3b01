"""Sparse codes of whole numbers: the cells that they drive most through a fixed wiring of signs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from cls_sim.core.draws import each
from cls_sim.core.part import Spec

IN_CACHE = 2**18  # numbers
EXACT = 2**24  # whole numbers below it are exact in float32
FEW = 2**22  # signs of a cohort that are kept as float32


class Signs:
    """The codes of whole numbers x from 0 to 255: the k of `units` cells with the largest drive h = x W.

    W [inputs, units] is drawn once for each subject: signs, as many 1 as -1 for each cell.  Of cells with equal drives
    the last ones are taken, on every device and in any cohort.
    """

    def __init__(self, spec: Spec, units: int, k: int):
        width = int(torch.Size(spec.inputs).numel())
        drawn = each(spec.seeds, "hippocampus.wiring", lambda g: signs_of(g, width, units).astype(np.int8))
        # A byte each, because a large cohort has many, widened for every experience; cells side by side, because
        # widening is three times slower otherwise.  Few are widened once.
        self.signs = drawn.contiguous().to(spec.device)
        self.k, self.stride = k, 1 << (units - 1).bit_length()
        self.most = (255 * width + 1) * self.stride  # of a key
        self.place = torch.arange(units, dtype=torch.int32 if self.most < 2**31 else torch.int64, device=spec.device)
        self.wide = self._widened(slice(None), self._room(len(drawn))) if drawn.numel() <= FEW else None

    def _room(self, subjects: int) -> Tensor:
        """Room for the signs of some subjects, above a row that holds the index of each cell: float [s, x + 1, m]."""
        room = torch.empty(subjects, self.signs.shape[1] + 1, len(self.place), device=self.signs.device)
        room[:, -1] = self.place
        return room

    def _widened(self, some: slice, room: Tensor) -> Tensor:
        signs = self.signs[some]
        room = room[: signs.shape[0]]
        room[:, :-1] = signs
        return room

    def code(self, level: Tensor) -> Tensor:
        """The winners for whole numbers level [s, b, x]: int64 [s, b, k], in any order."""
        s, b, width = level.shape
        size = max(1, IN_CACHE // ((width + b) * len(self.place))) if level.device.type == "cpu" else s
        room = torch.empty(0) if self.wide is not None else self._room(min(s, size))
        # All sums are whole numbers.  If they are exact, the product makes the keys: one more input drives each cell by
        # its index.
        fused = self.most < EXACT and torch.get_float32_matmul_precision() == "highest"
        level = pad(level.float() * self.stride, (0, 1), value=1.0) if fused else level.float()
        code = torch.empty(s, b, self.k, dtype=self.place.dtype, device=level.device)
        for i in range(0, s, size):
            some = slice(i, i + size)
            drive = self._widened(some, room) if self.wide is None else self.wide[some]
            key = torch.bmm(level[some], drive if fused else drive[:, :-1]).to(self.place.dtype)
            code[some] = largest_keys(key if fused else key.mul_(self.stride).add_(self.place), self.k)
        return code.bitwise_and_(self.stride - 1).long()


def largest_keys(key: Tensor, k: int) -> Tensor:
    """The k largest whole numbers along the last axis, in any order; the order of `key` changes.

    >>> largest_keys(torch.tensor([[3, 1, 4, 2]]), 1).tolist()
    [[4]]
    """
    if key.device.type == "cpu":  # numpy selects several times faster
        key.numpy().partition(-k, axis=-1)
        return key[..., -k:]
    return key.topk(k, sorted=False).values


def signs_of(source: np.random.Generator, inputs: int, cells: int) -> np.ndarray:
    """Weights [inputs, cells] of 1 and -1, as many of each for every cell (and one 0 if inputs are odd).

    >>> signs_of(np.random.default_rng(0), 5, 3).sum(0).tolist()
    [0.0, 0.0, 0.0]
    """
    signs = np.zeros((cells, inputs), np.float32)
    signs[:, : inputs // 2], signs[:, inputs - inputs // 2 :] = 1, -1
    return source.permuted(signs, axis=1).T
