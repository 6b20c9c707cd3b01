"""The cost of W&B for a life: CPU seconds between the first and the last step, wandb=offline against wandb=off.

`python -m benchmarks.wandb_cost` prints two figures: the process of the life, and all processes (with the one that
sends rows to W&B, and the service of W&B).  The start and the end of W&B are not counted.

A pair is two lives with W&B and two without.  One of each run alternately in one process, a few ticks at a time, so
that other work of the machine slows both equally.  They are two threads on one core that pass a baton, each with its
own clock of CPU time.  The second pair runs in the opposite order.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from benchmarks.steps import Figure

PAIRS = 15
TARGET = 1.02
TICKS = 20  # ticks of a turn
RUN = ("experiment=digits", "size=small", "arms=[cls]")


def wandb_figures(pairs: int = PAIRS) -> list[Figure]:
    """The medians over pairs, and the medians of the ratios."""
    told = []
    for _ in range(pairs):
        one, other = pair(offline_first=False), pair(offline_first=True)  # the first one costs some per cent more
        told.append({key: one[key] + other[key] for key in one})
    figures = []
    for name, which in (("W&B offline, the life's process", "life"), ("W&B offline, all processes", "all")):
        ratio = median(one[which] / one["off"] for one in told)
        ours, limit = (median(one[key] for one in told) for key in (which, "off"))
        figures.append(Figure(name, "s", ours, limit, ratio, TARGET))
    return figures


class Baton:
    """A progress bar of a life: after TICKS ticks, the life waits until the other one has made as many."""

    def __init__(self) -> None:
        self.turn, self.ticks, self.other = threading.Semaphore(0), 0, self

    def update(self, _: Any) -> None:
        self.ticks += 1
        if self.ticks % TICKS == 0:
            self.other.turn.release()
            self.turn.acquire()

    def close(self) -> None:
        """The life is over; the other one continues alone."""
        for _ in range(10_000):
            self.other.turn.release()


def pair(offline_first: bool = False) -> dict[str, float]:
    """CPU seconds of two equal lives: `off` without W&B; with it `life`, its own process, and `all`."""
    from cls_sim.config import experiments
    from cls_sim.core import signals
    from cls_sim.running import job as all_jobs
    from cls_sim.running import jobs
    from cls_sim.sinks.wandb_run import WandbRun
    from cls_sim.storage.run_directory import opened

    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place, jobs._one_thread(), ExitStack() as stack:
        lives: dict[str, Any] = {}
        for mode in ("off", "offline"):
            experiment = experiments.read([*RUN, f"wandb={mode}", f"out={place}/{mode}"])
            (job,) = all_jobs.jobs(experiment)
            folder = stack.enter_context(opened(experiment))
            lives[mode] = kept = jobs.CheckpointedLife(job, folder, signals.SignalHandler())
            kept.wandb_run = stack.enter_context(WandbRun(mode, folder, job.name, job.arm.cfg, kept.trace))
        children = _started(lives["offline"].wandb_run)
        place_of_both = set(list(os.sched_getaffinity(0))[:1]) if hasattr(os, "sched_getaffinity") else set()
        batons = {mode: Baton() for mode in lives}
        batons["off"].other, batons["offline"].other = batons["offline"], batons["off"]

        def live(mode: str) -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, place_of_both)  # of this thread alone
            batons[mode].turn.acquire()
            start = time.thread_time()
            lives[mode].live(batons[mode])
            seconds[mode] = time.thread_time() - start
            batons[mode].close()

        threads = [threading.Thread(target=live, args=(mode,)) for mode in lives]
        before, whole = _spent(children), time.process_time()
        for thread in threads:
            thread.start()
        batons["offline" if offline_first else "off"].turn.release()
        for thread in threads:
            thread.join()
        others = time.process_time() - whole - seconds["off"] - seconds["offline"]  # threads that send rows
        life = seconds["offline"] + max(0.0, others)
        return {"off": seconds["off"], "life": life, "all": life + _spent(children) - before}


def _started(mirror: Any) -> list[int]:
    """The processes of W&B after its start."""
    wandb = mirror.sink.sink.wandb
    until = time.monotonic() + 60
    while "files" not in wandb.record and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.5)  # until its start is over
    parents = {pid: int(_stat(pid)[1]) for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _stat(pid)}
    helper = wandb._process.pid
    return [helper, *(pid for pid, parent in parents.items() if parent == helper)]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _spent(children: list[int]) -> float:
    """CPU seconds of other processes."""
    ticks = sum(int(stat[11]) + int(stat[12]) for pid in children if (stat := _stat(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    figures = wandb_figures()
    print(f"{PAIRS} pairs in turns, {' '.join(RUN)}: CPU seconds between the first and the last step, medians")
    for f in figures:
        verdict = "" if f.ratio <= f.target else "  above"
        print(f"{f.name:32}  {f.ours:6.3f} s  off {f.limit:6.3f} s  ratio {f.ratio:.4f}  target {f.target}{verdict}")


if __name__ == "__main__":
    main()
