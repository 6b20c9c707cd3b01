"""The rows of a cohort's trace from those of its chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cls_sim.storage.lines import Row

WITHIN = ("life.begin", "every", "day.end", "night.end", "context.end", "life.end")  # their order within a tick
Place = tuple[float, float, int]  # tick, moment, and number among equal ones


def cohort(chunks: Sequence[Sequence[Row]], sizes: Sequence[int]) -> list[Row]:
    """The rows of all chunks side by side, in the order of subjects.  A chunk may lack moments that nobody reached."""
    placed = [_placed(rows) for rows in chunks]
    places = sorted(set[Place]().union(*placed))
    return [_side_by_side([rows.get(place) for rows in placed], sizes) for place in places]


def measured(rows: Sequence[Row]) -> dict[str, dict[str, tuple[int, ...]]]:
    """The readings of each moment and their shapes, which must agree between chunks."""
    return {row["moment"]: {n: v.shape[1:] for n, v in row["readings"].items()} for row in rows}


def row_of(moment: str, day: np.ndarray, tick: int, readings: dict[str, np.ndarray], who: np.ndarray) -> Row:
    """A row of a trace; `who` is in it only if some subjects did not reach the moment."""
    row = {"moment": moment, "day": day, "tick": tick, "readings": readings}
    return row if who.all() else row | {"who": who}


def who_of(row: Row) -> np.ndarray:
    return row["who"] if "who" in row else np.ones(len(row["day"]), bool)


def _placed(rows: Sequence[Row]) -> dict[Place, Row]:
    """The rows of a chunk by their place in the life of the cohort, which ends with that of its last subject."""
    found: dict[Place, Row] = {}
    for number, row in enumerate(rows, 1):
        if row["moment"] == "life.end" and number == len(rows):
            found[(np.inf, 0, 0)] = row
        else:
            rank = _rank(*row["moment"].partition(" ")[::2])
            found[(row["tick"], rank, sum(place[:2] == (row["tick"], rank) for place in list(found)[-9:]))] = row
    return found


def _rank(name: str, n: str) -> float:
    """The place of a moment, such as `every 50`, among those of its tick."""
    return (WITHIN.index(name) if name in WITHIN else len(WITHIN)) + float(f"0.{n:0>9}")


def _side_by_side(rows: Sequence[Row | None], sizes: Sequence[int]) -> Row:
    """A row of the cohort from those of its chunks; None for a chunk of which no subject reached the moment."""
    there = [row for row in rows if row is not None]

    def joined(of: Callable[[Row], np.ndarray], nobody: Any) -> np.ndarray:
        shape = of(there[0]).shape[1:]
        columns = [np.full((n, *shape), nobody) if r is None else of(r) for r, n in zip(rows, sizes, strict=True)]
        return np.concatenate(columns)

    row = there[0] | {"day": joined(lambda r: r["day"], np.nan), "tick": max(r["tick"] for r in there)}
    row["readings"] = {name: joined(lambda r, name=name: r["readings"][name], np.nan) for name in row["readings"]}
    if len(there) < len(rows) or any("who" in r for r in there):
        row["who"] = joined(who_of, False)
    return row
