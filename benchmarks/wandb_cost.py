"""What W&B costs a life: CPU seconds between the first and the last step, offline against off, in turns.

`python -m benchmarks.wandb_cost` prints two figures: the life's own process, and all processes (with the one that
talks to W&B, and W&B's service).  W&B's start and its finish are told apart.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from benchmarks.steps import Figure

PAIRS = 15
TARGET = 1.02
RUN = ("experiment=digits", "size=small", "arms=[cls]")


def wandb_figures(pairs: int = PAIRS) -> list[Figure]:
    """Median over pairs of the ratio of CPU seconds."""
    seconds: dict[str, list[dict[str, float]]] = {"off": [], "offline": []}
    for pair in range(-1, pairs):  # the first warms up
        for mode in ("off", "offline") if pair % 2 else ("offline", "off"):
            told = lived(mode)
            if pair >= 0:
                seconds[mode].append(told)
    figures = []
    for name, which in (("W&B offline, the life's process", "life"), ("W&B offline, all processes", "all")):
        ours, limit = ([one[which] for one in seconds[mode]] for mode in ("offline", "off"))
        ratio = median(a / b for a, b in zip(ours, limit, strict=True))
        figures.append(Figure(name, "s", median(ours), median(limit), ratio, TARGET))
    return figures


def lived(mode: str) -> dict[str, float]:
    """CPU seconds of one life with W&B `mode`: of its process, and of all."""
    from cls_sim import configs, interrupts, jobs
    from cls_sim.folder import opened
    from cls_sim.mirror import Mirror

    with tempfile.TemporaryDirectory() as place:
        experiment = configs.read([*RUN, f"wandb={mode}", f"out={place}/run"])
        (job,) = jobs.jobs(experiment)[0]
        with opened(experiment) as folder, jobs._one_thread():
            kept = jobs.Kept(job, folder, interrupts.Ear())
            with Mirror(mode, folder, job.name, job.arm.cfg, kept.trace) as kept.mirror:
                children = _started(kept.mirror)
                before = _spent(children)
                kept.live()
                after = _spent(children)
    return {name: after[name] - before[name] for name in after}


def _started(mirror: Any) -> list[int]:
    """The processes of W&B, once it has started; none without it."""
    if mirror.sink is None:
        return []
    wandb = mirror.sink.sink.wandb
    until = time.monotonic() + 60
    while "files" not in wandb.record and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.5)  # its start is over
    parents = {pid: int(_stat(pid)[1]) for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _stat(pid)}
    helper = wandb._process.pid
    return [helper, *(pid for pid, parent in parents.items() if parent == helper)]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _spent(children: list[int]) -> dict[str, float]:
    own = time.process_time()
    theirs = sum(int(stat[11]) + int(stat[12]) for pid in children if (stat := _stat(pid)))
    return {"life": own, "all": own + theirs / os.sysconf("SC_CLK_TCK")}


def main() -> None:
    figures = wandb_figures()
    print(f"{PAIRS} pairs in turns, {' '.join(RUN)}: CPU seconds between the first and the last step, medians")
    for f in figures:
        verdict = "" if f.ratio <= f.target else "  above"
        print(f"{f.name:32}  {f.ours:6.3f} s  off {f.limit:6.3f} s  ratio {f.ratio:.4f}  target {f.target}{verdict}")


if __name__ == "__main__":
    main()
