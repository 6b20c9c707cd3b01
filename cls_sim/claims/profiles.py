"""Kinds of claims on profiles [s, k], and on the mean of a reading over the days of a life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cls_sim import statistics
from cls_sim.claims.case import Case, Verdict, bounded, laws, relative, worst
from cls_sim.core.errors import ConfigError, choice


def law(
    case: Case,
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
    at, off = np.asarray(x, np.float64), {}
    for name, curve in laws(law, arms or [str(arm)], settings).items():
        mean = case.mean_profile(name, reading)
        if len(at) != len(mean):
            raise ConfigError("claims.x", f"has {len(at)} places and {reading} has {len(mean)}", "give as many")
        wanted = curve(at)
        off[name] = relative(mean, wanted) if norm == "l2" else float(np.abs(mean - wanted).max())
    return worst(off, tolerance)


def slope(
    case: Case,
    arm: str,
    reading: str,
    x: Sequence[float],
    low: float,
    high: float,
    start: float | None = None,
    end: float | None = None,
) -> Verdict:
    """The exponent of the mean profile over x (least squares of logarithms, start <= x <= end) lies in [low, high]."""
    at, mean = np.asarray(x, np.float64), case.mean_profile(arm, reading)
    inside = (at >= (at.min() if start is None else start)) & (at <= (at.max() if end is None else end))
    inside &= mean > 0  # where there is nothing left, there is no exponent
    found = float(np.polyfit(np.log(at[inside]), np.log(mean[inside]), 1)[0]) if inside.sum() > 2 else float("nan")
    return Verdict(f"{low} to {high}", found, low <= found <= high)


def profile_trend(
    case: Case, arm: str, reading: str, at_least: float | None = None, at_most: float | None = None
) -> Verdict:
    """Spearman's correlation of the mean profile with its order lies within bounds (1: rises all the way)."""
    mean = case.mean_profile(arm, reading)
    return bounded(statistics.spearman(range(len(mean)), mean), at_least, at_most)


def over_days(
    case: Case,
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
    off = {}
    for name, curve in laws(law, arms, settings).items():
        days, mean = case.over_days(name, reading, moment)
        off[name] = float(np.abs(mean - curve(days - start)).max())
    return worst(off, tolerance)


def trend_over_days(
    case: Case,
    arm: str,
    reading: str,
    at_least: float | None = None,
    at_most: float | None = None,
    moment: str | None = None,
) -> Verdict:
    """Spearman's correlation of a reading's mean with the days of a life lies within bounds (1: rises all the way)."""
    return bounded(statistics.spearman(*case.over_days(arm, reading, moment)), at_least, at_most)


def peak_over_days(
    case: Case, arm: str, reading: str, value: float, tolerance: float, moment: str | None = None
) -> Verdict:
    """A reading's mean is at its highest within so many days of `value`."""
    days, mean = case.over_days(arm, reading, moment)
    day = float(days[np.argmax(mean)])
    return Verdict(value, day, abs(day - value) <= tolerance, tolerance)


KINDS = (law, slope, profile_trend, over_days, trend_over_days, peak_over_days)
