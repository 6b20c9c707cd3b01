"""The rows of the coming experiences, gathered at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.world.table import Table

TICKS, NUMBERS = 64, 2**18  # the most experiences, and inputs, of a block
FEW = 4  # a block of fewer experiences gains nothing


@dataclass(frozen=True)
class Ahead:
    """The experiences of a cohort in step from `start` on: x [s, b, *inputs], y [s, b] or [s, b, o], items [s, b]."""

    data: Table
    start: int
    x: Sequence[Tensor]
    y: Sequence[Tensor]
    items: Sequence[Tensor]

    def holds(self, now: int) -> bool:
        return self.start <= now < self.start + len(self.x)

    def batch(self, now: int, source: Tensor) -> Batch:
        """The batch of one of these experiences, of this source [1, 1]."""
        items = self.items[now - self.start]
        return Batch.made(
            {
                "context": lambda: self.data.contexts_of(items),
                "born": lambda: torch.full_like(items, now),
                "item": lambda: items,
                "source": lambda: source.expand(items.shape),
            },
            x=self.x[now - self.start],
            y=self.y[now - self.start],
        )


def gathered(data: Table, plan: Tensor, first: int) -> Ahead | None:
    """The next experiences of a plan [s, experiences, b], from the first on.

    None: one by one is better, because inputs differ between subjects or those of a few experiences are many.
    """
    s, length, b = plan.shape
    ticks = min(TICKS, NUMBERS // (s * b * max(1, math.prod(data.inputs))), length - first)
    if ticks < FEW or data.views is not None or data.x.dim() > 2:
        return None
    items = plan[:, first : first + ticks].long()
    x = data.inputs_of(items.transpose(0, 1).reshape(ticks * s, b)).unflatten(0, (ticks, s))
    y = data.answers_to(items.flatten(1)).unflatten(1, (ticks, b)).transpose(0, 1).contiguous()
    return Ahead(data, first, x.unbind(), y.unbind(), items.transpose(0, 1).contiguous().unbind())
