"""Memories: what an attractor confuses, and what a sparse code keeps apart."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from cls_sim.errors import real, whole


def notebook_error(items: int, units: int) -> float:
    """Error of recalling `items` patterns from a sparse attractor of `units`, in units of Var(y): (P - 1) / (M - 1).

    It does not depend on the sparseness of the patterns; patterns have a fixed number of ones.

    >>> round(notebook_error(items=100, units=2000), 4)
    0.0495
    """
    return (whole("items", items) - 1) / (whole("units", units, 2) - 1)


def overlap_after_winners(rho: float, activity: float) -> float:
    """Share of winners that two inputs of correlation rho have in common: Φ₂(-θ, -θ; ρ) / a, θ = Φ⁻¹(1 - a).

    Gaussian inputs, random Gaussian weights, the share a of the units with the highest input winning (pattern
    separation: O'Reilly & McClelland 1994).  Φ₂ by Plackett's integral, a² + ∫₀^asin ρ exp(-θ² / (1 + sin t)) dt / 2π.

    >>> round(overlap_after_winners(0.5, activity=0.05), 3)
    0.244
    """
    top = math.asin(real("rho", rho, -1.0, 1.0))
    activity = real("activity", activity, 0.0, 1.0, open_low=True)
    if activity == 1.0:
        return 1.0
    threshold = NormalDist().inv_cdf(1.0 - activity)
    node, weight = np.polynomial.legendre.leggauss(64)
    t = 0.5 * top * (node + 1.0)
    joint = activity**2 + 0.5 * top * float(weight @ np.exp(-(threshold**2) / (1.0 + np.sin(t)))) / (2.0 * math.pi)
    return joint / activity
