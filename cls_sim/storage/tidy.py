"""Readings as a tidy table: one row per subject, moment, reading and context."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cls_sim.core.errors import ConfigError
from cls_sim.storage.cohort import who_of
from cls_sim.storage.disk import put
from cls_sim.storage.lines import Row

FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")  # a spreadsheet calculates what begins with one of these
COLUMNS = ("arm", "subject", "day", "tick", "moment", "reading", "context", "value")
Line = tuple[str, int, float, int, str, str, "int | None", float]


def lines(traces: Mapping[str, Sequence[Row]]) -> Iterator[Line]:
    """The rows of the table; `context` is None for a reading with one number per subject."""
    for arm, rows in traces.items():
        for row in rows:
            there = [int(i) for i in who_of(row).nonzero()[0]]
            for name, values in row["readings"].items():
                for i in there:
                    where = (arm, i, float(row["day"][i]), row["tick"], row["moment"], name)
                    if values.ndim == 1:
                        yield *where, None, float(values[i])
                    else:
                        yield from ((*where, k, float(value)) for k, value in enumerate(values[i]))


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows (column → value) as a CSV file; the columns are in the order of their first appearance."""
    page = io.StringIO(newline="")
    writer = csv.DictWriter(page, list(dict.fromkeys(head for row in rows for head in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return page.getvalue().encode()


def to_csv(traces: Mapping[str, Sequence[Row]], path: str | Path) -> Path:
    """Write the table to a CSV file (UTF-8, comma, decimal point; an undefined reading is an empty cell)."""
    page = io.StringIO(newline="")
    table = csv.writer(page, lineterminator="\n")
    table.writerow(COLUMNS)
    for *where, context, value in lines(traces):
        table.writerow([*map(cell, where), "" if context is None else context, "" if value != value else repr(value)])
    put(Path(path), page.getvalue().encode(), lasts=False)
    return Path(path)


def to_pandas(traces: Mapping[str, Sequence[Row]]) -> Any:
    """The table as a pandas DataFrame; `context` is a nullable whole number."""
    try:
        import pandas  # pyright: ignore[reportMissingImports]
    except ImportError:
        remedy = "pip install pandas, or write a file with to_csv(path)"
        raise ConfigError("to_pandas", "needs pandas, which is not installed", remedy) from None
    return pandas.DataFrame(list(lines(traces)), columns=list(COLUMNS)).astype({"context": "Int64"})


def cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would read as a formula begins with an apostrophe.

    >>> cell("=cmd|' /C calc'!A0"), cell("-0.5"), cell("a"), cell(-0.5)
    ("'=cmd|' /C calc'!A0", '-0.5', 'a', -0.5)
    """
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
