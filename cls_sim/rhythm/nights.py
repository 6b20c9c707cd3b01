"""Sleep that is owed by experience: nights, naps, stages, and sleep deprivation."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from cls_sim.core.clock import Clock, Span
from cls_sim.core.errors import Refused, flag, real, whole
from cls_sim.core.part import Spec, View
from cls_sim.core.wrap import Wrap
from cls_sim.rhythm.base import Counted, Rhythm

LONGEST = 300  # growing nights after which there are no more: they would be longer than any life


class Sleepless(Rhythm):
    """Days without nights; a day is `wake` experiences, so that ages mean the same as in lives that sleep.

    wake  from 1, experiences a day

    >>> rhythm = Sleepless(wake=10)
    >>> rhythm.begin(Spec()).per_day
    10
    """

    def __init__(self, *, wake: int = 100):
        self.wake = whole("wake", wake)

    def begin(self, spec: Spec) -> Spec:
        return replace(spec, per_day=self.wake)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        return np.zeros(clock.subjects, bool)


class Nights(Counted):
    """A night of `night` replay steps after every `wake` experiences: due(e) = night · ⌊e / wake⌋.

    wake   from 1, experiences a day
    night  from 0, replay steps a night

    >>> Nights(wake=10, night=40).due(np.array([9, 10, 25])).tolist()
    [0, 40, 80]
    """

    def __init__(self, *, wake: int = 100, night: int = 400):
        super().__init__(wake=wake)
        self.night = whole("night", night, 0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.wake * self.night


class GrowingNights(Counted):
    """A night after every `wake` experiences, each `growth` times as long as the one before.

        due(e) = night · Σ_{i < d} growth^i,   d = ⌊e / wake⌋ nights

    What is replayed late is replayed with all that is stored by then; of a long life the last nights are most of it.

    wake    from 1, experiences a day
    night   from 0, replay steps of the first night
    growth  from 1 to 10; 1: all nights alike

    >>> GrowingNights(wake=10, night=40, growth=2.5).due(np.array([9, 10, 25, 30])).tolist()
    [0, 40, 140, 390]
    """

    def __init__(self, *, wake: int = 100, night: int = 40, growth: float = 1.5):
        super().__init__(wake=wake)
        self.night, self.growth = whole("night", night, 0), real("growth", growth, 1.0, 10.0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        nights = np.minimum(experience // self.wake, LONGEST)
        if self.growth == 1.0:
            return nights * self.night
        sums = (self.growth**nights - 1) / (self.growth - 1)
        return np.rint(np.minimum(self.night * sums, 2.0**52)).astype(np.int64)


class ContextNights(Counted):
    """A night of `night` replay steps after each context: due(e) = night · #{ends ≤ e}.

    Refused where the ends of contexts are not told.  Days are `wake` experiences long, as ever.

    wake   from 1, experiences a day
    night  from 0, replay steps a night

    >>> rhythm = ContextNights(wake=10, night=40)
    >>> _ = rhythm.begin(Spec(ends=(50, 100)))
    >>> rhythm.due(np.array([49, 50, 100])).tolist()
    [0, 40, 80]
    """

    derived = frozenset({"_ends"})

    def __init__(self, *, wake: int = 100, night: int = 400):
        super().__init__(wake=wake)
        self.night = whole("night", night, 0)

    def begin(self, spec: Spec) -> Spec:
        if not spec.ends:
            reason = "sleeps at the ends of contexts, and this world does not tell them"
            raise Refused("", reason, "tell the boundaries, or use nights or naps")
        self._ends = np.sort(np.asarray(spec.ends, np.int64))
        return super().begin(spec)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ends, experience, side="right") * self.night


class Naps(Counted):
    """A nap of `nap` replay steps after every `every` experiences: due(e) = nap · ⌊e / every⌋.

    wake   from 1, experiences a day (ages are in days; naps do not end them)
    every  from 1, experiences between naps
    nap    from 0, replay steps a nap

    >>> Naps(wake=100, every=5, nap=2).due(np.array([4, 5, 11])).tolist()
    [0, 2, 4]
    """

    def __init__(self, *, wake: int = 100, every: int = 10, nap: int = 40):
        super().__init__(wake=wake)
        self.every, self.nap = whole("every", every), whole("nap", nap, 0)

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.every * self.nap


class Deprived(Wrap, Rhythm):
    """Sleep deprivation: from now on the subject is kept awake.

    rhythm   the rhythm that goes on underneath (without rebound: one that counts the sleep that is due)
    until    age in days at which it may sleep again; None: never
    rebound  whether the replay steps missed are made up for afterwards, all at once; else they are lost

    Source: memory after nights without sleep, Stickgold, James & Hobson 2000; rebound, Borbély 1982.

    >>> rhythm = Deprived(Nights(wake=10, night=4), until=2.0)
    >>> _ = rhythm.begin(Spec())
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
        if not rebound and not isinstance(rhythm, (Counted, Sleepless)):
            raise Refused("rebound", f"{type(rhythm).__name__} makes up for lost sleep", "give rebound=true")

    def _fresh(self, spec: Spec) -> None:
        self.missed = np.zeros(spec.subjects, np.int64)  # replay steps that were due, and are lost

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        kept = self.span.lasts(clock)
        asleep = self._within(clock, view)
        while not self.rebound and (asleep & kept).any():
            self.missed += asleep & kept
            asleep = self._within(clock, view)
        return asleep & ~kept

    def _within(self, clock: Clock, view: View) -> np.ndarray:
        """What the rhythm says of a life in which the steps that are lost were slept."""
        seen = copy.copy(clock)
        seen.replay = clock.replay + self.missed
        return self.rhythm.asleep(seen, view)


class NremRem(Counted):
    """Nights of alternating stages: `cycles` times NREM, then REM, after every `wake` experiences.

    What each stage replays and how much it teaches is up to the policy Staged and the plasticity StageRates.

    wake    from 1, experiences a day
    cycles  from 1, a night
    nrem    from 1, replay steps of NREM in a cycle
    rem     from 1, replay steps of REM in a cycle

    Source: alternation of the stages, Diekelmann & Born 2010; Singh, Norman & Schapiro 2022.

    >>> rhythm = NremRem(wake=10, cycles=4, nrem=15, rem=5)
    >>> rhythm.begin(Spec()).stages, rhythm.due(np.array([10])).tolist()
    ((15, 5), [80])
    """

    def __init__(self, *, wake: int = 100, cycles: int = 5, nrem: int = 60, rem: int = 20):
        super().__init__(wake=wake)
        self.cycles, self.nrem, self.rem = whole("cycles", cycles), whole("nrem", nrem), whole("rem", rem)

    def begin(self, spec: Spec) -> Spec:
        return replace(super().begin(spec), stages=(self.nrem, self.rem))

    def due(self, experience: np.ndarray) -> np.ndarray:
        return experience // self.wake * self.cycles * (self.nrem + self.rem)
