"""Kinds of claims on what a night leaves as it was."""

from __future__ import annotations

import numpy as np

from cls_sim import statistics
from cls_sim.claims.values import Readings, Traces, Verdict, profile, worst
from cls_sim.core.errors import Refused, real


def kept(
    traces: Traces,
    readings: Readings,
    arms: list[str],
    reading: str,
    tolerance: float,
    moment: str = "life.begin",
) -> Verdict:
    """At the end a reading is what it was at the first such moment, for every subject: the largest relative change."""
    off = {}
    for arm in arms:
        first = np.asarray(traces[arm].reading(reading, moment)[1][0], np.float64)
        off[arm] = float(np.abs(traces[arm].last(reading) / first - 1).max())
    return worst(off, tolerance)


def order_kept(
    traces: Traces,
    readings: Readings,
    arms: list[str],
    reading: str,
    at_least: float,
    share: float = 0.5,
    moment: str = "day.end",
) -> Verdict:
    """The strongest `share` of a profile, as it was last at such a moment, is in the same order at the end.

    Spearman's correlation, subject by subject; the mean of the worst arm is at least so much.
    """
    real("claims.share", share, 0.0, 1.0, open_low=True)
    found = {}
    for arm in arms:
        before, after = (
            np.asarray(traces[arm].reading(reading, moment)[1][-1], np.float64),
            profile(traces, arm, reading),
        )
        places = round(share * before.shape[-1])
        if before.ndim != 2 or places < 3:
            raise Refused("claims.share", f"leaves {places} places to order", "name a profile and a share of 3 or more")
        strong = np.argsort(-before, 1, kind="stable")[:, :places]
        pairs = zip(np.take_along_axis(before, strong, 1), np.take_along_axis(after, strong, 1), strict=True)
        found[arm] = float(np.mean([statistics.spearman(a, b) for a, b in pairs]))
    arm = min(found, key=lambda name: found[name])
    said = {"expected": f">= {at_least}", "tolerance": 0, "value": found[arm], "worst": arm, "cells": found}
    return said | {"passed": bool(found[arm] >= at_least)}


KINDS = (kept, order_kept)
