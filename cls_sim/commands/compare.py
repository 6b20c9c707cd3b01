"""`cls-sim-compare DIR…`: runs and sweeps in one table and one figure.

cls-sim-compare DIR…                every run below these folders, by its main reading
cls-sim-compare DIR… reading=NAME   another reading, such as accuracy.forgetting
cls-sim-compare DIR… out=FOLDER     write table.csv, table.md and figure.png, .pdf, .csv there

Rows are grouped by arm.  Each is compared with the first run's same arm (or, if the first run has no such arm, with
the first row) within the subjects, that is seeds, that both have.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cls_sim.commands.door import entered
from cls_sim.core.errors import Broken, Refused, suggest

OPTIONS = ("out", "reading")
LARGEST = 2**28  # bytes of a summary
HEADS = (
    *("arm", "run", "reading", "mean", "sem", "low", "high", "n"),
    *("difference", "difference_low", "difference_high", "pairs", "p", "against"),
)


@dataclass(frozen=True)
class Run:
    """What a run's directory says of it.

    arms   arm → reading → numbers, one a subject (NaN for none)
    seeds  arm → the seed of the first subject; subject i has that + i
    """

    label: str
    folder: Path
    experiment: str
    version: str
    main: str | None
    arms: dict[str, dict[str, list[float]]]
    seeds: dict[str, int]


@dataclass
class Row:
    """A line of the table: a run's arm, and the row that it is compared with."""

    run: Run
    arm: str
    values: Any
    against: Row | None = None
    estimate: Any = None
    difference: Any = None  # within subjects, None where no subject is in both
    name: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """The door of `cls-sim-compare`; exit codes as everywhere."""
    return entered("cls-sim-compare", _door, argv)


def _door(args: list[str]) -> int:
    if not args or {"-h", "--help"} & set(args):
        print(__doc__)
        return 0
    options = dict(arg.split("=", 1) for arg in args if arg.split("=")[0] in OPTIONS)
    folders = [arg for arg in args if arg.split("=")[0] not in OPTIONS]
    for arg in folders:
        if arg.startswith("-") or not Path(arg).is_dir():
            raise Refused(arg, "is no folder", "give runs and sweeps, and out= or reading=")
    runs = collect(folders)
    reading = options.get("reading") or _main(runs)
    rows = compared(runs, reading)
    from cls_sim.sinks import console

    console.show([_table(rows, reading), _told(runs, rows)], sys.stdout)
    if "out" in options:
        _write(Path(options["out"]), rows, reading)
    return 0


# -- what is there ------------------------------------------------------------------------------------------


def collect(folders: Sequence[str | Path]) -> list[Run]:
    """Every finished run in or below these folders, in their order and, within, in that of their names."""
    found: list[Path] = []
    for folder in map(Path, folders):
        below = [path.resolve() for path in sorted(_runs(folder), key=_naturally)]
        if not below:
            raise Refused(str(folder), "holds no finished run (no summary.json)", "name a run or a sweep")
        found += [path for path in below if path not in found]
    common = Path(os.path.commonpath([path.parent for path in found]))
    return [_run(path, _shown(str(path.relative_to(common)))) for path in found]


def _shown(name: str) -> str:
    """A name that a terminal can be shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _runs(folder: Path) -> Iterator[Path]:
    """Folders with a summary; what is inside them is theirs."""
    for here, below, files in os.walk(folder):
        if "summary.json" in files:
            below.clear()
            yield Path(here)
        below[:] = [name for name in below if not name.startswith(".")]


def _naturally(path: Path) -> list[Any]:
    """Names in the order in which people count: 2 before 10.

    >>> sorted(["x=10", "x=-1", "x=2", "x=0.5"], key=lambda name: _naturally(Path(name)))
    ['x=-1', 'x=0.5', 'x=2', 'x=10']
    """
    parts = re.split(r"((?<![\d.])-?\d+\.?\d*(?:e[+-]?\d+)?)", str(path))
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def _run(folder: Path, label: str) -> Run:
    summary, record = _json(folder / "summary.json"), {}
    if (folder / "run.json").is_file():
        record = _json(folder / "run.json")
    try:
        arms = {
            _shown(arm): {str(name): [_number(v) for v in e["per_subject"]] for name, e in told["readings"].items()}
            for arm, told in summary["arms"].items()
        }
        told = record.get("arms", {})
        seeds = {arm: int(told.get(arm, {}).get("seed", summary["seed"])) for arm in arms}
        mains = {told["main"] for told in summary["arms"].values()}
        name, version = str(summary["experiment"]), str(summary["version"])
        main = mains.pop() if len(mains) == 1 else None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(str(folder / "summary.json"), "is no summary of a run", "leave its folder out") from None
    return Run(label, folder, name, version, main, arms, seeds)


def _number(value: Any) -> float:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError
    return float("nan") if value is None else float(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        found = json.loads(data) if len(data) <= LARGEST else None
    except OSError as error:
        raise Broken(str(path), f"cannot be read ({error.strerror})", "check the disk") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(str(path), "is damaged", "leave its folder out, or resume that run")
    return found


# -- what it comes to ---------------------------------------------------------------------------------------


def _main(runs: Sequence[Run]) -> str:
    """The reading that all runs hold for their main one."""
    first = runs[0]
    for run in runs:
        if run.main is None or run.main != first.main:
            reason = f"has the main reading {run.main}, {first.label} has {first.main}"
            known = set.intersection(*(set(readings) for run in runs for readings in run.arms.values()))
            remedy = f"give reading=, one of {', '.join(sorted(known))}" if known else "compare other runs"
            raise Refused(run.label, reason, remedy)
    assert first.main is not None
    return first.main


def compared(runs: Sequence[Run], reading: str) -> list[Row]:
    """The rows of the table, arm by arm: estimates, and paired differences where seeds coincide."""
    first = runs[0]
    for run in runs:
        if run.experiment != first.experiment:
            reason = f"is of the experiment {run.experiment}, {first.label} of {first.experiment}"
            raise Refused(run.label, reason, "compare runs of one experiment")
        for arm, readings in run.arms.items():
            if reading not in readings:
                raise Refused(f"{run.label}: {arm}", f"has no reading {reading!r}", suggest(reading, readings))
    import numpy as np

    from cls_sim import statistics

    arms = list(dict.fromkeys(arm for run in runs for arm in run.arms))
    rows = [Row(run, arm, np.array(run.arms[arm][reading])) for arm in arms for run in runs if arm in run.arms]
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
    """a - b over the seeds that both have, None if there is none."""
    from cls_sim import statistics

    seeds = [row.run.seeds[row.arm] for row in (a, b)]
    low = max(seeds)
    high = min(seed + len(row.values) for seed, row in zip(seeds, (a, b), strict=True))
    if low >= high:
        return None
    x, y = (row.values[low - seed : high - seed] for seed, row in zip(seeds, (a, b), strict=True))
    return statistics.paired(x, y)


# -- how it is shown ----------------------------------------------------------------------------------------


def _table(rows: Sequence[Row], reading: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = Table(box=SIMPLE_HEAD, pad_edge=False)
    heads, *lines = _cells(rows, reading)
    for head in heads:
        number = head in ("n", "pairs", "p") or head.endswith("[95 %]")
        found.add_column(head, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for cells in lines:
        found.add_row(*cells)
    return found


def _cells(rows: Sequence[Row], reading: str) -> list[list[str]]:
    """The table as text, its heads first; a column of names that are all the same is left out."""
    from cls_sim.sinks.console import interval, number, p_value

    swept = {re.sub(r"=[^,=]*$", "=", row.run.label) for row in rows}
    key = swept.pop() if len(swept) == 1 else ""  # all runs differ in one setting: it is the head
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
    """What the differences are to, and what else must be known."""
    told = [f"Differences are within subjects, to {_reference(rows)}."] if len(rows) > 1 else []
    versions = sorted({run.version for run in runs})
    if len(versions) > 1:
        told.append(f"These runs were made by different versions: {', '.join(versions)}.")
    return " ".join(told)


def _reference(rows: Sequence[Row]) -> str:
    """What the rows are compared with, in words."""
    first, others = rows[0], {id(row.against) for row in rows if row.against is not None}
    if others == {id(first)}:
        return first.name
    return f"the same arm of {first.run.label}" + (f", else to {first.name}" if id(first) in others else "")


def _write(folder: Path, rows: Sequence[Row], reading: str) -> None:
    """The table for a spreadsheet and for a page, and the figure."""
    from cls_sim import figures

    page = io.StringIO()
    writer = csv.DictWriter(page, HEADS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record(row, reading) for row in rows)
    heads, *cells = [[cell.replace("|", "\\|") for cell in line] for line in _cells(rows, reading)]
    lines = [heads, ["---"] * len(heads), *cells]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.csv").write_text(page.getvalue(), encoding="utf-8")
        (folder / "table.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise Broken(str(folder), f"cannot be written ({error.strerror})", "name another folder with out=") from None
    arms = list(dict.fromkeys(row.arm for row in rows))
    groups = [arms.index(row.arm) for row in rows] if len(arms) < len(rows) else None
    names = [row.name.replace("$", r"\$") for row in rows]  # matplotlib would set mathematics
    values = {name: row.values for name, row in zip(names, rows, strict=True)}
    differences = {name: row.difference for name, row in zip(names, rows, strict=True)}
    against, label = _reference(rows).replace("$", r"\$"), reading.replace("_", " ").replace(".", ", ")
    figure = figures.compared(values, differences, groups=groups, ylabel=label, against=against)
    print(f"figure: {figures.save(figure, None, folder / 'figure')}", flush=True)


def _record(row: Row, reading: str) -> dict[str, Any]:
    """A row with all digits."""
    e, d = row.estimate, row.difference
    numbers = {"mean": e.mean, "sem": e.sem, "low": e.low, "high": e.high, "n": e.n}
    if d is not None:
        numbers |= {"difference": d.mean, "difference_low": d.low, "difference_high": d.high, "pairs": d.n, "p": d.p}
    plain = {name: "" if value != value else value for name, value in numbers.items()}
    against = {"against": row.against.name} if row.against is not None else {}
    return {"arm": row.arm, "run": row.run.label, "reading": reading, **plain, **against}


if __name__ == "__main__":
    sys.exit(main())
