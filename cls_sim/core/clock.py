"""The clock of a cohort: where each subject is in its life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.errors import ConfigError, real


@dataclass(frozen=True)
class Moment:
    """A named instant at which probes look; `who` [s] are the subjects that reached it.

    Names: life.begin, day.end, night.end, context.end, life.end.
    """

    name: str
    who: Flags


class Clock:
    """Host integers, one for each subject, so that reading the time never waits for a device.

    experience  [s]  experiences lived so far
    replay      [s]  replay steps slept so far
    night       [s]  nights begun so far
    asleep      [s]  whether the next tick is one of sleep
    tick             ticks of the whole cohort
    per_day          experiences a day, so that ages are in days with or without nights

    >>> clock = Clock(subjects=2, per_day=10)
    >>> clock.advance(awake=np.array([True, True]), asleep=np.array([False, False]))
    >>> clock.day.tolist()
    [0.1, 0.1]
    """

    def __init__(self, subjects: int, per_day: int):
        self.experience = np.zeros(subjects, np.int64)
        self.replay = np.zeros(subjects, np.int64)
        self.night = np.zeros(subjects, np.int64)
        self.asleep: Flags = np.zeros(subjects, bool)
        self.tick = 0
        self.per_day = per_day

    @property
    def subjects(self) -> int:
        return len(self.experience)

    @property
    def day(self) -> Numbers:
        """The subjects' ages in days: float64 [s]."""
        return self.experience / self.per_day

    def advance(self, awake: Flags, asleep: Flags) -> None:
        """One tick later: those awake lived one experience, those asleep made one replay step."""
        self.experience += awake
        self.replay += asleep
        self.tick += 1

    def state(self) -> dict[str, np.ndarray]:
        return {
            "experience": self.experience.copy(),
            "replay": self.replay.copy(),
            "night": self.night.copy(),
            "asleep": self.asleep.copy(),
            "tick": np.array(self.tick),
        }

    def load(self, tree: Mapping[str, Any]) -> None:
        if any((tree[name] < 0).any() for name in ("experience", "replay", "night", "tick")):
            raise ConfigError("clock", "has counted below 0", "use another checkpoint")
        for name in ("experience", "replay", "night", "asleep"):
            setattr(self, name, np.array(tree[name]))
        self.tick = int(tree["tick"])


def in_rem(clock: Clock, stages: tuple[int, int]) -> Flags:
    """Who is in REM, if asleep: bool [s]; stages are the replay steps of NREM, then of REM, in a cycle.

    >>> clock = Clock(subjects=3, per_day=10)
    >>> clock.replay += np.array([2, 3, 4])
    >>> in_rem(clock, (3, 1)).tolist()
    [False, True, False]
    """
    nrem, rem = stages
    return clock.replay % (nrem + rem) >= nrem


class Span:
    """How long an intervention lasts: from when it begins until the age of `until` days, or for good (None).

    >>> clock = Clock(subjects=2, per_day=10)
    >>> clock.experience += np.array([19, 20])
    >>> Span(2.0).lasts(clock).tolist(), Span(None).lasts(clock).tolist()
    ([True, False], [True, True])
    """

    def __init__(self, until: float | None):
        self.until = None if until is None else real("until", until, 0.0)

    def lasts(self, clock: Clock) -> Flags:
        """Of which subjects it is not over: bool [s]."""
        return np.ones(clock.subjects, bool) if self.until is None else clock.day < self.until
