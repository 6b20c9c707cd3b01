"""Pages that are written from templates: files NAME.html.jinja and NAME.md.jinja below this folder."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

TIE = "\N{NO-BREAK SPACE}"


def page(template: str, **values: Any) -> str:
    """The page that a template gives with these values; in HTML, every text without the filter `inline` is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=".html." in template,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters |= {"inline": inline, "marked": marked, "cell": cell, "tied": tied}
    return env.get_template(template).render(values)


def inline(text: str) -> Any:
    """Text with `code` and **strong** as HTML; everything else is escaped.

    >>> print(inline("**a** < `b`"))
    <strong>a</strong> &lt; <code>b</code>
    """
    from markupsafe import Markup

    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped))


def marked(text: str) -> str:
    """Text for Markdown: on one line, with HTML escaped."""
    pieces = " ".join(text.split()).split("`")
    return "`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))


def cell(value: Any) -> str:
    """A cell of a Markdown table: on one line, without a column's end."""
    return " ".join(str(value).split()).replace("|", "\\|")


def tied(text: str) -> str:
    """A number whose only line break may be before its interval."""
    mean, bracket, ends = text.partition(" [")
    return mean.replace(" ", TIE) + bracket + ends.replace(" ", TIE)
