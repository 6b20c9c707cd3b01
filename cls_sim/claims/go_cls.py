"""Kinds of claims about the learning curves of Go-CLS, over the dose of plasticity."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from cls_sim import theory
from cls_sim.claims.verdict import Verdict, laws, relative, worst
from cls_sim.storage.case import Case

CURVES = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}


def curve(case: Case, cells: dict[str, float], load: float, reading: str, law: str, tolerance: float) -> Verdict:
    """For each of `cells` (arm: SNR), the relative L2 distance of the mean error curve from the analytic one."""
    distances = {}
    for arm, snr in cells.items():
        dose, errors = case.over_dose(arm, reading)
        distances[arm] = relative(errors.mean(1), CURVES[law](dose, snr, load))
    return worst(distances, tolerance)


def same_dose(case: Case, arm: str, than: str, reading: str, tolerance: float) -> Verdict:
    """Two schedules have equal errors at equal dose in each subject: the relative L2 distance, after interpolation."""
    (dose, ours), (other, theirs) = case.over_dose(arm, reading), case.over_dose(than, reading)
    inside = other <= dose.max()
    aligned = np.stack([np.interp(other[inside], dose, ours[:, i]) for i in range(ours.shape[1])], 1)
    distance = relative(aligned, theirs[inside])
    return Verdict(0.0, distance, distance <= tolerance, tolerance)


def optimum(case: Case, cells: dict[str, float], load: float, reading: str, tolerance: float) -> Verdict:
    """For each of `cells` (arm: SNR), the error at the analytic best dose s* over the sampled minimum, minus 1."""
    excess = {}
    for arm, snr in cells.items():
        dose, errors = case.over_dose(arm, reading)
        mean = errors.mean(1)
        excess[arm] = float(np.interp(theory.best_dose(snr, load), dose, mean) / mean.min() - 1)
    return worst(excess, tolerance)


def collapse(case: Case, arms: list[str], reading: str, tolerance: float) -> Verdict:
    """The mean curves of the arms, divided by their first values, coincide: the largest difference over the dose."""
    found = ((arm, *case.over_dose(arm, reading)) for arm in arms)
    curves = [(arm, dose, errors.mean(1) / errors[0].mean()) for arm, dose, errors in found]
    off = {
        f"{a}, {b}": float(np.abs(np.interp(dose, other, theirs) - ours).max())
        for (a, dose, ours), (b, other, theirs) in combinations(curves, 2)
    }
    return worst(off, tolerance)


def on_curve(
    case: Case,
    arms: list[str],
    reading: str,
    law: str,
    tolerance: float,
    x: str = "dose",
    settings: dict[str, Any] | None = None,
) -> Verdict:
    """The last mean reading of every arm lies on a law of cls_sim.theory, at its mean dose or another reading x."""
    off = {}
    for arm, wanted in laws(law, arms, settings).items():
        at, mean = (case.mean(arm, name) for name in (x, reading))
        off[arm] = abs(float(np.ravel(wanted(np.array([at])))[0]) - mean)
    return worst(off, tolerance)
