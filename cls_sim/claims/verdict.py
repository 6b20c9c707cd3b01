"""The result of every kind of claim, the Verdict, and what several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from cls_sim import statistics, theory
from cls_sim.core.errors import refuse_if
from cls_sim.statistics import Estimate

Laws = Sequence[str] | Mapping[str, Mapping[str, Any]]


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


def along(x: Sequence[float], entries: int, reading: str) -> np.ndarray:
    """`x` as an array; raises ConfigError unless it has one number for each entry of the profile."""
    reason = f"has {len(x)} numbers, and {reading} has {entries} entries"
    refuse_if(len(x) != entries, "claims.x", reason, "give one number for each entry")
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
    refuse_if(at_least is None and at_most is None, "claims", "a claim has no bound", "give at_least or at_most")
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
