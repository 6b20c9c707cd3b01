"""No hippocampus at all."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.batch import DREAMED, STORED, Batch
from cls_sim.clock import Clock
from cls_sim.hippocampus.base import Hippocampus, Recall, Traces, nothing
from cls_sim.part import View


class NoHippocampus(Hippocampus):
    """Stores nothing and recalls nothing: the subject that never had a hippocampus.

    It has one slot [s, 1], always empty, so that a replay policy draws rows of weight 0.

    >>> from cls_sim.part import Spec
    >>> none = NoHippocampus()
    >>> spec = none.begin(Spec(seeds=(0, 1), inputs=(3,), outputs=2))
    >>> none.traces().alive.tolist(), none.stored_bytes().tolist()
    ([[False], [False]], [0, 0])
    """

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Nothing stays."""

    def recall(self, x: Tensor) -> Recall:
        return nothing(x, self.spec.outputs)

    def traces(self) -> Traces:
        empty = self.fetch(torch.zeros(self.spec.subjects, 1, dtype=torch.int64, device=self.spec.device))
        strength = torch.zeros_like(empty.born, dtype=torch.float32)
        return Traces(strength > 0, empty.y, empty.context, empty.born, empty.item, strength)

    def fetch(self, slot: Tensor) -> Batch:
        x = torch.zeros(*slot.shape, *self.spec.inputs, device=slot.device)
        y = torch.zeros(*slot.shape, self.spec.outputs, device=slot.device) if self.spec.regression else slot * 0
        source = torch.full(slot.shape, STORED, dtype=torch.uint8, device=slot.device)
        return Batch.lived(x, y, source=source, weight=torch.zeros_like(slot, dtype=torch.float32), slot=slot)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        nobody = self.fetch(torch.zeros(self.spec.subjects, n, dtype=torch.int64, device=self.spec.device))
        return nobody.with_(source=torch.full_like(nobody.source, DREAMED), slot=None)

    def stored_bytes(self) -> Tensor:
        return torch.zeros(self.spec.subjects, dtype=torch.int64)

    def silence(self, slots: Tensor) -> None:
        """There is nothing to lose."""
