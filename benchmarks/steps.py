"""The cost of a step: ours and the limit alternately, CPU seconds of one thread, medians of paired ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.limit import Loop, Products
from benchmarks.work import Work, works

WARM = 20  # steps before timing starts: memory is allocated, and the store is not empty


@dataclass(frozen=True)
class Figure:
    """One line of the table: the ratio ours / limit should be at most `target`."""

    name: str
    unit: str
    ours: float
    limit: float
    ratio: float
    target: float


def step_figures(repetitions: int = 7) -> list[Figure]:
    """For each work, the time of our step for one subject, against that of the limit."""
    return [figure for work in works().values() for figure in _figures(work, repetitions)]


def _figures(work: Work, repetitions: int) -> list[Figure]:
    per_context = (WARM + repetitions * work.steps) // 5 + 1
    life, loop = work.life(per_context), Loop(work, per_context)
    contestants: dict[str, Callable[[], object]] = {"ours": life.step, "limit": loop.step}
    if work.subjects == 1:
        contestants["products"] = Products(work).step
    else:
        contestants["alone"] = replace(work, subjects=1).life(per_context).step
    times = _in_turns(contestants, work.steps, repetitions)
    ours = [t / work.subjects for t in times["ours"]]
    company = f", {work.subjects} subjects in company" if work.subjects > 1 else ""
    figures = [_figure(f"a step of {work.name}{company}", ours, times["limit"], work.target)]
    if "products" in times:
        figures.append(_figure("  against its matrix products", ours, times["products"], 1.4))
    else:
        figures.append(_figure("  against our own, subject by subject", ours, times["alone"], work.target))
    return figures


def _in_turns(contestants: dict[str, Callable[[], object]], steps: int, repetitions: int) -> dict[str, list[float]]:
    """The CPU milliseconds per step of each contestant, one entry per repetition."""
    for step in contestants.values():
        _timed(step, WARM)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repetitions):
        order = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in order:
            times[name].append(_timed(contestants[name], steps))
    return times


def _timed(step: Callable[[], object], steps: int) -> float:
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps * 1e3


def _figure(name: str, ours: list[float], limit: list[float], target: float) -> Figure:
    ratio = median(a / b for a, b in zip(ours, limit, strict=True))
    return Figure(name, "ms", median(ours), median(limit), ratio, target)
