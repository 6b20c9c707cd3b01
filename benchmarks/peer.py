"""A peer on the same work: van de Ven's continual-learning code, from a checkout that the user has."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.steps import Figure
from benchmarks.whole import OURS, cpu

OPTIONS = {
    "experiment": "splitMNIST",
    "scenario": "class",
    "contexts": 5,
    "batch": 128,
    "fc-layers": 3,
    "fc-units": 400,
    "lr": 0.001,
    "replay": "buffer",
    "budget": 100,
    "acc-n": 10000,  # all questions; with --results-dict after each context, as in ours
}
FLAGS = ("--no-gpus", "--no-save", "--no-samples", "--results-dict")
QUIET = {"TQDM_DISABLE": "1"}  # no progress bar, as in ours


def peer_figures(checkout: str, steps: int = 100, repetitions: int = 7) -> list[Figure]:
    """Ours against the peer: a step, from the difference of runs of 5 x `steps` and 5 x 2 `steps`; and a whole run.

    Both read MNIST from their own folders; the peer downloads it at its first run, which is not timed.  The peer does
    less: it does not replay in the first context, and after each context it asks about those met so far, ours about
    all five.
    """
    main = Path(checkout).resolve() / "main.py"
    if not main.is_file():
        raise SystemExit(f"benchmarks: --peer {checkout}: has no main.py; give a checkout of continual-learning")
    with tempfile.TemporaryDirectory() as results:
        data = main.parent / "store" / "datasets"

        def theirs(iters: int) -> list[str]:
            folders = dict.fromkeys(("results-dir", "model-dir", "plot-dir"), results) | {
                "data-dir": data,
                "iters": iters,
            }
            options = [f"--{name}={value}" for name, value in (OPTIONS | folders).items()]
            return [sys.executable, str(main), *options, *FLAGS]

        def ours(iters: int) -> list[str]:
            return [sys.executable, "-c", OURS.format(steps=iters)]

        subprocess.run(theirs(1), check=True, stdout=subprocess.DEVNULL, cwd=main.parent, env=os.environ | QUIET)
        times = [
            [cpu(ours(n)) for n in (steps, 2 * steps)]
            + [cpu(theirs(n), main.parent, QUIET) for n in (steps, 2 * steps)]
            for _ in range(repetitions)
        ]
    run = [(one[0], one[2]) for one in times]
    step = [((one[1] - one[0]) / (5 * steps) * 1e3, (one[3] - one[2]) / (5 * steps) * 1e3) for one in times]
    return [
        _figure("our step / the peer's", "ms", step, 1 / 2.6, "peer_step"),
        _figure(f"our whole run of 5 x {steps} steps / the peer's", "s", run, 1 / 4, "peer_run"),
    ]


def _figure(name: str, unit: str, pairs: list[tuple[float, float]], target: float, key: str) -> Figure:
    ours, theirs = (median(column) for column in zip(*pairs, strict=True))
    return Figure(name, unit, ours, theirs, median(a / b for a, b in pairs), target, key)
