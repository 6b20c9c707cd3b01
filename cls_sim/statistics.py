"""Means over subjects with their intervals, paired comparisons, and what transfer an accuracy matrix shows.

Numpy only.  Subjects are always the first axis; NaN is a subject that has no such number and is left out.  An
infinite number is not left out: it makes the mean infinite, and there is no interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.errors import Refused, real, whole

RESAMPLES = 10_000
FEWEST = 5  # subjects below which no interval is given
KEPT = 1024  # subjects up to which the resamples are kept for the next estimate
EXACT = 12  # subjects up to which all sign flips are counted
COLUMNS = 256  # numbers estimated at once, so that memory stays small
NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A mean over subjects; every field but the note is a number, or an array where the values had more axes.

    mean  over the n subjects that have the number
    sem   standard error, sd (ddof 1) / sqrt n
    low   lower end of the interval, NaN below 5 subjects
    high  upper end
    n     subjects counted
    note  "n too small" or "not finite" where no interval is given
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
    sqrt(n / (n - 1)) · t_{n-1} (Hesterberg 2015), because a plain bootstrap of few subjects is too narrow (it covers
    84 % at n = 5, not 95 %).  10,000 resamples from a fixed seed; the order of the subjects does not matter.

    level  in (0, 1)
    Raises Refused where there is no subject axis.

    >>> e = estimate([0.81, 0.84, 0.79, 0.88, 0.83, float("nan")])
    >>> round(e.mean, 3), round(e.sem, 3), e.n, e.low < 0.81 < 0.85 < e.high
    (0.83, 0.015, 5, True)
    >>> estimate([0.81, 0.84]).note
    'n too small'
    """
    columns, shape = _columns("values", values)
    seed, level = whole("seed", seed, 0), _inside("level", level)
    n = (~np.isnan(columns)).sum(0)
    mean, sem = _moments(columns, n)
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    fit = (n >= FEWEST) & np.isfinite(sem)
    for count in np.unique(n[fit]):
        (same,) = np.nonzero(fit & (n == count))
        for chosen in np.split(same, range(COLUMNS, len(same), COLUMNS)):
            centred = columns[:count, chosen] - mean[chosen]
            low[chosen], high[chosen] = _bca(centred, seed, _expanded(int(count), level)) + mean[chosen]
    note = "n too small" if (n < FEWEST).any() else "" if fit.all() else "not finite"
    mean, sem, low, high, n = (_shaped(v, shape) for v in (mean, sem, low, high, n))
    return Estimate(mean, sem, low, high, n, note)


def paired(a: ArrayLike, b: ArrayLike, seed: int = 0, level: float = 0.95) -> Estimate:
    """The mean difference a - b within subjects, [n] or [n, …] each, with its interval and a p-value.

    p is the share of sign flips of the differences whose mean is at least as far from 0 (two-sided): all 2^n of
    them up to 12 subjects, else 10,000 draws, itself counted.  A subject without one of the two is left out.

    Raises Refused where a and b differ in shape.

    >>> e = paired([3.0, 4.0, 5.0, 6.0, 7.0], [2.0, 2.0, 4.0, 5.0, 5.0])
    >>> round(e.mean, 6), e.p  # all five went up: 2 of 32 flips are as extreme
    (1.4, 0.0625)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise Refused("paired", f"{a.shape} and {b.shape} are not the same subjects", "give both arms' numbers of each")
    found = estimate(a - b, seed, level)
    columns, shape = _columns("paired", a - b)
    p = np.array([_flipped(column[~np.isnan(column)], seed) for column in columns.T])
    return Estimate(found.mean, found.sem, found.low, found.high, found.n, found.note, _shaped(p, shape))


def t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Student's paired t test of a - b, [n] each; NaN below 2 subjects that have both.

    Of 5 subjects a sign flip test can give no p below 2/32; this one can, if the differences are about normal.

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
    return max(0.0, 1.0 - _t_inside(abs(mean) / sem, n - 1))


def holm(p: ArrayLike) -> np.ndarray:
    """p-values [m] corrected for being m (Holm 1979): max over i <= j of min(1, (m - i + 1) p_(i)), p_(i) in order.

    A NaN is no comparison: it stays, and does not count.

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


def transfer(matrix: ArrayLike, starts: ArrayLike | None = None) -> dict[str, np.ndarray]:
    """What an accuracy matrix R [s, t, k] says of each subject: a dict of [s].

    Rows are life.begin (0) and then every context's end; columns are contexts.  Context j is learnt between the rows
    `starts`[j] and `starts`[j] + 1: [k] or [s, k], by default j, the order of the columns.

    final       mean over contexts of the last row
    forgetting  mean over contexts but the last of max over earlier ends - last row (Chaudhry et al. 2018)
    backward    mean over contexts but the last of last row - row just after learning (Lopez-Paz & Ranzato 2017)
    forward     mean over contexts but the first of row just before learning - row 0 (the same)

    NaN where there is no such context or no such row.

    >>> r = [[[0.5, 0.5], [1.0, 0.6], [0.7, 0.9]]]
    >>> {name: round(float(v[0]), 3) for name, v in transfer(r).items()}
    {'final': 0.8, 'forgetting': 0.3, 'backward': -0.3, 'forward': 0.1}
    """
    r = np.asarray(matrix, np.float64)
    if r.ndim != 3 or not r.shape[1]:
        raise Refused("matrix", f"has shape {r.shape}", "give [subjects, life.begin and context ends, contexts]")
    subjects, rows, contexts = r.shape
    start = np.arange(contexts) if starts is None else np.asarray(starts, np.int64)
    start = np.broadcast_to(start, (subjects, contexts))
    last = r[:, -1]
    before = np.take_along_axis(r, np.clip(start, 0, rows - 1)[:, None], 1)[:, 0]
    after = np.take_along_axis(r, np.clip(start + 1, 0, rows - 1)[:, None], 1)[:, 0]
    best = r[:, 1:-1].max(1) if rows > 2 else np.full_like(last, np.nan)
    old = start + 1 < rows - 1
    new = (start > 0) & (start < rows)
    return {
        "final": last.mean(1),
        "forgetting": _mean(best - last, old),
        "backward": _mean(last - after, old),
        "forward": _mean(before - r[:, 0], new),
    }


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two lists of numbers, ties sharing their mean rank; NaN for a constant list.

    >>> spearman([1, 2, 3], [10, 20, 15])
    0.5
    """
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (a, b)]
    if len(ranks[0]) != len(ranks[1]) or len(ranks[0]) < 2:
        raise Refused("values", f"are {len(ranks[0])} and {len(ranks[1])}", "give two lists of one length from 2")
    x, y = (r - r.mean() for r in ranks)
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def forgetting(ages: ArrayLike, retention: ArrayLike, law: str) -> tuple[np.ndarray, float]:
    """The least-squares fit of a forgetting curve: its parameters and the sum of squares.

    law  exponential a e^(-bt); power a (1 + bt)^-c (Wixted & Ebbesen 1991); wickelgren a (1 + bt)^-c e^(-dt)

    b, c and d from 0.  The amplitude a is solved for; the others by a grid over magnitudes, then ever finer ones.

    >>> t = np.array([0.0, 1, 3, 10, 30, 100])
    >>> fit, squares = forgetting(t, 0.8 * (1 + t) ** -0.5, "power")
    >>> fit.round(2).tolist(), bool(squares < 1e-6)
    ([0.8, 1.0, 0.5], True)
    """
    t, y = np.asarray(ages, np.float64), np.asarray(retention, np.float64)
    if t.shape != y.shape or t.ndim != 1 or law not in LAWS:
        raise Refused("forgetting", f"ages {t.shape}, retention {y.shape}, law {law!r}", f"give [n], [n], {LAWS}")
    reach = max(float(t.max()), 1e-9)
    spans = {"b": (1e-3 / reach, 1e3), "c": (1e-2, 1e1), "d": (1e-4 / reach, 1e2 / reach)}
    rates = {"exponential": "b", "power": "bc", "wickelgren": "bcd"}[law]
    spread = [np.log(spans[name]) for name in rates]
    points = 40 if len(rates) < 3 else 24
    best = np.zeros(len(rates))
    amplitude = squares = 0.0
    for _ in range(12):
        axes = [np.linspace(low, high, points) for low, high in spread]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])  # [rates, n]
        b, *others = np.exp(grid)[..., None]
        shape = np.exp(-b * t) if law == "exponential" else (1.0 + b * t) ** -others[0]
        if law == "wickelgren":
            shape = shape * np.exp(-others[1] * t)
        scale = (shape @ y) / np.maximum((shape**2).sum(1), 1e-300)
        error = ((scale[:, None] * shape - y) ** 2).sum(1)
        top = int(np.argmin(error))
        best, amplitude, squares = grid[:, top], float(scale[top]), float(error[top])
        steps = [(high - low) / (points - 1) for low, high in spread]
        spread = [np.array([m - 2.5 * step, m + 2.5 * step]) for m, step in zip(best, steps, strict=True)]
    return np.array([amplitude, *np.exp(best)]), squares


LAWS = ("exponential", "power", "wickelgren")


def aic(ages: ArrayLike, retention: ArrayLike, law: str) -> float:
    """Akaike's criterion of a fitted forgetting curve, n ln(RSS / n) + 2k; the smaller the better.

    >>> t = np.array([0.0, 1, 3, 10, 30, 100])
    >>> aic(t, (1 + t) ** -0.5, "power") < aic(t, (1 + t) ** -0.5, "exponential")
    True
    """
    fit, squares = forgetting(ages, retention, law)
    n = np.asarray(ages).size
    return float(n * np.log(max(squares, 1e-20) / n) + 2 * len(fit))


# -- inside -------------------------------------------------------------------------------------------------


def _inside(key: str, value: float) -> float:
    value = real(key, value, 0.0, 1.0, open_low=True)
    if value == 1.0:
        raise Refused(key, "1.0 is out of range", "give a number above 0 and below 1")
    return value


def _columns(key: str, values: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
    """Values [n, …] as sorted columns [n, m], NaN last, and the shape that was behind n."""
    array = np.asarray(values, np.float64)
    if array.ndim == 0:
        raise Refused(key, "has no subject axis", "give one number for each subject")
    flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
    return np.sort(flat, axis=0), array.shape[1:]


def _shaped(column: np.ndarray, shape: tuple[int, ...]) -> Any:
    return column.reshape(shape) if shape else column[0].item()


def _moments(columns: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of each column; NaN with no subject, and with one no error."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(columns, 0) / n
        sem = np.sqrt(np.nansum((columns - mean) ** 2, 0) / (n - 1.0) / n)
    return mean, np.where(n > 1, sem, np.nan)


def _generator(seed: int, n: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, n], np.uint64)))


@lru_cache(maxsize=8)
def _weights(n: int, seed: int) -> np.ndarray:
    """How often each subject comes up in each resample, over n: [resamples, n]."""
    return _generator(seed, n).multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) / n


def _resampled(centred: np.ndarray, seed: int) -> np.ndarray:
    """The means of the resamples, sorted: [resamples, m]."""
    n = len(centred)
    if n <= KEPT:
        return np.sort(_weights(n, seed) @ centred, axis=0)
    generator, even = _generator(seed, n), np.full(n, 1.0 / n)
    parts = [generator.multinomial(n, even, size=100) @ centred / n for _ in range(RESAMPLES // 100)]
    return np.sort(np.concatenate(parts), axis=0)


def _bca(centred: np.ndarray, seed: int, z: float) -> np.ndarray:
    """BCa ends [2, m] of the mean of centred columns [n, m], at ± z normal units; percentiles where it degenerates."""
    boot = _resampled(centred, seed)
    dust = 1e-12 * np.abs(centred).max(0)
    below = (boot < -dust).mean(0) + 0.5 * (np.abs(boot) <= dust).mean(0)
    bias = np.array([NORMAL.inv_cdf(b) if 0.0 < b < 1.0 else np.nan for b in below])
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.nan_to_num((centred**3).sum(0) / (6.0 * (centred**2).sum(0) ** 1.5))
    ends = []
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
def _expanded(n: int, level: float) -> float:
    """sqrt(n / (n - 1)) times the t quantile of the level with n - 1 degrees of freedom."""
    low, high = 0.0, 1e6
    for _ in range(100):
        t = (low + high) / 2.0
        low, high = (t, high) if _t_inside(t, n - 1) < level else (low, t)
    return float(np.sqrt(n / (n - 1.0)) * low)


def _t_inside(t: float, freedom: int) -> float:
    """P(|T| <= t) for whole degrees of freedom: the finite series (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = np.arctan(t / np.sqrt(freedom))
    k = np.arange(2 - freedom % 2, freedom - 1, 2)  # 1, 3, … or 2, 4, … below freedom - 1
    if freedom % 2 == 0:
        factors = np.cumprod(np.concatenate(([1.0], (k - 1.0) / k)))
        return float(np.sin(angle) * (factors * np.cos(angle) ** (2 * np.arange(len(factors)))).sum())
    factors = np.cumprod(np.concatenate(([1.0], (k + 1.0) / (k + 2.0))))[: max(0, (freedom - 1) // 2)]
    series = (factors * np.cos(angle) ** (2 * np.arange(len(factors)) + 1)).sum()
    return float(2.0 / np.pi * (angle + np.sin(angle) * series))


def _flipped(differences: np.ndarray, seed: int) -> float:
    """The two-sided sign-flip p-value of a mean difference."""
    n = len(differences)
    if n == 0 or not np.isfinite(differences).all():
        return float("nan")
    if n <= EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = _generator(seed, n).integers(0, 2, size=(RESAMPLES, n)) * 2.0 - 1.0
    found, flips = abs(differences.sum()), np.abs(signs @ differences)
    extreme = int((flips >= found - 1e-12 * np.abs(differences).sum()).sum())
    return extreme / len(flips) if n <= EXACT else (1 + extreme) / (1 + len(flips))


def _mean(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The mean over the chosen columns [s, k] → [s], NaN with none."""
    with np.errstate(invalid="ignore"):
        return np.where(which, values, 0.0).sum(1) / which.sum(1)


def dominated(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """The area [s] of all points from 0 that one of a subject's points (x [s, n], y [s, n]) is at least as good as.

    >>> dominated([[1.0, 0.5]], [[0.5, 1.0]]).tolist()
    [0.75]
    """
    x, y = np.maximum(np.asarray(x, np.float64), 0.0), np.maximum(np.asarray(y, np.float64), 0.0)
    order = np.argsort(x, 1)
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
    best = np.maximum.accumulate(y[:, ::-1], 1)[:, ::-1]  # the best y of a point as far as this one
    return (np.diff(x, axis=1, prepend=0.0) * best).sum(1)
