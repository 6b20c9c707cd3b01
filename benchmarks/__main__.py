"""`python -m benchmarks`: one table.  A result is good if its ratio is not above its target.

python -m benchmarks              a few minutes
python -m benchmarks --full       whole runs of 5 x 500 steps instead of 5 x 100
python -m benchmarks --steps      only what a step costs
python -m benchmarks --whole      only what a whole process costs
python -m benchmarks --measuring  only what measuring costs
python -m benchmarks --importance only what the importance of weights costs
python -m benchmarks --recall     only what it costs to look through what is stored
python -m benchmarks --sizes      only what size costs: large memories, their checkpoints, networks for images
python -m benchmarks --workers    only what a second worker is worth (needs two idle cores)
python -m benchmarks --peer DIR   only ours against van de Ven's code, from a checkout of continual-learning
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

PARTS = (
    "steps",
    "whole",
    "measuring",
    "importance",
    "recall",
    "sizes",
)  # the table; `workers` and `peer` are asked for


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="whole runs of 5 x 500 steps")
    for part in (*PARTS, "workers"):
        parser.add_argument(f"--{part}", action="append_const", dest="only", const=part, help="only this part")
    parser.add_argument("--peer", metavar="DIR", help="a checkout of github.com/GMvandeVen/continual-learning")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    import torch

    from benchmarks.importance import importance_figures
    from benchmarks.measuring import measuring_figures
    from benchmarks.peer import peer_figures
    from benchmarks.recall import recall_figures
    from benchmarks.sizes import size_figures
    from benchmarks.spread import spread_figure
    from benchmarks.steps import Figure, step_figures
    from benchmarks.whole import main_job_figure, memory_figure, whole_figures
    from benchmarks.work import at_hand

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {_processor()}, one thread, CPU time, ours and the limit in turns, medians")
    if not at_hand():
        print("MNIST is not at hand (CLS_SIM_DATA_DIR): random images of its shape instead")
    steps = 500 if options.full else 100
    made: dict[str, Callable[[], list[Figure]]] = {
        "steps": step_figures,
        "whole": lambda: [*whole_figures(steps), main_job_figure(), memory_figure()],
        "measuring": measuring_figures,
        "importance": importance_figures,
        "recall": recall_figures,
        "sizes": size_figures,
        "workers": lambda: [spread_figure()],
    }
    if options.peer:
        figures = peer_figures(options.peer, steps)
    else:
        figures = [figure for part in options.only or PARTS for figure in made[part]()]
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure':{width}}  {'ours':>10}  {'limit':>10}  {'ratio':>6}  {'target':>6}")
    for f in figures:
        verdict = "" if f.ratio <= f.target else "  above"
        ours, limit = (f"{value:.4g} {f.unit}" for value in (f.ours, f.limit))
        print(f"{f.name:{width}}  {ours:>10}  {limit:>10}  {f.ratio:6.3f}  {f.target:6.3f}{verdict}")
    if options.json:
        named = {f.key: {"ours": f.ours, "limit": f.limit, "ratio": f.ratio, "aim": f.target} for f in figures if f.key}
        Path(options.json).write_text(json.dumps({"processor": _processor(), "figures": named}, indent=1) + "\n")


def _processor() -> str:
    """The name of the processor; ratios hold for it alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    import platform

    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
