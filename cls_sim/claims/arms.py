"""Kinds of claims on the mean of an arm, and on arms beside one another."""

from __future__ import annotations

import math

import numpy as np

from cls_sim import statistics
from cls_sim.claims.values import Readings, Traces, Verdict, bounded, told, values, worst
from cls_sim.core.errors import Refused


def at_most(traces: Traces, readings: Readings, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at most `value`."""
    e = statistics.estimate(values(traces, readings, arm, reading))
    return {"expected": f"<= {value}", "tolerance": 0, **told(e), "passed": bool(e.mean <= value)}


def at_least(traces: Traces, readings: Readings, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at least `value`."""
    e = statistics.estimate(values(traces, readings, arm, reading))
    return {"expected": f">= {value}", "tolerance": 0, **told(e), "passed": bool(e.mean >= value)}


def published(
    traces: Traces, readings: Readings, arm: str, value: float, sem: float, reading: str = "accuracy"
) -> Verdict:
    """|ours - published| <= max(1.5, 3·sqrt(SEM_published² + SEM_ours²)), all in percentage points."""
    ours = statistics.estimate(100 * values(traces, readings, arm, reading))
    tolerance = max(1.5, 3 * math.hypot(sem, ours.sem if math.isfinite(ours.sem) else 0.0))
    passed = abs(ours.mean - value) <= tolerance
    return {"expected": value, "tolerance": tolerance, "value": ours.mean, "sem": ours.sem, "passed": passed}


def better(
    traces: Traces,
    readings: Readings,
    arm: str,
    than: str,
    reading: str = "accuracy",
    by: float = 0.0,
    mean: float | None = None,
) -> Verdict:
    """The paired 95 % interval of arm - than lies above `by`; where `mean` is given, the mean is that at least."""
    e = statistics.paired(values(traces, readings, arm, reading), values(traces, readings, than, reading))
    expected = f"interval above {by}" if mean is None else f">= {mean}, interval above {by}"
    verdict = {"expected": expected, "tolerance": 0, "value": e.mean, "interval": [e.low, e.high]}
    return verdict | {"passed": bool(e.low > by and (mean is None or e.mean >= mean))}


def interior(traces: Traces, readings: Readings, arms: list[str], reading: str = "accuracy") -> Verdict:
    """Of arms in order, the best is neither the first nor the last, and beats both (paired 95 % intervals above 0)."""
    found = [values(traces, readings, arm, reading) for arm in arms]
    best = int(np.argmax([v.mean() for v in found]))
    lows = [statistics.paired(found[best], found[end]).low for end in (0, -1)]
    passed = 0 < best < len(arms) - 1 and min(lows) > 0
    return {"expected": "an optimum inside", "tolerance": 0, "value": arms[best], "interval": lows, "passed": passed}


def best_last(
    traces: Traces, readings: Readings, arms: list[str], reading: str = "accuracy", by: float = 0.0
) -> Verdict:
    """Of arms in order the last has no better: no earlier arm's paired interval against it lies above `by`."""
    last = values(traces, readings, arms[-1], reading)
    gains = {arm: statistics.paired(values(traces, readings, arm, reading), last) for arm in arms[:-1]}
    worst = max(gains, key=lambda arm: gains[arm].low)
    verdict = {"expected": f"none above {arms[-1]}", "tolerance": by, "value": gains[worst].mean, "nearest": worst}
    return verdict | {"interval": [gains[worst].low, gains[worst].high], "passed": gains[worst].low <= by}


def near(
    traces: Traces,
    readings: Readings,
    tolerance: float,
    arm: str | None = None,
    value: float | None = None,
    cells: dict[str, float] | None = None,
    reading: str = "accuracy",
    relative: bool = False,
) -> Verdict:
    """The mean over subjects is within the tolerance of `value`, or of each of `cells` (arm: value).

    relative: the tolerance is a share of the expected value.
    """
    expected = {arm: value} if cells is None and arm is not None and value is not None else cells
    if not expected:
        raise Refused("claims", "near claims nothing", "give arm and value, or cells")
    off, means = {}, {}
    for name, wanted in expected.items():
        means[name] = float(np.nanmean(values(traces, readings, name, reading)))
        off[name] = abs(means[name] - wanted) / (abs(wanted) if relative else 1.0)
    if arm is None:
        return worst(off, tolerance) | {"cells": means}
    found = told(statistics.estimate(values(traces, readings, arm, reading)))
    return {"expected": value, "tolerance": tolerance, **found, "passed": bool(off[arm] <= tolerance)}


def ratio(
    traces: Traces,
    readings: Readings,
    arm: str,
    than: str,
    reading: str = "accuracy",
    at_least: float | None = None,
    at_most: float | None = None,
    each: bool = False,
    than_reading: str | None = None,
) -> Verdict:
    """The mean of one arm over that of another lies within bounds; `each`: subject by subject (the worst is given).

    than_reading  what is read of the other arm; none: the same
    """
    ours = values(traces, readings, arm, reading)
    theirs = values(traces, readings, than, reading if than_reading is None else than_reading)
    if not each:
        return bounded(float(np.nanmean(ours) / np.nanmean(theirs)), at_least, at_most)
    ratios = ours / theirs
    found = [bounded(float(end), at_least, at_most) for end in (ratios.min(), ratios.max())]
    return next((v for v in found if not v["passed"]), found[0] if at_least is not None else found[1])


def trend(
    traces: Traces,
    readings: Readings,
    arms: list[str],
    reading: str = "accuracy",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Verdict:
    """Spearman's correlation of the arms' means with their order lies within bounds (1: rises all the way)."""
    means = [float(np.nanmean(values(traces, readings, arm, reading))) for arm in arms]
    return bounded(statistics.spearman(range(len(arms)), means), at_least, at_most)


def spares(
    traces: Traces, readings: Readings, arms: list[str], than: list[str], reading: str, by: float = 0.0
) -> Verdict:
    """Arms beside others, in pairs: wherever the other's loss is real, ours is smaller, within subjects.

    A loss is real where its 95 % interval lies above 0; there the paired interval of theirs - ours lies above `by`.
    The smallest lower end is given; a claim with no real loss fails.
    """
    if len(arms) != len(than):
        raise Refused("claims.than", f"has {len(than)} arms for {len(arms)}", "give as many, in the same order")
    lows = {}
    for ours, theirs in zip(arms, than, strict=True):
        lost = values(traces, readings, theirs, reading)
        if statistics.estimate(lost).low > 0:
            lows[theirs] = float(statistics.paired(lost, values(traces, readings, ours, reading)).low)
    smallest = min(lows.values(), default=float("nan"))
    said = {"expected": f"intervals above {by}", "tolerance": 0, "value": smallest, "cells": lows}
    return said | {"passed": bool(smallest > by)}


def rms(traces: Traces, readings: Readings, arms: list[str], reading: str, at_most: float) -> Verdict:
    """The root mean square, over arms and subjects, of a reading that should be 0 is at most so much.

    `mean` is its bias.
    """
    found = np.concatenate([values(traces, readings, arm, reading) for arm in arms])
    square = float(np.sqrt(np.nanmean(found**2)))
    said = {"expected": f"<= {at_most}", "tolerance": 0, "value": square, "mean": float(np.nanmean(found))}
    return said | {"passed": square <= at_most}


def crossing(
    traces: Traces,
    readings: Readings,
    cells: dict[str, float],
    reading: str,
    value: float,
    tolerance: float,
    level: float = 0.0,
    than: str | None = None,
) -> Verdict:
    """Over arms (arm: number) the mean passes `level` once, at a number within the tolerance of `value`.

    than  an arm whose mean is the level: where are the others as good as it is?
    """
    if than is not None:
        level = float(np.nanmean(values(traces, readings, than, reading)))
    x = np.array(list(cells.values()), np.float64)
    y = np.array([np.nanmean(values(traces, readings, arm, reading)) for arm in cells]) - level
    turns = np.flatnonzero(y[:-1] * y[1:] < 0)
    found = float("nan")
    if len(turns) == 1:
        i = int(turns[0])
        found = float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]))
    means = dict(zip(cells, y.tolist(), strict=True))
    said = {"expected": value, "tolerance": tolerance, "value": found, "cells": means}
    return said | {"passed": bool(abs(found - value) <= tolerance)}


def top_at(
    traces: Traces, readings: Readings, cells: dict[str, float], reading: str, value: float, tolerance: float
) -> Verdict:
    """Over arms (arm: number above 0) the mean is largest inside, within a share `tolerance` of `value`.

    The place is the top of a parabola in the logarithm of the number, through the largest mean and its neighbours.
    """
    x = np.log(np.array(list(cells.values()), np.float64))
    y = np.array([np.nanmean(values(traces, readings, arm, reading)) for arm in cells])
    top, found = int(np.argmax(y)), float("nan")
    if 0 < top < len(x) - 1:
        a, b, _ = np.polyfit(x[top - 1 : top + 2], y[top - 1 : top + 2], 2)
        found = float(np.exp(-b / (2 * a)))
    means = dict(zip(cells, y.tolist(), strict=True))
    said = {"expected": value, "tolerance": tolerance, "value": found, "cells": means}
    return said | {"passed": bool(abs(found / value - 1) <= tolerance)}


KINDS = (at_most, at_least, published, better, interior, best_last, near, ratio, trend, spares, rms, crossing, top_at)
