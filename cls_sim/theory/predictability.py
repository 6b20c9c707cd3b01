"""Predictability: estimates of the SNR from stored episodes, and the best dose of learning.

A linear teacher with noise, y = x·w + ε of variance 1, is learnt by gradient descent on the sum of squares from w = 0;
x [P, N] and y [P] are the episodes, and the dose s is the sum of the learning rates.  After dose s a share 1 - e^(-ls)
of each mode of XᵀX (eigenvalue l) is learnt.

Source: Sun, Advani, Spruston, Saxe & Fitzgerald 2023, the three ways of regulating consolidation.
"""

from __future__ import annotations

import numpy as np

from cls_sim.core.arrays import Numbers

GRID = np.arange(-6.0, 10.001, 0.02)  # log2 SNR
DOSES = np.geomspace(1e-3, 1e3, 400)


def decomposed(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The eigenvalues [N] (at least 0) and eigenvectors of XᵀX, and the components of Xᵀy along them."""
    values, vectors = np.linalg.eigh(x.T @ x)
    return np.maximum(values, 0.0), vectors, vectors.T @ (x.T @ y)


def likelihood(x: Numbers, y: Numbers) -> float:
    """log2 SNR by maximum likelihood of y | X ~ N(0, σ_w² X Xᵀ + σ_e² I), with the SNR in [2^-6, 2^10].

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((400, 400)) / 20
    >>> y = x @ rng.standard_normal(400) * 0.8**0.5 + rng.standard_normal(400) * 0.2**0.5
    >>> bool(abs(likelihood(x, y) - 2) < 0.6)
    True
    """
    values, vectors, _ = decomposed(x.T, np.zeros(len(x.T)))  # of X Xᵀ [P, P]
    along = (vectors.T @ y) ** 2
    snr = 2.0 ** GRID[:, None]
    spread = (1.0 + snr * values) / (1.0 + snr)  # the variance along each mode
    return float(GRID[np.argmin((np.log(spread) + along / spread).sum(1))])


def speed(x: Numbers, y: Numbers) -> float:
    """log2 SNR by the initial speed of learning, dE/ds = -2 |Xᵀy|² / P at s = 0, with the SNR in [2^-6, 2^10].

    E_0 = Σ y² / P is the error before learning, so that the unit of y does not matter:

        σ_w² / (σ_w² + σ_e²) = (-dE/ds / (2 E_0) - 1) N / P

    A speed shows a share of the variance: an error of 1 % in it is an octave at an SNR near 50, and nothing below 1.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((400, 400)) / 20
    >>> y = x @ rng.standard_normal(400) + rng.standard_normal(400)
    >>> speed(x, y) == speed(x, 16 * y), bool(abs(speed(x, y)) < 0.7)
    (True, True)
    """
    before, pull = (y**2).sum() / len(x), ((x.T @ y) ** 2).sum() / len(x)  # E_0, and -dE/ds / 2
    gain = pull / before if before > 0 else 1.0
    signal = np.clip((gain - 1.0) * x.shape[1] / len(x), 2.0**-7, 1.0 - 2.0**-11)
    return float(np.clip(np.log2(signal / (1.0 - signal)), GRID[0], GRID[-1]))


def errors(x: Numbers, y: Numbers, asked_x: Numbers, asked_y: Numbers) -> Numbers:
    """The mean squared error on questions after each dose of DOSES."""
    values, vectors, seen = decomposed(x, y)
    learnt = -np.expm1(-DOSES[:, None] * values)  # [dose, mode]
    weights = learnt * np.where(values > 1e-9, seen / np.maximum(values, 1e-9), DOSES[:, None] * seen)
    return ((asked_x @ vectors @ weights.T - asked_y[:, None]) ** 2).mean(0)


def best_dose(values: Numbers, snr: float) -> float:
    """The dose of DOSES after which more learning of modes with these eigenvalues increases the generalisation error.

    Σ e^(-ls) [σ_e² (1 - e^(-ls)) - σ_w² l e^(-ls)] = 0, summed over the modes.

    >>> bool(0.6 < best_dose(np.full(100, 1.0), 1.0) < 0.8)  # ln 2
    True
    """
    left = np.exp(-DOSES[:, None] * values)
    rises = (left * ((1.0 - left) - snr * values * left)).sum(1) > 0
    return float(DOSES[np.argmax(rises)]) if rises.any() else float(DOSES[-1])


def snr_of(values: Numbers, dose: float) -> float:
    """log2 of the SNR for which this dose is the best (see `best_dose`), with the SNR in [2^-6, 2^10]."""
    left = np.exp(-dose * values)
    noise, signal = (left * (1.0 - left)).sum(), (values * left**2).sum()
    return float(np.clip(np.log2(max(noise, 1e-300) / max(signal, 1e-300)), GRID[0], GRID[-1]))
