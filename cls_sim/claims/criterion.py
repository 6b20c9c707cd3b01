"""Kinds of claims on how soon a criterion is reached."""

from __future__ import annotations

import numpy as np

from cls_sim.claims.values import Readings, Traces, Verdict, bounded
from cls_sim.core.errors import Refused


def sooner(
    traces: Traces,
    readings: Readings,
    arm: str,
    than: str,
    reading: str,
    criterion: float,
    counted: str,
    at_least: float | None = None,
    at_most: float | None = None,
    above: bool = False,
    since: dict[str, float] | None = None,
) -> Verdict:
    """What it takes one arm until the reading is at most `criterion`, over what it takes another: within bounds.

    Subject by subject; the worst ratio is given.  `counted` is the reading that counts (dose, presentations), from
    the first look of each arm.  Who never reaches the criterion takes for ever.  The mean of a profile counts.

    above  the reading is to be at least `criterion`
    since  arm → the day from which it counts, for those that have a past
    """
    start, sign = since or {}, -1 if above else 1
    ours, theirs = (_taken(traces, name, reading, criterion, counted, sign, start.get(name)) for name in (arm, than))
    ratios = ours / theirs
    if np.isnan(ratios).any():
        return bounded(float("nan"), at_least, at_most)
    found = [bounded(float(end), at_least, at_most) for end in (ratios.min(), ratios.max())]
    return next((v for v in found if not v["passed"]), found[0] if at_least is not None else found[1])


def _taken(
    traces: Traces, arm: str, reading: str, criterion: float, counted: str, sign: int, since: float | None
) -> np.ndarray:
    """What was counted [s] from an arm's first look to that at which it reached the criterion."""
    days, values = traces[arm].reading(reading)
    values, counts = (np.asarray(found, np.float64) for found in (values, traces[arm].reading(counted)[1]))
    values = np.nanmean(values, 2) if values.ndim == 3 else values
    if values.ndim != 2 or values.shape != counts.shape:
        raise Refused("claims.counted", f"{reading} and {counted} are not looked at together", "name two such readings")
    first = 0 if since is None else max(0, int((days <= since + 1e-9).sum()) - 1)  # the last look of the past
    values, counts = values[first:], counts[first:]
    reached = sign * values <= sign * criterion
    first = np.where(reached.any(0), reached.argmax(0), 0)
    taken = counts[first, np.arange(values.shape[1])] - counts[0]
    return np.where(reached.any(0), taken, np.inf)


KINDS = (sooner,)
