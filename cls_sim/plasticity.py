"""The room of plasticity: how much may weights move today?  A number for each subject."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from cls_sim.clock import Clock, Span, in_rem
from cls_sim.errors import Refused, reals
from cls_sim.part import Part, Spec, per_subject


class Plasticity(Part):
    """A schedule is a function of the clock, nothing else."""

    @abstractmethod
    def rate(self, clock: Clock) -> np.ndarray:
        """The learning rate of each subject at this tick: float64 [s], from 0."""


def durations(key: str, value: Any) -> Any:
    """Days above 0, one number or one a subject, infinity included (the end of a sweep over fading).

    >>> durations("tau_days", [2.0, math.inf])
    [2.0, inf]
    """
    if getattr(value, "shape", None):
        value = value.tolist()
    if isinstance(value, float) and value == math.inf:
        return value
    if not isinstance(value, (str, float, int)) and hasattr(value, "__iter__") and math.inf in value:
        return [durations(f"{key}[{i}]", one) for i, one in enumerate(value)]
    return reals(key, value, 0.0, open_low=True)


class Constant(Plasticity):
    """A plasticity that never ages: η = rate.

    rate  from 0, learning rate a step; one number, or one a subject

    >>> from cls_sim.part import Spec
    >>> schedule = Constant(rate=[0.1, 0.2])
    >>> _ = schedule.begin(Spec(seeds=(0, 1)))
    >>> schedule.rate(Clock(2, 100)).tolist()
    [0.1, 0.2]
    """

    derived = frozenset({"_rate"})

    def __init__(self, *, rate: float | list[float] = 0.1):
        self.value = reals("rate", rate, 0.0)

    def begin(self, spec: Spec) -> Spec:
        self._rate = per_subject("rate", self.value, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return self._rate.copy()


class Exponential(Plasticity):
    """A plasticity that fades with age: η = start · exp(-day / tau_days).

    Its dose over a whole life is start · tau_days · steps a day, so an exponential with the right product stops
    consolidating where a student would be stopped early (the dose theory of Sun et al. 2023).

    start     from 0, learning rate at birth; one number, or one a subject
    tau_days  above 0, or infinity (no fading); one number, or one a subject

    >>> from cls_sim.part import Spec
    >>> schedule = Exponential(start=0.1, tau_days=8.0)
    >>> _ = schedule.begin(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 800
    >>> schedule.rate(clock).round(6).tolist()
    [0.036788]
    """

    derived = frozenset({"_start", "_decay"})

    def __init__(self, *, start: float | list[float] = 0.1, tau_days: float | list[float] = 8.0):
        self.start, self.tau_days = reals("start", start, 0.0), durations("tau_days", tau_days)

    def begin(self, spec: Spec) -> Spec:
        self._start = per_subject("start", self.start, spec)
        self._decay = 1.0 / per_subject("tau_days", self.tau_days, spec)  # 1/∞ = 0: no fading
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return self._start * np.exp(-clock.day * self._decay)


class PowerLaw(Plasticity):
    """A plasticity with a long tail: η = start · (1 + day / tau_days)^(-exponent).

    Up to exponent 1 the dose has no end: such a schedule delays over-consolidation and does not prevent it.

    start     from 0, learning rate at birth; one number, or one a subject
    tau_days  above 0, or infinity (no fading); one number, or one a subject
    exponent  from 0; one number, or one a subject

    >>> from cls_sim.part import Spec
    >>> schedule = PowerLaw(start=0.1, tau_days=8.0, exponent=1.0)
    >>> _ = schedule.begin(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 800
    >>> schedule.rate(clock).tolist()
    [0.05]
    """

    derived = frozenset({"_start", "_decay", "_exponent"})

    def __init__(
        self,
        *,
        start: float | list[float] = 0.1,
        tau_days: float | list[float] = 8.0,
        exponent: float | list[float] = 1.0,
    ):
        self.start, self.tau_days = reals("start", start, 0.0), durations("tau_days", tau_days)
        self.exponent = reals("exponent", exponent, 0.0)

    def begin(self, spec: Spec) -> Spec:
        self._start = per_subject("start", self.start, spec)
        self._decay = 1.0 / per_subject("tau_days", self.tau_days, spec)
        self._exponent = per_subject("exponent", self.exponent, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return self._start * (1.0 + clock.day * self._decay) ** -self._exponent


class CriticalPeriod(Plasticity):
    """A plasticity that is high in youth and closes: η = start · (floor + (1 - floor) · σ((closes - day) / width)).

    σ is the logistic function, so that half of what closes has closed on the day `closes`
    (critical periods: Hensch 2005; in networks: Achille et al. 2019).

    start   from 0, learning rate while open; one number, or one a subject
    closes  from 0, days; one number, or one a subject
    width   above 0, days; from 12 % to 88 % takes four widths; one number, or one a subject
    floor   0 to 1, the share of start that stays; one number, or one a subject

    >>> from cls_sim.part import Spec
    >>> schedule = CriticalPeriod(start=0.1, closes=10.0, width=1.0, floor=0.2)
    >>> _ = schedule.begin(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 1000
    >>> schedule.rate(clock).round(6).tolist()
    [0.06]
    """

    derived = frozenset({"_closes", "_width", "_high", "_low"})

    def __init__(
        self,
        *,
        start: float | list[float] = 0.1,
        closes: float | list[float] = 10.0,
        width: float | list[float] = 1.0,
        floor: float | list[float] = 0.0,
    ):
        self.start, self.closes = reals("start", start, 0.0), reals("closes", closes, 0.0)
        self.width, self.floor = reals("width", width, 0.0, open_low=True), reals("floor", floor, 0.0, 1.0)

    def begin(self, spec: Spec) -> Spec:
        start, floor = per_subject("start", self.start, spec), per_subject("floor", self.floor, spec)
        self._closes, self._width = per_subject("closes", self.closes, spec), per_subject("width", self.width, spec)
        self._low, self._high = start * floor, start * (1.0 - floor)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        # σ(z) = (1 + tanh(z/2)) / 2 does not overflow at great ages
        return self._low + self._high * (0.5 + 0.5 * np.tanh((self._closes - clock.day) / (2.0 * self._width)))


class Allowance(Plasticity):
    """A plasticity that ends when its dose is spent: η in every tick, awake and asleep, until Σ η = dose.

    Early stopping as a schedule: with the dose s* of theory, a student stops where more consolidation would harm
    (Sun et al. 2023).  The last step is what is left of the dose.

    rate  from 0, learning rate a step; one number, or one a subject
    dose  from 0, or infinity (no end); one number, or one a subject

    >>> from cls_sim.part import Spec
    >>> schedule = Allowance(rate=0.1, dose=0.25)
    >>> _ = schedule.begin(Spec())
    >>> clock, rates = Clock(1, 100), []
    >>> for _ in range(4):
    ...     rates.append(round(float(schedule.rate(clock)[0]), 6))
    ...     clock.experience += 1
    >>> rates
    [0.1, 0.1, 0.05, 0.0]
    """

    derived = frozenset({"_rate", "_dose"})

    def __init__(self, *, rate: float | list[float] = 0.1, dose: float | list[float] = 1.0):
        self.value = reals("rate", rate, 0.0)
        self.dose = 0.0 if dose == 0 else durations("dose", dose)

    def begin(self, spec: Spec) -> Spec:
        self._rate = per_subject("rate", self.value, spec)
        self._dose = per_subject("dose", self.dose, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        left = self._dose - self._rate * (clock.experience + clock.replay)
        return np.clip(left, 0.0, self._rate) * (left > 1e-9 * self._rate)


class StageRates(Plasticity):
    """One plasticity in NREM and another in REM (by day: that of NREM), of a rhythm with stages.

    nrem  a schedule, or a number from 0 (or one a subject)
    rem   a schedule, or a number from 0 (or one a subject)

    Refused where nights have no stages.

    >>> from cls_sim.part import Spec
    >>> schedule = StageRates(nrem=0.1, rem=0.02)
    >>> _ = schedule.begin(Spec(stages=(3, 1)))
    >>> clock = Clock(1, 100)
    >>> clock.replay += 3
    >>> schedule.rate(clock).tolist()
    [0.02]
    """

    derived = frozenset({"_stages"})

    def __init__(
        self, *, nrem: Plasticity | float | list[float] = 0.001, rem: Plasticity | float | list[float] = 0.001
    ):
        self.nrem = nrem if isinstance(nrem, Plasticity) else Constant(rate=reals("nrem", nrem, 0.0))
        self.rem = rem if isinstance(rem, Plasticity) else Constant(rate=reals("rem", rem, 0.0))

    def begin(self, spec: Spec) -> Spec:
        if spec.stages is None:
            raise Refused("", "has a rate for each stage of sleep, and nights have none", "use rhythm=nrem_rem")
        self._stages = spec.stages
        for name in ("nrem", "rem"):
            self.begin_inside(name, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return np.where(in_rem(clock, self._stages), self.rem.rate(clock), self.nrem.rate(clock))


class Settling(Plasticity):
    """A plasticity that settles in the course of every night, and is high again when the next begins.

        η = start · (floor + (1 - floor) · (1 - t / T)),   t of tonight's T replay steps are over;   by day wake

    However long a night is, the cortex wakes from it at rest.  Refused where the length of nights is not known when
    they begin (pressure, validation).

    start  from 0, the rate when a night begins; one number, or one a subject
    floor  0 to 1, the share of it at the end; one number, or one a subject
    wake   from 0, the rate by day; one number, or one a subject

    Source: the rate is annealed and raised again, Loshchilov & Hutter 2017; here night by night.

    >>> from cls_sim.part import Spec
    >>> schedule = Settling(start=0.1, floor=0.0)
    >>> _ = schedule.begin(Spec(due=lambda experience: experience // 10 * 4))
    >>> clock = Clock(1, 10)
    >>> clock.experience += 10
    >>> clock.asleep[:] = True
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(float(schedule.rate(clock)[0]), 6))
    ...     clock.replay += 1
    >>> rates
    [0.1, 0.075, 0.05, 0.025]
    """

    derived = frozenset({"_start", "_floor", "_wake", "_due"})

    def __init__(
        self,
        *,
        start: float | list[float] = 0.001,
        floor: float | list[float] = 0.01,
        wake: float | list[float] = 0.0,
    ):
        self.start, self.floor = reals("start", start, 0.0), reals("floor", floor, 0.0, 1.0)
        self.wake = reals("wake", wake, 0.0)

    def begin(self, spec: Spec) -> Spec:
        if spec.due is None:
            raise Refused("", "settles by the length of a night, which this rhythm does not know", "use rhythm=nights")
        self._due = spec.due
        self._start, self._floor = per_subject("start", self.start, spec), per_subject("floor", self.floor, spec)
        self._wake = per_subject("wake", self.wake, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        before = self._due(np.maximum(clock.experience - 1, 0))
        tonight = self._due(clock.experience) - before
        over = ((clock.replay - before) / np.maximum(tonight, 1)).clip(0.0, 1.0)
        night = self._start * (self._floor + (1.0 - self._floor) * (1.0 - over))
        return np.where(clock.asleep, night, self._wake)


class WakeNight(Plasticity):
    """One plasticity awake and another asleep: the cortex often learns by night only (wake = 0).

    wake   a schedule, or a number from 0 (or one a subject)
    night  a schedule, or a number from 0 (or one a subject)

    >>> from cls_sim.part import Spec
    >>> schedule = WakeNight(wake=0.0, night=Exponential(start=0.1))
    >>> _ = schedule.begin(Spec(seeds=(0, 1)))
    >>> clock = Clock(2, 100)
    >>> clock.asleep[1] = True
    >>> schedule.rate(clock).tolist()
    [0.0, 0.1]
    """

    def __init__(self, *, wake: Plasticity | float | list[float] = 0.0, night: Plasticity | float | list[float]):
        self.wake = wake if isinstance(wake, Plasticity) else Constant(rate=reals("wake", wake, 0.0))
        self.night = night if isinstance(night, Plasticity) else Constant(rate=reals("night", night, 0.0))

    def begin(self, spec: Spec) -> Spec:
        for name in ("wake", "night"):
            self.begin_inside(name, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return np.where(clock.asleep, self.night.rate(clock), self.wake.rate(clock))


class Modulated(Plasticity):
    """Another schedule, changed by a factor from now on: η = factor · η₀ (a drug, a disease, an enriched cage).

    plasticity  η₀, the schedule that is changed
    factor      from 0, one number or one a subject; 0 stops all learning, 1 changes nothing
    until       age in days at which the schedule is itself again; None: never

    >>> from cls_sim.part import Spec
    >>> schedule = Modulated(Constant(rate=0.1), factor=3.0, until=5.0)
    >>> _ = schedule.begin(Spec())
    >>> clock = Clock(1, 100)
    >>> early = schedule.rate(clock).round(6).tolist()
    >>> clock.experience += 500
    >>> early, schedule.rate(clock).tolist()
    ([0.3], [0.1])
    """

    derived = frozenset({"_factor"})

    def __init__(self, plasticity: Plasticity, *, factor: float | list[float] = 0.0, until: float | None = None):
        self.plasticity, self.factor, self.span = plasticity, reals("factor", factor, 0.0), Span(until)

    def begin(self, spec: Spec) -> Spec:
        spec = self.begin_inside("plasticity", spec)
        self._factor = per_subject("factor", self.factor, spec)
        return spec

    def join(self, spec: Spec, clock: Clock) -> None:
        super().join(spec, clock)
        self._factor = per_subject("factor", self.factor, spec)

    def rate(self, clock: Clock) -> np.ndarray:
        return self.plasticity.rate(clock) * np.where(self.span.lasts(clock), self._factor, 1.0)
