"""Forgetting and transfer of accuracy matrices, forgetting curves, rank correlation, dominated area."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.errors import ConfigError, refuse_if

LAWS = ("exponential", "power", "wickelgren")


def transfer(matrix: ArrayLike, starts: ArrayLike | None = None) -> dict[str, Numbers]:
    """Forgetting and transfer of each subject from an accuracy matrix R [s, t, k]: a dict of [s].

    Rows are life.begin (row 0) and then every context end; columns are contexts.  Context j is learnt between the rows
    `starts`[j] and `starts`[j] + 1; `starts` is [k] or [s, k], by default the order of the columns.

    final       mean over contexts of the last row
    forgetting  mean over all contexts except the last of (maximum over earlier ends - last row), Chaudhry et al. 2018
    backward    mean over all contexts except the last of (last row - row just after learning), Lopez-Paz & Ranzato 2017
    forward     mean over all contexts except the first of (row just before learning - row 0), Lopez-Paz & Ranzato 2017

    NaN if there is no such context or row.

    >>> r = [[[0.5, 0.5], [1.0, 0.6], [0.7, 0.9]]]
    >>> {name: round(float(v[0]), 3) for name, v in transfer(r).items()}
    {'final': 0.8, 'forgetting': 0.3, 'backward': -0.3, 'forward': 0.1}
    """
    r = np.asarray(matrix, np.float64)
    if r.ndim != 3 or not r.shape[1]:
        raise ConfigError("matrix", f"has shape {r.shape}", "give [subjects, life.begin and context ends, contexts]")
    subjects, rows, contexts = r.shape
    start = np.arange(contexts, dtype=np.int64) if starts is None else np.asarray(starts, np.int64)
    start = np.broadcast_to(start, (subjects, contexts))
    last = r[:, -1]
    before = np.take_along_axis(r, np.clip(start, 0, rows - 1)[:, None], 1)[:, 0]
    after = np.take_along_axis(r, np.clip(start + 1, 0, rows - 1)[:, None], 1)[:, 0]
    best = r[:, 1:-1].max(1) if rows > 2 else np.full_like(last, np.nan)
    old = start + 1 < rows - 1
    new = (start > 0) & (start < rows)
    return {
        "final": last.mean(1),
        "forgetting": mean_where(best - last, old),
        "backward": mean_where(last - after, old),
        "forward": mean_where(before - r[:, 0], new),
    }


def mean_where(values: Numbers, which: Flags | None = None, axis: int = 1) -> Numbers:
    """The mean over the chosen entries (None: those that are not NaN) of an axis, [s, k] → [s]; NaN without any."""
    which = ~np.isnan(values) if which is None else which
    with np.errstate(invalid="ignore"):
        return np.where(which, values, 0.0).sum(axis) / which.sum(axis)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two lists of numbers, with mean ranks for ties; NaN for a constant list.

    >>> spearman([1, 2, 3], [10, 20, 15])
    0.5
    """
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (a, b)]
    m, n = map(len, ranks)
    refuse_if(m != n or m < 2, "values", f"have lengths {m} and {n}", "give two lists of equal length, at least 2")
    x, y = (r - r.mean() for r in ranks)
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else float("nan")


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def forgetting(ages: ArrayLike, retention: ArrayLike, law: str) -> tuple[Numbers, float]:
    """The least-squares fit of a forgetting curve: its parameters and the sum of squares.

    law  exponential a e^(-bt); power a (1 + bt)^-c (Wixted & Ebbesen 1991); wickelgren a (1 + bt)^-c e^(-dt)

    b, c and d are at least 0.  The amplitude a is solved for; the other parameters are found on a logarithmic grid that
    is refined repeatedly.

    >>> t = np.array([0.0, 1, 3, 10, 30, 100])
    >>> fit, squares = forgetting(t, 0.8 * (1 + t) ** -0.5, "power")
    >>> fit.round(2).tolist(), bool(squares < 1e-6)
    ([0.8, 1.0, 0.5], True)
    """
    t, y = np.asarray(ages, np.float64), np.asarray(retention, np.float64)
    if t.shape != y.shape or t.ndim != 1 or law not in LAWS:
        raise ConfigError("forgetting", f"ages {t.shape}, values {y.shape}, law {law!r}", f"give [n], [n], {LAWS}")
    reach = max(float(t.max()), 1e-9)
    spans = {"b": (1e-3 / reach, 1e3), "c": (1e-2, 1e1), "d": (1e-4 / reach, 1e2 / reach)}
    rates = {"exponential": "b", "power": "bc", "wickelgren": "bcd"}[law]
    spread = [np.log(spans[name]) for name in rates]
    points = 40 if len(rates) < 3 else 24
    best = np.zeros(len(rates))
    amplitude = squares = 0.0
    for _ in range(12):
        axes = [np.linspace(low, high, points, dtype=np.float64) for low, high in spread]
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


def aic(ages: ArrayLike, retention: ArrayLike, law: str) -> float:
    """Akaike's information criterion of a fitted forgetting curve, n ln(RSS / n) + 2k; smaller is better.

    >>> t = np.array([0.0, 1, 3, 10, 30, 100])
    >>> aic(t, (1 + t) ** -0.5, "power") < aic(t, (1 + t) ** -0.5, "exponential")
    True
    """
    fit, squares = forgetting(ages, retention, law)
    n = np.asarray(ages).size
    return float(n * np.log(max(squares, 1e-20) / n) + 2 * len(fit))


def dominated(x: ArrayLike, y: ArrayLike) -> Numbers:
    """The area [s] of the points from 0 that are dominated by one of a subject's points (x [s, n], y [s, n]).

    >>> dominated([[1.0, 0.5]], [[0.5, 1.0]]).tolist()
    [0.75]
    """
    x, y = np.maximum(np.asarray(x, np.float64), 0.0), np.maximum(np.asarray(y, np.float64), 0.0)
    order = np.argsort(x, 1)
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
    best = np.maximum.accumulate(y[:, ::-1], 1)[:, ::-1]  # the best y of a point as far as this one
    return (np.diff(x, axis=1, prepend=0.0) * best).sum(1)
