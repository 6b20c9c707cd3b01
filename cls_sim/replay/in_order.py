"""Replay of episodes in the order in which they were lived."""

from __future__ import annotations

import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, View, held_out
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay

DIRECTIONS = ("forward", "reverse", "either")


class InOrder(Settings, Replay):
    """Each replay step replays a stretch of the stored past: rows that were lived one after the other.

    batch      rows of a stretch, from 1
    direction  forward (as lived), reverse (the latest first) or either (by lot at each step)

    All stretches of the stored episodes are equally likely.  Episodes that were not kept, or are held out, leave gaps.
    A subject with fewer episodes than `batch` replays all of them; the other rows have weight 0.

    Source: order of replay, Foster & Wilson 2006; Diba & Buzsáki 2007.

    >>> InOrder(batch=8, direction="reverse").direction
    'reverse'
    """

    derived = frozenset({"_lots"})

    batch: int = setting(8)
    direction: str = setting("forward", DIRECTIONS)

    def setup(self, spec: Spec) -> Spec:
        self._lots = Draws(spec.seeds, "replay.in_order", (2,), device=spec.device)
        self._held_out = spec.held_out
        return spec

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        traces, lots = hippocampus.traces(), self._lots.at(clock.replay)
        alive = traces.alive & ~held_out(torch.arange(traces.alive.shape[1], device=lots.device), self._held_out)
        late = torch.where(alive, traces.born.long(), torch.iinfo(torch.int64).max)
        order = late.argsort(dim=1, stable=True)
        count = alive.sum(1, keepdim=True)
        first = (lots[:, :1] * (count - self.batch + 1).clamp(min=1)).long()
        place = torch.arange(self.batch, device=order.device).expand(len(order), -1)
        back = torch.full_like(first, self.direction == "reverse", dtype=torch.bool)
        if self.direction == "either":
            back = lots[:, 1:] < 0.5
        there = place < count
        turned = torch.where(back, count.clamp(max=self.batch) - 1 - place, place).clamp(min=0)
        slot = order.gather(1, (first + turned).clamp(max=order.shape[1] - 1))
        batch = hippocampus.fetch(slot)
        return batch.with_(weight=batch.weights() * there)
