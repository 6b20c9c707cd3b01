"""Kinds of claims on what happens over a life."""

from __future__ import annotations

import numpy as np

from cls_sim import statistics
from cls_sim.claims.values import Readings, Traces, Verdict, told
from cls_sim.core.errors import Refused


def stages(traces: Traces, readings: Readings, arm: str, reading: str, share: float = 0.5) -> Verdict:
    """The places of a profile come up one after another: the day [k] on which each reaches a share of its last number.

    Every paired 95 % interval of a place's day less that of the place before lies above 0.
    """
    days, values = traces[arm].reading(reading)
    if values.ndim != 3:
        raise Refused(f"claims: {arm}.{reading}", "is one number a subject", "name a reading with a profile [s, k]")
    when = days[(values >= share * values[-1]).argmax(0)]  # [s, k]
    gaps = [statistics.paired(when[:, k + 1], when[:, k]) for k in range(when.shape[1] - 1)]
    said = {"expected": "each later than the one before", "tolerance": 0, "value": when.mean(0).tolist()}
    lows = [float(gap.low) for gap in gaps]
    return said | {"interval": lows, "passed": bool(min(lows) > 0)}


def worsens(traces: Traces, readings: Readings, arm: str, reading: str, by: float = 0.1, part: float = 0.1) -> Verdict:
    """The last part of a life against its best: mean error in the last tenth over that in the best tenth, less 1.

    The best tenth is the window of so many readings in which the cohort's mean is lowest; the 95 % interval of the
    subjects' relative rise lies above `by`.
    """
    values = traces[arm].reading(reading, "day.end")[1]  # [t, s]
    width = max(1, round(part * len(values)))
    windows = np.stack([values[i : i + width].mean(0) for i in range(len(values) - width + 1)])
    best = int(windows.mean(1).argmin())
    rise = statistics.estimate(windows[-1] / windows[best].mean() - windows[best] / windows[best].mean())
    said = {"expected": f"interval above {by}", "tolerance": 0, "value": rise.mean, "best": best}
    return said | {"interval": [rise.low, rise.high], "passed": bool(rise.low > by)}


def rises_then_falls(traces: Traces, readings: Readings, arm: str, reading: str) -> Verdict:
    """The highest cohort mean of a reading lies inside the life, and paired 95 % intervals above its first and last."""
    values = traces[arm].reading(reading)[1]
    best = int(values.mean(1).argmax())
    lows = [float(statistics.paired(values[best], values[end]).low) for end in (0, -1)]
    passed = 0 < best < len(values) - 1 and min(lows) > 0
    return {"expected": "a peak inside", "tolerance": 0, "value": best, "interval": lows, "passed": bool(passed)}


def falls_within(
    traces: Traces, readings: Readings, arm: str, reading: str, stretch: int, at_most: float, moment: str = "day.end"
) -> Verdict:
    """A reading falls, reading by reading, within each stretch of so many: Spearman's correlation with their order.

    The mean over stretches and subjects is at most so much (-1: falls all the way, every time); a stretch that is not
    whole does not count.
    """
    values = traces[arm].reading(reading, moment)[1]  # [t, s]
    whole = values[: len(values) // stretch * stretch].reshape(-1, stretch, values.shape[1])
    if not len(whole):
        raise Refused(f"claims: {arm}.{reading}", f"has {len(values)} readings, no {stretch}", "give a shorter stretch")
    found = np.array([[statistics.spearman(range(stretch), one) for one in some.T] for some in whole])
    e = statistics.estimate(found.mean(0))
    return {"expected": f"<= {at_most}", "tolerance": 0, **told(e), "passed": bool(e.mean <= at_most)}


KINDS = (stages, worsens, rises_then_falls, falls_within)
