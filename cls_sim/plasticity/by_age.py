"""Learning rates that depend on age, on the dose so far, or on nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cls_sim.core.clock import Clock
from cls_sim.core.errors import real, reals
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.plasticity.base import Plasticity


class Formula(Settings, Plasticity):
    """A learning rate by a formula whose settings are numbers, one or one per subject."""

    def setup(self, spec: Spec) -> Spec:
        self._of = {name: per_subject(name, getattr(self, name), spec) for name in self._declared}
        return spec


class Constant(Plasticity):
    """A constant learning rate: η = rate.

    rate  from 0, learning rate of a step; one number, or one per subject

    >>> schedule = Constant(rate=[0.1, 0.2])
    >>> _ = schedule.setup(Spec(seeds=(0, 1)))
    >>> schedule.rate(Clock(2, 100)).tolist()
    [0.1, 0.2]
    """

    _key = "rate"

    def __init__(self, *, rate: float | list[float] = 0.1):
        self.value = reals("rate", rate, 0.0)

    @classmethod
    def plain(cls, key: str, value: float | list[float]) -> Constant:
        """A schedule from a number that is given as `key`; its errors are reported under that key."""
        made = cls(rate=reals(key, value, 0.0))
        made._key = ""
        return made

    def setup(self, spec: Spec) -> Spec:
        self._rate = per_subject(self._key, self.value, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return self._rate.copy()


class Aged(Plasticity):
    """A learning rate that is a given function of the age in days: η = f(day).

    function  day → rate, from 0; a Python function, called once a tick for all subjects of the same age

    Raises ConfigError if the function returns a negative number, or no number.

    >>> schedule = Aged(lambda day: 0.1 * 0.5**day)
    >>> clock = Clock(2, 100)
    >>> clock.experience += [0, 200]
    >>> schedule.rate(clock).tolist()
    [0.1, 0.025]
    """

    def __init__(self, function: Callable[[float], float]):
        self.function = function

    def rate(self, clock: Clock) -> np.ndarray:
        rates = {day: real("plasticity", self.function(day), 0.0) for day in set(clock.day.tolist())}
        return np.array([rates[day] for day in clock.day.tolist()])


class Exponential(Formula):
    """A learning rate that decays exponentially with age: η = start · exp(-day / tau_days).

    Its dose over a whole life is start · tau_days · (steps per day); see the dose theory of Sun et al. 2023.

    start     from 0, learning rate at birth; one number, or one per subject
    tau_days  above 0, or infinity (no fading); one number, or one per subject

    >>> schedule = Exponential(start=0.1, tau_days=8.0)
    >>> _ = schedule.setup(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 800
    >>> schedule.rate(clock).round(6).tolist()
    [0.036788]
    """

    start: float | list[float] = setting(0.1, 0.0)
    tau_days: float | list[float] = setting(8.0, 0.0, open_low=True, endless=True)

    def rate(self, clock: Clock) -> np.ndarray:
        return self._of["start"] * np.exp(-clock.day * (1.0 / self._of["tau_days"]))  # 1/∞ = 0: no fading


class PowerLaw(Formula):
    """A learning rate that decays as a power of age: η = start · (1 + day / tau_days)^(-exponent).

    Up to exponent 1 the dose grows without bound: the schedule delays over-consolidation and does not prevent it.

    start     from 0, learning rate at birth; one number, or one per subject
    tau_days  above 0, or infinity (no fading); one number, or one per subject
    exponent  from 0; one number, or one per subject

    >>> schedule = PowerLaw(start=0.1, tau_days=8.0, exponent=1.0)
    >>> _ = schedule.setup(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 800
    >>> schedule.rate(clock).tolist()
    [0.05]
    """

    start: float | list[float] = setting(0.1, 0.0)
    tau_days: float | list[float] = setting(8.0, 0.0, open_low=True, endless=True)
    exponent: float | list[float] = setting(1.0, 0.0)

    def rate(self, clock: Clock) -> np.ndarray:
        return self._of["start"] * (1.0 + clock.day * (1.0 / self._of["tau_days"])) ** -self._of["exponent"]


class CriticalPeriod(Formula):
    """A critical period: η = start · (floor + (1 - floor) · σ((closes - day) / width)).

    σ is the logistic function: on the day `closes` the rate is half way between start and floor · start
    (critical periods: Hensch 2005; in networks: Achille et al. 2019).

    start   from 0, learning rate while the period is open; one number, or one per subject
    closes  from 0, days; one number, or one per subject
    width   above 0, days; the middle 76 % of the decline takes four widths; one number, or one per subject
    floor   0 to 1, the share of start that remains; one number, or one per subject

    >>> schedule = CriticalPeriod(start=0.1, closes=10.0, width=1.0, floor=0.2)
    >>> _ = schedule.setup(Spec())
    >>> clock = Clock(1, 100)
    >>> clock.experience += 1000
    >>> schedule.rate(clock).round(6).tolist()
    [0.06]
    """

    start: float | list[float] = setting(0.1, 0.0)
    closes: float | list[float] = setting(10.0, 0.0)
    width: float | list[float] = setting(1.0, 0.0, open_low=True)
    floor: float | list[float] = setting(0.0, 0.0, 1.0)

    def rate(self, clock: Clock) -> np.ndarray:
        start, closes, width, floor = self._of.values()
        # σ(z) = (1 + tanh(z/2)) / 2 does not overflow at great ages
        return start * floor + start * (1.0 - floor) * (0.5 + 0.5 * np.tanh((closes - clock.day) / (2.0 * width)))


class DoseLimited(Plasticity):
    """A constant learning rate until its dose is spent: η = rate at every tick, awake and asleep, until Σ η = dose.

    Early stopping as a schedule (Sun et al. 2023).  The last step has the rate that completes the dose.

    rate  from 0, learning rate of a step; one number, or one per subject
    dose  from 0, or infinity (no end); one number, or one per subject

    >>> schedule = DoseLimited(rate=0.1, dose=0.25)
    >>> _ = schedule.setup(Spec())
    >>> clock, rates = Clock(1, 100), []
    >>> for _ in range(4):
    ...     rates.append(round(float(schedule.rate(clock)[0]), 6))
    ...     clock.experience += 1
    >>> rates
    [0.1, 0.1, 0.05, 0.0]
    """

    def __init__(self, *, rate: float | list[float] = 0.1, dose: float | list[float] = 1.0):
        self.value = reals("rate", rate, 0.0)
        self.dose = 0.0 if dose == 0 else reals("dose", dose, 0.0, open_low=True, endless=True)

    def setup(self, spec: Spec) -> Spec:
        self._rate, self._dose = per_subject("rate", self.value, spec), per_subject("dose", self.dose, spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        left = self._dose - self._rate * (clock.experience + clock.replay)
        return np.clip(left, 0.0, self._rate) * (left > 1e-9 * self._rate)
