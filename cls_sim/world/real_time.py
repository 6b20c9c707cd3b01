"""A stream that does not wait: who replays by day misses what happens meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import setting
from cls_sim.world.wraps import Seen


class RealTime(Seen):
    """A stream that goes on while the subject replays by day; nights cost nothing.

        place in the stream of a subject's experience e:  ⌊e (b + replayed) / b⌋,   b rows in an experience

    world     the world
    replayed  from 0, rows that the subject replays by day beside each experience: as many rows of the stream pass by
              unseen, replayed / b experiences; 0: the stream waits, or the subject replays by night only

    Give the number of rows that the replay policy adds by day (`replay.policy.batch` of Interleaved): the world does
    not see it.  The life then has fewer experiences in the same time, so give fewer experiences to a day.  What has
    passed by is neither lived nor revisited; evaluations do not change.  Raises ConfigError if it is put around a
    world in mid-life, unless `replayed` is 0.

    Source: a method that computes longer learns from less of the stream, Ghunaim et al. 2023.

    >>> from cls_sim.world.digits import Digits
    >>> world = RealTime(Digits(per_context=80, batch=10), replayed=30)
    >>> world.setup(Spec()).ends, world.length
    ((20, 40, 60, 80, 100), 100)
    """

    inside, null = "world", {"replayed": 0}
    replayed: int = setting(0, 0)

    def setup(self, spec: Spec) -> Spec:
        spec = super().setup(spec)
        reason = "skips experiences, and this world waits for each action"
        refuse_if(spec.actions and self.replayed, "replayed", reason, "give replayed=0, or a world without actions")
        return replace(spec, ends=tuple(map(self._lived, spec.ends)))

    def _settle(self, spec: Spec) -> None:
        self._rows, self._items = spec.batch, spec.items

    def _fresh(self, spec: Spec) -> None:
        if self.replayed and self.clock is not None and self.clock.experience.any():
            raise ConfigError("replayed", "changes the stream of a life that has begun", "run this arm from birth")

    @property
    def ends(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(map(self._lived, self.world.ends))

    @property
    def length(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None if self.world.length is None else self._lived(self.world.length)

    def _lived(self, passed: int) -> int:
        """The subject's experiences while this number of experiences passes."""
        return -(-passed * self._rows // (self._rows + self.replayed))

    def _at(self, clock: Clock) -> Clock:
        """The clock of the stream."""
        there = copy.copy(clock)
        there.experience = clock.experience * (self._rows + self.replayed) // self._rows
        return there

    def next(self, clock: Clock, *actions: Tensor) -> Batch:
        batch = self.world.next(self._at(clock), *actions)
        born = torch.from_numpy(clock.experience.copy()).to(batch.x.device)
        if self.length is not None:
            born = born.clamp(max=self.length - 1)
        return batch.with_(born=born[:, None].expand(batch.x.shape[:2]))

    def contexts_at(self, clock: Clock) -> Tensor:
        return self.world.contexts_at(self._at(clock))

    def ended(self, clock: Clock) -> Counts:
        return self.world.ended(self._at(clock))

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        if not self.replayed:
            yield from self.world.revisit(clock, size)
            return
        met = None
        for batch in self.world.revisit(self._at(clock), size):
            met = self._met(clock) if met is None else met
            born = met.gather(1, batch.item)
            yield batch.with_(born=born, weight=batch.weights() * (born >= 0))

    def _met(self, clock: Clock) -> Tensor:
        """The subject's last experience with each item before its latest context end: int64 [s, items], -1: never."""
        if self._items is None:
            raise ConfigError("world", "does not number its rows, so what passed by is not known", "use another world")
        ends = np.array([0, *self.ends])
        end = ends[np.searchsorted(ends, clock.experience, side="right") - 1]
        met, then = torch.full((clock.subjects, self._items), -1), copy.copy(clock)
        for e in range(int(end.max())):
            then.experience = np.full_like(clock.experience, e)
            items = self.next(then).item
            when = torch.from_numpy(np.where(e < end, e, -1)).to(items.device)
            met = met.to(items.device).scatter_reduce(1, items, when[:, None].expand_as(items), "amax")
        return met
