"""A kind of claim on two readings at once: which family of arms is the better where one is paid for in the other."""

from __future__ import annotations

import numpy as np

from cls_sim import statistics
from cls_sim.claims.values import Readings, Traces, Verdict, values


def frontier(
    traces: Traces, readings: Readings, arms: list[str], than: list[str], x: str, y: str, by: float = 0.0
) -> Verdict:
    """The area under the frontier of `arms` less that of `than`, subject by subject: the 95 % interval lies above `by`.

    The area is that of all points (x, y) from 0 that some arm of the family is at least as good as, in both readings.
    """

    def area(family: list[str]) -> np.ndarray:
        both = [np.stack([values(traces, readings, arm, name) for arm in family], 1) for name in (x, y)]
        return statistics.dominated(both[0], both[1])

    areas = area(arms), area(than)
    e = statistics.paired(areas[0], areas[1])
    found = {"value": e.mean, "interval": [e.low, e.high], "areas": [float(np.nanmean(one)) for one in areas]}
    return {"expected": f"interval above {by}", "tolerance": 0, **found, "passed": bool(e.low > by)}


KINDS = (frontier,)
