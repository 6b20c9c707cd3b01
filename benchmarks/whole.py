"""The cost of a whole process: Split MNIST from start to exit, the time to the first step, the bytes of a memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.steps import Figure
from benchmarks.work import works

LIMIT = """
import torch; torch.set_num_threads(1)
from benchmarks.limit import Loop, Prototype
from benchmarks.work import works
loop = {loop}(works()["w1"], {steps})
for _ in range(5):
    for _ in range({steps}): loop.step()
    print(loop.accuracy())
"""
OURS = """
import torch; torch.set_num_threads(1)
import cls_sim as cs
from benchmarks.work import works
life = works()["w1"].life({steps}, probes={{"accuracy": cs.Accuracy().at("context.end")}})
print(cs.run(life, progress=False).last("accuracy"))
"""
IMPORTS = "import torch, hydra"
ONE_ARM = """
from cls_sim.config.experiments import build
build("experiment=digits", "subjects=1").step()
"""
SEVEN_ARMS = """
from cls_sim.config import experiments
experiment = experiments.read(["experiment=digits", "subjects=1"])
cfg = next(iter(experiment.arms.values())).cfg
experiments.make_life(cfg, 1, cfg["seed"]).step()
"""


def whole_figures(steps: int, repetitions: int = 7) -> list[Figure]:
    """A whole run of Split MNIST, `steps` per context with an evaluation after each; and the time to the first step."""
    limit = {"limit": LIMIT.format(steps=steps, loop="Loop")}
    ours, least = {"ours": OURS.format(steps=steps)}, {"ours": LIMIT.format(steps=steps, loop="Prototype")}
    name = f"a whole run of {works()['w1'].name}, 5 x {steps} steps"
    prototype = "  a hand-written prototype that keeps the same / the loop"
    one, seven = ({"ours": ours, "limit": IMPORTS} for ours in (ONE_ARM, SEVEN_ARMS))
    return [
        _figure(name, ours | limit, repetitions, 0.78, "w1_run"),
        _figure(prototype, least | limit, repetitions, 0.78, "w1_run_prototype"),
        _figure("one arm, start to first step / import torch, hydra", one, 7, 1.12, "start_one"),
        _figure("seven arms, start to first step / the same", seven, 7, 1.22, "start_seven"),
    ]


def main_job_figure(repetitions: int = 7) -> Figure:
    """CPU seconds of `make run` without its set-up, against a limit of 22 s."""
    times = []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as out:
            times.append(cpu([sys.executable, "-m", "cls_sim", "experiment=digits", f"out={out}/run"]))
    seconds = median(times)
    return Figure("make run without set-up / 22 s", "s", seconds, 22.0, seconds / 22.0, 1.0, "make_run")


def memory_figure() -> Figure:
    """The bytes of one stored MNIST episode, as a subject counts them, against those of the image."""
    life = works()["w1"].life(10)
    own = life.hippocampus.stored_bytes().item() / works()["w1"].capacity
    tensors = sum(t.nbytes for t in life.hippocampus.state().values() if t.dim() > 1) / works()["w1"].capacity
    bytes_ = max(own, tensors)
    return Figure("a stored MNIST episode", "B", bytes_, 784, bytes_ / 784, 800 / 784, "episode_bytes")


def _figure(name: str, scripts: dict[str, str], repetitions: int, target: float, key: str) -> Figure:
    times: dict[str, list[float]] = {who: [] for who in scripts}
    for turn in range(repetitions):
        for who in list(scripts) if turn % 2 else list(scripts)[::-1]:
            times[who].append(cpu([sys.executable, "-c", scripts[who]]))
    ratio = median(a / b for a, b in zip(times["ours"], times["limit"], strict=True))
    return Figure(name, "s", median(times["ours"]), median(times["limit"]), ratio, target, key)


def cpu(command: Sequence[str], folder: Path | None = None, variables: Mapping[str, str] | None = None) -> float:
    """CPU seconds of a process, user and system, run in this folder with these environment variables besides ours."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=os.environ | (variables or {}))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
