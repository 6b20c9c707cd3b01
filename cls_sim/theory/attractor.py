"""Recall error of a sparse attractor network, and pattern separation by a sparse code."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import real, whole


def notebook_error(items: int, units: int) -> float:
    """Error of recalling `items` patterns from a sparse attractor of `units`, in units of Var(y): (P - 1) / (M - 1).

    It does not depend on the sparseness of the patterns, which have a fixed number of ones.

    >>> round(notebook_error(items=100, units=2000), 4)
    0.0495
    """
    return (whole("items", items) - 1) / (whole("units", units, 2) - 1)


def overlap_after_winners(rho: ArrayLike, activity: float) -> Numbers:
    """Share of winners that two inputs of correlation rho have in common: Φ₂(-θ, -θ; ρ) / a, θ = Φ⁻¹(1 - a).

    For Gaussian inputs and random Gaussian weights, if the share a of the units with the largest input win.  Φ₂ is
    computed by Plackett's integral, a² + ∫₀^asin ρ exp(-θ² / (1 + sin t)) dt / 2π.

    Source: pattern separation, O'Reilly & McClelland 1994.

    >>> overlap_after_winners([0.5, 0.9], activity=0.05).round(3).tolist()
    [0.244, 0.637]
    """
    rho = np.asarray(rho, np.float64)
    for value in rho.reshape(-1):
        real("rho", float(value), -1.0, 1.0)
    activity = real("activity", activity, 0.0, 1.0, open_low=True)
    if activity == 1.0:
        return np.ones_like(rho)
    top = np.arcsin(rho)[..., None]
    threshold = NormalDist().inv_cdf(1.0 - activity)
    node, weight = np.polynomial.legendre.leggauss(64)
    t = 0.5 * top * (node + 1.0)
    joint = activity**2 + 0.5 * top[..., 0] * (np.exp(-(threshold**2) / (1.0 + np.sin(t))) @ weight) / (2.0 * math.pi)
    return joint / activity
