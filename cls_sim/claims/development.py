"""Kinds of claims on development: which distinctions are learnt when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cls_sim.claims.values import Readings, Traces, Verdict
from cls_sim.core.errors import Refused


def half_times(traces: Traces, readings: Readings, arm: str, reading: str, x: Sequence[float], cv: float) -> Verdict:
    """The day t at which each place of a profile is half its way to 1 goes as 1 / x: x · t has a small variation.

    The coefficient of variation over places, of means over subjects, is at most cv; a place that is never half way
    makes it infinite.
    """
    days, curve = traces[arm].reading(reading)
    mean, strength = np.nanmean(curve, 1), np.asarray(x, np.float64)  # [t, k]
    if mean.shape[1] != len(strength):
        raise Refused("claims.x", f"has {len(strength)} places and {reading} has {mean.shape[1]}", "give as many")
    products = strength * np.array([_half(days, mean[:, k]) for k in range(len(strength))])
    found = float(products.std() / products.mean()) if np.isfinite(products).all() else float("inf")
    said = {"expected": f"CV <= {cv}", "tolerance": 0, "value": found, "cells": products.tolist()}
    return said | {"passed": bool(found <= cv)}


def _half(days: np.ndarray, curve: np.ndarray) -> float:
    """The first day at which a curve passes a half, between its points by a straight line."""
    over = np.flatnonzero(curve >= 0.5)
    if not len(over) or over[0] == 0:
        return float("inf")
    i = int(over[0])
    return float(days[i - 1] + (0.5 - curve[i - 1]) / (curve[i] - curve[i - 1]) * (days[i] - days[i - 1]))


KINDS = (half_times,)
