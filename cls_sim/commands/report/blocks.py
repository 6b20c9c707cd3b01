"""The blocks of a report, before they are shown as HTML or Markdown."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

WORDS = frozenset({"arm", "claim", "expected", "family", "pair", "reading", "source", "verdict"})
MOODS = {
    **dict.fromkeys(("inside", "higher", "holds"), "good"),
    **dict.fromkeys(("outside", "lower", "does not hold"), "bad"),
    **dict.fromkeys(("not decided", "shown, not counted", "not at full size", "not judged"), "unsure"),
}


class Blocks(list[Any]):
    """The blocks that report.jinja has written, in order; each method adds one, and writes nothing itself.

    A block has a `kind`, by which the templates of a page know it, and fields.  Texts may have `code` between backticks
    and **strong** between asterisks.
    """

    def __init__(self) -> None:
        self._below, self._stem = 0, ""

    def chapter(self, title: str, stem: str) -> str:
        """From here on headings are one level lower, and the names of picture files begin with `stem`."""
        self._below, self._stem = 0, f"{stem}_"
        self.heading(title)
        self._below = 1
        return ""

    def heading(self, text: str, level: int = 2) -> str:
        return self._add("Heading", text=text, level=level + self._below)

    def text(self, mood: str = "", *, caller: Callable[[], str]) -> str:
        """A paragraph; the mood `warning` highlights it."""
        return self._add("Text", text=caller(), mood=mood)

    def points(self, items: Sequence[str]) -> str:
        """A list."""
        return self._add("Points", items=items)

    def terms(self, items: Sequence[tuple[str, str]]) -> str:
        """A list of terms and their descriptions; a term without one is left out."""
        return self._add("Terms", items=[pair for pair in items if pair[1]])

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], *, caller: Callable[[], str] = str) -> str:
        """A table of text, without its second column if that is empty, and its caption.

        Columns named in WORDS are words, the others numbers; MOODS says how some cells are shown.
        """
        if not any(row[1] for row in rows):
            heads, *rows = [[line[0], *line[2:]] for line in (heads, *rows)]
        return self._add("Table", heads=heads, rows=rows, caption=caller().strip())

    def picture(self, name: str, png: bytes, caption: str) -> str:
        """PNG bytes, of 200 dots an inch, shown at 150."""
        width = 3 * min(int.from_bytes(png[16:20], "big"), 4000) // 4  # the header of PNG has the number of dots
        data = base64.b64encode(png).decode()
        return self._add("Picture", name=self._stem + name, png=png, caption=caption, data=data, width=width)

    def _add(self, kind: str, **fields: Any) -> str:
        self.append(SimpleNamespace(kind=kind, **fields))
        return ""
