"""How well means agree with those of people, and laws of forgetting fitted to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import ConfigError, choice
from cls_sim.people.tables import People

FREE = {"exponential": 2, "logarithm": 2, "power": 2, "savings": 2, "compartments": 4}  # free numbers of each law


def chi_squared(people: People, means: ArrayLike) -> Numbers:
    """Σ_k ((m_k - people_k) / SEM_k)² of means [..., k]: -2 ln likelihood, up to a constant that no model changes.

    >>> people = People(("a", "b"), np.array([0.5, 0.2]), np.array([0.1, 0.1]))
    >>> float(chi_squared(people, [0.6, 0.2]).round(6))
    1.0
    """
    return (((np.asarray(means, np.float64) - people.mean) / people.sem) ** 2).sum(-1)


def aic(people: People, means: ArrayLike, free: int) -> float:
    """Akaike's information criterion with the standard errors of people as known: χ² + 2 · free; smaller is better."""
    return float(chi_squared(people, means)) + 2 * free


def fitted(people: People, x: ArrayLike, law: str) -> tuple[Numbers, Numbers]:
    """The law of forgetting with the largest likelihood: its shape numbers and its means at x [k] (above 0).

    exponential   a e^(-bt)
    logarithm     a - b ln t
    power         a t^-b
    savings       k / ((lg 1440 t)^c + k), t in days from 2 minutes (Ebbinghaus 1885)
    compartments  a e^(-bt) + c e^(-dt), the closed form of two compartments (McClelland et al. 1995)

    Amplitudes are solved for by weighted least squares, rates are found on a logarithmic grid that is refined.

    >>> people = People(("a", "b", "c"), np.array([0.8, 0.4, 0.2]), np.full(3, 0.01))
    >>> fitted(people, [1.0, 2.0, 4.0], "power")[1].round(3).tolist()
    [0.8, 0.4, 0.2]
    """
    choice("law", law, FREE)
    t = np.asarray(x, np.float64)
    if t.shape != people.mean.shape or not (t > 0).all():
        raise ConfigError("x", f"has shape {t.shape} for {len(people.cells)} cells", "give a number above 0 for each")
    if law == "logarithm":
        return np.zeros(0), _solved(people, np.stack([np.ones_like(t), -np.log(t)]))[0]
    if law == "power":
        return _searched(people, lambda b: np.stack([t**-b]), [(1e-3, 10.0)])
    if law == "savings":
        minutes = np.log10(np.maximum(1440 * t, 2.0))
        return _searched(people, lambda k, c: k / (minutes**c + k), [(1e-2, 1e2), (1e-2, 1e1)])
    spans = [(1e-2 / t.max(), 10.0 / t.min())] * (1 if law == "exponential" else 2)
    return _searched(people, lambda *rates: np.stack([np.exp(-rate * t) for rate in rates]), spans)


def _solved(people: People, shapes: Numbers) -> tuple[Numbers, float]:
    """The means [k], and their χ², of one curve [k], or of the best amplitudes of several [a, k]."""
    if shapes.ndim == 1:
        return shapes, float(chi_squared(people, shapes))
    scaled = shapes / people.sem
    amplitude = np.linalg.lstsq(scaled.T, people.mean / people.sem, rcond=None)[0]
    means = amplitude @ shapes
    return means, float(chi_squared(people, means))


def _searched(
    people: People, shapes: Callable[..., Numbers], spans: list[tuple[float, float]]
) -> tuple[Numbers, Numbers]:
    logs = [np.log(span) for span in spans]
    best: tuple[float, Numbers, Numbers] = (np.inf, np.zeros(len(spans)), people.mean)
    for _ in range(8):
        axes = [np.linspace(low, high, 25) for low, high in logs]
        for point in np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1):
            means, off = _solved(people, shapes(*np.exp(point)))
            if off < best[0]:
                best = (off, point, means)
        steps = [(high - low) / 24 for low, high in logs]
        logs = [np.array([p - 2.0 * s, p + 2.0 * s]) for p, s in zip(best[1], steps, strict=True)]
    return np.exp(best[1]), best[2]
