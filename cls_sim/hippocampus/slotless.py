"""Hippocampi without slots, and none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import State, View
from cls_sim.hippocampus.base import Hippocampus, Recall, Traces, nothing


class Slotless(Hippocampus):
    """A hippocampus with one slot [s, 1] that is always empty: replay of stored traces draws rows of weight 0."""

    def traces(self) -> Traces:
        empty = self.fetch(torch.zeros(self.spec.subjects, 1, dtype=torch.int64, device=self.spec.device))
        return Traces(empty.present(), empty.y, empty.context, empty.born, empty.item, empty.weights())

    def fetch(self, slot: Tensor) -> Batch:
        x = torch.zeros(*slot.shape, *self.spec.inputs, device=slot.device)
        y = torch.zeros(*slot.shape, self.spec.outputs, device=slot.device) if self.spec.regression else slot * 0
        source = torch.full(slot.shape, STORED, dtype=torch.uint8, device=slot.device)
        return Batch.lived(x, y, source=source, weight=torch.zeros_like(slot, dtype=torch.float32), slot=slot)

    def silence(self, slots: Tensor) -> None:
        """Do nothing: there are no single traces."""

    def revive(self, slots: Tensor) -> None:
        """Do nothing: there are no single traces."""

    def without(self, slots: Tensor) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, tree: State) -> None:
        super().load(tree)
        self.changed += 1


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
