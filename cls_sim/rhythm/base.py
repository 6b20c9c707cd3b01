"""The base classes of rhythms: when subjects sleep, and for how long."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from cls_sim.core.arrays import Counts, Flags
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, Spec, View
from cls_sim.core.settings import Settings, setting

UNASKED = np.iinfo(np.int64).min


class Rhythm(Part):
    """Decides for each subject whether its next tick is an experience or a replay step."""

    @abstractmethod
    def asleep(self, clock: Clock, view: View) -> Flags:
        """Whether each subject sleeps at the next tick: bool [s].  Called once before every tick; may use state."""


class Owed(Rhythm):
    """Sleep that is owed to experiences: a subject sleeps until it has made the replay steps that are `due`.

    If a rhythm replaces another in mid-life (a twin that begins to sleep on day 30), the nights before count neither
    for nor against it: `offset` [s] holds the difference between steps made and steps due at its first tick.
    """

    @abstractmethod
    def due(self, experience: Counts) -> Counts:
        """The number of replay steps due after these experiences [s]: int64 [s], from 0, never falling."""

    @abstractmethod
    def day(self, spec: Spec) -> int:
        """The number of experiences a day."""

    def setup(self, spec: Spec) -> Spec:
        self.offset: Counts = np.full(spec.subjects, UNASKED)
        return replace(spec, per_day=self.day(spec), due=self.due)

    def asleep(self, clock: Clock, view: View) -> Flags:
        if self.offset[0] == UNASKED:  # the night after the latest experience already belongs to this rhythm
            self.offset = clock.replay - self.due(np.maximum(clock.experience - 1, 0))
        return clock.replay - self.offset < self.due(clock.experience)


class Counted(Settings, Owed):
    """Sleep that is owed to experiences, in days of a given number of experiences.

    experiences_per_day  from 1
    """

    experiences_per_day: int = setting(100)

    def day(self, spec: Spec) -> int:
        return self.experiences_per_day
