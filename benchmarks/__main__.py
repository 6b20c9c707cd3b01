"""`python -m benchmarks`: one table.  A result is good if its ratio is not above its target.

python -m benchmarks            a few minutes
python -m benchmarks --full     whole runs of 5 x 500 steps instead of 5 x 100
python -m benchmarks --steps    only the cost of a step
python -m benchmarks --importance   only the cost of the importance of weights
python -m benchmarks --workers  only the speed-up by a second worker (needs two idle cores)
python -m benchmarks --recall   only the cost of a search through all stored episodes
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="whole runs of 5 x 500 steps")
    parser.add_argument("--steps", action="store_true", help="only the cost of a step")
    parser.add_argument("--workers", action="store_true", help="only what a second worker is worth")
    parser.add_argument("--importance", action="store_true", help="only the cost of the importance of weights")
    parser.add_argument("--recall", action="store_true", help="only recall at scale")
    options = parser.parse_args()
    import torch

    from benchmarks.importance import importance_figures
    from benchmarks.recall import recall_figures
    from benchmarks.spread import spread_figure
    from benchmarks.steps import step_figures
    from benchmarks.whole import memory_figure, whole_figures
    from benchmarks.work import at_hand

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, CPU time, ours and the limit in turns, medians")
    if not at_hand():
        print("MNIST is not at hand (CLS_SIM_DATA_DIR): random images of its shape instead")
    if options.importance or options.recall:
        figures = importance_figures() if options.importance else recall_figures()
    else:
        figures = [spread_figure()] if options.workers else step_figures()
    if not (options.steps or options.workers or options.importance or options.recall):
        figures += importance_figures()
        figures += [*whole_figures(500 if options.full else 100), memory_figure(), *recall_figures()]
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure':{width}}  {'ours':>10}  {'limit':>10}  {'ratio':>6}  {'target':>6}")
    for f in figures:
        verdict = "" if f.ratio <= f.target else "  above"
        ours, limit = (f"{value:.4g} {f.unit}" for value in (f.ours, f.limit))
        print(f"{f.name:{width}}  {ours:>10}  {limit:>10}  {f.ratio:6.3f}  {f.target:6.3f}{verdict}")


if __name__ == "__main__":
    main()
