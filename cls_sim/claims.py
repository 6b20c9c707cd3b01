"""What an experiment claims, held against what it measured.

A claim in an experiment's file says `is:` (one of the kinds below), its numbers, its `source`, and `size:` (paper or
small) or `scenario:` if it is meant for that one only.  Every kind returns (value, expected, tolerance, passed).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cls_sim import statistics, theory
from cls_sim.errors import Refused, choice, suggest
from cls_sim.trace import Trace

ABOUT = ("is", "source", "size", "scenario", "missed", "off", "says")  # what a claim says of itself
Readings = Mapping[str, Mapping[str, np.ndarray]]
Verdict = dict[str, Any]


def judge(claims: Mapping[str, Any], traces: Mapping[str, Trace], readings: Readings, cfg: Mapping[str, Any]) -> list:
    """Every claim of this size with its value; `passed` is null below seed 1000 or where an arm was not run.

    Seeds below 1000 are for choosing, so a run with one decides nothing.
    """
    found = []
    for name, claim in claims.items():
        if any(claim.get(key, cfg.get(key)) != cfg.get(key) for key in ("size", "scenario")):
            continue
        kind = KINDS[choice(f"claims.{name}.is", claim.get("is"), KINDS)]
        settings = {k: v for k, v in claim.items() if k not in ABOUT}
        verdict: Verdict = {"name": name, "says": claim.get("says"), "source": claim.get("source")}
        if not _arms(settings) <= set(traces):
            found.append(verdict | {"expected": None, "tolerance": None, "value": None, "passed": None})
            continue
        _check(name, kind, settings)
        verdict |= kind(traces, readings, **settings)
        if cfg["seed"] < 1000:
            verdict["passed"] = None
        if "missed" in claim:
            verdict["missed"] = claim["missed"]
        found.append(verdict)
    return found


def _arms(settings: Mapping[str, Any]) -> set[str]:
    named = [settings[key] for key in ("arm", "than") if key in settings]
    return {*named, *settings.get("arms", []), *settings.get("cells", {})}


def _check(name: str, kind: Callable, settings: Mapping[str, Any]) -> None:
    known = list(inspect.signature(kind).parameters)[2:]
    for key in settings:
        if key not in known:
            raise Refused(f"claims.{name}.{key}", "is unknown", suggest(key, known))


def _values(readings: Readings, arm: str, reading: str) -> np.ndarray:
    if reading not in readings[arm]:
        raise Refused(f"claims: {arm}.{reading}", "is not measured", suggest(reading, readings[arm]))
    return readings[arm][reading]


def at_most(traces: Any, readings: Readings, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at most `value`."""
    mean = float(np.nanmean(_values(readings, arm, reading)))
    return {"expected": f"<= {value}", "tolerance": 0, "value": mean, "passed": mean <= value}


def at_least(traces: Any, readings: Readings, arm: str, value: float, reading: str = "accuracy") -> Verdict:
    """The mean over subjects is at least `value`."""
    mean = float(np.nanmean(_values(readings, arm, reading)))
    return {"expected": f">= {value}", "tolerance": 0, "value": mean, "passed": mean >= value}


def published(
    traces: Any, readings: Readings, arm: str, value: float, sem: float, reading: str = "accuracy"
) -> Verdict:
    """|ours - published| <= max(1.5, 3·sqrt(SEM_published² + SEM_ours²)), all in percentage points."""
    ours = statistics.estimate(100 * _values(readings, arm, reading))
    tolerance = max(1.5, 3 * math.hypot(sem, ours.sem if math.isfinite(ours.sem) else 0.0))
    passed = abs(ours.mean - value) <= tolerance
    return {"expected": value, "tolerance": tolerance, "value": ours.mean, "sem": ours.sem, "passed": passed}


def better(traces: Any, readings: Readings, arm: str, than: str, reading: str = "accuracy", by: float = 0.0) -> Verdict:
    """The paired 95 % interval of arm - than lies above `by`."""
    e = statistics.paired(_values(readings, arm, reading), _values(readings, than, reading))
    verdict = {"expected": f"interval above {by}", "tolerance": 0, "value": e.mean, "interval": [e.low, e.high]}
    return verdict | {"passed": bool(e.low > by)}


def interior(traces: Any, readings: Readings, arms: list[str], reading: str = "accuracy") -> Verdict:
    """Of arms in order, the best is neither the first nor the last, and beats both (paired 95 % intervals above 0)."""
    values = [_values(readings, arm, reading) for arm in arms]
    best = int(np.argmax([v.mean() for v in values]))
    lows = [statistics.paired(values[best], values[end]).low for end in (0, -1)]
    passed = 0 < best < len(arms) - 1 and min(lows) > 0
    return {"expected": "an optimum inside", "tolerance": 0, "value": arms[best], "interval": lows, "passed": passed}


def best_last(traces: Any, readings: Readings, arms: list[str], reading: str = "accuracy", by: float = 0.0) -> Verdict:
    """Of arms in order the last has no better: no earlier arm's paired interval against it lies above `by`."""
    last = _values(readings, arms[-1], reading)
    gains = {arm: statistics.paired(_values(readings, arm, reading), last) for arm in arms[:-1]}
    worst = max(gains, key=lambda arm: gains[arm].low)
    verdict = {"expected": f"none above {arms[-1]}", "tolerance": by, "value": gains[worst].mean, "nearest": worst}
    return verdict | {"interval": [gains[worst].low, gains[worst].high], "passed": gains[worst].low <= by}


def _dose(trace: Trace, reading: str) -> tuple[np.ndarray, np.ndarray]:
    """A reading's mean over subjects against the dose: both [t]."""
    _, dose = trace.reading("dose")
    _, values = trace.reading(reading)
    return np.asarray(dose).mean(1), np.asarray(values)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


CURVES = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}


def curve(
    traces: Mapping[str, Trace],
    readings: Any,
    cells: dict[str, float],
    load: float,
    reading: str,
    law: str,
    tolerance: float,
) -> Verdict:
    """For every cell (arm: SNR), the relative L2 distance of the mean curve from the analytic one, over the dose."""
    distances = {}
    for arm, snr in cells.items():
        dose, values = _dose(traces[arm], reading)
        distances[arm] = _relative(values.mean(1), CURVES[law](dose, snr, load))
    return _worst(distances, tolerance)


def _worst(values: dict[str, float], tolerance: float) -> Verdict:
    arm = max(values, key=lambda name: values[name])
    worst = {"expected": 0.0, "tolerance": tolerance, "value": values[arm], "worst": arm, "cells": values}
    return worst | {"passed": values[arm] <= tolerance}


def same_dose(
    traces: Mapping[str, Trace], readings: Any, arm: str, than: str, reading: str, tolerance: float
) -> Verdict:
    """Two schedules agree at equal dose, subject by subject: relative L2 distance, one read at the other's."""
    (dose, ours), (other, theirs) = _dose(traces[arm], reading), _dose(traces[than], reading)
    inside = other <= dose.max()
    aligned = np.stack([np.interp(other[inside], dose, ours[:, i]) for i in range(ours.shape[1])], 1)
    distance = _relative(aligned, theirs[inside])
    return {"expected": 0.0, "tolerance": tolerance, "value": distance, "passed": distance <= tolerance}


def optimum(
    traces: Mapping[str, Trace], readings: Any, cells: dict[str, float], load: float, reading: str, tolerance: float
) -> Verdict:
    """For every cell (arm: SNR), the error at the analytic best dose s*, relative to the sampled minimum, less 1."""
    excess = {}
    for arm, snr in cells.items():
        dose, values = _dose(traces[arm], reading)
        mean = values.mean(1)
        excess[arm] = float(np.interp(theory.best_dose(snr, load), dose, mean) / mean.min() - 1)
    return _worst(excess, tolerance)


KINDS: dict[str, Callable[..., Verdict]] = {
    kind.__name__: kind
    for kind in (at_most, at_least, published, better, interior, best_last, curve, same_dose, optimum)
}
