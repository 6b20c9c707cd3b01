"""Kinds of claims about memories: their lifetimes, forgetting laws, and the effect of repetition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cls_sim import statistics
from cls_sim.claims.verdict import Verdict, of_curves, of_mean, top_inside
from cls_sim.core.errors import choice
from cls_sim.storage.case import Case


def lifetimes(
    case: Case,
    cells: dict[str, float],
    reading: str,
    x: Sequence[float],
    grows: str,
    low: float,
    high: float,
    r2: float = 0.0,
    at_least: float = 1.0,
) -> Verdict:
    """The growth of the lifetime of a memory over arms (arm: number) lies in [low, high].

    The lifetime is the last age x at which the mean SNR is `at_least`.

    grows  power: the exponent lies in [low, high]; linear: the slope of (lifetime / lifetime of the first arm) per unit
           of the arms' numbers lies in [low, high], and R² is at least r2
    """
    choice("grows", grows, ("power", "linear"))
    numbers, ages = np.array(list(cells.values()), np.float64), np.asarray(x, np.float64)

    def growth(*curves: np.ndarray) -> float:
        lives = np.array([lasts(ages, curve, at_least) for curve in curves])
        if not (lives > 0).all():
            return float("nan")
        if grows == "power":
            return float(np.polyfit(np.log(numbers), np.log(lives), 1)[0])
        return float(np.polyfit(numbers, lives / lives[0], 1)[0])

    found, interval = of_curves(growth, *(case.profile(arm, reading) for arm in cells))
    lived = {arm: lasts(ages, case.mean_profile(arm, reading), at_least) for arm in cells}
    fits = 1.0 if grows == "power" else float(np.corrcoef(numbers, list(lived.values()))[0, 1] ** 2)
    expected = f"{grows}, {low} to {high}" + (f", R² >= {r2}" if r2 else "")
    return Verdict(expected, found, low <= found <= high and fits >= r2, cells=lived, r2=fits, interval=interval)


def lasts(age: np.ndarray, snr: np.ndarray, least: float = 1.0) -> float:
    """The last age at which a curve crosses `least` from above, by linear interpolation; 0 if it never does.

    >>> lasts(np.array([0.0, 10.0, 20.0]), np.array([3.0, 2.0, 0.0]))
    15.0
    """
    alive = np.flatnonzero(snr >= least)
    if not len(alive):
        return 0.0
    i = int(alive[-1])
    if i == len(age) - 1:
        return float(age[-1])
    return float(age[i] + (snr[i] - least) / (snr[i] - snr[i + 1]) * (age[i + 1] - age[i]))


def forgetting_law(
    case: Case,
    arm: str,
    reading: str,
    x: Sequence[float],
    by: float,
    law: str = "power",
    beats: str = "exponential",
    places: tuple[int, int] | None = None,
) -> Verdict:
    """One law fits each subject's retention over ages x better than another: the 95 % interval of ΔAIC is above `by`.

    law, beats  power a(1 + bt)^-c, exponential a e^(-bt), or wickelgren a(1 + bt)^-c e^(-dt)
    places      [from, to) of the profile; None: all entries
    """
    curves = case.profile(arm, reading, places)
    e = statistics.estimate([statistics.aic(x, curve, beats) - statistics.aic(x, curve, law) for curve in curves])
    return of_mean(f"ΔAIC({beats} - {law}) above {by}", e, e.low > by)


def jost_law(case: Case, arm: str, reading: str, older: int, younger: int) -> Verdict:
    """Of two memories that are equally strong at some moment, the older decays more slowly (Jost's law).

    The younger memory (an entry of the profile) starts above the older one and ends below it, each with the 95 %
    interval of the difference on one side of 0.
    """
    days, curve = case.traces[arm].reading(reading)
    lead = curve[:, :, younger] - curve[:, :, older]  # [t, s]
    first = int(np.nanargmax(np.nanmean(lead, 1)))
    start, end = statistics.estimate(lead[first]), statistics.estimate(lead[-1])
    after = np.flatnonzero(np.nanmean(lead[first:], 1) < 0)
    equal = float(days[first + after[0]]) if len(after) else float("nan")
    return Verdict("the younger above, then below", equal, start.low > 0 > end.high, interval=[start.low, end.high])


def peak(
    case: Case,
    arm: str,
    reading: str,
    x: Sequence[float],
    places: tuple[int, int] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Verdict:
    """The mean profile has its peak inside, above both ends (paired 95 % intervals), at an x in [low, high]."""
    curves = case.profile(arm, reading, places)
    top, lows, inside = top_inside(curves.T)
    found = float(x[top])
    bounds = (low is None or found >= low) and (high is None or found <= high)
    expected = "a top inside" + ("" if low is None else f", {low} to {high}")
    return Verdict(expected, found, inside and bounds, interval=lows)
