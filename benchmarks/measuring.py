"""The share of a life that measuring takes: CPU seconds inside `Life.measure` against those of the whole life."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.steps import Figure
from cls_sim.config import experiments
from cls_sim.core.clock import Moment
from cls_sim.life import Life

AIMS = {"digits": 0.08, "split_mnist": 0.15, "replay_policies": 0.25}


def measuring_figures(repetitions: int = 3) -> list[Figure]:
    """For each experiment at size=small, the first arm from birth to its end, without the disk."""
    return [_figure(name, aim, repetitions) for name, aim in AIMS.items()]


def _figure(name: str, aim: float, repetitions: int) -> Figure:
    experiment = experiments.read([f"experiment={name}", "size=small"])
    cfg = next(iter(experiment.arms.values())).cfg
    subjects = min(cfg["subjects"], cfg["chunk"] or cfg["subjects"])
    times = [shares(experiments.make_life(cfg, subjects, cfg["seed"])) for _ in range(repetitions)]
    share = median(measuring / whole for measuring, whole in times)
    return Figure(f"measuring in {name}", "s", *(median(one) for one in zip(*times, strict=True)), share, aim)


def shares(life: Life) -> tuple[float, float]:
    """CPU seconds of all evaluations of a life, and of the whole life with them."""
    measuring, began = 0.0, time.process_time()

    def look(moment: Moment) -> None:
        nonlocal measuring
        start = time.process_time()
        life.measure(moment)
        measuring += time.process_time() - start

    for moment in life.live():
        look(moment)
    return measuring, time.process_time() - began
