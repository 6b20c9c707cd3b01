"""Go-CLS (Sun, Advani, Spruston, Saxe & Fitzgerald 2023).

A linear student w(0) = 0 learns P noisy examples of a linear teacher in N dimensions by gradient descent on the *sum*
of squares, w ← w + ε Xᵀ(y - Xw).

load  α = P / N, above 0
snr   from 0 to infinity; teacher variance σw² = SNR / (1 + SNR), label noise σe² = 1 / (1 + SNR), so Var(y) = 1
s     the dose, the sum of the learning rates ε over the steps made (time of the gradient flow)

Errors are mean squared errors and 1 at s = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import real

NODES = 800
LONGEST = 1e9  # a larger best dose is returned as infinity


def spectrum(load: float, nodes: int = NODES) -> tuple[Numbers, Numbers, float]:
    """Eigenvalues of XᵀX under Marchenko-Pastur, as a quadrature: nodes l, their weights, and the mass at zero.

    ρ(l) = √((l₊ - l)(l - l₋)) / 2πl on l± = (√α ± 1)², and a mass 1 - α at 0 if α < 1.  The midpoint rule in θ,
    l = middle + half · cos θ, is accurate at both ends, even at α = 1, where ρ diverges at 0.

    >>> l, weight, zero = spectrum(0.5)
    >>> round(float(weight.sum() + zero), 6), round(float(weight @ l), 6), round(float(weight @ l**2), 6)
    (1.0, 0.5, 0.75)
    """
    load = real("load", load, 0.0, open_low=True)
    theta = (np.arange(nodes) + 0.5) * math.pi / nodes
    half = 2.0 * math.sqrt(load)
    # 1 + α + 2√α cos θ, in a form that stays exact and above 0 for α = 1 and cos θ → -1
    eigenvalues = (math.sqrt(load) - 1.0) ** 2 + 2.0 * half * np.cos(theta / 2) ** 2
    weights = (half * np.sin(theta)) ** 2 / (2.0 * math.pi * eigenvalues) * (math.pi / nodes)
    return eigenvalues, weights, max(0.0, 1.0 - load)


def variances(snr: float) -> tuple[float, float]:
    """Teacher variance and label noise (σw², σe²), which sum to 1.

    >>> variances(4.0), variances(math.inf)
    ((0.8, 0.2), (1.0, 0.0))
    """
    if snr == math.inf:
        return 1.0, 0.0
    snr = real("snr", snr, 0.0)
    return snr / (1.0 + snr), 1.0 / (1.0 + snr)


def _unlearnt(s: ArrayLike, eigenvalues: Numbers, rate: float | None) -> tuple[Numbers, Numbers]:
    """The remaining and the learnt share of each mode after dose s: e^(-ls) and 1 - e^(-ls), each [*s, nodes]."""
    dose = np.asarray(s, np.float64)[..., None]
    if rate is None:
        learnt = -np.expm1(-dose * eigenvalues)
        return 1.0 - learnt, learnt
    steps = np.rint(dose / real("rate", rate, 0.0, open_low=True))
    left = (1.0 - rate * eigenvalues) ** steps
    return left, 1.0 - left


def go_cls_train(s: ArrayLike, snr: float, load: float, rate: float | None = None) -> Numbers:
    """Training error after dose s.

    E_t(s) = (1/α) ∫ρ (σw² l + σe²) e^(-2ls) dl + max(0, 1 - 1/α) σe².  With a `rate` ε, gradient descent in discrete
    steps: (1 - εl)^(s/ε) in place of e^(-ls).

    >>> go_cls_train([0.0, 0.68, 10.0], snr=1.0, load=1.0).round(3).tolist()
    [1.0, 0.304, 0.064]
    """
    teacher, noise = variances(snr)
    eigenvalues, weights, _ = spectrum(load)
    left, _ = _unlearnt(s, eigenvalues, rate)
    return left**2 @ (weights * (teacher * eigenvalues + noise)) / load + max(0.0, 1.0 - 1.0 / load) * noise


def go_cls_generalise(s: ArrayLike, snr: float, load: float, rate: float | None = None) -> Numbers:
    """Generalisation error on new questions with noisy labels, after dose s.

    E_g(s) = σw² [∫ρ e^(-2ls) dl + max(0, 1 - α)] + σe² [∫ρ (1 - e^(-ls))² / l dl + 1].  With a `rate`, in discrete
    steps as in `go_cls_train`.

    >>> go_cls_generalise([0.0, 0.68, 10.0], snr=1.0, load=1.0).round(3).tolist()
    [1.0, 0.812, 1.372]
    """
    teacher, noise = variances(snr)
    eigenvalues, weights, zero = spectrum(load)
    left, learnt = _unlearnt(s, eigenvalues, rate)
    return teacher * (left**2 @ weights + zero) + noise * (learnt**2 @ (weights / eigenvalues) + 1.0)


def go_cls_sources(s: ArrayLike, snrs: Sequence[float], load: float) -> Numbers:
    """Mean generalisation error over sources of different SNR that are all consolidated to the dose s (Var(y) = 1).

    >>> go_cls_sources([0.66, 10.0], snrs=[0.1, 8.0], load=1.0).round(3).tolist()
    [0.819, 1.398]
    """
    return np.mean([go_cls_generalise(s, snr, load) for snr in snrs], 0)


@dataclass(frozen=True)
class Limits:
    """Limits and initial slopes of the two errors: E(∞), and dE/ds at s = 0."""

    train: float
    generalise: float
    train_slope: float
    generalise_slope: float


def go_cls_limits(snr: float, load: float) -> Limits:
    """The limits and initial slopes of the two error curves, in closed form.

    E_t(∞) = max(0, 1 - 1/α) σe²; E_g(∞) = σw² (1 - α) + σe² / (1 - α) for α < 1, σe² α / (α - 1) for α > 1, and
    at α = 1 it diverges (double descent) unless there is no noise.

    >>> go_cls_limits(snr=1.0, load=0.5)
    Limits(train=0.0, generalise=1.25, train_slope=-2.5, generalise_slope=-0.5)
    """
    teacher, noise = variances(snr)
    load = real("load", load, 0.0, open_low=True)
    if load == 1.0:
        end = math.inf if noise else 0.0
    else:
        end = teacher * (1.0 - load) + noise / (1.0 - load) if load < 1.0 else noise * load / (load - 1.0)
    train = max(0.0, 1.0 - 1.0 / load) * noise
    return Limits(train, end, -2.0 * (teacher * (1.0 + load) + noise), -2.0 * load * teacher)


def bayes_bound(snr: float, load: float) -> float:
    """Generalisation error of the Bayes-optimal estimator, ridge regression with penalty σe² / σw².

    E_r = ∫ρ σe² σw² / (σe² + l σw²) dl + max(0, 1 - α) σw² + σe²

    >>> round(bayes_bound(snr=1.0, load=1.0), 3)
    0.809
    """
    teacher, noise = variances(snr)
    eigenvalues, weights, zero = spectrum(load)
    return float(weights @ (noise * teacher / (noise + eigenvalues * teacher)) + zero * teacher + noise)


def best_dose(snr: float, load: float) -> float:
    """The dose s* with the smallest generalisation error E_g(s); more consolidation is harmful.

    Solves ∫ρ e^(-ls) [σe² (1 - e^(-ls)) - σw² l e^(-ls)] dl = 0 by bisection.  0 without a signal, infinity without
    noise.

    >>> round(best_dose(snr=1.0, load=1.0), 2)
    0.68
    """
    teacher, noise = variances(snr)
    if teacher == 0.0 or noise == 0.0:
        return math.inf if teacher else 0.0
    eigenvalues, weights, _ = spectrum(load, 4 * NODES)  # large doses depend on the smallest eigenvalues

    def rises(dose: float) -> bool:
        left = np.exp(-dose * eigenvalues)
        return bool(weights @ (left * (noise * (1.0 - left) - teacher * eigenvalues * left)) > 0.0)

    high = 1.0
    while not rises(high):
        high *= 2.0
        if high > LONGEST:
            return math.inf
    low = 0.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    return high


def best_memory_score(snr: ArrayLike, load: float = 1.0) -> Numbers:
    """Memory score of a cortex whose consolidation stops at s*: 1 - E_t(s*), for each SNR.

    >>> best_memory_score([0.1, 1.0]).round(3).tolist()
    [0.167, 0.696]
    """
    return np.array([1.0 - go_cls_train(best_dose(float(r), load), float(r), load) for r in np.asarray(snr)])


def best_generalisation_score(snr: ArrayLike, load: float = 1.0) -> Numbers:
    """Generalisation score of a cortex whose consolidation stops at s*: 1 - E_g(s*), for each SNR.

    >>> best_generalisation_score([0.1, 1.0]).round(3).tolist()
    [0.008, 0.188]
    """
    return np.array([1.0 - go_cls_generalise(best_dose(float(r), load), float(r), load) for r in np.asarray(snr)])


def generalisation_score(s: ArrayLike, snr: float, load: float, rate: float | None = None) -> Numbers:
    """Generalisation score 1 - E_g(s), see `go_cls_generalise`.

    >>> generalisation_score([0.68], snr=1.0, load=1.0).round(3).tolist()
    [0.188]
    """
    return 1.0 - go_cls_generalise(s, snr, load, rate)
