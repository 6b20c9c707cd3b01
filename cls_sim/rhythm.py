"""The room of rhythm: when does sleep come, and how long is a night?"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace

import numpy as np
import torch

from cls_sim.clock import Clock, Span
from cls_sim.errors import Refused, flag, real, reals, whole
from cls_sim.part import Part, Spec, View, held_out, per_subject

UNASKED = np.iinfo(np.int64).min


class Rhythm(Part):
    """Says of each subject whether its next tick is one of sleep."""

    @abstractmethod
    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        """bool [s]; asked once before every tick, and free to depend on state (sleep pressure)."""


class Counted(Rhythm):
    """Sleep that is owed by experience: asleep while fewer replay steps were slept than `due` says.

    What an earlier rhythm of the same subject left (a twin that begins to sleep on day 30) is neither made up for
    nor counted: `offset` [s] holds the replay steps slept beyond what was due before this rhythm was first asked.
    """

    offset: np.ndarray

    def __init__(self, *, wake: int):
        self.wake = whole("wake", wake)

    @abstractmethod
    def due(self, experience: np.ndarray) -> np.ndarray:
        """Replay steps owed to so many experiences: int64 [s], rising from 0."""

    def begin(self, spec: Spec) -> Spec:
        self.offset = np.full(spec.subjects, UNASKED)
        return replace(spec, per_day=self.wake)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.offset[0] == UNASKED:  # before the latest experience, whose night is still this rhythm's
            self.offset = clock.replay - self.due(np.maximum(clock.experience - 1, 0))
        return clock.replay - self.offset < self.due(clock.experience)


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


class Deprived(Rhythm):
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

    def __init__(self, rhythm: Rhythm, *, until: float | None = None, rebound: bool = False):
        self.rhythm, self.span, self.rebound = rhythm, Span(until), flag("rebound", rebound)
        if not rebound and not isinstance(rhythm, (Counted, Sleepless)):
            raise Refused("rebound", f"{type(rhythm).__name__} makes up for lost sleep", "give rebound=true")

    def begin(self, spec: Spec) -> Spec:
        self.missed = np.zeros(spec.subjects, np.int64)  # replay steps that were due, and are lost
        return self.rhythm.begin(spec)

    def join(self, spec: Spec, clock: Clock) -> None:
        super().join(spec, clock)
        if "missed" not in vars(self):
            self.missed = np.zeros(spec.subjects, np.int64)

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


class Pressure(Rhythm):
    """Sleep when it is needed: pressure rises awake and falls asleep, at each subject's own pace.

        awake:  P ← P + rise + error · (mean loss on what was just lived) + novelty · (1 - mean match in memory)
        asleep: P ← P - fall

    Falls asleep when P ≥ high, wakes when P ≤ 0.  A life begins at 0.

    wake     from 1, experiences a day (ages are in days; sleep comes when it comes)
    rise     from 0, an experience; one number, or one a subject
    error    from 0, for each unit of the cortex' loss
    novelty  from 0, for what the hippocampus does not recognise (it has just been stored: seen before is 0)
    fall     above 0, a replay step; one number, or one a subject
    high     above 0; one number, or one a subject

    Source: the homeostatic process of Borbély 1982, linear.

    >>> Pressure(rise=0.02, fall=0.01).high
    1.0
    """

    derived = frozenset({"_rise", "_fall", "_high"})

    def __init__(
        self,
        *,
        wake: int = 100,
        rise: float | list[float] = 0.01,
        error: float = 0.0,
        novelty: float = 0.0,
        fall: float | list[float] = 0.005,
        high: float | list[float] = 1.0,
    ):
        self.wake = whole("wake", wake)
        self.rise, self.fall = reals("rise", rise, 0.0), reals("fall", fall, 0.0, open_low=True)
        self.error, self.novelty = real("error", error, 0.0), real("novelty", novelty, 0.0)
        self.high = reals("high", high, 0.0, open_low=True)

    def begin(self, spec: Spec) -> Spec:
        self._rise, self._fall = per_subject("rise", self.rise, spec), per_subject("fall", self.fall, spec)
        self._high = per_subject("high", self.high, spec)
        self.pressure, self.sleepy = np.zeros(spec.subjects), np.zeros(spec.subjects, bool)
        self.experience, self.replay = (np.full(spec.subjects, UNASKED) for _ in range(2))
        return replace(spec, per_day=self.wake)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.experience[0] == UNASKED:  # at birth, or where it takes over from another rhythm
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        lived, slept = clock.experience - self.experience, clock.replay - self.replay
        if lived.any() or slept.any():
            step = self._rise
            if lived.any() and (self.error or self.novelty):
                step = step + self._need(view)
            # a step that takes it to where it was going must not miss by a rounding error
            self.pressure = np.maximum(self.pressure + lived * step - slept * self._fall, 0.0).round(9)
            self.sleepy = np.where(self.sleepy, self.pressure > 0, self.pressure >= self._high)
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        return self.sleepy.copy()

    def _need(self, view: View) -> np.ndarray:
        """What the latest experience asks for: [s]."""
        assert view.latest is not None
        batch, need = view.latest(), np.zeros(len(self.pressure))
        if self.error:
            need += self.error * view.loss(batch).mean(1).double().cpu().numpy()
        if self.novelty:
            need += self.novelty * (1 - view.recall(batch.x).match.mean(1).double().cpu().numpy())
        return need


class Validated(Rhythm):
    """Nights that end when replay no longer helps: the loss on memories kept from replay has stopped falling.

    After every `wake` experiences a night begins.  After every `check` replay steps the mean loss on the part `share`
    of the memories is looked at; the night ends when it has not improved on the best of this night for `patience`
    looks, and at the latest after `night` steps.  Policies over stored traces never replay that part.

    wake      from 1, experiences a day
    night     from 1, the longest night
    check     from 1, replay steps between looks
    patience  from 1, looks without improvement
    share     above 0, below 1, of the slots, evenly spread

    Source: early stopping of consolidation without an oracle, by a validation split, Sun et al. 2023.

    >>> rhythm = Validated(share=0.2)
    >>> rhythm.begin(Spec()).held_out
    0.2
    """

    def __init__(self, *, wake: int = 100, night: int = 400, check: int = 10, patience: int = 2, share: float = 0.1):
        self.wake, self.night = whole("wake", wake), whole("night", night)
        self.check, self.patience = whole("check", check), whole("patience", patience)
        self.share = real("share", share, 0.0, 0.99, open_low=True)

    def begin(self, spec: Spec) -> Spec:
        zeros = np.zeros(spec.subjects, np.int64)
        self.nights, self.stale, self.looked = zeros.copy(), zeros.copy(), zeros.copy()
        self.start = np.full(spec.subjects, UNASKED)  # replay steps before the night that is slept; UNASKED: awake
        self.best = np.full(spec.subjects, np.inf)
        return replace(spec, per_day=self.wake, held_out=self.share)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        owed = clock.experience // self.wake
        begins = (owed > self.nights) & (self.start == UNASKED)
        self.start = np.where(begins, clock.replay, self.start)
        self.looked = np.where(begins, clock.replay - 1, self.looked)
        self.best, self.stale = np.where(begins, np.inf, self.best), np.where(begins, 0, self.stale)
        sleeps = self.start != UNASKED
        slept = np.where(sleeps, clock.replay - self.start, 0)
        due = sleeps & (slept % self.check == 0) & (clock.replay > self.looked)
        if due.any():
            loss = self._loss(view)
            better = loss < self.best
            self.stale = np.where(due, np.where(better, 0, self.stale + 1), self.stale)
            self.best = np.where(due & better, loss, self.best)
            self.looked = np.where(due, clock.replay, self.looked)
        ends = sleeps & ((self.stale >= self.patience) | (slept >= self.night))
        self.nights = np.where(ends, owed, self.nights)
        self.start = np.where(ends, UNASKED, self.start)
        return self.start != UNASKED

    def _loss(self, view: View) -> np.ndarray:
        """The mean loss [s] on memories kept from replay; infinite where there are none."""
        assert view.stored is not None
        batch = view.stored()
        slots = torch.arange(batch.rows, device=batch.x.device)
        there = held_out(slots, self.share) & batch.present()
        loss = torch.where(there, view.loss(batch).double(), 0.0).sum(1) / there.sum(1)
        return loss.nan_to_num(torch.inf).cpu().numpy()
