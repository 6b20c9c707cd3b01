"""The range in which the number of a claim must lie, and whether its test can tell at this number of subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

VAGUE = 3.0  # with an SEM above this number of percentage points a published number decides nothing
FREE = (-math.inf, math.inf)
# kinds whose verdict is on the interval of one number, and the setting that is its lower or upper bound
LOWER = {"at_least": "value", "better": "by", "frontier": "by", "worsens": "by", "forgetting_law": "by"}
UPPER = {"at_most": "value", "best_last": "by", "falls_within": "at_most", "rms": "at_most"}
BETWEEN = ("slope", "lifetimes")  # their bounds are `low` and `high`


def bounds(claim: Mapping[str, Any]) -> tuple[float, float] | None:
    """The range in which the number of a claim must lie; None if the claim is not about one number with an interval.

    >>> bounds({"kind": "better", "by": 0.1}), bounds({"kind": "near", "arm": "er", "value": 0.9, "tolerance": 0.02})
    ((0.1, inf), (0.88, 0.92))
    """
    kind, low, high = claim.get("kind"), *FREE
    if kind in LOWER:
        low = claim.get(LOWER[kind], 0.1 if kind == "worsens" else 0.0)  # the defaults of `by`
    elif kind in UPPER:
        high = claim.get(UPPER[kind], 0.0)
    elif kind in BETWEEN:
        low, high = claim["low"], claim["high"]
    elif kind == "near" and claim.get("arm") is not None:
        wide = claim["tolerance"] * (abs(claim["value"]) if claim.get("relative") else 1.0)
        low, high = claim["value"] - wide, claim["value"] + wide
    return None if (low, high) == FREE else (float(low), float(high))


def decided(claim: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether the test of a claim (its settings) could tell, from its entry in summary.json.

    A comparison with a published number tells nothing if our SEM is above 3 percentage points.  A claim about one
    number tells nothing if the 95 % interval of the number reaches across a bound, or if there is no interval.

    >>> decided({"kind": "at_least", "value": 0.9}, {"interval": [0.91, 0.95]})
    True
    >>> decided({"kind": "at_least", "value": 0.9}, {"interval": [0.88, 0.95]})
    False
    """
    if entry.get("reason"):  # two arms that are identical
        return True
    if claim.get("kind") == "published":
        return _number(entry.get("sem")) <= VAGUE
    range_ = bounds(claim)
    if range_ is None:
        return True
    low, high = (_number(end) for end in (entry.get("interval") or (None, None))[:2])
    return low <= high and not any(low < bound < high for bound in range_)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
