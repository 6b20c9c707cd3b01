"""Several runs on one page: a table of all runs, and each run as a chapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cls_sim import statistics
from cls_sim.commands.report import expected
from cls_sim.commands.report.arms import verdict
from cls_sim.commands.report.blocks import Blocks, Heading, Picture, Table, without_empty
from cls_sim.commands.report.facts import Facts
from cls_sim.sinks.console import number


def table(runs: Sequence[Facts]) -> Blocks:
    """The table of arms by runs: mean ± SEM, and the verdict on published numbers."""
    with_main = [run for run in runs if run.main]
    if not with_main:
        return []
    arms = list(dict.fromkeys(arm for run in with_main for arm in run.arms))
    families = {name: arm.method for run in with_main for name, arm in run.arms.items()}
    rows = []
    for name in arms:
        cells = [_cell(run, name) if name in run.arms else "–" for run in with_main]
        rows.append([name, expected.family(families[name]), *cells])
    heads = ["arm", "family", *(short(run, with_main) for run in with_main)]
    mains = " or ".join(sorted({run.main for run in with_main if run.main}))
    what = f"Mean {mains} ± SEM over subjects; –: not run, or not possible."
    if any(run.published for run in runs) and all(run.size == "paper" for run in runs):
        what += " If there is a published number: inside its band, outside, or not decided."
    elif any(run.published for run in runs):
        what += " Runs that are smaller than the published ones are not compared with them."
    return [Heading("All runs"), Table(*without_empty(heads, rows), what)]


def _cell(run: Facts, name: str) -> str:
    assert run.main is not None
    e = statistics.estimate(run.arms[name].values[run.main])
    known = run.published.get(name) if run.size == "paper" else None
    said = f", {verdict(e, known, run.size)[1]}" if known else ""
    return f"{number(e.mean)} ± {number(e.sem)}{said}" if e.sem == e.sem else f"{number(e.mean)}{said}"


def short(run: Facts, runs: Sequence[Facts]) -> str:
    """The short name of a run: its scenario if all scenarios are different, else its folder."""
    scenarios = [other.scenario for other in runs]
    if run.scenario and len(set(scenarios)) == len(runs):
        return run.scenario
    return run.folder.name


def chapter(run: Facts, runs: Sequence[Facts]) -> str:
    """The title of a run's chapter, with its folder if another run has the same title."""
    same = sum(other.label == run.label for other in runs) > 1
    return f"{run.label} ({run.folder.name})" if same else run.label


def lowered(blocks: Blocks, prefix: str) -> Blocks:
    """The blocks with headings one level lower, and with the run's name in the names of picture files."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", prefix)
    found: Blocks = []
    for block in blocks:
        if isinstance(block, Heading):
            block = replace(block, level=block.level + 1)
        elif isinstance(block, Picture):
            block = replace(block, name=f"{stem}_{block.name}")
        found.append(block)
    return found
