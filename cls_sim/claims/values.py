"""What claims ask of traces and readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cls_sim.core.errors import Refused, suggest
from cls_sim.statistics import Estimate
from cls_sim.storage.trace import Trace

Traces = Mapping[str, Trace]
Readings = Mapping[str, Mapping[str, np.ndarray]]
Verdict = dict[str, Any]


PLACE = re.compile(r"(?P<name>[^\[@]+)(?:\[(?P<place>-?\d+)\])?(?:@(?:(?P<start>[\d.]+?)\.\.)?(?P<day>[\d.]+))?")


def values(traces: Traces, readings: Readings, arm: str, reading: str) -> np.ndarray:
    """The last reading of an arm [s]; `name[3]` is one place of a profile.

    `name@5`, `name[3]@5`: the last look up to day 5 (a profile's mean without a place); `name@4..5`: its change since
    the last look up to day 4.
    """
    said = PLACE.fullmatch(reading)
    if said and said["day"]:
        found = _on(traces[arm], arm, said["name"], said["place"], float(said["day"]))
        if said["start"]:
            found = found - _on(traces[arm], arm, said["name"], said["place"], float(said["start"]))
        return found
    if said and said["place"]:
        return profile(traces, arm, said["name"])[:, int(said["place"])]
    if reading not in readings[arm]:
        raise Refused(f"claims: {arm}.{reading}", "is not measured", suggest(reading, readings[arm]))
    return readings[arm][reading]


def _on(trace: Trace, arm: str, name: str, place: str | None, day: float) -> np.ndarray:
    """A reading at the last look up to this day [s]."""
    days, found = trace.reading(name)
    before = np.flatnonzero(days <= day + 1e-9)
    if not len(before):
        raise Refused(f"claims: {arm}.{name}@{day:g}", f"is looked at from day {days[0]:g} on", "give a later day")
    look = found[before[-1]]
    if place is not None:
        return look[:, int(place)]
    return look if look.ndim == 1 else np.nanmean(look, 1)


def profile(traces: Traces, arm: str, reading: str) -> np.ndarray:
    """The last profile of an arm [s, k]."""
    found = np.asarray(traces[arm].last(reading), np.float64)
    if found.ndim != 2:
        raise Refused(f"claims: {arm}.{reading}", "is one number a subject", "name a reading with a profile [s, k]")
    return found


def worst(found: Mapping[str, float], tolerance: float, expected: Any = 0.0) -> Verdict:
    """The largest of several distances is within the tolerance."""
    arm = max(found, key=lambda name: found[name])
    said = {"expected": expected, "tolerance": tolerance, "value": found[arm], "worst": arm, "cells": dict(found)}
    return said | {"passed": bool(found[arm] <= tolerance)}


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|, Euclidean."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def told(e: Estimate) -> Verdict:
    """A mean over subjects and its 95 % interval."""
    return {"value": e.mean, "interval": [e.low, e.high]}


def bounded(value: float, at_least: float | None, at_most: float | None) -> Verdict:
    """A number within bounds, of which either may be missing, not both."""
    if at_least is None and at_most is None:
        raise Refused("claims", "a claim without a bound claims nothing", "give at_least or at_most")
    words = [f">= {at_least}" if at_least is not None else "", f"<= {at_most}" if at_most is not None else ""]
    passed = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return {"expected": " and ".join(filter(None, words)), "tolerance": 0, "value": value, "passed": bool(passed)}
