"""Product quantisation: the content of an episode as a few bytes that name pieces of earlier episodes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cls_sim.core.errors import refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.hippocampus.codes import Code

SPREAD = 1.04  # growth of the number of the next row that becomes a prototype


class Product(Code):
    """Store a vector as one byte for each of its parts: the number of the most similar prototype of that part.

        z_m = argmin_k |x_m - p_mk|²,    x' = (p_1z₁, …, p_Mz_M),    m = 1 … M

    bytes       M, parts of the vector and bytes of an episode, from 1 to the width of the input
    prototypes  K, prototypes of each part, from 2 to 256

    The prototypes are the parts of some of the subject's stored rows, each exact: the first K / 2, and then row number
    K / 2 · 1.04^i for i = 0 … K / 2 - 1, so that they come from the whole past and not only from its beginning.  They
    do not move later, so stored codes keep their meaning.  They are state, first [s, K + 1, x] (one byte a number if
    inputs have a quantum, else float32), met [s] their number and seen [s] the number of stored rows, and count once
    among the stored bytes: with 1,280 features of one byte, 64 bytes an episode, 16 for its label and marks, and
    327,680 for the prototypes.  Inputs are flattened.

    Replayed rows have lost details that experience has.  ThroughCode lets the neocortex learn both alike.

    Source: Jégou, Douze & Schmid 2011; for replay, REMIND, Hayes et al. 2020.

    >>> code = Product(bytes=2, prototypes=2)
    >>> _ = code.setup(Spec(inputs=(4,)))
    >>> rows = torch.tensor([[[0.0, 0, 1, 1], [1, 1, 0, 0]]])
    >>> code.meet(rows, torch.ones(1, 2, dtype=torch.bool))
    >>> code.write(torch.tensor([[[0.9, 1, 0.8, 1]]])).tolist(), code.read(code.write(rows)).tolist() == rows.tolist()
    ([[[1, 0]]], True)
    """

    kind = torch.uint8
    learns = True

    def __init__(self, *, bytes: int = 64, prototypes: int = 256):
        self.bytes, self.prototypes = whole("bytes", bytes), whole("prototypes", prototypes, 2, 256)

    def setup(self, spec: Spec) -> Spec:
        self._size = math.prod(spec.inputs)
        reason = f"is {self.bytes}, and inputs have {self._size} numbers"
        refuse_if(self.bytes > self._size, "code.bytes", reason, f"give {self._size} or less, or another code")
        self.width, self._part = self.bytes, -(-self._size // self.bytes)
        kind = torch.float32 if spec.quantum is None else torch.uint8
        shape = (spec.subjects, self.prototypes + 1, self.bytes * self._part)  # the last row receives all other rows
        self.first = torch.zeros(shape, dtype=kind, device=spec.device)
        self.met, self.seen = torch.zeros(2, spec.subjects, dtype=torch.int64, device=spec.device).unbind()
        half, count = self.prototypes // 2, self.prototypes - self.prototypes // 2
        later = (half * SPREAD ** torch.arange(count, dtype=torch.float64)).long()
        turn = torch.cat((torch.arange(half), torch.maximum(later, half + torch.arange(count))))
        self._turns = turn.to(spec.device)  # the stored rows that become prototypes, ascending
        return super().setup(spec)

    def meet(self, x: Tensor, stored: Tensor) -> None:
        turn = self.seen[:, None] + stored.cumsum(1) - 1  # the number of each stored row
        place = torch.searchsorted(self._turns, turn).clamp_(max=self.prototypes - 1)
        place = torch.where(stored & (self._turns[place] == turn), place, self.prototypes)
        rows = torch.arange(len(x), device=x.device)[:, None]
        self.first[rows, place] = self._levels(self._padded(x))
        self.seen = self.seen + stored.sum(1)
        self.met = torch.searchsorted(self._turns, self.seen)

    def write(self, x: Tensor) -> Tensor:
        s, b = x.shape[:2]
        parts = self._padded(x).view(s, b, self.bytes, self._part).transpose(1, 2)  # [s, m, b, d]
        known = self._numbers(self.first[:, :-1]).view(s, -1, self.bytes, self._part).transpose(1, 2)  # [s, m, k, d]
        away = known.square().sum(3)[:, :, None] - 2 * parts @ known.mT  # |x - p|² - |x|²
        unused = torch.arange(self.prototypes, device=x.device) >= self.met[:, None]
        return away.masked_fill_(unused[:, None, None], torch.inf).argmin(3).transpose(1, 2).to(torch.uint8)

    def read(self, content: Tensor) -> Tensor:
        s, c, m = content.shape
        where = content.long() * m + torch.arange(m, device=content.device)
        where += (torch.arange(s, device=content.device) * (self.prototypes + 1) * m)[:, None, None]
        found = self.first.view(-1, self._part).index_select(0, where.flatten())
        return self._numbers(found).unflatten(0, (s, c, m)).flatten(2)[..., : self._size]

    def through(self, x: Tensor) -> Tensor:
        return torch.where((self.met > 0)[:, None, None], self.read(self.write(x)), x)

    def common_bytes(self) -> int:
        return self.first[0, :-1].nbytes

    def _padded(self, x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, self.first.shape[2] - x.shape[2]))

    def _levels(self, x: Tensor) -> Tensor:
        return x if self.spec.quantum is None else (x * (1 / self.spec.quantum)).round_().to(torch.uint8)

    def _numbers(self, stored: Tensor) -> Tensor:
        return stored if self.spec.quantum is None else stored * float(self.spec.quantum)
