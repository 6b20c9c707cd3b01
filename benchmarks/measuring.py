"""The share of a life that measuring takes: CPU seconds inside `Life.measure` against those of the whole life."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.steps import Figure
from benchmarks.work import at_hand
from cls_sim.config import experiments
from cls_sim.life import Life

AIMS = {"digits": 0.08, "split_mnist": 0.15, "replay_policies": 0.25}


def measuring_figures(repetitions: int = 7) -> list[Figure]:
    """For each experiment at size=small, the first arm from birth to its end, without the disk."""
    return [_figure(name, aim, repetitions) for name, aim in AIMS.items() if name != "split_mnist" or at_hand()]


def _figure(name: str, aim: float, repetitions: int) -> Figure:
    experiment = experiments.read([f"experiment={name}", "size=small"])
    cfg = next(iter(experiment.arms.values())).cfg
    subjects = min(cfg["subjects"], cfg["chunk"] or cfg["subjects"])
    times = [_seconds(experiments.make_life(cfg, subjects, cfg["seed"])) for _ in range(repetitions)]
    share = median(part / all_ for part, all_ in times)
    measuring, whole = (median(one) for one in zip(*times, strict=True))
    return Figure(f"measuring in {name}", "s", measuring, whole, share, aim, f"measuring_{name}")


def _seconds(life: Life) -> tuple[float, float]:
    """CPU seconds of all evaluations of a life, and of the whole life with them."""
    measuring, began = 0.0, time.process_time()
    for moment in life.live():
        start = time.process_time()
        life.measure(moment)
        measuring += time.process_time() - start
    return measuring, time.process_time() - began
