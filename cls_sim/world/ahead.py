"""The rows of the coming experiences, gathered at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.batch import Batch, Bytes
from cls_sim.world.table import Table

TICKS, NUMBERS = 64, 2**20  # the most experiences, and bytes of inputs, of a block
FEW = 4  # a block of fewer experiences gains nothing


@dataclass(frozen=True)
class Ahead:
    """The experiences of a cohort in step from `start` on.

    x  [s, b, x], flat rows of the data; y [s, b] or [s, b, o]; context, items [s, b]
    """

    data: Table
    start: int
    x: Sequence[Tensor]
    y: Sequence[Tensor]
    context: Sequence[Tensor]
    items: Sequence[Tensor]

    def holds(self, now: int) -> bool:
        return self.start <= now < self.start + len(self.x)

    def batch(self, now: int, source: Tensor) -> Batch:
        """The batch of one of these experiences, of this source [1, 1]."""
        at = now - self.start
        items, context, rows = self.items[at], self.context[at], self.x[at]
        later: dict[str, Callable[[], Tensor]] = {
            "born": lambda: torch.full_like(items, now),
            "source": lambda: source.expand(items.shape),
        }
        if self.data.quantum is not None:
            raw = Bytes(rows, self.data.quantum, self.data.inputs)
            return Batch.made(later, raw, y=self.y[at], context=context, item=items)
        x = rows.view(*items.shape, *self.data.inputs)
        return Batch.made(later, x=x, y=self.y[at], context=context, item=items)


def gathered(data: Table, plan: Tensor, first: int) -> Ahead | None:
    """The next experiences of a plan [s, experiences, b], from the first on.

    None: one by one is better, because inputs differ between subjects or those of a few experiences are many.
    """
    s, length, b = plan.shape
    size = s * b * max(1, math.prod(data.inputs)) * data.x.element_size()
    ticks = min(TICKS, NUMBERS // size, length - first)
    if ticks < FEW or data.views is not None or data.x.dim() > 2:
        return None
    items = plan[:, first : first + ticks].long()
    flat, shape = items.flatten(1), (ticks, b)

    def by_tick(column: Tensor) -> Sequence[Tensor]:
        return column.unflatten(1, shape).transpose(0, 1).contiguous().unbind()

    x = data.x.index_select(0, items.transpose(0, 1).reshape(-1)).view(ticks, s, b, -1).unbind()
    return Ahead(data, first, x, by_tick(data.answers_to(flat)), by_tick(data.contexts_of(flat)), by_tick(flat))
