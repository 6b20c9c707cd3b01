"""Sleep that depends on the number of experiences: nights, naps, stages, and sleep deprivation."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from cls_sim.core.clock import Clock, Span
from cls_sim.core.errors import ConfigError, flag, refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.wrap import Wrap
from cls_sim.rhythm.base import Counted, Owed, Rhythm

LONGEST = 300  # the largest number of growing nights; later ones would be longer than any life


class Sleepless(Settings, Rhythm):
    """No sleep; days have the same length as with sleep, so that ages are comparable.

    experiences_per_day  from 1, experiences a day

    >>> rhythm = Sleepless(experiences_per_day=10)
    >>> rhythm.setup(Spec()).per_day
    10
    """

    experiences_per_day: int = setting(100)

    def setup(self, spec: Spec) -> Spec:
        return replace(spec, per_day=self.experiences_per_day)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        return np.zeros(clock.subjects, bool)


class Nights(Counted):
    """A night of fixed length after every day.

        due(e) = steps_per_night · ⌊e / experiences_per_day⌋  replay steps after e experiences

    experiences_per_day  from 1, experiences a day
    steps_per_night      from 0, replay steps a night

    >>> Nights(experiences_per_day=10, steps_per_night=40).due(np.array([9, 10, 25])).tolist()
    [0, 40, 80]
    """

    steps_per_night: int = setting(400, 0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.experiences_per_day * self.steps_per_night


class GrowingNights(Counted):
    """A night after every `experiences_per_day` experiences, each `growth` times as long as the one before.

        due(e) = steps_per_night · Σ_{i < d} growth^i,   d = ⌊e / experiences_per_day⌋ nights

    experiences_per_day  from 1, experiences a day
    steps_per_night      from 0, replay steps of the first night
    growth               from 1 to 10; 1: all nights have the same length

    >>> GrowingNights(experiences_per_day=10, steps_per_night=40, growth=2.5).due(np.array([9, 10, 25, 30])).tolist()
    [0, 40, 140, 390]
    """

    steps_per_night: int = setting(40, 0)
    growth: float = setting(1.5, 1.0, 10.0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        nights = np.minimum(experience // self.experiences_per_day, LONGEST)
        if self.growth == 1.0:
            return nights * self.steps_per_night
        sums = (self.growth**nights - 1) / (self.growth - 1)
        return np.rint(np.minimum(self.steps_per_night * sums, 2.0**52)).astype(np.int64)


class ContextNights(Counted):
    """A night of `steps_per_night` replay steps after each context: due(e) = steps_per_night · #{ends ≤ e}.

    Raises ConfigError if subjects do not know the boundaries.  A day is still `experiences_per_day` experiences.

    experiences_per_day  from 1, experiences a day
    steps_per_night      from 0, replay steps a night

    >>> rhythm = ContextNights(experiences_per_day=10, steps_per_night=40)
    >>> _ = rhythm.setup(Spec(ends=(50, 100)))
    >>> rhythm.due(np.array([49, 50, 100])).tolist()
    [0, 40, 80]
    """

    steps_per_night: int = setting(400, 0)

    def setup(self, spec: Spec) -> Spec:
        reason = "sleeps at the ends of contexts, and subjects do not know the boundaries"
        refuse_if(not spec.ends, "", reason, "set boundaries_known=true, or use nights or naps")
        self._ends = np.sort(np.asarray(spec.ends, np.int64))
        return super().setup(spec)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ends, experience, side="right") * self.steps_per_night


class Naps(Counted):
    """A nap of fixed length after every few experiences.

        due(e) = steps_per_nap · ⌊e / experiences_between_naps⌋  replay steps after e experiences

    experiences_per_day       from 1, experiences a day (ages are in days; naps do not end them)
    experiences_between_naps  from 1, experiences between naps
    steps_per_nap             from 0, replay steps a nap

    >>> Naps(experiences_per_day=100, experiences_between_naps=5, steps_per_nap=2).due(np.array([4, 5, 11])).tolist()
    [0, 2, 4]
    """

    experiences_between_naps: int = setting(10)
    steps_per_nap: int = setting(40, 0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.experiences_between_naps * self.steps_per_nap


class Deprived(Wrap, Rhythm):
    """Sleep deprivation: the subject stays awake.

    rhythm   the rhythm that applies afterwards (with rebound=False it must count the sleep that is due)
    until    age in days at which the subject may sleep again; None: never
    rebound  True: all missed replay steps are made up afterwards at once; False: they are lost

    Source: memory after nights without sleep, Stickgold, James & Hobson 2000; rebound, Borbély 1982.

    >>> rhythm = Deprived(Nights(experiences_per_day=10, steps_per_night=4), until=2.0)
    >>> _ = rhythm.setup(Spec())
    >>> clock = Clock(1, 10)
    >>> nights = []
    >>> for lived in (0, 10, 20, 30):
    ...     clock.experience[:] = lived
    ...     nights.append(bool(rhythm.asleep(clock, None)[0]))
    >>> nights
    [False, False, True, True]
    """

    inside, null = "rhythm", {"until": 0.0, "rebound": True}

    def __init__(self, rhythm: Rhythm, *, until: float | None = None, rebound: bool = False):
        super().__init__(rhythm)
        self.span, self.rebound = Span(until), flag("rebound", rebound)
        if not rebound and not isinstance(rhythm, (Owed, Sleepless)):
            raise ConfigError("rebound", f"{type(rhythm).__name__} always makes up for lost sleep", "give rebound=true")

    def _fresh(self, spec: Spec) -> None:
        self.missed = np.zeros(spec.subjects, np.int64)  # replay steps that were due and are lost

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        kept = self.span.lasts(clock)
        asleep = self._within(clock, view)
        while not self.rebound and (asleep & kept).any():
            self.missed += asleep & kept
            asleep = self._within(clock, view)
        return asleep & ~kept

    def _within(self, clock: Clock, view: View) -> np.ndarray:
        """The rhythm's answer for a clock on which the lost steps count as made."""
        seen = copy.copy(clock)
        seen.replay = clock.replay + self.missed
        return self.rhythm.asleep(seen, view)


class NremRem(Counted):
    """Nights of alternating stages: `cycles` times NREM, then REM, after every `experiences_per_day` experiences.

    The replay Staged sets what each stage replays, and the plasticity StageRates its learning rate.

    experiences_per_day  from 1, experiences a day
    cycles               from 1, cycles of NREM and REM a night
    nrem                 from 1, replay steps of NREM in a cycle
    rem                  from 1, replay steps of REM in a cycle

    Source: alternation of the stages, Diekelmann & Born 2010; Singh, Norman & Schapiro 2022.

    >>> rhythm = NremRem(experiences_per_day=10, cycles=4, nrem=15, rem=5)
    >>> rhythm.setup(Spec()).stages, rhythm.due(np.array([10])).tolist()
    ((15, 5), [80])
    """

    cycles: int = setting(5)
    nrem: int = setting(60)
    rem: int = setting(20)

    def setup(self, spec: Spec) -> Spec:
        return replace(super().setup(spec), stages=(self.nrem, self.rem))

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.experiences_per_day * self.cycles * (self.nrem + self.rem)
