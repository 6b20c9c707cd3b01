"""A table of people: means with standard errors, or one number per person and cell.

A CSV file in UTF-8 with one of these headers (further columns are ignored):

    cell,mean,sem       one line for each cell; `sem` is the standard error of the mean over people, above 0
    subject,cell,value  one line for each person and cell
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import choice, known, refuse_if
from cls_sim.people.published import PUBLISHED, published
from cls_sim.world.files import CAP, DataFileError, reading

HALVES = ("all", "fitted", "judged")
FORM = "give a .csv file with the columns cell,mean,sem or subject,cell,value"
MOST = 100_000  # lines of a table
Record = Mapping[str, str]


@dataclass(frozen=True)
class People:
    """Means of people in some cells.

    cells    names of the cells
    mean     [k]
    sem      [k], standard error of the mean
    persons  whether the table has a number for each person
    halved   whether these are half of the people

    >>> people = read("ebbinghaus_1885")
    >>> people.cells[0], float(people.mean[0]), people.halved
    ('19 minutes', 0.582, False)
    """

    cells: tuple[str, ...]
    mean: Numbers
    sem: Numbers
    persons: bool = False
    halved: bool = False

    def of(self, cells: Sequence[str]) -> People:
        """The same for these cells, in this order; raises ConfigError for an unknown one."""
        for cell in cells:
            known("cells", cell, self.cells, f"the table has no cell {cell!r}")
        at = [self.cells.index(cell) for cell in cells]
        return People(tuple(cells), self.mean[at], self.sem[at], self.persons, self.halved)


def read(table: str | Path, half: str = "all") -> People:
    """A published table by its name, or a table of one's own by its path.

    half  all; fitted: the first, third, … person in the order of the table; judged: the others

    Raises ConfigError, in one line that names the file, for a table that is not of one of the two forms, has fewer than
    two people in a cell, or has means only where half of the people is asked for.

    >>> read("audrain_2022", "judged").of(["congruent details short"]).mean.round(2).tolist()
    [0.68]
    """
    choice("half", half, HALVES)
    name = str(table)
    if name in PUBLISHED:
        return _people(Path(name), published(name), half)
    path = Path(name).expanduser()
    refuse_if(path.suffix != ".csv", "data", f"{name[:100]!r} is no table", f"{FORM}, or one of {', '.join(PUBLISHED)}")
    return _people(path, records(path), half)


def halves(table: str | Path) -> tuple[People, People]:
    """The people that a model is fitted to, and those that it is judged by; of means only, the same twice.

    >>> [half.halved for half in halves("ebbinghaus_1885")], [half.halved for half in halves("audrain_2022")]
    ([False, False], [True, True])
    """
    whole = read(table)
    return (read(table, "fitted"), read(table, "judged")) if whole.persons else (whole, whole)


def records(path: Path) -> list[Record]:
    """The lines of a CSV file, column → cell.  Raises DataFileError."""
    _refuse_if(path.exists() and not path.is_file(), path, "is not a plain file")  # reading a pipe would block
    with reading(path, FORM):
        _refuse_if(path.stat().st_size > CAP, path, "is too large")
        raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(str(path), f"is not UTF-8 text (at byte {error.start})", "save it in UTF-8") from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise DataFileError(str(path), f"is no table ({error})", FORM) from None
    _refuse_if(not 2 <= len(rows) <= MOST, path, f"has {len(rows)} lines", f"{FORM}, up to {MOST} lines")
    head = [name.strip() for name in rows[0]]
    for i, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise DataFileError(str(path), f"line {i} has {len(row)} cells, the first line has {len(head)}", FORM)
    return [dict(zip(head, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]


def _people(path: Path, rows: Sequence[Record], half: str) -> People:
    columns = rows[0].keys()
    if {"subject", "cell", "value"} <= columns:
        return _of_persons(path, rows, half)
    _refuse_if(not {"cell", "mean", "sem"} <= columns, path, f"has the columns {', '.join(columns)[:100]}")
    reason = "has means only, and half of the people is asked for"
    _refuse_if(half != "all", path, reason, "give the columns subject,cell,value, or half=all")
    cells = [_named(path, i, row) for i, row in enumerate(rows, 2)]
    if len(set(cells)) < len(cells):
        twice = next(cell for cell in cells if cells.count(cell) > 1)
        raise DataFileError(str(path), f"has the cell {twice!r} twice", "give each cell one line")
    mean, sem = (np.array([_number(path, i, row, key) for i, row in enumerate(rows, 2)]) for key in ("mean", "sem"))
    line = int(np.argmin(sem > 0))
    _refuse_if(sem[line] <= 0, path, f"line {line + 2} has the sem {sem[line]:g}", "give standard errors above 0")
    return People(tuple(cells), mean, sem)


def _of_persons(path: Path, rows: Sequence[Record], half: str) -> People:
    persons = list(dict.fromkeys(row["subject"] for row in rows))
    chosen = set({"all": persons, "fitted": persons[::2], "judged": persons[1::2]}[half])
    values: dict[str, dict[str, float]] = {}
    for i, row in enumerate(rows, 2):
        mine = values.setdefault(_named(path, i, row), {})
        reason = f"line {i} has the cell {row['cell']!r} of {row['subject']!r} again"
        _refuse_if(row["subject"] in mine, path, reason, "give each person one line in each cell")
        mine[row["subject"]] = _number(path, i, row, "value")
    lists = {cell: np.array([v for who, v in mine.items() if who in chosen]) for cell, mine in values.items()}
    for cell, some in lists.items():
        if len(some) < 2 or some.std() == 0:
            what = f"has {len(some)} people" if len(some) < 2 else "has the same value for all people"
            raise DataFileError(str(path), f"{what} in the cell {cell!r}", "give two people or more, who differ")
    sem = np.array([some.std(ddof=1) / math.sqrt(len(some)) for some in lists.values()])
    return People(tuple(lists), np.array([some.mean() for some in lists.values()]), sem, True, half != "all")


def _named(path: Path, line: int, row: Record) -> str:
    _refuse_if(not row["cell"], path, f"line {line} has no cell", "name every cell")
    return row["cell"]


def _number(path: Path, line: int, row: Record, key: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataFileError(str(path), f"line {line}, {key} is {row[key][:40]!r}, no number", "write a plain number")
    return value


def _refuse_if(wrong: object, path: Path, reason: str, remedy: str = FORM) -> None:
    """Raise DataFileError if something is wrong in the file."""
    if wrong:
        raise DataFileError(str(path), reason, remedy)
