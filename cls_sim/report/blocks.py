"""What a report is made of, before it is HTML or Markdown."""

from __future__ import annotations

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
