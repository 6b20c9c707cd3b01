"""Arrays of readings for figures, and the rows of data of an estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.core.errors import refuse_if
from cls_sim.figures.page import FEW, Row
from cls_sim.statistics.curves import mean_where


class Arm:
    """An arm's name, its number (for its colour), and the days at which its contexts ended."""

    def __init__(self, name: str, number: int, ends: Sequence[float]):
        self.name, self.number, self.ends = name, number, ends


def lives_of(
    traces: Any, reading: str, moment: str | None, by_context: bool = False
) -> list[tuple[Arm, np.ndarray, np.ndarray]]:
    """For each arm, its days [t] and values [t, s] or [t, s, k]; with `by_context`, [t, s] is refused."""
    found = []
    for number, (name, trace) in enumerate(by_arm(traces).items()):
        if isinstance(trace, tuple):
            days, values, ends = *trace, []
        else:
            days, values = trace.reading(reading, moment)
            rows = [row for row in trace.rows if row["moment"] == "context.end"]
            ends = sorted({float(np.mean(row["day"][row.get("who", ...)])) for row in rows})
        values = np.asarray(values, np.float64)
        refuse_if(by_context and values.ndim != 3, reading, "is not a reading by context", "name one that gives [s, k]")
        there = ~np.isnan(values.reshape(len(values), -1)).all(1)
        found.append((Arm(name, number, ends), np.asarray(days, np.float64)[there], values[there]))
    return found


def by_arm(given: Any) -> Mapping[str, Any]:
    return {} if given is None else given if isinstance(given, Mapping) else {"": given}


def overall(values: np.ndarray) -> np.ndarray:
    """[t, s, k] → [t, s], the mean over the contexts that are not NaN."""
    return values if values.ndim == 2 else mean_where(values, axis=2)


def latest(values: np.ndarray) -> np.ndarray:
    """[t, s] → [s], the last number of each subject."""
    there = ~np.isnan(values)
    last = len(values) - 1 - there[::-1].argmax(0)
    return np.take_along_axis(values, last[None], 0)[0]


def finite_places(x: np.ndarray, log: bool) -> np.ndarray:
    """The positions of swept numbers on an axis; infinity is one step to the right of the last finite number."""
    finite = np.sort(x[np.isfinite(x)])
    if len(finite) < 2 or len(finite) == len(x):
        return x
    last, step = finite[-1], finite[-1] / finite[-2] if log else finite[-1] - finite[-2]
    return np.where(np.isfinite(x), x, last * step if log else last + step)


def subjects_of(arm: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, np.float64)
    refuse_if(array.ndim != 1, arm, f"has shape {array.shape}", "give one number per subject, [s]")
    return array


def estimated(values: np.ndarray) -> statistics.Estimate:
    """The estimate over the second axis: [n, s] → arrays [n]; [n, m, s] → [n, m]."""
    return statistics.estimate(np.moveaxis(values, -1, 0))


def entries(e: statistics.Estimate, *place: int) -> Row:
    """The numbers of an estimate for a row of data; with `place`, those of one of its entries."""
    names = ("mean", "sem", "low", "high", "n")
    return {name: getattr(e, name)[place] if place else getattr(e, name) for name in names}


def rows_of(e: statistics.Estimate, values: np.ndarray | None, **places: Any) -> list[Row]:
    """The rows of data of an estimate, one per point, with the subjects if there are few."""
    found = []
    for i in range(len(e.mean)):
        row = {name: place[i] if isinstance(place, np.ndarray) else place for name, place in places.items()}
        row |= entries(e, i)
        if values is not None and values.shape[1] <= FEW:
            row |= {f"subject_{j}": value for j, value in enumerate(values[i])}
        found.append(row)
    return found
