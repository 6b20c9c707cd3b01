"""The clock of a cohort: each subject's age, nights and replay steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.errors import ConfigError, real
from cls_sim.core.trees import State

COUNTED = ("experience", "replay", "dusk", "night", "asleep")  # what a clock keeps of each subject


@dataclass(frozen=True)
class Moment:
    """A named instant at which probes measure; `who` (bool [s]) marks the subjects that have reached it.

    Names: life.begin, day.end, night.end, context.end, life.end.
    """

    name: str
    who: Flags


class Clock:
    """Counts of time for each subject, in numpy, so that reading the time never waits for the device.

    experience  [s]  experiences so far
    replay      [s]  replay steps so far
    dusk        [s]  replay steps before the latest experience: replay - dusk of this night are over
    night       [s]  nights begun so far
    asleep      [s]  bool, whether the next tick is a replay step
    tick             ticks of the whole cohort
    per_day          experiences a day: the unit of age, with or without nights

    >>> clock = Clock(subjects=2, per_day=10)
    >>> clock.advance(awake=np.array([True, True]), asleep=np.array([False, False]))
    >>> clock.day.tolist()
    [0.1, 0.1]
    """

    def __init__(self, subjects: int, per_day: int):
        self.experience, self.replay, self.dusk, self.night = (np.zeros(subjects, np.int64) for _ in range(4))
        self.asleep: Flags = np.zeros(subjects, bool)
        self.tick = 0
        self.per_day = per_day

    @property
    def subjects(self) -> int:
        return len(self.experience)

    @property
    def day(self) -> Numbers:
        """The age of each subject in days: float64 [s]."""
        return self.experience / self.per_day

    def advance(self, awake: Flags, asleep: Flags) -> None:
        """Advance one tick: one more experience for subjects awake, one more replay step for subjects asleep."""
        self.experience += awake
        np.copyto(self.dusk, self.replay, where=awake)
        self.replay += asleep
        self.tick += 1

    def state(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name).copy() for name in COUNTED} | {"tick": np.array(self.tick)}

    def load(self, tree: Mapping[str, Any]) -> None:
        if any((tree[name] < 0).any() for name in ("experience", "replay", "dusk", "night", "tick")):
            raise ConfigError("clock", "has a count below 0", "use another checkpoint")
        for name in COUNTED:
            setattr(self, name, np.array(tree[name]))
        self.tick = int(tree["tick"])


def with_dusk(tree: State) -> State:
    """The state of a life, also of one that was saved before its clock had `dusk`: a night then begins where it was."""
    clock = tree.get("clock")
    if not isinstance(clock, dict) or "replay" not in clock:
        return tree
    return {**tree, "clock": {"dusk": clock["replay"], **clock}}


def in_rem(clock: Clock, stages: tuple[int, int]) -> Flags:
    """Which subjects are in REM sleep, if asleep: bool [s]; `stages` are the replay steps of NREM and REM in a cycle.

    >>> clock = Clock(subjects=3, per_day=10)
    >>> clock.replay += np.array([2, 3, 4])
    >>> in_rem(clock, (3, 1)).tolist()
    [False, True, False]
    """
    nrem, rem = stages
    return clock.replay % (nrem + rem) >= nrem


def end(days: float | None, lived: int, length: int | None, per_day: int) -> int:
    """The experience at which `days` end that begin after `lived` experiences; None: at which the world ends.

    `length` is that of the world (None: endless).  Raises ConfigError if it is too short, or if there is no end.

    >>> end(2.0, 15, None, 10), end(None, 0, 50, 10)
    (35, 50)
    """
    if days is None:
        if length is None:
            raise ConfigError("days", "is not given and this world never ends", "give a number of days")
        return length
    found = lived + round(real("days", days, 0.0) * per_day)
    if length is not None and found > length:
        most = f"give up to {(length - lived) / per_day:g}"
        raise ConfigError("days", f"{days:g} is more than this world has{' left' if lived else ''}", most)
    return found


class Span:
    """How long an intervention lasts: from its start until the age of `until` days (from 0), or for good (None).

    >>> clock = Clock(subjects=2, per_day=10)
    >>> clock.experience += np.array([19, 20])
    >>> Span(2.0).lasts(clock).tolist(), Span(None).lasts(clock).tolist()
    ([True, False], [True, True])
    """

    def __init__(self, until: float | None):
        self.until = None if until is None else real("until", until, 0.0)

    def lasts(self, clock: Clock) -> Flags:
        """For which subjects the intervention still lasts: bool [s]."""
        return np.ones(clock.subjects, bool) if self.until is None else clock.day < self.until
