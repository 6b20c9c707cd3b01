"""Kinds of claims about the mean of an arm, and about comparisons of arms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cls_sim import statistics
from cls_sim.claims.verdict import Verdict, all_bounded, bounded, laws, of_curves, of_mean, top_inside, worst
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.storage.case import Case


def at_most(case: Case, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at most `value`."""
    e = statistics.estimate(case.values(arm, reading))
    return of_mean(f"<= {value}", e, e.mean <= value)


def at_least(case: Case, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at least `value`."""
    e = statistics.estimate(case.values(arm, reading))
    return of_mean(f">= {value}", e, e.mean >= value)


def published(
    case: Case, arm: str, value: float, sem: float, reading: str = "accuracy", within: float = 1.5
) -> Verdict:
    """|ours - published| <= max(within, 3·sqrt(SEM_published² + SEM_ours²)), all in percentage points."""
    ours = statistics.estimate(100 * case.values(arm, reading))
    tolerance = max(within, 3 * math.hypot(sem, ours.sem if math.isfinite(ours.sem) else 0.0))
    return Verdict(value, ours.mean, abs(ours.mean - value) <= tolerance, tolerance, sem=ours.sem)


def better(
    case: Case,
    arm: str,
    than: str,
    reading: str = "accuracy",
    by: float = 0.0,
    mean: float | None = None,
    than_reading: str | None = None,
) -> Verdict:
    """The paired 95 % interval of arm - than lies above `by`; if given, the mean difference is at least `mean`.

    than_reading  the reading of the other arm; None: the same reading
    """
    e = statistics.paired(case.values(arm, reading), case.values(than, than_reading or reading))
    expected = f"interval above {by}" if mean is None else f">= {mean}, interval above {by}"
    return of_mean(expected, e, e.low > by and (mean is None or e.mean >= mean))


def interior_optimum(case: Case, arms: list[str], reading: str = "accuracy") -> Verdict:
    """The best of an ordered list of arms is inside, and better than both ends (paired 95 % intervals above 0)."""
    best, lows, passed = top_inside([case.values(arm, reading) for arm in arms])
    return Verdict("an optimum inside", arms[best], passed, interval=lows)


def best_last(case: Case, arms: list[str], reading: str = "accuracy", by: float = 0.0) -> Verdict:
    """The last of an ordered list of arms is the best: no earlier arm's paired interval against it lies above `by`."""
    last = case.values(arms[-1], reading)
    gains = {arm: statistics.paired(case.values(arm, reading), last) for arm in arms[:-1]}
    nearest = max(gains, key=lambda arm: gains[arm].low)
    e = gains[nearest]
    return of_mean(f"none above {arms[-1]}", e, e.low <= by, by, nearest=nearest)


def near(
    case: Case,
    tolerance: float,
    arm: str | None = None,
    value: float | None = None,
    cells: dict[str, float] | None = None,
    reading: str = "accuracy",
    relative: bool = False,
) -> Verdict:
    """The mean over subjects is within the tolerance of `value`; with `cells` (arm: value), that of each arm is.

    relative  the tolerance is a share of the expected value
    """
    expected = {arm: value} if cells is None and arm is not None and value is not None else cells or {}
    refuse_if(not expected, "claims", "near has no expected value", "give arm and value, or cells")
    means = {name: case.mean(name, reading) for name in expected}
    off = {name: abs(means[name] - v) / (abs(v) if relative else 1.0) for name, v in expected.items()}
    if arm is None:
        return worst(off, tolerance, cells=means)
    return of_mean(value, statistics.estimate(case.values(arm, reading)), off[arm] <= tolerance, tolerance)


def ratio(
    case: Case,
    arm: str,
    than: str,
    reading: str = "accuracy",
    at_least: float | None = None,
    at_most: float | None = None,
    each: bool = False,
    than_reading: str | None = None,
    interval: bool = False,
) -> Verdict:
    """The ratio of the means of two arms lies within bounds.

    each          the ratio of every subject does; the value is the worst ratio
    interval      the 95 % interval of the ratio does (jackknife over subjects, who are paired)
    than_reading  the reading of the other arm; None: the same reading
    """
    ours, theirs = case.values(arm, reading), case.values(than, than_reading or reading)
    if each:
        return all_bounded(ours / theirs, at_least, at_most)
    if interval:
        found, (low, high) = of_curves(lambda a, b: float(a / b), ours, theirs)
        ends = [bounded(end, at_least, at_most) for end in (low, high)]
        return Verdict(f"interval {ends[0].expected}", found, all(end.passed for end in ends), interval=[low, high])
    return bounded(float(np.nanmean(ours) / np.nanmean(theirs)), at_least, at_most)


def trend(
    case: Case,
    arms: list[str],
    reading: str = "accuracy",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Verdict:
    """Spearman's correlation of the arms' means with their order lies within bounds (1: strictly increasing)."""
    means = [case.mean(arm, reading) for arm in arms]
    return bounded(statistics.spearman(range(len(arms)), means), at_least, at_most)


def selective_advantage(case: Case, arms: list[str], than: list[str], reading: str, by: float = 0.0) -> Verdict:
    """In each pair of arms in which `than` has a loss, the loss of the arm in `arms` is smaller, within subjects.

    There is a loss if its 95 % interval lies above 0; then the paired interval of theirs - ours must lie above `by`.
    The value is the smallest lower end of these intervals.  The claim fails if no pair has a loss.
    """
    if len(arms) != len(than):
        raise ConfigError("claims.than", f"has {len(than)} arms for {len(arms)}", "give as many, in the same order")
    lows = {}
    for ours, theirs in zip(arms, than, strict=True):
        lost = case.values(theirs, reading)
        if statistics.estimate(lost).low > 0:
            lows[theirs] = float(statistics.paired(lost, case.values(ours, reading)).low)
    smallest = min(lows.values(), default=float("nan"))
    return Verdict(f"intervals above {by}", smallest, smallest > by, cells=lows)


def rms(case: Case, arms: list[str], reading: str, at_most: float) -> Verdict:
    """The root mean square, over arms and subjects, of a reading that should be 0 is at most `at_most`.

    The interval is the root of that of the subjects' mean squares.  The entry `mean` is the bias, `cells` has the root
    mean square of each arm.
    """
    found = np.stack([case.values(arm, reading) for arm in arms])  # [a, s]
    square = float(np.sqrt(np.nanmean(found**2)))
    e = statistics.estimate(np.nanmean(found**2, 0))
    interval = np.sqrt(np.maximum([e.low, e.high], 0.0)).tolist()
    cells = dict(zip(arms, np.sqrt(np.nanmean(found**2, 1)).tolist(), strict=True))
    bias = float(np.nanmean(found))
    return Verdict(f"<= {at_most}", square, square <= at_most, mean=bias, cells=cells, interval=interval)


def crossing(
    case: Case,
    cells: dict[str, float],
    reading: str,
    value: float,
    tolerance: float,
    level: float = 0.0,
    than: str | None = None,
) -> Verdict:
    """Over arms (arm: number) the mean crosses `level` once, at a number within the tolerance of `value`.

    than  an arm whose mean is used as the level
    """
    if than is not None:
        level = case.mean(than, reading)
    x, y = case.over(cells, reading)
    y = y - level
    turns = np.flatnonzero(y[:-1] * y[1:] < 0)
    found = float("nan")
    if len(turns) == 1:
        i = int(turns[0])
        found = float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]))
    means = dict(zip(cells, y.tolist(), strict=True))
    return Verdict(value, found, abs(found - value) <= tolerance, tolerance, cells=means)


def maximum_at(
    case: Case, cells: dict[str, float], reading: str, value: float, tolerance: float, lowest: bool = False
) -> Verdict:
    """Over arms (arm: number above 0) the maximum of the mean is inside, within a share `tolerance` of `value`.

    The maximum is that of a parabola in the logarithm of the number, through the largest mean and its neighbours.

    lowest  the minimum, instead of the maximum
    """
    x, y = case.over(cells, reading)
    x, y = np.log(x), -y if lowest else y
    top, found = int(np.argmax(y)), float("nan")
    if 0 < top < len(x) - 1:
        a, b, _ = np.polyfit(x[top - 1 : top + 2], y[top - 1 : top + 2], 2)
        found = float(np.exp(-b / (2 * a)))
    means = dict(zip(cells, (-y if lowest else y).tolist(), strict=True))
    return Verdict(value, found, abs(found / value - 1) <= tolerance, tolerance, cells=means)


def on_law(
    case: Case,
    cells: dict[str, float],
    reading: str,
    law: str,
    tolerance: float,
    settings: dict[str, Any] | None = None,
) -> Verdict:
    """The means of arms (arm: number) lie on a law of cls_sim.theory of that number, within a share `tolerance` of it.

    settings  settings of the law
    """
    x, y = case.over(cells, reading)
    off = np.abs(y / laws(law, ["all"], settings)["all"](x) - 1)
    return worst(dict(zip(cells, off.tolist(), strict=True)), tolerance)


def frontier(case: Case, arms: list[str], than: list[str], x: str, y: str, by: float = 0.0) -> Verdict:
    """The area under the frontier of `arms` is larger than that of `than`: the paired 95 % interval lies above `by`.

    The area is the set of points (x, y) from 0 that are dominated by an arm of the family in both readings.
    """

    def area(family: list[str]) -> np.ndarray:
        both = [np.stack([case.values(arm, name) for arm in family], 1) for name in (x, y)]
        return statistics.dominated(both[0], both[1])

    areas = area(arms), area(than)
    e = statistics.paired(areas[0], areas[1])
    return of_mean(f"interval above {by}", e, e.low > by, areas=[float(np.nanmean(one)) for one in areas])
