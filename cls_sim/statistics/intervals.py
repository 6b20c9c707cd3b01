"""Means over subjects with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cls_sim.core.arrays import Counts, Numbers
from cls_sim.core.errors import real, refuse_if, whole

RESAMPLES = 10_000
FEWEST = 5  # smallest number of subjects for an interval
KEPT = 1024  # largest number of subjects for which the resamples are cached
COLUMNS = 256  # number of columns estimated at once, to limit memory
NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A mean over subjects; every field except the note is a number, or an array if the values have more axes.

    mean  mean over the n subjects that are not NaN
    sem   standard error, sd (ddof 1) / sqrt n
    low   lower end of the interval, NaN below 5 subjects
    high  upper end
    n     subjects counted
    note  "n too small" or "not finite" if there is no interval
    p     two-sided p-value of a sign-flip test (only of a paired difference, else NaN)
    """

    mean: Any
    sem: Any
    low: Any
    high: Any
    n: Any
    note: str = ""
    p: Any = float("nan")


def estimate(values: ArrayLike, seed: int = 0, level: float = 0.95) -> Estimate:
    """Mean, standard error and bootstrap interval over subjects, of values [n] or [n, …].

    The interval is BCa (bias-corrected and accelerated: Efron 1987), its quantiles expanded from the normal z to
    sqrt(n / (n - 1)) · t_{n-1} (Hesterberg 2015), because a plain bootstrap of few subjects is too narrow.  10,000
    resamples from a fixed seed; the order of the subjects does not matter.

    Of normal data the interval covers the mean 92 % of the time at n = 5, 94 % at 8, 95 % at 16; of lognormal data
    83, 87 and 89 % (2,000 cohorts each: `python -m pytest tests/test_statistics.py -k covers`).

    level  in (0, 1)
    Raises ConfigError where there is no subject axis.

    >>> e = estimate([0.81, 0.84, 0.79, 0.88, 0.83, float("nan")])
    >>> round(e.mean, 3), round(e.sem, 3), e.n, e.low < 0.81 < 0.85 < e.high
    (0.83, 0.015, 5, True)
    >>> estimate([0.81, 0.84]).note
    'n too small'
    """
    columns, shape = columns_of("values", values)
    seed, level = whole("seed", seed, 0), _inside("level", level)
    n = (~np.isnan(columns)).sum(0)
    mean, sem = _moments(columns, n)
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    fit = (n >= FEWEST) & np.isfinite(sem)
    for count in np.unique(n[fit]):
        (same,) = np.nonzero(fit & (n == count))
        for chosen in np.split(same, range(COLUMNS, len(same), COLUMNS)):
            centred = columns[:count, chosen] - mean[chosen]
            largest = np.abs(columns[:count, chosen]).max(0)
            low[chosen], high[chosen] = bca(centred, seed, expanded(int(count), level), largest) + mean[chosen]
    note = "n too small" if (n < FEWEST).any() else "" if fit.all() else "not finite"
    mean, sem, low, high, n = (shaped(v, shape) for v in (mean, sem, low, high, n))
    return Estimate(mean, sem, low, high, n, note)


def _inside(key: str, value: float) -> float:
    value = real(key, value, 0.0, 1.0, open_low=True)
    refuse_if(value == 1.0, key, "1.0 is out of range", "give a number above 0 and below 1")
    return value


def columns_of(key: str, values: ArrayLike) -> tuple[Numbers, tuple[int, ...]]:
    """Values [n, …] as sorted columns [n, m], NaN last, and the shape that was behind n."""
    array = np.asarray(values, np.float64)
    refuse_if(array.ndim == 0, key, "has no subject axis", "give one number for each subject")
    flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
    return np.sort(flat, axis=0), array.shape[1:]


def shaped(column: NDArray[Any], shape: tuple[int, ...]) -> Any:
    return column.reshape(shape) if shape else column[0].item()


def _moments(columns: Numbers, n: Counts) -> tuple[Numbers, Numbers]:
    """Mean and standard error of each column; NaN with no subject, and with one no error."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(columns, 0) / n
        sem = np.sqrt(np.nansum((columns - mean) ** 2, 0) / (n - 1.0) / n)
    return mean, np.where(n > 1, sem, np.nan)


def source(seed: int, n: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, n], np.uint64)))


@lru_cache(maxsize=8)
def _weights(n: int, seed: int) -> Numbers:
    """The frequency of each subject in each resample, divided by n: [resamples, n]."""
    return source(seed, n).multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) / n


def _resampled(centred: Numbers, seed: int) -> Numbers:
    """The means of the resamples, sorted: [resamples, m]."""
    n = len(centred)
    if n <= KEPT:
        return np.sort(_weights(n, seed) @ centred, axis=0)
    generator, even = source(seed, n), np.full(n, 1.0 / n)
    parts = [generator.multinomial(n, even, size=100) @ centred / n for _ in range(RESAMPLES // 100)]
    return np.sort(np.concatenate(parts), axis=0)


def bca(centred: Numbers, seed: int, z: float, largest: Numbers | float = 0.0) -> Numbers:
    """BCa ends [2, m] of the mean of centred columns [n, m], at ± z normal units; percentiles where it degenerates.

    largest  [m], the largest size of a number before it was centred: numbers that differ by its rounding are equal
    """
    boot = _resampled(centred, seed)
    dust = np.maximum(1e-12 * np.abs(centred).max(0), 16 * np.finfo(np.float64).eps * np.asarray(largest))
    below = (boot < -dust).mean(0) + 0.5 * (np.abs(boot) <= dust).mean(0)
    bias = np.array([NORMAL.inv_cdf(b) if 0.0 < b < 1.0 else np.nan for b in below])
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.nan_to_num((centred**3).sum(0) / (6.0 * (centred**2).sum(0) ** 1.5))
    ends: list[Numbers] = []
    for u in (-z, z):
        room = 1.0 - skew * (bias + u)
        point = np.where(np.isfinite(bias) & (room > 0.0), bias + (bias + u) / room, u)
        at = np.array([NORMAL.cdf(v) for v in point]) * (RESAMPLES - 1)
        under = np.floor(at).astype(np.int64)
        over = np.minimum(under + 1, RESAMPLES - 1)
        low, high = (np.take_along_axis(boot, i[None], 0)[0] for i in (under, over))
        ends.append(low + (at - under) * (high - low))
    return np.stack(ends)


@lru_cache(maxsize=256)
def expanded(n: int, level: float) -> float:
    """sqrt(n / (n - 1)) times the t quantile of the level with n - 1 degrees of freedom."""
    low, high = 0.0, 1e6
    for _ in range(100):
        t = (low + high) / 2.0
        low, high = (t, high) if t_inside(t, n - 1) < level else (low, t)
    return float(np.sqrt(n / (n - 1.0)) * low)


def t_inside(t: float, freedom: int) -> float:
    """P(|T| <= t) for whole degrees of freedom: the finite series (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = np.arctan(t / np.sqrt(freedom))
    k = np.arange(2 - freedom % 2, freedom - 1, 2)  # 1, 3, … or 2, 4, … below freedom - 1
    if freedom % 2 == 0:
        factors = np.cumprod(np.concatenate(([1.0], (k - 1.0) / k)))
        return float(np.sin(angle) * (factors * np.cos(angle) ** (2 * np.arange(len(factors)))).sum())
    factors = np.cumprod(np.concatenate(([1.0], (k + 1.0) / (k + 2.0))))[: max(0, (freedom - 1) // 2)]
    series = (factors * np.cos(angle) ** (2 * np.arange(len(factors)) + 1)).sum()
    return float(2.0 / np.pi * (angle + np.sin(angle) * series))
