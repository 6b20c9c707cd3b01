"""Readings of the answers that a run has kept: computed without living again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cls_sim.core.errors import known, whole
from cls_sim.probes.answers import looked
from cls_sim.probes.sampled import recency_bias
from cls_sim.storage.cohort import who_of
from cls_sim.storage.packed import NAME, unpacked
from cls_sim.storage.readings import finite_mean, gaps, windowed
from cls_sim.storage.trace import Trace

FULL = "answers.full"  # the moment of the row at which no more answers were kept


@dataclass(frozen=True)
class Course:
    """The looks of one subject, in order of time.

    counts   bool [t]: looks that count for means over time: those of `every N`, else of the ends of days
    newest   [t]: the context of the latest experience; -1 before any
    met      [t]: the mean accuracy on the sampled contexts met so far
    values   [t, c]: the accuracy on each context that was asked at the last look; NaN before it was asked
    contexts [c]: their numbers
    coming   [t]: the accuracy on the next experience
    bias     [t]: recency bias
    """

    counts: np.ndarray
    newest: np.ndarray
    met: np.ndarray
    values: np.ndarray
    contexts: np.ndarray
    coming: np.ndarray
    bias: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """The last look of each stretch of a context."""
        after = np.append(self.newest[1:] != self.newest[:-1], True)
        return np.flatnonzero(after & (self.newest >= 0))

    def old(self) -> list[tuple[int, np.ndarray]]:
        """The columns of contexts that were learnt before the present one, and the ends of stretches since then."""
        ends, found = self.ends, []
        for column, context in enumerate(self.contexts):
            own = ends[self.newest[ends] == context]
            if len(own) and own[0] != ends[-1]:
                found.append((column, ends[ends >= own[0]]))
        return found


def courses(trace: Trace) -> list[Course]:
    """The course of each subject from a file of answers."""
    looks = [(row, looked(unpacked(row["readings"][NAME]))) for row in trace.rows if row["moment"] != FULL]
    often = any(row["moment"].startswith("every ") for row, _ in looks)
    found: list[Course] = []
    with np.errstate(invalid="ignore"):
        marks = [
            (
                row["moment"].startswith("every ") if often else row["moment"] == "day.end",
                who_of(row),
                look,
                _accuracy(look.y, look.said),
                _accuracy(look.coming_y[:, None], look.coming_said[:, None])[:, 0],
                recency_bias(look),
            )
            for row, look in looks
        ]
    for i in range(trace.subjects):
        mine = [mark for mark in marks if mark[1][i]]
        asked = mine[-1][2].contexts[i] if mine else np.zeros(0, np.int64)
        contexts = asked[asked >= 0]
        values = np.full((len(mine), len(contexts)), np.nan)
        met = np.full(len(mine), np.nan)
        for t, (_, _, look, right, _, _) in enumerate(mine):
            column = {int(context): at for at, context in enumerate(look.contexts[i]) if context >= 0}
            values[t] = [right[i, column[k]] if k in column else np.nan for k in contexts.tolist()]
            sample = right[i, look.drawn[i]]
            met[t] = np.nanmean(sample) if np.isfinite(sample).any() else np.nan
        found.append(
            Course(
                np.array([mark[0] for mark in mine], bool),
                np.array([mark[2].newest[i] for mark in mine], np.int64),
                met,
                values,
                contexts,
                np.array([mark[4][i] for mark in mine]),
                np.array([mark[5][i] for mark in mine]),
            )
        )
    return found


def _accuracy(y: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Accuracy [s, c] of answers [s, c, q]; NaN without questions."""
    there = y >= 0
    return ((y == said) & there).sum(2) / np.where(there.any(2), there.sum(2), np.nan)


# -- the readings -----------------------------------------------------------------------------------------------


def _last(course: Course, window: int) -> float:
    return float(course.met[-1]) if len(course.met) else np.nan


def _min_acc(course: Course, window: int) -> float:
    """Mean over old contexts of the least accuracy since the end of their first stretch."""
    return finite_mean([_least(course.values[ends[0] :, column]) for column, ends in course.old()])


def _worst(course: Course, window: int) -> float:
    """WC-ACC = A_k(t) / k + (1 - 1/k) min-ACC, k the number of contexts."""
    k, own = len(course.contexts), np.flatnonzero(course.contexts == course.newest[-1]) if len(course.newest) else []
    if not len(own) or k < 2:
        return np.nan
    return float(course.values[-1, own[0]] / k + (1 - 1 / k) * _min_acc(course, window))


def _gap(course: Course, window: int) -> float:
    return finite_mean([gap for column, ends in course.old() for gap in gaps(course.values[:, column], ends)])


def _forgetting(course: Course, window: int) -> float:
    """Mean over old contexts of (best accuracy so far - last accuracy)."""
    columns = [course.values[:, column] for column, _ in course.old()]
    return finite_mean([np.nanmax(v) - v[-1] for v in columns if np.isfinite(v).any()])


def _counted(name: str) -> Callable[[Course, int], float]:
    """The mean of these numbers [t] of a course over the looks that count."""
    return lambda course, _: finite_mean(getattr(course, name)[course.counts])


def _windowed(sign: int) -> Callable[[Course, int], float]:
    """The mean over contexts of the largest fall (sign -1) or rise (1) within a window."""
    return lambda course, window: finite_mean([windowed(v, window, sign) for v in course.values.T])


def _least(values: np.ndarray) -> float:
    return float(np.nanmin(values)) if np.isfinite(values).any() else np.nan


LATER = "no subject has answered about an earlier context after a later one began"
BETWEEN = "no answers lie between the two ends of a later context: attach a probe to `every N` or to more days"
FEW = "fewer than two answers about one context"
MEASURES: Mapping[str, tuple[Callable[[Course, int], float], str]] = {
    "accuracy": (_last, "no question was asked"),
    "anytime": (_counted("met"), "no answers at the end of a day or at `every N`"),
    "min_acc": (_min_acc, LATER),
    "worst_case": (_worst, LATER),
    "stability_gap": (_gap, BETWEEN),
    "forgetting": (_forgetting, LATER),
    "windowed_forgetting": (_windowed(-1), FEW),
    "windowed_plasticity": (_windowed(1), FEW),
    "prequential": (_counted("coming"), "no experience followed the end of a day or `every N`"),
    "recency_bias": (_counted("bias"), "no wrong answer on an earlier context, or contexts share their classes"),
}
"""Reading → how it is computed from a course and a window (in looks), and why it may be undefined."""


@dataclass(frozen=True)
class Measure:
    """A reading of kept answers: per_subject [s] (NaN: undefined), and, if no subject has a number, the reason."""

    per_subject: np.ndarray
    why: str | None = None


def measured(traces: Sequence[Trace], reading: str, window: int = 10) -> Measure:
    """A reading of a cohort from the files of answers of its chunks.

    window  number of looks of a window (windowed_forgetting, windowed_plasticity), from 2
    """
    known("reading", reading, MEASURES, f"{reading!r} is not a reading of answers")
    window, (compute, why) = whole("window", window, 2), MEASURES[reading]
    subjects = sum(trace.subjects for trace in traces)
    for trace in traces:
        full = next((row for row in trace.rows if row["moment"] == FULL), None)
        if full is not None:
            day = f"day {float(np.nanmin(full['day'])):g}"
            return Measure(np.full(subjects, np.nan), f"answers end on {day}, at the largest size of their file")
    values = np.array([compute(course, window) for trace in traces for course in courses(trace)])
    return Measure(values, None if np.isfinite(values).any() else why)
