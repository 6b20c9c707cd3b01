"""The lines of a trace file: each row is one strict JSON object that ends with its checksum.

    {"moment":"day.end","day":[1.0,1.0],"tick":10,"readings":{"accuracy":[0.5,0.75]},"crc":"9a05d5bf"}

NaN is null, an infinity is "inf" or "-inf", and numbers keep all digits.  `who` is present only if some subjects did
not reach the moment.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Row = dict[str, Any]


def line_of(row: Row) -> bytes:
    """A row as a line: compact strict JSON that ends with the checksum of the rest."""
    who = {"who": row["who"].tolist()} if "who" in row else {}
    readings = {name: _plain(value) for name, value in row["readings"].items()}
    plain = {"moment": row["moment"], "day": _plain(row["day"]), "tick": row["tick"], "readings": readings, **who}
    return sealed(plain)


def sealed(plain: dict[str, Any]) -> bytes:
    """Compact strict JSON on one line that ends with the checksum of the rest."""
    body = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def parsed(line: bytes) -> Row | None:
    """The row of a line (without its line break); None if the line is damaged."""
    return read(line, lambda row, _: {name: np.array(value, np.float64) for name, value in row["readings"].items()})


def read(line: bytes, readings: Callable[[dict[str, Any], int], dict[str, np.ndarray]]) -> Row | None:
    """The row of a line; `readings` makes them from its JSON and the number of subjects, or raises an error."""
    body = line[: -len(',"crc":"00000000"}')] + b"}"
    if line != b'%s,"crc":"%08x"}' % (body[:-1], zlib.crc32(body)):
        return None
    try:
        row = json.loads(body, parse_constant=no_number)
        found: Row = {"moment": str(row["moment"]), "day": np.array(row["day"], np.float64), "tick": int(row["tick"])}
        found["readings"] = readings(row, len(found["day"]))
        if "who" in row:
            found["who"] = np.array(row["who"], bool)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, zlib.error):
        return None
    return found if _is_sound(found) else None


def no_number(word: str) -> None:
    """Refuse NaN and Infinity, which are no JSON: the `parse_constant` of `json.loads`."""
    raise ValueError(f"{word} is not JSON")


def _is_sound(row: Row) -> bool:
    """Whether the parts of a row fit together, and its names are such as a terminal can be shown."""
    columns = [*row["readings"].values(), *([row["who"]] if "who" in row else [])]
    names = [row["moment"], *row["readings"]]
    return (
        row["day"].ndim == 1
        and all(column.ndim in (1, 2) and len(column) == len(row["day"]) for column in columns)
        and ("who" not in row or row["who"].ndim == 1)
        and all(name.isprintable() for name in names)
        and row["tick"] >= 0
    )


def _plain(values: np.ndarray) -> Any:
    """Nested lists for strict JSON."""
    if np.isfinite(values).all():
        return values.tolist()
    if values.ndim:
        return [_plain(value) for value in values]
    return None if np.isnan(values) else "inf" if values > 0 else "-inf"
