"""The rhythm: when does sleep come, and how long is a night?"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from cls_sim.core.arrays import Counts, Flags
from cls_sim.core.clock import Clock
from cls_sim.core.errors import whole
from cls_sim.core.part import Part, Spec, View

UNASKED = np.iinfo(np.int64).min


class Rhythm(Part):
    """Says of each subject whether its next tick is one of sleep."""

    @abstractmethod
    def asleep(self, clock: Clock, view: View) -> Flags:
        """bool [s]; asked once before every tick, and free to depend on state (sleep pressure)."""


class Counted(Rhythm):
    """Sleep that is owed by experience: asleep while fewer replay steps were slept than `due` says.

    What an earlier rhythm of the same subject left (a twin that begins to sleep on day 30) is neither made up for
    nor counted: `offset` [s] holds the replay steps slept beyond what was due before this rhythm was first asked.
    """

    offset: Counts

    def __init__(self, *, experiences_per_day: int):
        self.experiences_per_day = whole("experiences_per_day", experiences_per_day)

    @abstractmethod
    def due(self, experience: Counts) -> Counts:
        """Replay steps owed to so many experiences: int64 [s], rising from 0."""

    def setup(self, spec: Spec) -> Spec:
        self.offset = np.full(spec.subjects, UNASKED)
        return replace(spec, per_day=self.experiences_per_day, due=self.due)

    def asleep(self, clock: Clock, view: View) -> Flags:
        if self.offset[0] == UNASKED:  # before the latest experience, whose night is still this rhythm's
            self.offset = clock.replay - self.due(np.maximum(clock.experience - 1, 0))
        return clock.replay - self.offset < self.due(clock.experience)
