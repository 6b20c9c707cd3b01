"""Learning rates that depend on sleep: awake or asleep, the stage of sleep, the time of night."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from cls_sim.core.clock import Clock, in_rem
from cls_sim.core.contract import of_kind
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec
from cls_sim.core.settings import setting
from cls_sim.plasticity.base import Plasticity
from cls_sim.plasticity.by_age import Aged, Constant, Formula


def schedule(key: str, value: Plasticity | float | list[float] | Callable[[float], float]) -> Plasticity:
    """A schedule from a schedule, a number (a constant rate) or a function of the age in days.

    >>> schedule("wake", 0.1)
    Constant(value=0.1)
    >>> schedule("wake", lambda day: 0.1 / (1 + day)).rate(Clock(2, 10)).tolist()
    [0.1, 0.1]
    """
    if callable(value) and not inspect.isclass(value) and not isinstance(value, Part):
        return Aged(value)
    if value is None or inspect.isclass(value) or isinstance(value, Part):
        return of_kind(key, value, Plasticity, "give a schedule, a number, or a function of the age in days")
    return Constant.plain(key, value)


class WakeNight(Plasticity):
    """Separate learning rates awake and asleep; with wake_rate=0 the neocortex learns by night only.

    wake_rate   by day: a schedule, or a number from 0 (or one per subject)
    night_rate  by night: a schedule, or a number from 0 (or one per subject)

    >>> from cls_sim.plasticity.by_age import Exponential
    >>> schedule = WakeNight(wake_rate=0.0, night_rate=Exponential(start=0.1))
    >>> _ = schedule.setup(Spec(seeds=(0, 1)))
    >>> clock = Clock(2, 100)
    >>> clock.asleep[1] = True
    >>> schedule.rate(clock).tolist()
    [0.0, 0.1]
    """

    def __init__(
        self, *, wake_rate: Plasticity | float | list[float] = 0.0, night_rate: Plasticity | float | list[float]
    ):
        self.wake_rate, self.night_rate = schedule("wake_rate", wake_rate), schedule("night_rate", night_rate)

    def setup(self, spec: Spec) -> Spec:
        self.setup_parts(spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return np.where(clock.asleep, self.night_rate.rate(clock), self.wake_rate.rate(clock))


class StageRates(Plasticity):
    """Separate learning rates in NREM and REM sleep; by day, the rate of NREM applies.

    nrem  a schedule, or a number from 0 (or one per subject)
    rem   a schedule, or a number from 0 (or one per subject)

    Raises ConfigError if nights have no stages.

    >>> schedule = StageRates(nrem=0.1, rem=0.02)
    >>> _ = schedule.setup(Spec(stages=(3, 1)))
    >>> clock = Clock(1, 100)
    >>> clock.replay += 3
    >>> schedule.rate(clock).tolist()
    [0.02]
    """

    def __init__(
        self, *, nrem: Plasticity | float | list[float] = 0.001, rem: Plasticity | float | list[float] = 0.001
    ):
        self.nrem, self.rem = schedule("nrem", nrem), schedule("rem", rem)

    def setup(self, spec: Spec) -> Spec:
        if spec.stages is None:
            raise ConfigError("", "has a rate for each stage of sleep, and nights have none", "use rhythm=nrem_rem")
        self._stages = spec.stages
        self.setup_parts(spec)
        return spec

    def rate(self, clock: Clock) -> np.ndarray:
        return np.where(in_rem(clock, self._stages), self.rem.rate(clock), self.nrem.rate(clock))


class NightlyDecay(Formula):
    """A learning rate that decays linearly during every night and starts high again at the next one.

        η = start · (floor + (1 - floor) · (1 - t / T)),   t of the night's T replay steps are over;   by day wake_rate

    Raises ConfigError if the length of a night is not known when it begins (pressure, validation).

    start      from 0, the rate at the start of a night; one number, or one per subject
    floor      0 to 1, the share of start at the end of a night; one number, or one per subject
    wake_rate  from 0, the rate by day; one number, or one per subject

    Source: annealing with restarts, Loshchilov & Hutter 2017; here one restart each night.

    >>> schedule = NightlyDecay(start=0.1, floor=0.0)
    >>> _ = schedule.setup(Spec(due=lambda experience: experience // 10 * 4))
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

    start: float | list[float] = setting(0.001, 0.0)
    floor: float | list[float] = setting(0.01, 0.0, 1.0)
    wake_rate: float | list[float] = setting(0.0, 0.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.due is None:
            raise ConfigError("", "needs the length of a night, which this rhythm does not know", "use rhythm=nights")
        self._due = spec.due
        return super().setup(spec)

    def rate(self, clock: Clock) -> np.ndarray:
        tonight = self._due(clock.experience) - self._due(np.maximum(clock.experience - 1, 0))
        over = ((clock.replay - clock.dusk) / np.maximum(tonight, 1)).clip(0.0, 1.0)
        start, floor, wake = self._of.values()
        return np.where(clock.asleep, start * (floor + (1.0 - floor) * (1.0 - over)), wake)
