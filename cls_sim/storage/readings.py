"""Derived readings: the last reading of every probe, and forgetting and transfer from readings by context."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.core.errors import ConfigError
from cls_sim.statistics.curves import mean_where
from cls_sim.storage.trace import Trace


def readings(trace: Trace) -> dict[str, np.ndarray]:
    """The last reading of every probe [s], averaged over contexts, and the readings derived from it.

    For a reading [s, k] by context, measured at context ends: NAME.forgetting, NAME.backward and NAME.forward; if it is
    also measured within contexts, NAME.stability_gap, NAME.min_old, NAME.anytime, and, for windows of `WINDOW` looks,
    NAME.windowed_forgetting and NAME.windowed_plasticity.  For a reading [s] that is measured at `every N`: NAME.mean
    over these moments.
    """
    found: dict[str, np.ndarray] = {}
    for name in trace.names():
        if name == RAW:
            continue
        last = trace.last(name)
        found[name] = last if last.ndim == 1 else mean_where(last)
        if last.ndim == 1 and any(row["moment"].startswith("every ") and name in row["readings"] for row in trace.rows):
            found[f"{name}.mean"] = _over_time(trace, name)
        if last.ndim == 2 and trace.is_taken(name, "context.end"):
            found |= {f"{name}.{k}": v for k, v in statistics.transfer(trace.matrix(name)).items() if k != "final"}
            if any(row["moment"].startswith(WITHIN) and name in row["readings"] for row in trace.rows):
                found |= {f"{name}.{k}": v for k, v in _dips(trace, name).items()}
    return found


RAW = "answers"  # raw answers are no reading (see looks.py)
WINDOW = 10  # looks of a window
WITHIN = ("day.end", "night.end", "every ")  # moments within contexts


def _over_time(trace: Trace, name: str) -> np.ndarray:
    """The mean [s] of a reading [s] over the moments `every N`; NaN where it is never defined."""
    rows = [
        row["readings"][name] for row in trace.rows if row["moment"].startswith("every ") and name in row["readings"]
    ]
    return np.array([finite_mean(values) for values in np.stack(rows, 1)])


def finite_mean(numbers: ArrayLike) -> float:
    """The mean of the finite numbers; NaN if there are none."""
    values = np.asarray(numbers, np.float64)
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _dips(trace: Trace, name: str) -> dict[str, np.ndarray]:
    """The `dips` of every subject [s], and its `anytime` accuracy, from the rows that the subject reached."""
    rows = [row for row in trace.rows if name in row["readings"]]
    values = np.stack([row["readings"][name] for row in rows])  # [t, s, k]
    who = np.stack([row.get("who", np.ones(trace.subjects, bool)) for row in rows])  # [t, s]
    ends = np.array([row["moment"] == "context.end" for row in rows])
    found = [dips(values[who[:, i], i], ends[who[:, i]]) for i in range(trace.subjects)]
    derived = {key: np.array([one[key] for one in found]) for key in ("stability_gap", "min_old")}
    often = np.array([row["moment"].startswith("every ") for row in rows])
    looks = often if often.any() else np.array([row["moment"] == "day.end" for row in rows])
    if looks.any():
        by_subject = ((values[w, i], ends[w], looks[w]) for i, w in enumerate(who.T))
        derived["anytime"] = np.array([anytime(*one) for one in by_subject])
        for key, sign in (("windowed_forgetting", -1), ("windowed_plasticity", 1)):
            changes = [[windowed(v, WINDOW, sign) for v in values[w & looks, i].T] for i, w in enumerate(who.T)]
            derived[key] = np.array([finite_mean(one) for one in changes])
    return derived


def anytime(values: np.ndarray, ends: np.ndarray, looks: np.ndarray) -> float:
    """Average anytime accuracy of one subject: the mean over all looks of the mean over the contexts met so far.

    values  readings [t, k]; contexts are learnt in order
    ends    bool [t]: the rows measured at context ends
    looks   bool [t]: the rows that count

    NaN without looks.  Source: Caccia et al. 2022.

    >>> anytime(np.array([[0.8, 0.0], [0.9, 0.0], [0.5, 0.7]]), np.array([0, 1, 0], bool), np.array([1, 0, 1], bool))
    0.7
    """
    met = np.minimum(np.cumsum(ends) - ends + 1, values.shape[1])
    found = [np.nanmean(row[:n]) for row, n in zip(values[looks], met[looks], strict=True)]
    return round(float(np.mean(found)), 12) if found else float("nan")


def dips(values: np.ndarray, ends: np.ndarray) -> dict[str, float]:
    """Transient forgetting of one subject, from readings [t, k]; contexts are learnt in order.

    ends  bool [t]: the rows measured at context ends

    stability_gap  transient loss: within each later context, the lower of the readings at its two ends minus the
                   minimum in between, at least 0; the mean over old contexts and later contexts
    min_old        minimum reading of an old context since it was learnt, the mean over old contexts (min-ACC)

    NaN without an old context, or without rows in between.

    Source: De Lange, van de Ven & Tuytelaars 2023.

    >>> values = np.array([[0.9, 0.1], [0.3, 0.5], [0.4, 0.8], [0.7, 0.9]])
    >>> found = dips(values, np.array([True, False, False, True]))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'stability_gap': 0.4, 'min_old': 0.3}
    """
    values, at = np.asarray(values, np.float64), np.flatnonzero(ends)
    if values.ndim != 2 or len(values) != len(ends):
        raise ConfigError("dips", f"has shape {values.shape} and {len(ends)} ends", "give [t, k] and [t]")
    drops, least = [], []
    for context in range(min(values.shape[1], len(at) - 1)):
        since = values[at[context] :, context]
        least.append(np.nanmin(since) if np.isfinite(since).any() else np.nan)
        drops += gaps(values[:, context], at[context:])
    mean = {"stability_gap": drops, "min_old": least}
    return {name: float(np.mean(found)) if found else float("nan") for name, found in mean.items()}


def gaps(values: np.ndarray, ends: np.ndarray) -> list[float]:
    """The transient loss within each later context, from the readings [t] of one context.

    ends  the rows at which this context and the later ones end; later contexts without a row in between are left out

    >>> gaps(np.array([0.9, 0.3, 0.4, 0.7]), np.array([0, 3]))
    [0.4]
    """
    found: list[float] = []
    for start, end in pairwise(ends):
        between = values[start + 1 : end]
        if np.isfinite(between).any():
            found.append(round(max(0.0, float(min(values[start], values[end]) - np.nanmin(between))), 12))
    return found


def windowed(values: np.ndarray, window: int, sign: int) -> float:
    """The largest change of one reading [t] within a window; NaN with fewer than two readings.

        max over m < n ≤ m + window - 1 of  sign · (a_n - a_m)

    sign  -1: the largest fall (windowed forgetting); 1: the largest rise (windowed plasticity)

    Source: De Lange, van de Ven & Tuytelaars 2023.

    >>> windowed(np.array([0.1, 0.75, 0.5, 0.7]), 2, -1), windowed(np.array([0.1, 0.7, 0.5, 0.75]), 3, 1)
    (0.25, 0.6)
    """
    steps = range(1, min(window, len(values)))
    changes = [sign * (values[d:] - values[:-d]) for d in steps]
    found = np.concatenate(changes) if changes else np.zeros(0)
    found = found[np.isfinite(found)]
    return round(float(found.max()), 12) if len(found) else float("nan")
