"""`cls-sim-report FOLDER…`: a report of runs on one page, report.html and report.md.

cls-sim-report FOLDER…                 all runs in or below these folders; the report is written to the first folder
cls-sim-report FOLDER… out=PLACE       write the report to PLACE
cls-sim-report FOLDER… reference=ARM   the arm that others are tested against (default: the arm `none`, else the first)

report.html is a single file: it contains the figures, has no script, follows the light or dark mode of the reader, and
can be printed.  report.md has its figures in report_figures/.  For an unfinished run, the report lists what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cls_sim.commands.door import Parser, entered, folders, runs_below
from cls_sim.core.errors import known

if TYPE_CHECKING:
    from cls_sim.commands.report.blocks import Blocks
    from cls_sim.commands.report.facts import Facts

PICTURES = "report_figures"


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim-report`."""
    parser = Parser("cls-sim-report", __doc__, {"out": None, "reference": None})
    return entered(parser, _report, argv, needs="a folder")


def _report(args: argparse.Namespace) -> None:
    runs = folders(args.given)
    for path in write(runs, Path(args.out) if args.out else runs[0], args.reference):
        print(f"report: {path}", flush=True)


def write(folders: Sequence[Path], out: Path, reference: str | None = None) -> list[Path]:
    """Write report.html and report.md of the runs in or below these folders; returns their paths."""
    from cls_sim.commands.pages import page
    from cls_sim.commands.report.blocks import MOODS, WORDS
    from cls_sim.commands.report.facts import facts
    from cls_sim.storage.disk import made, put

    runs = [facts(folder) for folder in runs_below(folders, "run.json", "run", "name a run or a folder of runs")]
    title, blocks = report(runs, reference)
    content = {"title": title, "blocks": blocks, "words": WORDS, "moods": MOODS, "pictures": PICTURES}
    made(out / PICTURES, below=out)
    for block in blocks:
        if block.kind == "Picture":
            put(out / PICTURES / f"{block.name}.png", block.png)
    paths = [out / "report.html", out / "report.md"]
    for path in paths:
        put(path, page(f"report/page{path.suffix}.jinja", **content).encode())
    return paths


def report(runs: Sequence[Facts], reference: str | None = None) -> tuple[str, Blocks]:
    """The title and the blocks of a report."""
    from cls_sim.commands.pages import page
    from cls_sim.commands.report import about, arms, contexts, together
    from cls_sim.commands.report.blocks import Blocks
    from cls_sim.figures.page import label_of
    from cls_sim.sinks.console import by_protocol
    from cls_sim.statistics import FEWEST

    if reference is not None:
        arms_of_all = dict.fromkeys(name for run in runs for name in run.arms)
        known("reference", reference, arms_of_all, f"there is no arm {reference!r} with a finished subject")
    blocks = Blocks()
    words = {name: getattr(blocks, name) for name in ("heading", "text", "points", "terms", "table", "picture")}
    words |= {"about": about, "arms": arms, "contexts": contexts, "together": together}
    words |= {"by_protocol": by_protocol, "label_of": label_of, "fewest": FEWEST}
    if len(runs) > 1:
        page("report/together.jinja", runs=runs, **words)
    for run in runs:
        if len(runs) > 1:
            blocks.chapter(*together.chapter(run, runs))
        mine = next((arm for arm in (reference, "none", *run.arms) if arm in run.arms), "")
        page("report/report.jinja", run=run, reference=mine, **words)
    if len(runs) == 1:
        return runs[0].title or runs[0].experiment, blocks
    return runs[0].experiment if len({run.experiment for run in runs}) == 1 else f"{len(runs)} runs", blocks
