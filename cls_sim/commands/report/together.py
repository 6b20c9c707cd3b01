"""Several runs on one page: a table of all runs, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cls_sim import statistics
from cls_sim.commands.report import expected
from cls_sim.commands.report.arms import verdict
from cls_sim.commands.report.facts import Facts
from cls_sim.sinks.console import number


def table(runs: Sequence[Facts]) -> list[list[str]]:
    """The table of arms by runs with a main reading: mean ± SEM, and the verdict on published numbers."""
    families = {name: arm.method for run in runs for name, arm in run.arms.items()}
    return [
        [name, expected.family(method), *(_cell(run, name) if name in run.arms else "–" for run in runs)]
        for name, method in families.items()
    ]


def _cell(run: Facts, name: str) -> str:
    e = statistics.estimate(run.arms[name].values[run.main])
    known = run.published.get(name) if run.size == "paper" else None
    said = f", {verdict(e, known, run.size)[1]}" if known else ""
    return f"{number(e.mean)} ± {number(e.sem)}{said}" if e.sem == e.sem else f"{number(e.mean)}{said}"


def names(runs: Sequence[Facts]) -> list[str]:
    """The short name of each run: its scenario if all scenarios are different, else its folder."""
    different = len({run.scenario for run in runs}) == len(runs)
    return [run.scenario if run.scenario and different else run.folder.name for run in runs]


def chapter(run: Facts, runs: Sequence[Facts]) -> tuple[str, str]:
    """The title of a run's chapter, with its folder if another run has the same title; and its name for files."""
    same = sum(other.label == run.label for other in runs) > 1
    title = f"{run.label} ({run.folder.name})" if same else run.label
    return title, re.sub(r"[^A-Za-z0-9_-]", "_", names(runs)[runs.index(run)])
