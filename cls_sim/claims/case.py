"""The argument of every kind of claim, the Case, and its result, the Verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cls_sim import statistics, theory
from cls_sim.core.errors import ConfigError, known
from cls_sim.statistics import Estimate
from cls_sim.storage.trace import Trace

Laws = Sequence[str] | Mapping[str, Mapping[str, Any]]
PLACE = re.compile(r"(?P<name>[^\[@]+)(?:\[(?P<place>-?\d+)\])?(?:@(?:(?P<start>[\d.]+?)\.\.)?(?P<day>[\d.]+))?")


class Verdict:
    """The result of a claim.

    expected   the expected number, or the condition in words
    value      the value found
    passed     whether the claim holds
    tolerance  largest allowed distance of `value` from `expected`
    more       further entries for summary.json: interval, cells, worst, …

    >>> Verdict("<= 0.3", 0.25, True, interval=[0.2, 0.3]).entries()
    {'expected': '<= 0.3', 'tolerance': 0, 'value': 0.25, 'interval': [0.2, 0.3], 'passed': True}
    """

    def __init__(self, expected: Any, value: Any, passed: Any, tolerance: float = 0, **more: Any):
        self.expected, self.value, self.passed = expected, value, bool(passed)
        self.tolerance, self.more = tolerance, more

    def entries(self) -> dict[str, Any]:
        """The entries of the verdict in summary.json."""
        found = {"expected": self.expected, "tolerance": self.tolerance, "value": self.value}
        return {**found, **self.more, "passed": self.passed}


@dataclass(frozen=True)
class Case:
    """The measurements of an experiment.

    traces    arm → Trace
    readings  arm → name → [s], the last reading of each probe
    """

    traces: Mapping[str, Trace]
    readings: Mapping[str, Mapping[str, np.ndarray]]

    def values(self, arm: str, reading: str) -> np.ndarray:
        """The last reading of an arm [s]; `name[3]` is one entry of a profile.

        `name@5`, `name[3]@5`: the last reading up to day 5 (of a profile without an index, its mean); `name@4..5`: its
        change since the last reading up to day 4.
        """
        said = PLACE.fullmatch(reading)
        if said and said["day"]:
            found = self._on(arm, said["name"], said["place"], float(said["day"]))
            return found - self._on(arm, said["name"], said["place"], float(said["start"])) if said["start"] else found
        if said and said["place"]:
            return self.profile(arm, said["name"])[:, int(said["place"])]
        known(f"claims: {arm}.{reading}", reading, self.readings[arm], "is not measured")
        return self.readings[arm][reading]

    def _on(self, arm: str, name: str, place: str | None, day: float) -> np.ndarray:
        """A reading at the last moment up to this day [s]."""
        days, found = self.traces[arm].reading(name)
        count = int((days <= day + 1e-9).sum())
        if not count:
            reason = f"is measured only from day {days[0]:g} on"
            raise ConfigError(f"claims: {arm}.{name}@{day:g}", reason, "give a later day")
        look = found[count - 1]
        if place is not None:
            return look[:, int(place)]
        return look if look.ndim == 1 else np.nanmean(look, 1)

    def mean(self, arm: str, reading: str) -> float:
        """The mean of `values` over subjects."""
        return float(np.nanmean(self.values(arm, reading)))

    def profile(self, arm: str, reading: str, places: Sequence[int] | None = None) -> np.ndarray:
        """The last profile of an arm [s, k]; with `places`, only the entries places[0] to places[1] - 1."""
        found = np.asarray(self.traces[arm].last(reading), np.float64)
        if found.ndim != 2:
            raise no_profile(arm, reading)
        return found[:, slice(*(places or (None, None)))]

    def mean_profile(self, arm: str, reading: str) -> np.ndarray:
        """The mean of `profile` over subjects [k]."""
        return np.nanmean(self.profile(arm, reading), 0)

    def over(self, cells: Mapping[str, float], reading: str) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of some arms (arm: number), and the means of a reading over subjects."""
        means = [self.mean(arm, reading) for arm in cells]
        return np.array(list(cells.values()), np.float64), np.array(means)

    def over_dose(self, arm: str, reading: str) -> tuple[np.ndarray, np.ndarray]:
        """The mean dose over subjects [t], and a reading [t, s]."""
        return self.traces[arm].reading("dose")[1].mean(1), self.traces[arm].reading(reading)[1]

    def over_days(self, arm: str, reading: str, moment: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The days [t], and the mean of a reading over subjects and profile entries [t]."""
        days, found = self.traces[arm].reading(reading, moment)
        return days, np.nanmean(found.reshape(len(found), -1), 1)


def no_profile(arm: str, reading: str) -> ConfigError:
    """The error for a reading [s] where a profile is needed."""
    return ConfigError(f"claims: {arm}.{reading}", "is one number per subject", "name a reading with a profile [s, k]")


def along(x: Sequence[float], entries: int, reading: str) -> np.ndarray:
    """`x` as an array; raises ConfigError unless it has one number for each entry of the profile."""
    if len(x) != entries:
        reason = f"has {len(x)} numbers, and {reading} has {entries} entries"
        raise ConfigError("claims.x", reason, "give one number for each entry")
    return np.asarray(x, np.float64)


def top_inside(values: Sequence[np.ndarray] | np.ndarray) -> tuple[int, list[float], bool]:
    """Which of several readings [s] has the largest mean, and whether that is inside and above both ends.

    The list has the lower ends of the paired 95 % intervals of its differences to the first and to the last.
    """
    best = int(np.argmax([np.nanmean(v) for v in values]))
    lows = [float(statistics.paired(values[best], values[end]).low) for end in (0, -1)]
    return best, lows, 0 < best < len(values) - 1 and min(lows) > 0


def of_mean(expected: Any, e: Estimate, passed: Any, tolerance: float = 0, **more: Any) -> Verdict:
    """The verdict on a mean over subjects, with its 95 % interval."""
    return Verdict(expected, e.mean, passed, tolerance, interval=[e.low, e.high], **more)


def worst(found: Mapping[str, float], tolerance: float, **more: Any) -> Verdict:
    """The verdict on several distances: the largest is at most `tolerance`."""
    arm = max(found, key=lambda name: found[name])
    return Verdict(0.0, found[arm], found[arm] <= tolerance, tolerance, worst=arm, **{"cells": dict(found), **more})


def bounded(value: float, at_least: float | None, at_most: float | None) -> Verdict:
    """The verdict on a number within one or two bounds."""
    if at_least is None and at_most is None:
        raise ConfigError("claims", "a claim has no bound", "give at_least or at_most")
    words = [f">= {at_least}" if at_least is not None else "", f"<= {at_most}" if at_most is not None else ""]
    passed = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return Verdict(" and ".join(filter(None, words)), value, passed)


def all_bounded(values: np.ndarray, at_least: float | None, at_most: float | None) -> Verdict:
    """The verdict on several numbers that must all lie within bounds; its value is the extreme that decides."""
    found = [bounded(float(end), at_least, at_most) for end in (values.min(), values.max())]
    return next((v for v in found if not v.passed), found[0] if at_least is not None else found[1])


def mean_bounded(e: Estimate, at_least: float | None, at_most: float | None) -> Verdict:
    """The verdict on a mean over subjects whose 95 % interval must lie within bounds; without an interval it fails."""
    ends = [bounded(float(end), at_least, at_most) for end in (e.low, e.high)]
    return of_mean(f"interval {ends[0].expected}", e, all(end.passed for end in ends))


def of_curves(found: Callable[..., float], *curves: np.ndarray) -> tuple[float, list[float]]:
    """A number found from the mean curves of several arms, each [s, k], and its 95 % interval.

    The interval is that of the jackknife: of the mean of n θ - (n - 1) θ_i, where θ_i leaves out subject i.
    """
    whole, n = found(*(np.nanmean(c, 0) for c in curves)), min(map(len, curves))
    if n < statistics.FEWEST:
        return whole, [float("nan")] * 2
    without = [found(*(np.nanmean(np.delete(c, i, 0), 0) for c in curves)) for i in range(n)]
    e = statistics.estimate(n * whole - (n - 1) * np.array(without))
    return whole, [float(e.low), float(e.high)]


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|, Euclidean."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def laws(law: str, arms: Laws, settings: Mapping[str, Any] | None = None) -> dict[str, Callable[[Any], np.ndarray]]:
    """arm → a law of cls_sim.theory as a function of x; `arms` may map each arm to settings of the law for this arm."""
    own = arms if isinstance(arms, Mapping) else {name: {} for name in arms}
    curve = theory.law("claims.law", law)
    return {name: partial(curve, **{**(settings or {}), **special}) for name, special in own.items()}
