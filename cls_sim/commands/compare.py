"""`cls-sim-compare DIR…`: compare runs and sweeps in one table and one figure.

cls-sim-compare DIR…                compare the main reading of all runs in these folders
cls-sim-compare DIR… reading=NAME   compare another reading, such as accuracy.forgetting
cls-sim-compare DIR… out=FOLDER     also write table.csv, table.md and figure.png, .pdf, .csv to FOLDER

Rows are grouped by arm.  Each row is compared with the same arm of the first run; if the first run does not have this
arm, with the first row.  Comparisons are paired by subject: they use the seeds that both rows have.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cls_sim.commands import markup
from cls_sim.commands.door import Parser, entered, folders, runs_below
from cls_sim.core.errors import ConfigError, known
from cls_sim.storage import summary, tidy
from cls_sim.storage.disk import made, put, read
from cls_sim.storage.tidy import cell


@dataclass(frozen=True)
class Run:
    """A finished run.

    label  its name in the table
    seeds  arm → the seed of the first subject; subject i has that + i
    """

    label: str
    summary: summary.Summary
    seeds: dict[str, int]


@dataclass
class Row:
    """A line of the table: a run's arm, and the row that it is compared with."""

    run: Run
    arm: str
    values: Any
    against: Row | None = None
    estimate: Any = None
    difference: Any = None  # paired by subject; None if no subject is in both
    name: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim-compare`."""
    parser = Parser("cls-sim-compare", __doc__, {"out": None, "reading": None})
    return entered(parser, _compare, argv, needs="a folder")


def _compare(args: argparse.Namespace) -> None:
    runs = collect(folders(args.given))
    reading = args.reading or _main(runs)
    rows = compared(runs, reading)
    from cls_sim.sinks import console

    console.show([_table(rows, reading), _told(runs, rows)], sys.stdout)
    if args.out:
        _write(Path(args.out), rows, reading)


# -- the runs -----------------------------------------------------------------------------------------------


def collect(folders: Sequence[str | Path]) -> list[Run]:
    """Every finished run in or below these folders, in the order of the folders, then by name."""
    found = runs_below(folders, "summary.json", "finished run", "name a run or a sweep", _naturally)
    common = Path(os.path.commonpath([path.parent for path in found]))
    return [_run(path, summary.printable(str(path.relative_to(common)))) for path in found]


def _naturally(path: Path) -> list[Any]:
    """A sort key by numeric value: 2 comes before 10.

    >>> sorted(["x=10", "x=-1", "x=2", "x=0.5"], key=lambda name: _naturally(Path(name)))
    ['x=-1', 'x=0.5', 'x=2', 'x=10']
    """
    parts = re.split(r"((?<![\d.])-?\d+\.?\d*(?:e[+-]?\d+)?)", str(path))
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def _run(folder: Path, label: str) -> Run:
    told, record = summary.read(folder), folder / "run.json"
    try:
        arms = read(record).get("arms", {}) if record.is_file() else {}
        seeds = {arm: int(arms.get(arm, {}).get("seed", told.seed)) for arm in told.arms}
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(str(record), "is damaged", "leave its folder out, or resume that run") from None
    if not seeds or not any(len(told.arms[arm].readings) for arm in seeds):
        raise ConfigError(str(folder / "summary.json"), "has no arm with a reading", "leave its folder out")
    return Run(label, told, seeds)


# -- the comparison -----------------------------------------------------------------------------------------


def _main(runs: Sequence[Run]) -> str:
    """The main reading, which must be the same in all runs."""
    first, main = runs[0], runs[0].summary.main
    for run in runs:
        if main is None or run.summary.main != main:
            reason = f"has the main reading {run.summary.main}, and {first.label} has {main}"
            common = set.intersection(*(set(arm.readings) for run in runs for arm in run.summary.arms.values()))
            remedy = f"give reading=, one of {', '.join(sorted(common))}" if common else "compare other runs"
            raise ConfigError(run.label, reason, remedy)
    assert main is not None
    return main


def compared(runs: Sequence[Run], reading: str) -> list[Row]:
    """The rows of the table by arm: estimates, and paired differences over common seeds."""
    first = runs[0]
    for run in runs:
        if run.summary.experiment != first.summary.experiment:
            reason = f"is of the experiment {run.summary.experiment}, {first.label} of {first.summary.experiment}"
            raise ConfigError(run.label, reason, "compare runs of one experiment")
        for name, arm in run.summary.arms.items():
            known(f"{run.label}: {name}", reading, arm.readings, f"has no reading {reading!r}")
    from cls_sim import statistics

    arms = list(dict.fromkeys(arm for run in runs for arm in run.seeds))
    where = [(run, arm) for arm in arms for run in runs if arm in run.seeds]
    rows = [Row(run, arm, run.summary.arms[arm].readings[reading].per_subject) for run, arm in where]
    for row in rows:
        name = row.arm if len(runs) == 1 else row.run.label if len(arms) == 1 else f"{row.arm} {row.run.label}"
        again = sum(other.name.rstrip("'") == name for other in rows)  # two that look the same
        row.name = name + "'" * again
        row.estimate = statistics.estimate(row.values)
        mine = next((other for other in rows if other.run is first and other.arm == row.arm), rows[0])
        row.against = rows[0] if mine is row and row is not rows[0] else mine if mine is not row else None
        if row.against is not None:
            row.difference = _paired(row, row.against)
    return rows


def _paired(a: Row, b: Row) -> Any:
    """The paired difference a - b over common seeds; None if there are none."""
    from cls_sim import statistics

    x, y = common_subjects(*((row.run.seeds[row.arm], row.values) for row in (a, b)))
    return statistics.paired(x, y) if len(x) else None


def common_subjects(*arms: tuple[int, Any]) -> list[Any]:
    """The values of the subjects that all of these arms have, each arm given as its first seed and its values.

    >>> common_subjects((0, [1, 2, 3]), (1, [20, 30, 40]))
    [[2, 3], [20, 30]]
    """
    low, high = max(seed for seed, _ in arms), min(seed + len(values) for seed, values in arms)
    return [values[max(0, low - seed) : max(0, high - seed)] for seed, values in arms]


# -- output -------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Row], reading: str) -> Any:
    from cls_sim.sinks.console import columns

    heads, *lines = _cells(rows, reading)
    numbers = [head in ("n", "pairs", "p") or head.endswith("[95 %]") for head in heads]
    return columns(heads, lines, numbers, whole=True)


def _cells(rows: Sequence[Row], reading: str) -> list[list[str]]:
    """The table as text, column heads first; a column of identical names is left out."""
    from cls_sim.sinks.console import interval, number, p_value

    swept = {re.sub(r"=[^,=]*$", "=", row.run.label) for row in rows}
    key = swept.pop() if len(swept) == 1 else ""  # all runs differ in one setting: it becomes the column head
    key = key if key.endswith("=") and "," not in key else ""
    table = [["arm", key.rstrip("=") or "run", f"{reading} [95 %]", "n", "difference [95 %]", "pairs", "p"]]
    for row in rows:
        e, d = row.estimate, row.difference
        mean = f"{number(e.mean)} {interval((e.low, e.high))}".rstrip()
        cells = [row.arm, row.run.label.removeprefix(key), mean, str(e.n)]
        if d is None:
            cells += ["" if row.against is None else "no common seed", "", ""]
        else:
            cells += [f"{number(d.mean, '+')} {interval((d.low, d.high), '+')}".rstrip(), str(d.n), p_value(d.p)]
        table.append(cells)
    same = [i for i in (0, 1) if len({line[i] for line in table[1:]}) == 1 and len(rows) > 1]
    return [[cell for i, cell in enumerate(line) if i not in same] for line in table]


def _told(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """A note below the table: the reference of the differences, and a warning for different versions."""
    told = [f"Differences are within subjects, to {_reference(rows)}."] if len(rows) > 1 else []
    versions = sorted({run.summary.version for run in runs})
    if len(versions) > 1:
        told.append(f"These runs were made by different versions: {', '.join(versions)}.")
    return " ".join(told)


def _reference(rows: Sequence[Row]) -> str:
    """The reference of the comparisons, in words."""
    first, others = rows[0], {id(row.against) for row in rows if row.against is not None}
    if others == {id(first)}:
        return first.name
    return f"the same arm of {first.run.label}" + (f", else to {first.name}" if id(first) in others else "")


def _write(folder: Path, rows: Sequence[Row], reading: str) -> None:
    """Write the table as CSV and as Markdown, and the figure."""
    from cls_sim import figures
    from cls_sim.figures.page import label_of

    heads, *lines = _cells(rows, reading)
    table = [heads, ["---"] * len(heads), *lines]
    put(made(folder) / "table.csv", tidy.table([_record(row, reading) for row in rows]))
    put(folder / "table.md", "".join(f"{markup.row(line)}\n" for line in table).encode())
    arms = list(dict.fromkeys(row.arm for row in rows))
    groups = [arms.index(row.arm) for row in rows] if len(arms) < len(rows) else None
    named = {row.name.replace("$", r"\$"): row for row in rows}  # matplotlib would read $ as mathematics
    values, differences = ({name: getattr(row, key) for name, row in named.items()} for key in ("values", "difference"))
    against, label = _reference(rows).replace("$", r"\$"), label_of(reading)
    figure = figures.compared(values, differences, groups=groups, ylabel=label, against=against)
    print(f"figure: {figures.save(figure, None, folder / 'figure')}", flush=True)


def _record(row: Row, reading: str) -> dict[str, Any]:
    """A row of the CSV file, with all digits."""
    e, d, against = row.estimate, row.difference, row.against
    record = {"arm": row.arm, "run": row.run.label, "reading": reading}
    record |= {name: getattr(e, name) for name in ("mean", "sem", "low", "high", "n")}
    other = {"difference": "mean", "difference_low": "low", "difference_high": "high", "pairs": "n", "p": "p"}
    record |= {head: getattr(d, name, None) for head, name in other.items()}
    record["against"] = None if against is None else against.name
    return {head: "" if value is None or value != value else cell(value) for head, value in record.items()}
