"""Blocks as one self-contained HTML page, and as Markdown with separate pictures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from cls_sim.commands.report.blocks import MOODS, WORDS, Block, Heading, Picture, Points, Table, Text

STYLE = (Path(__file__).parent / "style.css").read_text()
TIE = "\N{NO-BREAK SPACE}"


def html_page(title: str, blocks: Sequence[Block], foot: str) -> str:
    """One HTML page: no script, no network, light or dark mode of the reader's system, printable."""
    heads = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    anchors = {id(head): f"s{number}" for number, head in enumerate(heads, 1)}
    links = "".join(f'<li><a href="#{anchors[id(head)]}">{_inline(head.text)}</a></li>' for head in heads)
    body = "\n".join(_html(block, anchors) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{html.escape(title)}</h1>\n<nav aria-label="Contents"><ul>{links}</ul></nav>\n{body}\n'
        f"<footer>{_inline(foot)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block, anchors: dict[int, str]) -> str:
    if isinstance(block, Heading):
        anchor = f' id="{anchors[id(block)]}"' if id(block) in anchors else ""
        return f"<h{block.level}{anchor}>{_inline(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p{_class(block.mood)}>{_inline(block.text)}</p>"
    if isinstance(block, Points):
        if any(isinstance(item, tuple) for item in block.items):
            pairs = (item for item in block.items if isinstance(item, tuple))
            return f"<dl>{''.join(f'<dt>{_inline(a)}</dt><dd>{_inline(b)}</dd>' for a, b in pairs)}</dl>"
        return f"<ul>{''.join(f'<li>{_inline(str(item))}</li>' for item in block.items)}</ul>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        alt = html.escape(re.sub(r"[`*]", "", block.caption))
        pixels = int.from_bytes(block.png[16:20], "big")  # the width in the PNG header
        width = f' width="{3 * pixels // 4}"'  # 200 dots an inch, shown at 150
        return (
            f'<figure><div><img alt="{alt}"{width} src="data:image/png;base64,{data}"></div>'
            f"<figcaption>{_inline(block.caption)}</figcaption></figure>"
        )
    return _html_table(block)


def _html_table(table: Table) -> str:
    words = [head in WORDS for head in table.heads]
    heads = "".join(
        f'<th scope="col"{_class("word" * word)}>{_inline(head)}</th>'
        for head, word in zip(table.heads, words, strict=True)
    )
    rows = []
    for first, *rest in table.rows:
        cells = "".join(_cell(text, word) for text, word in zip(rest, words[1:], strict=True))
        rows.append(f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>')
    caption = f'<p class="caption">{_inline(table.caption)}</p>' if table.caption else ""
    body = "\n".join(rows)
    return (
        f'{caption}<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _class(*names: str) -> str:
    """The attribute for these classes, without the empty ones."""
    shown = " ".join(filter(None, names))
    return f' class="{shown}"' if shown else ""


def _cell(text: str, word: bool) -> str:
    """A cell; the only line break in numbers may be before their interval."""
    shown = text
    if not word:
        mean, bracket, ends = text.partition(" [")
        shown = mean.replace(" ", TIE) + bracket + ends.replace(" ", TIE)
    return f"<td{_class('word' * word, MOODS.get(text, ''))}>{_inline(shown)}</td>"


def _inline(text: str) -> str:
    """Text with `code` and **strong** as HTML; everything else is escaped.

    >>> _inline("**a** < `b`")
    '<strong>a</strong> &lt; <code>b</code>'
    """
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


# -- Markdown -------------------------------------------------------------------------------------------------


def markdown_page(title: str, blocks: Sequence[Block], foot: str, pictures: str) -> str:
    """The page in Markdown; pictures are files in the folder `pictures`."""
    parts = [f"# {_marked(title)}", *(_markdown(block, pictures) for block in blocks), "---", _marked(foot)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block, pictures: str) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_marked(block.text)}"
    if isinstance(block, Text):
        return f"> {_marked(block.text)}" if block.mood else _marked(block.text)
    if isinstance(block, Points):
        items = (f"**{item[0]}**: {item[1]}" if isinstance(item, tuple) else item for item in block.items)
        return "\n".join(f"* {_marked(item)}" for item in items)
    if isinstance(block, Picture):
        return f"![{_marked(block.caption).replace('[', '(').replace(']', ')')}]({pictures}/{block.name}.png)"
    lines = [_row(block.heads), "|" + "|".join("---" if h in WORDS else "---:" for h in block.heads) + "|"]
    lines += [_row(row) for row in block.rows]
    return "\n".join([*([f"*{_marked(block.caption)}*", ""] if block.caption else []), *lines])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_marked(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _marked(text: str) -> str:
    """Text for Markdown: on one line, with HTML escaped."""
    pieces = " ".join(text.split()).split("`")
    return "`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))
