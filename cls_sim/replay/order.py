"""The order of replay, counted while it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Within


class Ordered(Within):
    """Counts forward and reverse sequences in the replay of another policy, which it does not change.

    The newest row of a replay step is its last present row.  Two steps are in forward order if the second begins where
    the first led to (x' = after), in reverse order if it leads to where the first began (after' = x); steps to and fro,
    which are both, count as neither.  A sequence
    counts once, when it has run through `cells` places in one order within a night or a pause.

    policy  the replay policy
    cells   places of a sequence, from 3
    large   a reward above this is large: sequences are counted separately after large and small rewards

    State: `counts` [s, size, place, direction] and `pauses` [s, size, place], int64: size 0 after small rewards, 1
    after large ones; place 0 at the start of an episode or elsewhere, 1 at its end; direction 0 forward, 1 reverse.
    For worlds that ask for actions; elsewhere nothing is counted.

    Source: at least 5 cells, Mattar & Daw 2018.

    >>> from cls_sim.replay.stored import Uniform
    >>> Ordered(Uniform(batch=1)).cells
    5
    """

    null: ClassVar[Mapping[str, Any] | None] = {}
    derived = frozenset({"_rows"})

    if TYPE_CHECKING:
        night: Tensor

    cells: int = setting(5, 3)
    large: float = setting(2.0)

    def _settle(self, spec: Spec) -> None:
        self._rows = torch.arange(spec.subjects, device=spec.device)

    def _fresh(self, spec: Spec) -> None:
        s, device = spec.subjects, spec.device
        self.counts = torch.zeros(s, 2, 2, 2, dtype=torch.int64, device=device)
        self.pauses = torch.zeros(s, 2, 2, dtype=torch.int64, device=device)
        self.night = torch.full((s,), -1, dtype=torch.int64, device=device)
        self.place, self.size = (torch.zeros(s, dtype=torch.int64, device=device) for _ in range(2))
        self.run = torch.zeros(s, 2, dtype=torch.int64, device=device)  # steps in a row, forward and reverse
        self.x, self.after = (torch.zeros(s, *spec.inputs, device=device) for _ in range(2))  # of the newest row
        self.met = torch.zeros(s, dtype=torch.bool, device=device)  # whether there is one

    @torch.no_grad()
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        if batch.after is not None:
            self._count(batch, view, clock)
        return batch

    def _count(self, batch: Batch, view: View, clock: Clock) -> None:
        assert batch.after is not None and view.latest is not None
        asleep = from_numpy(clock.asleep).to(self.night.device)
        night = from_numpy(clock.night).to(self.night.device)
        new = asleep & (night != self.night)
        lived = view.latest()
        if lived.steps is None or lived.reward is None:
            return
        ended = lived.steps[:, -1] == 0
        self.place = torch.where(new, ended.long(), self.place)
        self.size = torch.where(new & ended, (lived.reward[:, -1] > self.large).long(), self.size)
        self.night = torch.where(asleep, night, self.night)
        self.pauses[self._rows, self.size, self.place] += new
        there = batch.present()
        last = (there.sum(1) - 1).clamp(min=0)  # present rows come first
        x, after = batch.x[self._rows, last].float(), batch.after[self._rows, last].float()
        runs = there.any(1) & asleep
        goes_on = runs & ~new & self.met
        forward = goes_on & (x == self.after).flatten(1).all(1)
        reverse = goes_on & (after == self.x).flatten(1).all(1)
        found = torch.stack((forward & ~reverse, reverse & ~forward), 1)
        self.run = torch.where(asleep[:, None], torch.where(found, self.run + 1, 0), self.run)
        self.counts[self._rows, self.size, self.place] += (self.run == self.cells - 1) & asleep[:, None]
        mine = runs.view(-1, *[1] * (x.dim() - 1))
        self.x, self.after = torch.where(mine, x, self.x), torch.where(mine, after, self.after)
        self.met = torch.where(asleep, runs, self.met)
