"""The blocks of a report, before they are written as HTML or Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


class Block:
    """A part of a report; `kind` is its name in the templates of a page."""

    @property
    def kind(self) -> str:
        return type(self).__name__


@dataclass(frozen=True)
class Heading(Block):
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text(Block):
    """A paragraph, with `code` between backticks and **strong** between asterisks."""

    text: str
    mood: str = ""  # "warning": highlighted


@dataclass(frozen=True)
class Points(Block):
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Terms(Block):
    """A list of terms and their descriptions."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table(Block):
    """A table of text.  Columns named in WORDS are words, the others numbers; MOODS says how some cells are shown."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture(Block):
    """A picture: PNG bytes, the name of its file, and its caption."""

    name: str
    png: bytes
    caption: str

    @property
    def data(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """The width on a page: of 200 dots an inch (the PNG header has their number), shown at 150."""
        return 3 * min(int.from_bytes(self.png[16:20], "big"), 4000) // 4


Blocks = list[Block]

WORDS = frozenset({"arm", "claim", "expected", "family", "pair", "reading", "source", "verdict"})
MOODS = {
    **dict.fromkeys(("inside", "higher", "holds"), "good"),
    **dict.fromkeys(("outside", "lower", "does not hold"), "bad"),
    **dict.fromkeys(("not decided", "shown, not counted", "not at full size", "not judged"), "unsure"),
}


@cache
def _texts() -> dict[str, str]:
    return yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text())


def text(name: str, **numbers: Any) -> str:
    """A text of texts.yaml with these numbers."""
    return _texts()[name].format(**numbers)


def without_empty(
    heads: Sequence[str], rows: Sequence[Sequence[str]], column: int = 1
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The heads and the rows of a table, without this column if it is empty."""
    if any(row[column] for row in rows):
        return heads, rows
    heads, *rows = [[*line[:column], *line[column + 1 :]] for line in (heads, *rows)]
    return heads, rows
