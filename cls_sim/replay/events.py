"""The order and the speed of replay events, measured while they happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Within


class Events(Within):
    """Measures the order of the replay of another policy, which it does not change.

        score r = Spearman's correlation of the replay step and of the time at which the replayed row was lived
        p = (1 + number of shuffles with |r'| ≥ |r|) / (1 + shuffles)

    An event is an unbroken stretch of replay steps that have rows, within a night or a pause; of a step with several
    rows the last present one counts.  Scores are 1 if the past is replayed forward and -1 if in reverse.

    policy    the replay policy
    cells     rows of an event that counts, from 3
    longest   rows of an event that are looked at, from `cells`; later ones are not
    shuffles  orders with which an event is compared: the same ones for all events of one length
    p         an event is ordered if its p is below this number

    State: the running event, and sums over the events so far, [s, place]: `pauses`, `events`, `score`, `steps` (replay
    steps), `span` (experiences between their rows), `ordered` and `beside` (steps between rows that were lived one
    right after the other) [s, place, direction]: place 0 at the start of an episode or elsewhere, 1 at its end;
    direction 0 forward, 1 reverse.

    Source: rank-order correlation against shuffles, Foster & Wilson 2006.

    >>> from cls_sim.replay.stored import Uniform
    >>> Events(Uniform(batch=1)).cells
    5
    """

    null: ClassVar[Mapping[str, Any] | None] = {}
    derived = frozenset({"_rows", "_orders", "_steps"})

    if TYPE_CHECKING:
        night: Tensor

    cells: int = setting(5, 3)
    longest: int = setting(20, 3)
    shuffles: int = setting(499)
    p: float = setting(0.01, 0.0, 1.0)

    def _ready(self) -> None:
        whole("longest", self.longest, self.cells)

    def _settle(self, spec: Spec) -> None:
        self._rows, self._steps = (torch.arange(n, device=spec.device) for n in (spec.subjects, self.longest))
        orders = np.zeros((self.longest + 1, self.shuffles, self.longest), np.int64)
        for n in range(self.longest + 1):  # the places of the first n rows, in other orders
            orders[n] = np.arange(self.longest)
            orders[n, :, :n] = generator(n, "replay.events").permuted(orders[n, :, :n], axis=1)
        self._orders = from_numpy(orders).to(spec.device)

    def _fresh(self, spec: Spec) -> None:
        s, device = spec.subjects, spec.device

        def none(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(s, *shape, dtype=dtype, device=device)

        self.pauses, self.events, self.steps, self.span = (none(2) for _ in range(4))
        self.score, self.ordered, self.beside = none(2, dtype=torch.float64), none(2, 2), none(2, 2)
        self.born, self.count, self.place = none(self.longest), none(), none()
        self.night = torch.full((s,), -1, dtype=torch.int64, device=device)

    @torch.no_grad()
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        asleep, night = (from_numpy(one).to(self.night.device) for one in (clock.asleep, clock.night))
        new = asleep & (night != self.night)
        there = batch.present()
        last = (there.sum(1) - 1).clamp(min=0)  # present rows come first
        runs = there.any(1) & asleep
        self._close(new | (asleep & ~runs))
        self.place = torch.where(new, self._where(view), self.place)
        self.pauses[self._rows, self.place] += new
        self.night = torch.where(asleep, night, self.night)
        here = (self._steps == self.count[:, None]) & runs[:, None]
        self.born = torch.where(here, batch.born[self._rows, last][:, None], self.born)
        self.count = (self.count + runs).clamp(max=self.longest)
        return batch

    def _where(self, view: View) -> Tensor:
        """Whether each subject pauses at the end of an episode: int64 [s]."""
        lived = None if view.latest is None else view.latest()
        if lived is None or lived.steps is None:
            return torch.zeros_like(self.place)
        return (lived.steps[:, -1] == 0).long()

    def _close(self, who: Tensor) -> None:
        """End the running events of the subjects `who` (bool [s])."""
        for name, more in self._found(who).items():
            sums = getattr(self, name)
            sums[self._rows, self.place] += more.to(sums.dtype)
        self.count = torch.where(who, 0, self.count)

    def _found(self, who: Tensor) -> dict[str, Tensor]:
        """What the running events of the subjects `who` (bool [s]) add to the sums."""
        n, inside = self.count, self._steps < self.count[:, None]
        counts = who & (n >= self.cells)
        before = (self.born[:, None] < self.born[:, :, None]) & inside[:, None]
        equal = (self.born[:, None] == self.born[:, :, None]) & inside[:, None]
        rank = (before.sum(2) + 0.5 * equal.sum(2) - 0.5 * (n[:, None] - 1) - 0.5).masked_fill(~inside, 0.0).double()
        step = (self._steps - 0.5 * (n[:, None] - 1)).masked_fill(~inside, 0.0).double()
        size = (rank.square().sum(1) * step.square().sum(1)).sqrt()
        along = (rank * step).sum(1)
        shuffled = rank[:, None].expand(-1, self.shuffles, -1).gather(2, self._orders[n])
        beyond = ((shuffled @ step[..., None])[..., 0].abs() >= along.abs()[:, None] - 1e-9).sum(1)
        ordered = counts & ((1 + beyond) / (1 + self.shuffles) < self.p)
        last = (n - 1).clamp(min=0)
        lag = self.born.diff(dim=1).masked_fill(~inside[:, 1:], 0)
        beside = torch.stack(((lag == 1).sum(1), (lag == -1).sum(1)), 1)
        return {
            "events": counts,
            "score": torch.where(counts & (size > 0), along / size.clamp(min=1e-12), 0.0),
            "steps": counts * last,
            "span": counts * (self.born[self._rows, last] - self.born[:, 0]).abs(),
            "ordered": torch.stack((ordered & (along > 0), ordered & (along < 0)), 1),
            "beside": counts[:, None] * beside,
        }

    def so_far(self) -> dict[str, Tensor]:
        """The sums [s, place] over all events, the running ones too."""
        found = self._found(torch.ones_like(self.count, dtype=torch.bool))
        sums = {"pauses": self.pauses}
        for name, more in found.items():
            total = getattr(self, name).clone()
            total[self._rows, self.place] += more.to(total.dtype)
            sums[name] = total
        return sums
