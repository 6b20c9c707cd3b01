"""What a report is made of, before it is HTML or Markdown."""

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
    """A paragraph; `code` between backticks and **strong** between stars."""

    text: str
    mood: str = ""  # "warning": set apart


@dataclass(frozen=True)
class Points:
    """A list; with pairs, a list of names and what they are."""

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
    """A picture: PNG bytes, a name for its file, and what is seen on it."""

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
    """What a reading is called on a page."""
    return reading.replace("_", " ").replace(".", ", ")
