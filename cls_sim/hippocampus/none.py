"""A subject without a hippocampus."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import View
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless


class NoHippocampus(Slotless):
    """No hippocampus: stores nothing and recalls nothing.

    >>> from cls_sim.core.part import Spec
    >>> none = NoHippocampus()
    >>> spec = none.setup(Spec(seeds=(0, 1), inputs=(3,), outputs=2))
    >>> none.traces().alive.tolist(), none.stored_bytes().tolist()
    ([[False], [False]], [0, 0])
    """

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Store nothing."""

    def recall(self, x: Tensor) -> Recall:
        return nothing(x, self.spec.outputs)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        nobody = self.fetch(torch.zeros(self.spec.subjects, n, dtype=torch.int64, device=self.spec.device))
        return nobody.with_(source=torch.full_like(nobody.source, DREAMED), slot=None)

    def stored_bytes(self) -> Tensor:
        return torch.zeros(self.spec.subjects, dtype=torch.int64)
