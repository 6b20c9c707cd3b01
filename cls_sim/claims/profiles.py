"""Kinds of claims about profiles [s, k], and about the mean of a reading over the days of a life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cls_sim import statistics
from cls_sim.claims.verdict import Verdict, along, bounded, laws, of_curves, relative, worst
from cls_sim.core.errors import choice
from cls_sim.storage.case import Case


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
    """The mean profile agrees with a law of cls_sim.theory at x.

    arms  list of arms, or arm → settings of the law for this arm
    norm  max: largest difference; l2: relative L2 distance
    """
    choice("norm", norm, ("max", "l2"))
    off = {}
    for name, curve in laws(law, arms or [str(arm)], settings).items():
        mean = case.mean_profile(name, reading)
        wanted = curve(along(x, len(mean), reading))
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
    """The exponent of the mean profile over x lies in [low, high]; least squares of logarithms, start <= x <= end."""
    curves = case.profile(arm, reading)
    at = along(x, curves.shape[1], reading)
    inside = (at >= (at.min() if start is None else start)) & (at <= (at.max() if end is None else end))

    def exponent(mean: np.ndarray) -> float:
        here = inside & (mean > 0)  # the logarithm needs positive numbers
        return float(np.polyfit(np.log(at[here]), np.log(mean[here]), 1)[0]) if here.sum() > 2 else float("nan")

    found, interval = of_curves(exponent, curves)
    return Verdict(f"{low} to {high}", found, low <= found <= high, interval=interval)


def profile_trend(
    case: Case, arm: str, reading: str, at_least: float | None = None, at_most: float | None = None
) -> Verdict:
    """Spearman's correlation of the mean profile with its order lies within bounds (1: strictly increasing)."""
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

    Means are over subjects (and over the entries of a profile).

    arms   list of arms, or arm → settings of the law for this arm
    start  the day from which ages are counted
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
    """Spearman's correlation of a reading's mean with the days lies within bounds (1: strictly increasing)."""
    return bounded(statistics.spearman(*case.over_days(arm, reading, moment)), at_least, at_most)


def peak_over_days(
    case: Case, arm: str, reading: str, value: float, tolerance: float, moment: str | None = None
) -> Verdict:
    """The mean of a reading has its maximum within `tolerance` days of the day `value`."""
    days, mean = case.over_days(arm, reading, moment)
    day = float(days[np.argmax(mean)])
    return Verdict(value, day, abs(day - value) <= tolerance, tolerance)
