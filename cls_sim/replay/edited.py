"""Repair of the memory by night: episodes whose label both systems contradict are dropped."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws
from cls_sim.core.part import Spec, View, known_contexts
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy, without_gradient
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Within

AT_ONCE = 2**22  # numbers in memory while episodes are compared


class Edited(Within):
    """At the start of every night the subject drops stored episodes whose label both of its systems contradict.

        contradicted:  of the k nearest stored neighbours at least the share `other` has one other class, and at most
                       the share `own` the label of the episode;  and the cortex answers another class (`consent`)
        dropped:  all contradicted episodes, if they are  c > r n + 2 √(r n)  of the n episodes examined,  r = `rare`

    A clean memory has few such episodes, and they are rare true ones that the cortex needs; a memory with wrong labels
    has many.  So a night edits only if there are clearly more of them than the share `rare`, which chance and similar
    classes explain.  Neighbours are those of the largest cosine of the inputs as they come back from memory.

    policy      the policy that chooses the rows
    looked_at   from 0, episodes examined a night, drawn from the subject's seed if more are stored; 0: none
    neighbours  k, from 1; an episode is examined only if so many others are stored
    other       0 to 1
    own         0 to 1
    consent     whether the cortex must contradict the label too
    rare        r, 0 to 1; 0: every night edits

    State: `night` [s], the latest night that was edited, and `dropped` [s], the number of episodes dropped so far.
    In regression nothing is edited: numbers contradict one another by degrees.  A probe that looks at coming nights
    edits nothing.  Raises ConfigError at the first night for a memory without single traces (see Hippocampus.forget).

    Source: editing by nearest neighbours, Wilson 1972; consensus of filters, Brodley & Friedl 1999; the test: ours.

    >>> from cls_sim.replay.stored import Uniform
    >>> Edited(Uniform(batch=32)).neighbours
    10
    """

    inside, null = "policy", {"looked_at": 0}

    looked_at: int = setting(1000, 0)
    neighbours: int = setting(10)
    other: float = setting(0.5, 0.0, 1.0)
    own: float = setting(0.2, 0.0, 1.0)
    consent: bool = setting(True)
    rare: float = setting(0.02, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._spec = spec
        self._lots = BatchDraws(spec.seeds, "replay.edited", device=spec.device)

    def _fresh(self, spec: Spec) -> None:
        self.night = np.full(spec.subjects, -1, np.int64)
        self.dropped = torch.zeros(spec.subjects, dtype=torch.int64, device=spec.device)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        if self.looked_at and clock is self.clock and not self._spec.regression:  # another clock: a probe looks ahead
            begins = clock.asleep & (self.night != clock.night)
            if begins.any():
                self.night = np.where(begins, clock.night, self.night)
                self._edit(hippocampus, view, clock, from_numpy(begins).to(self._spec.device))
        return self.policy.draw(hippocampus, neocortex, view, clock)

    @without_gradient
    def _edit(self, hippocampus: Hippocampus, view: View, clock: Clock, who: Tensor) -> None:
        """Examine the memory of the subjects in `who` (bool [s])."""
        alive = hippocampus.traces().alive
        slot = self._examined(alive, clock)
        there = alive.gather(1, slot) & who[:, None]
        rows = hippocampus.fetch(slot)
        rows = rows.with_(y=torch.where(there, rows.y, 0))
        votes = self._votes(hippocampus, rows, slot, alive)  # [s, m, o]
        label, all_ = rows.y[..., None], votes.sum(2)
        own, others = votes.gather(2, label)[..., 0], votes.scatter(2, label, 0.0).amax(2)
        examined = there & (all_ >= self.neighbours)
        against = examined & (others >= self.other * all_) & (own <= self.own * all_)
        if self.consent:
            answer = view.scores(rows.x, known_contexts(self._spec, rows)).argmax(2)
            against = against & (answer != rows.y)
        by_chance = self.rare * examined.sum(1)
        noisy = against.sum(1) > by_chance + 2 * by_chance.sqrt()
        against = against & noisy[:, None]
        if bool(against.any()):  # the only wait for the device, once a night
            hippocampus.forget(torch.zeros_like(alive).scatter_(1, slot, against))
            self.dropped = self.dropped + against.sum(1)

    def _examined(self, alive: Tensor, clock: Clock) -> Tensor:
        """The slots [s, m] that are looked at tonight: those of stored episodes first."""
        s, n = alive.shape
        if n <= self.looked_at:
            return torch.arange(n, device=alive.device).expand(s, n).contiguous()
        lot = torch.where(alive, self._lots.at(clock.night, (n,)), 1.0)
        return lot.topk(self.looked_at, dim=1, largest=False).indices

    def _votes(self, hippocampus: Hippocampus, rows: Batch, slot: Tensor, alive: Tensor) -> Tensor:
        """How many of the nearest neighbours of each row [s, m] have each class: float [s, m, o]."""
        cue, (s, n), m = normalize(rows.x.flatten(2), dim=2), alive.shape, slot.shape[1]
        like = cue.new_full((s, m, self.neighbours), -torch.inf)
        label = slot.new_zeros(s, m, self.neighbours)
        size = max(64, AT_ONCE // (s * max(m, cue.shape[2])))
        for start in range(0, n, size):
            some = torch.arange(start, min(start + size, n), device=slot.device).expand(s, -1).contiguous()
            stored = hippocampus.fetch(some)
            near = cue @ normalize(stored.x.flatten(2), dim=2).mT
            near.masked_fill_(~alive[:, None, start : start + size], -torch.inf)
            own = (slot - start).clamp(0, some.shape[1] - 1)[..., None]  # no row is a neighbour of itself
            itself = own[..., 0] + start == slot
            near.scatter_(2, own, torch.where(itself, -torch.inf, near.gather(2, own)[..., 0])[..., None])
            like, place = torch.cat((like, near), 2).topk(self.neighbours, dim=2)
            new = stored.y.gather(1, (place - self.neighbours).clamp(0).flatten(1)).view(place.shape)
            label = torch.where(place < self.neighbours, label.gather(2, place.clamp(max=self.neighbours - 1)), new)
        none = self._spec.outputs
        return one_hot(torch.where(like > -torch.inf, label, none), none + 1)[..., :none].sum(2).float()
