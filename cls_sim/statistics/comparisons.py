"""Paired comparisons within subjects, and their p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import refuse_if
from cls_sim.statistics.intervals import RESAMPLES, Estimate, columns_of, estimate, shaped, source, t_inside

EXACT = 12  # largest number of subjects for which all sign flips are enumerated


def paired(a: ArrayLike, b: ArrayLike, seed: int = 0, level: float = 0.95) -> Estimate:
    """The mean difference a - b within subjects, [n] or [n, …] each, with its interval and a p-value.

    p is that of a two-sided sign-flip test: the share of sign flips whose mean is at least as far from 0.  All 2^n
    flips are used up to 12 subjects, else 10,000 random flips plus the observed one.  A subject with NaN in a or b is
    left out.

    Raises ConfigError if a and b differ in shape.

    >>> e = paired([3.0, 4.0, 5.0, 6.0, 7.0], [2.0, 2.0, 4.0, 5.0, 5.0])
    >>> round(e.mean, 6), e.p  # all five went up: 2 of 32 flips are as extreme
    (1.4, 0.0625)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    reason = f"has different shapes, {a.shape} and {b.shape}"
    refuse_if(a.shape != b.shape, "paired", reason, "give the numbers of the same subjects")
    found = estimate(a - b, seed, level)
    columns, shape = columns_of("paired", a - b)
    p = np.array([_flipped(column[~np.isnan(column)], seed) for column in columns.T])
    return Estimate(found.mean, found.sem, found.low, found.high, found.n, found.note, shaped(p, shape))


def t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of Student's paired t test of a - b, [n] each; NaN with fewer than 2 complete pairs.

    With 5 subjects a sign-flip test has no p-value below 2/32; this test has, if the differences are about normal.

    >>> round(t_test([3.0, 4.0, 5.0, 6.0, 7.0], [2.0, 2.0, 4.0, 5.0, 5.0]), 4)
    0.0046
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    difference = difference[~np.isnan(difference)]
    n = len(difference)
    if n < 2:
        return float("nan")
    mean, sem = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(n))
    if sem <= 1e-12 * abs(mean):
        return 1.0 if mean == 0.0 else 0.0
    return max(0.0, 1.0 - t_inside(abs(mean) / sem, n - 1))


def holm(p: ArrayLike) -> Numbers:
    """Holm's correction of m p-values (Holm 1979): max over i <= j of min(1, (m - i + 1) p_(i)), p_(i) sorted.

    NaN stays NaN and does not count as a comparison.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    given = np.asarray(p, np.float64)
    found = np.full_like(given, np.nan)
    there = np.flatnonzero(~np.isnan(given))
    order = there[np.argsort(given[there], kind="stable")]
    factors = len(order) - np.arange(len(order))
    found[order] = np.minimum(1.0, np.maximum.accumulate(factors * given[order]))
    return found


def _flipped(differences: Numbers, seed: int) -> float:
    """The two-sided sign-flip p-value of a mean difference."""
    n = len(differences)
    if n == 0 or not np.isfinite(differences).all():
        return float("nan")
    if n <= EXACT:
        heads = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    else:
        heads = source(seed, n).integers(0, 2, size=(RESAMPLES, n))
    found, flips = abs(differences.sum()), np.abs((2.0 * heads - 1.0) @ differences)
    extreme = int((flips >= found - 1e-12 * np.abs(differences).sum()).sum())
    return extreme / len(flips) if n <= EXACT else (1 + extreme) / (1 + len(flips))
