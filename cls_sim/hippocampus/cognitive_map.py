"""A map of places: where each action led, and what it was worth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad

from cls_sim.core.batch import STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, State, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Map, Recall, Traces, nothing
from cls_sim.hippocampus.slots import Slotted


class CognitiveMap(Settings, Slotted):
    """A map that is learnt in one exposure: each place once, and the latest outcome of each action in each place.

        T[x, x'] ← T[x, x'] + rate · ([x' followed x] - T[x, x'])

    T holds the chances that a place is followed by another; the end of an episode is followed by the next start.  A
    step without an action (-1) counts in T only.

    capacity  places that a subject can keep; later ones are not stored
    rate      of the transition matrix T, in [0, 1]

    A place is an input that has not been seen before, bit for bit.  A trace is an action in a place (slot = place · a +
    action); its label is the action.  The recall of a cue is the most similar place (cosine) with the rewards of its
    actions as scores.  Raises ConfigError for a world without actions.

    Source: Tolman 1948; the latest outcomes and T, Mattar & Daw 2018.

    >>> spec = CognitiveMap(capacity=30).setup(Spec(inputs=(3,), outputs=4, actions=4))
    >>> spec.actions
    4
    """

    derived = frozenset({"changed", "spec", "_silent", "_rows"})
    columns = ("places", "number", "leads", "born", "reward", "ended")

    capacity: int = setting(100, 1, 2**14)
    rate: float = setting(0.9, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        if not spec.actions:
            raise ConfigError("", "keeps where actions lead, and in this world nobody acts", "use hippocampus=store")
        s, c, a, device = spec.subjects, self.capacity, spec.actions, spec.device
        lots = (s, c + 1, a)  # row c receives what is not stored
        self.places = torch.zeros(s, c + 1, *spec.inputs, device=device)
        self.number = torch.full((s, c + 1), -1, dtype=torch.int64, device=device)  # Batch.item of each place
        self.count, self.came = (torch.full((s,), n, dtype=torch.int64, device=device) for n in (0, -1))
        self.leads, self.born = (torch.full(lots, -1, dtype=torch.int64, device=device) for _ in range(2))
        self.reward, self.ended = torch.zeros(lots, device=device), torch.zeros(lots, dtype=torch.bool, device=device)
        self.transitions = torch.zeros(s, c + 1, c + 1, dtype=torch.float64, device=device)
        self._rows = torch.arange(s, device=device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        assert batch.action is not None and batch.reward is not None
        assert batch.after is not None and batch.steps is not None
        fresh = batch.present()
        fresh = fresh if who is None else fresh & who[:, None]
        for row in range(batch.rows):  # an acting world has one
            new = fresh[:, row]
            here = self._place(batch.x[:, row], new, batch.item[:, row])
            there = self._place(batch.after[:, row], new, None)
            self._follows(self.came, here, new & (self.came >= 0))  # the start that follows the end of an episode
            self._follows(here, there, new)
            ended = batch.steps[:, row] == 0
            acted = new & (batch.action[:, row] >= 0)
            at = (self._rows, torch.where(acted, here, self.capacity), batch.action[:, row].clamp(min=0))
            self.leads[at], self.reward[at], self.ended[at] = there, batch.reward[:, row], ended
            self.born[at] = batch.born[:, row]
            self.came = torch.where(new, torch.where(ended, there, -1), self.came)
        self.changed += 1

    def _place(self, x: Tensor, new: Tensor, item: Tensor | None) -> Tensor:
        """The number of the place with this input [s, …], which is stored if it was not known: int64 [s]."""
        known = (self.places[:, :-1] == x[:, None]).flatten(2).all(2)
        known = known & (torch.arange(self.capacity, device=x.device) < self.count[:, None])
        found = known.any(1)
        adds = new & ~found & (self.count < self.capacity)
        place = torch.where(found, known.int().argmax(1), torch.where(adds, self.count, self.capacity))
        at = torch.where(adds, place, self.capacity)
        self.places[self._rows, at] = x
        if item is not None:
            self.number[self._rows, torch.where(new, place, self.capacity)] = item
        self.count = self.count + adds
        return place

    def _follows(self, one: Tensor, other: Tensor, who: Tensor) -> None:
        """Move the transitions from one place to another."""
        at = torch.where(who, one, self.capacity)
        before = self.transitions[self._rows, at]
        self.transitions[self._rows, at] = before + self.rate * (one_hot(other, self.capacity + 1) - before)

    def _known(self) -> Tensor:
        """Which actions in which places have a trace: bool [s, n]."""
        known = (self.leads[:, :-1] >= 0).flatten(1)
        return known if self._silent is None else known & ~self._silent

    def map(self) -> Map:
        c, known = self.capacity, self._known()
        there = torch.arange(c, device=known.device) < self.count[:, None]
        leads = torch.where(known.view(-1, c, self.spec.actions), self.leads[:, :c], -1)
        leads = torch.where(leads < c, leads, -1)
        flow = self.transitions[:, :c, :c]
        return Map(self.places[:, :c], there, leads, self.reward[:, :c], self.ended[:, :c], flow)

    def recall(self, x: Tensor) -> Recall:
        empty, c = nothing(x, self.spec.outputs), self.capacity
        cue, trace = normalize(x.flatten(2), dim=2), normalize(self.places[:, :c].flatten(2), dim=2)
        heard = self._known().view(len(x), c, -1)
        like = (cue @ trace.mT).masked_fill(~heard.any(2)[:, None], -2.0)
        match, place = like.max(2)
        found = match > -2.0
        latest = torch.where(heard, self.born[:, :c], -1).argmax(2).gather(1, place)
        scores, rewards = empty.scores, self.reward[:, :c].gather(1, _wide(place, self.spec.actions))
        scores[..., : self.spec.actions] = rewards[..., : scores.shape[2]]
        best = self.places[self._rows[:, None], place]
        there = found.view(*found.shape, *[1] * (x.dim() - 2))
        slot = torch.where(found, place * self.spec.actions + latest, -1)
        return Recall(scores * found[..., None], best * there, match.clamp(0, 1) * found, slot)

    def traces(self) -> Traces:
        c, a = self.capacity, self.spec.actions
        alive = self._known()
        y = torch.arange(a, device=alive.device).expand(len(alive), c, a).flatten(1)
        number = self.number[:, :c, None].expand(-1, -1, a).flatten(1)
        born = self.born[:, :c].flatten(1)
        return Traces(alive, y, torch.zeros_like(y), born, number, alive.float())

    def fetch(self, slot: Tensor) -> Batch:
        a, rows = self.spec.actions, self._rows[:, None]
        place, action = slot // a, slot % a
        at = (rows, place, action)
        return Batch.lived(
            self.places[rows, place],
            action,
            context=torch.zeros_like(slot),
            born=self.born[at],
            item=self.number[rows, place],
            source=torch.full(slot.shape, STORED, dtype=torch.uint8, device=slot.device),
            weight=self._known().gather(1, slot).float(),
            slot=slot,
            action=action,
            reward=self.reward[at],
            after=self.places[rows, self.leads[at].clamp(min=0)],
            steps=(~self.ended[at]).long(),
        )

    def stored_bytes(self) -> Tensor:
        kept = (self.places, self.number, self.leads, self.born, self.reward, self.ended, self.transitions)
        return torch.full((self.spec.subjects,), sum(one[0].nbytes for one in kept), dtype=torch.int64)

    def state(self) -> State:
        return super().state() | {"transitions": self.transitions[:, :-1, :-1].contiguous()}

    def load(self, tree: State) -> None:
        super().load(tree)
        self.transitions = pad(self.transitions, (0, 1, 0, 1))
        self.changed += 1


def _wide(place: Tensor, width: int) -> Tensor:
    return place[..., None].expand(-1, -1, width)
