"""The blocks of a report, before they are written as HTML or Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph, with `code` between backticks and **strong** between asterisks."""

    text: str
    mood: str = ""  # "warning": highlighted


@dataclass(frozen=True)
class Points:
    """A list; with pairs, a list of terms and their descriptions."""

    items: Sequence[str | tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of text.  Columns named in WORDS are words, the others numbers; MOODS says how some cells are shown."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture: PNG bytes, the name of its file, and its caption."""

    name: str
    png: bytes
    caption: str


Block = Heading | Text | Points | Table | Picture
Blocks = list[Any]

WORDS = frozenset({"arm", "claim", "expected", "family", "pair", "reading", "source", "verdict"})
MOODS = {
    **dict.fromkeys(("inside", "higher", "holds"), "good"),
    **dict.fromkeys(("outside", "lower", "does not hold"), "bad"),
    **dict.fromkeys(("not decided", "shown, not counted", "not at full size", "not judged"), "unsure"),
}


def picture(name: str, figure: Any, caption: str) -> Picture:
    """A figure as a picture."""
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=200, metadata={"Software": None})
    return Picture(name, page.getvalue(), caption)


def without_empty(
    heads: Sequence[str], rows: Sequence[Sequence[str]], column: int = 1
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The heads and the rows of a table, without this column if it is empty."""
    if any(row[column] for row in rows):
        return heads, rows
    heads, *rows = [[*line[:column], *line[column + 1 :]] for line in (heads, *rows)]
    return heads, rows
