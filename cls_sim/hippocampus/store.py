"""A hippocampus that stores exact episodes: the replay buffer of continual learning."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.arrays import Counts, alike
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.contract import of_kind
from cls_sim.core.part import Spec, State, View, known_contexts
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Filling, Recall
from cls_sim.hippocampus.codes import Code, Levels
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.planned import PLANNED, Places, followed, planned
from cls_sim.hippocampus.slots import EVICTION, MOST, newest
from cls_sim.hippocampus.standing import newest_of


class Store(Settings, Episodic):
    """Stores episodes exactly, and recalls the one most similar to the cue (cosine).

        match(x) = max over traces t of  max(0, x·t / (|x| |t|))

    capacity     episodes a subject can hold, from 1
    eviction     which episodes stay when the memory is full: reservoir (a uniform sample of the past), ring (the
                 newest), balanced (equal numbers of every class so far), herding (the same, the most typical),
                 surprise (the least expected), coverage (the least similar) or gradients (the most different
                 gradients); see Slots
    code         the format of stored inputs; null: exact (Coarse stores an image at lower resolution, Product a vector
                 in a few bytes)
    keep_scores  whether to store the neocortex's scores at the time of the experience (4 bytes an output)

    Inputs that are multiples of a quantum are stored as one byte a number and restored bit for bit (at most 784 + 16
    bytes for a 28 × 28 image), others as float32.  The answer to a cue x [s, b, …] is the label (one-hot) or the target
    of the most similar trace.  Raises ConfigError for eviction=balanced and herding in regression.

    While all subjects are awake, the slots of reservoir and ring are planned in blocks; the result is the same.

    Source: the episodic buffer of Robins 1995 (rehearsal); Vitter 1985; nearest neighbours as hippocampal
    one-shot memory, Blundell et al. 2016.

    >>> from cls_sim.core.part import Spec
    >>> store = Store(capacity=5)
    >>> spec = store.setup(Spec(seeds=(0,), inputs=(3,), outputs=2))
    >>> int(store.traces().alive.sum())
    0
    """

    derived = Episodic.derived | {"_places"}

    capacity: int = setting(500, 1, MOST)
    eviction: str = setting("reservoir", EVICTION)
    keep_scores: bool = setting(False)
    code: Code | None = setting(None, Code, "give one, such as Coarse(), or None", check=of_kind)

    def _format(self) -> Code | None:
        return self.code

    def setup(self, spec: Spec) -> Spec:
        self._places: Places | None = None
        self._next = -1  # the experience at which the plan goes on
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        if self.keep_scores:
            batch = batch.with_(scores=view.scores(batch.x, known_contexts(self.spec, batch)))
        now = int(clock.experience[0])
        together = who is None and batch.weight is None and alike(clock.experience)
        if together and not self.spec.actions and self._planned(batch.rows, now):
            assert self._places is not None
            self._next = now + 1
            self._put(self._places, self._places.of(now), batch)
            return
        self._unplan()
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        self._write(slot, key, batch.x.flatten(2), batch, clock)

    def _planned(self, rows: int, now: int) -> bool:
        """Whether the slots of this experience are planned; makes a plan where one ends or does not fit."""
        places = self._places
        if places is None or self._next != now or places.rows != rows or now >= places.end:
            self._unplan()
            if self.eviction not in PLANNED or self._form.learns:
                return False
            if (ranks := self._ranks(at_once=True)) is not None and self._standing is not None:
                keys = self._slots.upcoming(rows, lambda: newest_of(ranks), now)
                if keys is not None and None not in [one.first() for one in ranks]:
                    self._places = places = followed(now, keys, ranks)
                    self._standing.seen(self._watched(), later=len({*places.first}) - 1)
                return self._places is not None
            alive, stored = self._alive(), self.mark[:, : self.capacity, 2].long()
            keys = self._slots.upcoming(rows, lambda: newest(stored, alive), now)
            if keys is not None:
                self._places = planned(now, keys, stored, alive)
        return self._places is not None

    def _unplan(self) -> None:
        """Give up what is left of the plan."""
        if self._standing is not None and self._places is not None and self._next < self._places.end:
            self._standing.drop()  # it is as far as the whole plan
        self._places = None

    def _put(self, places: Places, rows: slice, batch: Batch) -> None:
        """Write the rows of a batch that the plan keeps."""
        if rows.start == rows.stop:
            return
        at, where, mark = places.source[rows], places.target[rows], places.mark[rows]

        def those(column: Tensor) -> Tensor:
            return column.flatten(0, 1).index_select(0, at)

        label = torch.full_like(batch.context, -1) if self.spec.regression else batch.y
        facts = those(torch.stack((label, batch.context, batch.item), 2))
        mark[:, 1] = facts[:, 2]
        raw = batch.raw if type(self._form) is Levels else None  # of the world's quantum, as what is stored
        content = self._form.write(those(batch.x.flatten(2))[None])[0] if raw is None else those(raw.content)
        columns = {"content": content, "what": facts[:, :2].to(torch.int16), "mark": mark}
        if self.spec.regression:
            columns["target"] = those(batch.y).to(self.target.dtype)
        if self.keep_scores and batch.scores is not None:
            columns["answer"] = those(batch.scores)
        for name, values in columns.items():
            self._flat(name).index_copy_(0, where, values)
        self.changed += 1

    def filled(self) -> Counts | None:
        if self._places is None:
            return super().filled()
        if self._silent is not None:
            return None
        return self._places.filled(self._next)

    def filling(self, experience: int) -> Filling | None:
        if self._places is None or self._silent is not None or experience != self._next:
            return None
        return self._places.filling

    def forget(self, slots: Tensor) -> None:
        self._unplan()
        super().forget(slots)

    def load(self, tree: State) -> None:
        super().load(tree)
        self._places = None

    def recall(self, x: Tensor) -> Recall:
        match, slot = self._nearest(x)
        return self._recalled(x, match.clamp(0, 1), slot)
