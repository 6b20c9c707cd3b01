"""Kinds of claims on profiles: a reading with an axis of its own, [s, k]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cls_sim import statistics, theory
from cls_sim.claims.values import Readings, Traces, Verdict, bounded, profile, relative, worst
from cls_sim.core.errors import Refused, choice


def law(
    traces: Traces,
    readings: Readings,
    reading: str,
    law: str,
    x: Sequence[float],
    tolerance: float,
    arms: list[str] | dict[str, dict[str, Any]] | None = None,
    arm: str | None = None,
    settings: dict[str, Any] | None = None,
    norm: str = "max",
) -> Verdict:
    """The mean profile agrees with a law of cls_sim.theory at x: in the largest difference (max), or relative L2 (l2).

    arms may map each arm to its own settings of the law.
    """
    choice("norm", norm, ("max", "l2"))
    curve = theory.law("claims.law", law)
    own = arms if isinstance(arms, dict) else {name: {} for name in (arms or [str(arm)])}
    off = {}
    for name, special in own.items():
        mean = np.nanmean(profile(traces, name, reading), 0)
        at = np.asarray(x, np.float64)
        if len(at) != len(mean):
            raise Refused("claims.x", f"has {len(at)} places and {reading} has {len(mean)}", "give as many")
        wanted = np.asarray(curve(at, **{**(settings or {}), **special}), np.float64)
        off[name] = relative(mean, wanted) if norm == "l2" else float(np.abs(mean - wanted).max())
    return worst(off, tolerance)


def slope(
    traces: Traces,
    readings: Readings,
    arm: str,
    reading: str,
    x: Sequence[float],
    low: float,
    high: float,
    start: float | None = None,
    end: float | None = None,
) -> Verdict:
    """The exponent of the mean profile over x (least squares of logarithms, start <= x <= end) lies in [low, high]."""
    at, mean = np.asarray(x, np.float64), np.nanmean(profile(traces, arm, reading), 0)
    inside = (at >= (at.min() if start is None else start)) & (at <= (at.max() if end is None else end))
    inside &= mean > 0  # where there is nothing left, there is no exponent
    found = float(np.polyfit(np.log(at[inside]), np.log(mean[inside]), 1)[0]) if inside.sum() > 2 else float("nan")
    return {"expected": f"{low} to {high}", "tolerance": 0, "value": found, "passed": bool(low <= found <= high)}


def along(
    traces: Traces,
    readings: Readings,
    arm: str,
    reading: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Verdict:
    """Spearman's correlation of the mean profile with its order lies within bounds (1: rises all the way)."""
    mean = np.nanmean(profile(traces, arm, reading), 0)
    return bounded(statistics.spearman(range(len(mean)), mean), at_least, at_most)


def over_days(
    traces: Traces,
    readings: Readings,
    reading: str,
    law: str,
    tolerance: float,
    arms: list[str] | dict[str, dict[str, Any]],
    settings: dict[str, Any] | None = None,
    moment: str | None = None,
    start: float = 0.0,
) -> Verdict:
    """A reading follows a law of cls_sim.theory over the days of a life: the largest difference of the means.

    Means are over subjects (and places of a profile); arms may map each arm to its own settings of the law.  Ages
    count from the day `start`.
    """
    curve = theory.law("claims.law", law)
    own = arms if isinstance(arms, dict) else {name: {} for name in arms}
    off = {}
    for name, special in own.items():
        days, found = traces[name].reading(reading, moment)
        mean = np.nanmean(found.reshape(len(found), -1), 1)
        wanted = np.asarray(curve(days - start, **{**(settings or {}), **special}), np.float64)
        off[name] = float(np.abs(mean - wanted).max())
    return worst(off, tolerance)


def trend_over_days(
    traces: Traces,
    readings: Readings,
    arm: str,
    reading: str,
    at_least: float | None = None,
    at_most: float | None = None,
    moment: str | None = None,
) -> Verdict:
    """Spearman's correlation of a reading's mean with the days of a life lies within bounds (1: rises all the way)."""
    days, found = traces[arm].reading(reading, moment)
    mean = np.nanmean(found.reshape(len(found), -1), 1)
    return bounded(statistics.spearman(days, mean), at_least, at_most)


def peak_over_days(
    traces: Traces,
    readings: Readings,
    arm: str,
    reading: str,
    value: float,
    tolerance: float,
    moment: str | None = None,
) -> Verdict:
    """A reading's mean is at its highest within so many days of `value`."""
    days, found = traces[arm].reading(reading, moment)
    day = float(days[np.argmax(np.nanmean(found.reshape(len(found), -1), 1))])
    said = {"expected": value, "tolerance": tolerance, "value": day}
    return said | {"passed": bool(abs(day - value) <= tolerance)}


KINDS = (law, slope, along, over_days, trend_over_days, peak_over_days)
