"""The speed-up by a second worker: wall-clock time of a whole process on two idle cores."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from statistics import median

from benchmarks.steps import Figure

# about a minute of one core
JOB = ["experiment=digits", "arms=[cls]", "subjects=8", "chunk=4", "rhythm.steps_per_night=3500"]


def spread_figure(repetitions: int = 3) -> Figure:
    """Two workers against one, from start to exit with imports, summary and figures; the goal is at most 1 / 1.7."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(repetitions):
        for workers in (1, 2) if turn % 2 else (2, 1):
            times[workers].append(_wall(workers))
    ratio = median(two / one for one, two in zip(times[1], times[2], strict=True))
    return Figure("a run of a minute with two workers (wall)", "s", median(times[2]), median(times[1]), ratio, 1 / 1.7)


def _wall(workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cls_sim", *JOB, f"workers={workers}", f"out={folder}/run"]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start
