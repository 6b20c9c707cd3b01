"""Recall error and capacity of a sparse attractor network, and pattern separation by a sparse code."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import ConfigError, real, whole


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


def attractor_capacity(activity: ArrayLike, overlap: float = 0.95) -> Numbers:
    """Largest number of patterns per cell, P / M, that a sparse attractor keeps with at least this overlap.

        α = (1 - C)² σ² / (a (1 - a)),   σ = m / (u₀ - u₁),   C = (a φ(u₁) + (1 - a) φ(u₀)) / σ

    activity  a, above 0 and below 1: exactly a M cells are active in a pattern and in a state
    overlap   p₁, share of a pattern's cells that are active in the settled state, above a and below 1; the capacity is
              the largest α of all states with this overlap or more

    p₁ and p₀ = a (1 - p₁) / (1 - a) are the active shares of the pattern's own and of other cells, m = p₁ - p₀, and
    the threshold lies u₁ = Φ⁻¹(1 - p₁) and u₀ = Φ⁻¹(1 - p₀) standard deviations σ above their mean input; C is the
    feedback of the other patterns.  Mean field for many cells, random patterns and covariance synapses; there is no
    constant to fit.  With overlap 0.9 it is the 0.138 of Amit, Gutfreund & Sompolinsky 1985 at a = 1/2; for a → 0 it
    grows as 1 / (a |ln a|), apart from slow corrections.

    Source: Tsodyks & Feigelman 1988; Buhmann et al. 1989; Treves & Rolls 1991.

    >>> attractor_capacity([0.5, 0.05]).round(3).tolist()
    [0.138, 0.848]
    """
    activity, overlap = np.asarray(activity, np.float64), real("overlap", overlap, 0.0, 1.0)
    best = [_capacity(float(a), overlap) for a in activity.reshape(-1)]
    return np.array(best).reshape(activity.shape)


def _capacity(a: float, overlap: float) -> float:
    if not 0.0 < a < overlap < 1.0:
        raise ConfigError("overlap", f"{overlap:g} is not between the activity {a:g} and 1", "give the settled share")
    normal, found = NormalDist(), 0.0
    for p1 in 1 - np.geomspace(1 - overlap, 1e-6, 400):
        p0 = a * (1 - p1) / (1 - a)
        u1, u0 = normal.inv_cdf(1 - p1), -normal.inv_cdf(p0)
        sigma = (p1 - p0) / (u0 - u1)
        feedback = (a * normal.pdf(u1) + (1 - a) * normal.pdf(u0)) / sigma
        if feedback < 1:  # else the noise of the other patterns grows without bound
            found = max(found, (1 - feedback) ** 2 * sigma**2 / (a * (1 - a)))
    return found
