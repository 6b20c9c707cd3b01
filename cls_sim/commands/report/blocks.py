"""The blocks of a report, before they are written as HTML or Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """A table of text.  Columns named in `left` are words, the others numbers.

    moods  cell text → good, bad or unsure: how it is shown
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: frozenset[str] = frozenset()
    moods: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture: PNG bytes, the name of its file, and its caption."""

    name: str
    png: bytes
    caption: str


Block = Heading | Text | Points | Table | Picture
Blocks = list[Any]

MOODS = {
    "inside": "good",
    "outside": "bad",
    "not decided": "unsure",
    "shown, not counted": "unsure",
    "not at full size": "unsure",
    "higher": "good",
    "lower": "bad",
    "holds": "good",
    "does not hold": "bad",
    "not judged": "unsure",
}


def picture(name: str, figure: Any, caption: str) -> Picture:
    """A figure as a picture."""
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=200, metadata={"Software": None})
    return Picture(name, page.getvalue(), caption)


def words(reading: str) -> str:
    """The name of a reading on a page."""
    return reading.replace("_", " ").replace(".", ", ")
