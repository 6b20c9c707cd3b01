"""The lines of a file of raw answers: as those of a trace, with the numbers as bytes.

    {"moment":"day.end","day":[1.0],"tick":10,"kind":"uint8","width":31,"answers":"eJxj…","crc":"9a05d5bf"}

`answers` is the array [s, width] of whole numbers, -1 as the largest of its kind, compressed by zlib and in base 64.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from cls_sim.storage.lines import Row, read, sealed
from cls_sim.storage.readings import RAW as NAME  # the only reading of such a row

KINDS = {"uint8": np.uint8, "uint16": np.uint16}
WIDEST = 2**24  # numbers of a row, over all subjects


def line_of(row: Row) -> bytes:
    """A row as a line that ends with the checksum of the rest."""
    numbers = row["readings"][NAME]
    text = base64.b64encode(zlib.compress(numbers.tobytes(), 6)).decode()
    plain = {"moment": row["moment"], "day": row["day"].tolist(), "tick": row["tick"]}
    plain |= {"kind": numbers.dtype.name, "width": numbers.shape[1], NAME: text}
    return sealed(plain | ({"who": row["who"].tolist()} if "who" in row else {}))


def parsed(line: bytes) -> Row | None:
    """The row of a line (without its line break); None if the line is damaged."""
    return read(line, _numbers)


def _numbers(row: dict[str, Any], subjects: int) -> dict[str, np.ndarray]:
    """The array of a line, of at most WIDEST numbers, or an error."""
    kind, width = KINDS[row["kind"]], int(row["width"])
    if not 0 <= width * subjects <= WIDEST:
        raise ValueError(f"{width} numbers of {subjects} subjects")
    size = subjects * width * np.dtype(kind).itemsize
    raw = zlib.decompressobj().decompress(base64.b64decode(row[NAME], validate=True), size + 1)
    return {NAME: np.frombuffer(raw, kind).reshape(subjects, width)}


def packed(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers from -1 as the smallest kind that holds them.

    >>> packed(np.array([[-1.0, 7.0]])).tolist(), packed(np.array([[-1.0, 700.0]])).tolist()
    ([[255, 7]], [[65535, 700]])
    """
    kind = np.uint8 if numbers.size == 0 or numbers.max() < 255 else np.uint16
    return np.where(numbers < 0, np.iinfo(kind).max, numbers).astype(kind)


def unpacked(numbers: np.ndarray) -> np.ndarray:
    """The reverse of `packed`: int64."""
    return np.where(numbers == np.iinfo(numbers.dtype).max, -1, numbers.astype(np.int64))
