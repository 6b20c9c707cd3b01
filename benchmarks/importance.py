"""The cost of measuring the importance of weights, as a share of the cost of training: CPU seconds of one thread."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from statistics import median

import numpy as np

import cls_sim as cs
from benchmarks.steps import Figure
from benchmarks.work import works

STEPS, ROWS = 2000, 12_000  # of a context of Split MNIST in the protocol of van de Ven et al. 2022


def importance_figures(repetitions: int = 3) -> list[Figure]:
    """The cost of each importance as a share of the training of a context; 784-400-400-10, class, batches of 128."""
    work = replace(works()["w1"], old=0)
    world = work.world(per_context=100, batch=128)
    life = cs.Life(
        world=world,
        neocortex=cs.Mlp(hidden=work.hidden),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=100),
        plasticity=cs.Constant(rate=1e-3),
        replay=cs.Uniform(batch=1),
    )
    for _ in range(40):
        life.step()
    kinds = {
        "exact": (cs.Fisher(labels="exact"), 0.12),
        "empirical": (cs.Fisher(labels="empirical"), 0.04),
        "sampled": (cs.Fisher(labels="sampled"), 0.04),
        "sensitivity (MAS)": (cs.OutputSensitivity(), 0.04),
    }
    for kind, _ in kinds.values():
        kind.setup(life.spec)
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    clock = copy.deepcopy(life.clock)
    clock.experience[:] = world.ends[0]
    batches = list(world.revisit(clock, 500))
    rows = sum(batch.rows for batch in batches)
    for _ in range(repetitions):
        for name, (kind, _) in kinds.items():
            start = time.process_time()
            for _ in range(20):
                life.step()
            step = (time.process_time() - start) / 20
            view = replace(life.view, revisit=lambda size: iter(batches))
            start = time.process_time()
            kind.measure(view, np.ones(life.spec.subjects, bool))
            spent = (time.process_time() - start) / rows * ROWS
            times[name].append((spent, step * STEPS, spent / (step * STEPS)))
    figures = []
    for name, found in times.items():
        ours, limit, ratio = (median(column) for column in zip(*found, strict=True))
        label = name if "MAS" in name else f"Fisher information, {name}"
        figures.append(Figure(f"{label}, of a context's training", "s", ours, limit, ratio, kinds[name][1]))
    return figures
