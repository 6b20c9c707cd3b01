"""Kinds of claims about changes over a life: stages, criteria, and readings that stay the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cls_sim import statistics
from cls_sim.claims.verdict import Verdict, all_bounded, along, mean_bounded, of_mean, top_inside, worst
from cls_sim.core.errors import real, refuse_if
from cls_sim.storage.case import Case


def stages(case: Case, arm: str, reading: str, share: float = 0.5) -> Verdict:
    """The entries of a profile develop one after another, each to a share of its last value.

    Every paired 95 % interval of (day of an entry - day of the entry before it) lies above 0.  The value is the mean
    day of each entry.
    """
    days, values = case.traces[arm].reading(reading)
    if values.ndim != 3:
        raise case.no_profile(arm, reading)
    when = days[(values >= share * values[-1]).argmax(0)]  # [s, k]
    lows = [float(statistics.paired(when[:, k + 1], when[:, k]).low) for k in range(when.shape[1] - 1)]
    return Verdict("each later than the one before", when.mean(0).tolist(), min(lows) > 0, interval=lows)


def worsens(case: Case, arm: str, reading: str, by: float = 0.1, part: float = 0.1) -> Verdict:
    """The error rises again: mean error in the last tenth of a life divided by that in the best tenth, minus 1.

    The best tenth is the window of the same length with the lowest mean error of the cohort.  The 95 % interval of the
    relative rise of the subjects lies above `by`.

    part  length of the windows as a share of the readings
    """
    values = case.traces[arm].reading(reading, "day.end")[1]  # [t, s]
    width = max(1, round(part * len(values)))
    windows = np.stack([values[i : i + width].mean(0) for i in range(len(values) - width + 1)])
    best = int(windows.mean(1).argmin())
    e = statistics.estimate(windows[-1] / windows[best].mean() - windows[best] / windows[best].mean())
    return Verdict(f"interval above {by}", e.mean, e.low > by, best=best, interval=[e.low, e.high])


def rises_then_falls(case: Case, arm: str, reading: str, geometric: bool = False) -> Verdict:
    """The mean of a reading over the cohort has its peak inside the life, above both ends (paired 95 % intervals).

    geometric  the geometric mean, of a reading above 0 whose distribution is skewed: all of this holds for its
               logarithm, and the intervals are those of ratios, as logarithms
    """
    values = case.traces[arm].reading(reading)[1]
    best, lows, passed = top_inside(np.log(values) if geometric else values)
    return Verdict("a peak inside", best, passed, interval=lows)


def falls_within(case: Case, arm: str, reading: str, stretch: int, at_most: float, moment: str = "day.end") -> Verdict:
    """A reading falls within each stretch of `stretch` readings: Spearman's correlation with their order.

    The mean over stretches and subjects is at most `at_most` (-1: strictly decreasing in all).  An incomplete stretch
    does not count.
    """
    values = case.traces[arm].reading(reading, moment)[1]  # [t, s]
    whole = values[: len(values) // stretch * stretch].reshape(-1, stretch, values.shape[1])
    reason = f"has {len(values)} readings, fewer than {stretch}"
    refuse_if(not len(whole), f"claims: {arm}.{reading}", reason, "give a shorter stretch")
    found = np.array([[statistics.spearman(range(stretch), one) for one in some.T] for some in whole])
    e = statistics.estimate(found.mean(0))
    return of_mean(f"<= {at_most}", e, e.mean <= at_most)


def sooner(
    case: Case,
    arm: str,
    than: str,
    reading: str,
    criterion: float,
    counted: str,
    at_least: float | None = None,
    at_most: float | None = None,
    above: bool = False,
    since: dict[str, float] | None = None,
    each: bool = True,
) -> Verdict:
    """One arm reaches a criterion at lower cost than another: the ratio of costs lies within bounds.

    The cost is the increase of the reading `counted` (dose, presentations) from the first reading of an arm until
    `reading` is at most `criterion`; it is infinite if that never happens.  Profiles are averaged.

    above  the criterion is that `reading` is at least `criterion`
    since  arm → the day from which costs are counted, for arms that have a past
    each   the ratio of every subject lies within bounds, and the value is the worst ratio; else the 95 % interval of
           the mean ratio does, and the value is the mean
    """
    sign = -1 if above else 1
    ours, theirs = (_taken(case, a, reading, criterion, counted, sign, (since or {}).get(a)) for a in (arm, than))
    if each:
        return all_bounded(ours / theirs, at_least, at_most)
    return mean_bounded(statistics.estimate(ours / theirs), at_least, at_most)


def _taken(
    case: Case, arm: str, reading: str, criterion: float, counted: str, sign: int, since: float | None
) -> np.ndarray:
    """The cost [s] from an arm's first reading until the criterion is reached."""
    days, values = case.traces[arm].reading(reading)
    values, counts = (np.asarray(found, np.float64) for found in (values, case.traces[arm].reading(counted)[1]))
    values = np.nanmean(values, 2) if values.ndim == 3 else values
    apart, remedy = values.ndim != 2 or values.shape != counts.shape, "name readings of the same moments"
    refuse_if(apart, "claims.counted", f"{reading} and {counted} are not measured together", remedy)
    first = 0 if since is None else max(0, int((days <= since + 1e-9).sum()) - 1)  # the last reading of the past
    values, counts = values[first:], counts[first:]
    reached = sign * values <= sign * criterion
    first = np.where(reached.any(0), reached.argmax(0), 0)
    taken = counts[first, np.arange(values.shape[1])] - counts[0]
    return np.where(reached.any(0), taken, np.inf)


def half_times(case: Case, arm: str, reading: str, x: Sequence[float], cv: float) -> Verdict:
    """The day t at which each entry of a profile reaches ½ is proportional to 1 / x.

    The coefficient of variation of x · t over entries, with t from the mean over subjects, is at most cv.  It is
    infinite if an entry never reaches ½.
    """
    days, curve = case.traces[arm].reading(reading)
    mean = np.nanmean(curve, 1)  # [t, k]
    products = along(x, mean.shape[1], reading) * np.array([_half(days, one) for one in mean.T])
    found = float(products.std() / products.mean()) if np.isfinite(products).all() else float("inf")
    return Verdict(f"CV <= {cv}", found, found <= cv, cells=products.tolist())


def _half(days: np.ndarray, curve: np.ndarray) -> float:
    """The first day at which a curve reaches ½, by linear interpolation."""
    over = np.flatnonzero(curve >= 0.5)
    if not len(over) or over[0] == 0:
        return float("inf")
    i = int(over[0])
    return float(days[i - 1] + (0.5 - curve[i - 1]) / (curve[i] - curve[i - 1]) * (days[i] - days[i - 1]))


def preserved(case: Case, arms: list[str], reading: str, tolerance: float, moment: str = "life.begin") -> Verdict:
    """The last reading equals that at the first such moment, in every subject: the largest relative change."""
    off = {}
    for arm in arms:
        first = np.asarray(case.traces[arm].reading(reading, moment)[1][0], np.float64)
        off[arm] = float(np.abs(case.traces[arm].last(reading) / first - 1).max())
    return worst(off, tolerance)


def order_preserved(
    case: Case, arms: list[str], reading: str, at_least: float, share: float = 0.5, moment: str = "day.end"
) -> Verdict:
    """The largest entries of a profile at the last such moment are in the same order at the end.

    Spearman's correlation is computed for each subject; the mean over subjects of the worst arm is at least `at_least`.

    share  the share of the entries that is compared, the largest ones
    """
    real("claims.share", share, 0.0, 1.0, open_low=True)
    found = {}
    for arm in arms:
        before = np.asarray(case.traces[arm].reading(reading, moment)[1][-1], np.float64)
        after = case.profile(arm, reading)
        places = round(share * before.shape[-1])
        few, remedy = before.ndim != 2 or places < 3, "name a profile and a share of 3 or more entries"
        refuse_if(few, "claims.share", f"selects only {places} entries", remedy)
        strong = np.argsort(-before, 1, kind="stable")[:, :places]
        pairs = zip(np.take_along_axis(before, strong, 1), np.take_along_axis(after, strong, 1), strict=True)
        found[arm] = float(np.mean([statistics.spearman(a, b) for a, b in pairs]))
    arm = min(found, key=lambda name: found[name])
    return Verdict(f">= {at_least}", found[arm], found[arm] >= at_least, worst=arm, cells=found)
