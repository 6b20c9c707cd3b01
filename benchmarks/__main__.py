"""`python -m benchmarks`: one table.  A figure is good when its ratio is not above its target.

python -m benchmarks            a few minutes
python -m benchmarks --full     whole runs of 5 x 500 steps instead of 5 x 100
python -m benchmarks --steps    only what a step costs
python -m benchmarks --importance   only what the importance of weights costs
python -m benchmarks --workers  only what a second worker is worth (needs two idle cores)
python -m benchmarks --recall   only what it costs to look through what is stored
python -m benchmarks --measuring    only the share of measuring in three small experiments
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
    parser.add_argument("--steps", action="store_true", help="only what a step costs")
    parser.add_argument("--workers", action="store_true", help="only what a second worker is worth")
    parser.add_argument("--importance", action="store_true", help="only what the importance of weights costs")
    parser.add_argument("--recall", action="store_true", help="only recall at scale")
    parser.add_argument("--measuring", action="store_true", help="only the share of measuring")
    options = parser.parse_args()
    import torch

    from benchmarks.importance import importance_figures
    from benchmarks.measuring import measuring_figures
    from benchmarks.recall import recall_figures
    from benchmarks.spread import spread_figure
    from benchmarks.steps import step_figures
    from benchmarks.whole import memory_figure, whole_figures
    from benchmarks.work import at_hand

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, CPU time, ours and the limit in turns, medians")
    if not at_hand():
        print("MNIST is not at hand (CLS_SIM_DATA_DIR): random images of its shape instead")
    some = {
        "importance": importance_figures,
        "recall": recall_figures,
        "measuring": measuring_figures,
        "workers": lambda: [spread_figure()],
        "steps": step_figures,
    }
    chosen = [figures for name, figures in some.items() if getattr(options, name)][:1]
    figures = [figure for figures in chosen for figure in figures()]
    if not chosen:
        figures = [*step_figures(), *importance_figures(), *whole_figures(500 if options.full else 100)]
        figures += [memory_figure(), *recall_figures(), *measuring_figures()]
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure':{width}}  {'ours':>10}  {'limit':>10}  {'ratio':>6}  {'target':>6}")
    for f in figures:
        verdict = "" if f.ratio <= f.target else "  above"
        ours, limit = (f"{value:.4g} {f.unit}" for value in (f.ours, f.limit))
        print(f"{f.name:{width}}  {ours:>10}  {limit:>10}  {f.ratio:6.3f}  {f.target:6.3f}{verdict}")


if __name__ == "__main__":
    main()
