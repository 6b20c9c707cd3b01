"""Text of a run as text: in Markdown and HTML nothing in it is markup.

A run may come from a stranger.  Names, titles, claims and citations pass through here before they are shown: letters
that a reader cannot see are replaced, and characters with a meaning in CommonMark or in HTML are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

SPAN = re.compile(r"`([^`]+)`|\*\*([^*`]+)\*\*")
START = re.compile(r"(\d{0,9})([#>+=:|~_-]|[.)](?=\s|$)|\[(?=[ xX]\]))")  # they begin a block at the start of a line
BAR = r"\|"


def visible(text: str) -> str:
    """Text on one line; letters that cannot be seen (escapes, directions, lone surrogates) become U+FFFD.

    >>> visible("a\\x1b[31m\\n b")
    'a�[31m b'
    """
    line = " ".join(re.split(r"\s+(?<!\xa0)", text)).strip()
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else "\N{REPLACEMENT CHARACTER}" for c in line)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The pieces of a text, each with its kind: text, code (`between backticks`) or strong (**between asterisks**).

    >>> list(pieces("see `a*b` and **c**"))
    [('text', 'see '), ('code', 'a*b'), ('text', ' and '), ('strong', 'c')]
    """
    end, line = 0, visible(text)
    for match in SPAN.finditer(line):
        if match.start() > end:
            yield "text", line[end : match.start()]
        yield ("code", match[1]) if match[1] else ("strong", match[2])
        end = match.end()
    if line[end:]:
        yield "text", line[end:]


def plain(text: str) -> str:
    """Text without the marks of code and strong."""
    return "".join(piece for _, piece in pieces(text))


def escaped(text: str) -> str:
    """Text whose characters have no meaning in CommonMark or in HTML.

    >>> escaped("[a](javascript:b) <img> c_d *e* `f")
    '[a\\\\](javascript:b) &lt;img> c_d \\\\*e\\\\* \\\\`f'
    """
    text = re.sub(r"\\(?=[!-/:-@\[-`{-~]|$)", r"\\\\", text)
    text = re.sub(r"&(?=#?\w)", "&amp;", text).replace("<", "&lt;")
    text = re.sub(r"([*`]|\](?=[(\[:])|~~|(?<![^\W_])_|_(?![^\W_]))", lambda m: "".join(f"\\{c}" for c in m[1]), text)
    return re.sub(r"(?i)\b(https?|ftp|mailto|xmpp):|\bwww\.", _unlinked, text)


def _unlinked(match: re.Match[str]) -> str:
    """The start of an address, so that no reader makes a link of it."""
    return f"{match[0][:-1]}&#{ord(match[0][-1])};"


def markdown(text: str) -> str:
    """Text with `code` and **strong** for Markdown, for the inside of a line."""
    marks = {"text": "{}", "strong": "**{}**"}
    return "".join(
        f"`{piece}`" if kind == "code" else marks[kind].format(escaped(piece)) for kind, piece in pieces(text)
    )


def heading(text: str, level: int) -> str:
    """A heading in Markdown."""
    return f"{'#' * level} " + re.sub(r"(?:^|(?<=\s))(#+)$", r"\\\1", markdown(text))


def paragraph(text: str) -> str:
    """Text with `code` and **strong** for Markdown, for the start of a line.

    >>> paragraph("1. a"), paragraph("# b"), paragraph("-0.5")
    ('1\\\\. a', '\\\\# b', '\\\\-0.5')
    """
    line = markdown(text)
    match = START.match(line)
    return f"{match[1]}\\{line[len(match[1]) :]}" if match and not line.startswith("\\") else line


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(markdown(cell).replace('|', BAR) for cell in cells)} |"
