"""Pages that are written from templates: files NAME.html.jinja and NAME.md.jinja below this folder."""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cls_sim.commands import markup

if TYPE_CHECKING:
    from jinja2 import Environment

TIE = "\N{NO-BREAK SPACE}"


def page(template: str, **values: Any) -> str:
    """The page that a template gives with these values; in HTML, every text without the filter `inline` is escaped."""
    return _environment(".html." in template).get_template(template).render(values)


@cache
def _environment(escaped: bool) -> Environment:
    """What compiles the templates, each once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters |= {"inline": inline, "visible": markup.visible, "cell": cell, "tied": tied}
    env.filters |= {name: getattr(markup, name) for name in ("markdown", "paragraph", "heading", "row", "plain")}
    return env


def inline(text: str) -> Any:
    """Text with `code` and **strong** as HTML; everything else is escaped.

    >>> print(inline("**a** < `b`"))
    <strong>a</strong> &lt; <code>b</code>
    """
    from markupsafe import Markup

    marks = {"text": "{}", "code": "<code>{}</code>", "strong": "<strong>{}</strong>"}
    return Markup("".join(marks[kind].format(html.escape(piece, quote=False)) for kind, piece in markup.pieces(text)))


def cell(value: Any) -> str:
    """A cell of a Markdown table: on one line, without a column's end."""
    return " ".join(str(value).split()).replace("|", "\\|")


def tied(text: str) -> str:
    """A number whose only line break may be before its interval."""
    mean, bracket, ends = text.partition(" [")
    return mean.replace(" ", TIE) + bracket + ends.replace(" ", TIE)
