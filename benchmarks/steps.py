"""The cost of a step: ours and the limit alternately, CPU seconds of one thread, medians of paired ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.limit import Loop, Products, Prototype, SparsePrototype
from benchmarks.work import Work, works
from cls_sim.config.experiments import build

WARM = 20  # steps before timing starts: memory is allocated, and the store is not empty


@dataclass(frozen=True)
class Figure:
    """One line of the table: the ratio ours / limit should be at most `target`; `key` names it in --json."""

    name: str
    unit: str
    ours: float
    limit: float
    ratio: float
    target: float
    key: str = ""


def step_figures(repetitions: int = 7) -> list[Figure]:
    """Of each work, our step against the limit's, for a subject; and the waking tick of a sparse memory."""
    figures = [figure for work in works().values() for figure in _figures(work, repetitions)]
    return [*figures, *sparse_figures(repetitions)]


def sparse_figures(repetitions: int, subjects: int = 512) -> list[Figure]:
    """A waking tick of the experiment `digits`, a subject of a large cohort: its sparse memory encodes ten images.

    The limits are 60 microseconds, and a hand-written memory that keeps and decides the same.
    """
    life = build("experiment=digits", f"subjects={subjects}")
    day = life.spec.per_day
    while life.clock.experience[0] < day or life.clock.asleep.any():  # a first day and its night
        life.step()
    prototype, steps = SparsePrototype(subjects), (day - 2) // repetitions
    times = _in_turns({"ours": life.step, "limit": prototype.step}, steps, repetitions, warm=1)
    ours, limit = ([t / subjects * 1e3 for t in times[name]] for name in ("ours", "limit"))
    name = f"a waking tick with a sparse memory, {subjects} subjects"
    goal = Figure(f"{name} / 60 us", "us", median(ours), 60.0, median(ours) / 60.0, 1.0, "cohort_sparse")
    least = _figure("  against a hand-written prototype that keeps the same", ours, limit, 1.3, "sparse_prototype")
    return [goal, replace(least, unit="us")]


def _figures(work: Work, repetitions: int) -> list[Figure]:
    per_context = (WARM + repetitions * work.steps) // 5 + 1
    life, loop = work.life(per_context), Loop(work, per_context)
    contestants: dict[str, Callable[[], object]] = {"ours": life.step, "limit": loop.step}
    contestants["prototype"] = Prototype(work, per_context).step
    if work.key == "w1_step":
        contestants["products"] = Products(work).step
    elif work.subjects > 1:
        contestants["alone"] = replace(work, subjects=1).life(per_context).step
    times = _in_turns(contestants, work.steps, repetitions)
    ours = [t / work.subjects for t in times["ours"]]
    company = f", {work.subjects} subjects in company" if work.subjects > 1 else ""
    figures = [_figure(f"a step of {work.name}{company}", ours, times["limit"], work.target, work.key)]
    least = [t / work.subjects for t in times["prototype"]]
    figures.append(
        _figure("  a hand-written prototype that keeps the same / the loop", least, times["limit"], work.target)
    )
    if work.key == "w1_step":
        figures.append(_figure("  against its matrix products", ours, times["products"], 1.5, "w1_products"))
    if work.subjects > 1:
        figures.append(_figure("  against our own, subject by subject", ours, times["alone"], work.target))
    return figures


def _in_turns(
    contestants: dict[str, Callable[[], object]], steps: int, repetitions: int, warm: int = WARM
) -> dict[str, list[float]]:
    """CPU milliseconds a step of each contestant, one list entry a repetition."""
    for step in contestants.values():
        _timed(step, warm)
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


def _figure(name: str, ours: list[float], limit: list[float], target: float, key: str = "") -> Figure:
    ratio = median(a / b for a, b in zip(ours, limit, strict=True))
    return Figure(name, "ms", median(ours), median(limit), ratio, target, key)
