"""Kinds of claims on the curves of Go-CLS, over the dose of plasticity."""

from __future__ import annotations

from typing import Any

import numpy as np

from cls_sim import theory
from cls_sim.claims.values import Traces, Verdict, relative, worst
from cls_sim.trace import Trace


def _dose(trace: Trace, reading: str) -> tuple[np.ndarray, np.ndarray]:
    """A reading's mean over subjects against the dose: both [t]."""
    _, dose = trace.reading("dose")
    _, values = trace.reading(reading)
    return np.asarray(dose).mean(1), np.asarray(values)


CURVES = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}


def curve(
    traces: Traces,
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
        distances[arm] = relative(values.mean(1), CURVES[law](dose, snr, load))
    return worst(distances, tolerance)


def same_dose(traces: Traces, readings: Any, arm: str, than: str, reading: str, tolerance: float) -> Verdict:
    """Two schedules agree at equal dose, subject by subject: relative L2 distance, one read at the other's."""
    (dose, ours), (other, theirs) = _dose(traces[arm], reading), _dose(traces[than], reading)
    inside = other <= dose.max()
    aligned = np.stack([np.interp(other[inside], dose, ours[:, i]) for i in range(ours.shape[1])], 1)
    distance = relative(aligned, theirs[inside])
    return {"expected": 0.0, "tolerance": tolerance, "value": distance, "passed": distance <= tolerance}


def optimum(
    traces: Traces, readings: Any, cells: dict[str, float], load: float, reading: str, tolerance: float
) -> Verdict:
    """For every cell (arm: SNR), the error at the analytic best dose s*, relative to the sampled minimum, less 1."""
    excess = {}
    for arm, snr in cells.items():
        dose, values = _dose(traces[arm], reading)
        mean = values.mean(1)
        excess[arm] = float(np.interp(theory.best_dose(snr, load), dose, mean) / mean.min() - 1)
    return worst(excess, tolerance)


KINDS = (curve, same_dose, optimum)
