"""Blocks as one self-contained HTML page, and as Markdown with separate pictures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence

from cls_sim.commands.report.blocks import Block, Heading, Picture, Points, Table, Text

STYLE = """
:root{--ink:#1c1c1e;--soft:#5c5c63;--paper:#fff;--line:#d9d9de;--band:#f5f5f7;--good:#0a6b3d;--bad:#a8320a;
--unsure:#6b5600;--link:#0b5cad;--warn:#fff4d6}
@media (prefers-color-scheme:dark){:root{--ink:#e9e9ee;--soft:#a8a8b3;--paper:#17171a;--line:#3a3a42;--band:#202026;
--good:#6fd3a0;--bad:#ff9b78;--unsure:#e6c95c;--link:#7db9f5;--warn:#3b3210}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0 1rem}
h2{font-size:1.3rem;margin:2.6rem 0 .6rem;border-top:1px solid var(--line);padding-top:1.2rem}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}
p,ul,dl{max-width:48rem;margin:.6rem 0}
ul{padding-left:1.2rem}li{margin:.3rem 0}
a{color:var(--link)}
code{font:.88em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--band);padding:.08em .3em;
border-radius:3px;overflow-wrap:anywhere}
nav{font-size:.9rem;color:var(--soft);margin:1rem 0}
nav ul{list-style:none;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.2rem 1rem;max-width:none}nav li{margin:0}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.25rem 1rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.warning{background:var(--warn);padding:.6rem .8rem;border-radius:6px}
.scroll{overflow-x:auto;margin:.8rem 0;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
.caption{font-size:.88rem;color:var(--soft);margin:1rem 0 .4rem}
.caption+.scroll{margin-top:.4rem}
th,td{padding:.34rem .7rem;text-align:right;vertical-align:top}
th{font-weight:600;color:var(--soft);border-bottom:1px solid var(--line);vertical-align:bottom;white-space:normal;
min-width:4.2em}
th.word,td.word{text-align:left}td.word{min-width:5.5rem}
th[scope=row]{color:var(--ink);white-space:normal;min-width:4.5rem;border-bottom:0;vertical-align:top;position:sticky;left:0;
background:var(--paper);text-align:left}
tbody tr:nth-child(even) td,tbody tr:nth-child(even) th{background:var(--band)}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}.unsure{color:var(--unsure);
font-weight:600}
figure{margin:1rem 0}figure div{background:#fff;border:1px solid var(--line);border-radius:6px;padding:.5rem;
overflow-x:auto}
figure img{display:block;max-width:100%;height:auto;margin:0 auto}
figcaption{font-size:.88rem;color:var(--soft);margin-top:.35rem;max-width:48rem}
footer{margin-top:3rem;font-size:.85rem;color:var(--soft)}
@media (max-width:600px){body{font-size:15px}main{padding:1rem .8rem 3rem}h1{font-size:1.35rem}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}th,td{padding:.3rem .5rem}}
@media print{:root{--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;--band:#f3f3f3;--good:#064;--bad:#820;--unsure:#540;
--warn:#fff;--link:#000}body{font-size:10pt}main{max-width:none;padding:0}nav{display:none}
.scroll{overflow:visible;border:0}table{font-size:8pt}th,td{padding:.15rem .35rem}th[scope=row]{position:static}
figure,tr{break-inside:avoid}h2,h3{break-after:avoid}}
"""


def html_page(title: str, blocks: Sequence[Block], foot: str) -> str:
    """One HTML page: no script, no network, light or dark mode of the reader's system, printable."""
    heads = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    links = "".join(f'<li><a href="#{anchor}">{_inline(head.text)}</a></li>' for head, anchor in _anchors(heads))
    anchors = {id(head): anchor for head, anchor in _anchors(heads)}
    body = "\n".join(_html(block, anchors) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{html.escape(title)}</h1>\n<nav aria-label="Contents"><ul>{links}</ul></nav>\n{body}\n'
        f"<footer>{_inline(foot)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _anchors(heads: Sequence[Heading]) -> list[tuple[Heading, str]]:
    return [(head, f"s{number}") for number, head in enumerate(heads, 1)]


def _html(block: Block, anchors: dict[int, str]) -> str:
    if isinstance(block, Heading):
        anchor = f' id="{anchors[id(block)]}"' if id(block) in anchors else ""
        return f"<h{block.level}{anchor}>{_inline(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        mood = f' class="{block.mood}"' if block.mood else ""
        return f"<p{mood}>{_inline(block.text)}</p>"
    if isinstance(block, Points):
        if any(isinstance(item, tuple) for item in block.items):
            pairs = (item for item in block.items if isinstance(item, tuple))
            return f"<dl>{''.join(f'<dt>{_inline(a)}</dt><dd>{_inline(b)}</dd>' for a, b in pairs)}</dl>"
        return f"<ul>{''.join(f'<li>{_inline(str(item))}</li>' for item in block.items)}</ul>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        alt = html.escape(re.sub(r"[`*]", "", block.caption))
        width = f' width="{3 * _width(block.png) // 4}"'  # 200 dots an inch, shown at 150
        return (
            f'<figure><div><img alt="{alt}"{width} src="data:image/png;base64,{data}"></div>'
            f"<figcaption>{_inline(block.caption)}</figcaption></figure>"
        )
    return _html_table(block)


def _width(png: bytes) -> int:
    """The width in pixels, from the PNG header."""
    return int.from_bytes(png[16:20], "big")


def _html_table(table: Table) -> str:
    words = [head in table.left for head in table.heads]
    heads = "".join(
        f'<th scope="col"{_word(word)}>{_inline(head)}</th>' for head, word in zip(table.heads, words, strict=True)
    )
    rows = []
    for first, *rest in table.rows:
        cells = "".join(_cell(text, word, table.moods) for text, word in zip(rest, words[1:], strict=True))
        rows.append(f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>')
    caption = f'<p class="caption">{_inline(table.caption)}</p>' if table.caption else ""
    body = "\n".join(rows)
    return (
        f'{caption}<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _word(word: bool) -> str:
    return ' class="word"' if word else ""


def _cell(text: str, word: bool, moods: dict[str, str]) -> str:
    classes = " ".join(filter(None, ["word" if word else "", moods.get(text, "")]))
    attribute = f' class="{classes}"' if classes else ""
    shown = _inline(text if word else _tied(text))
    return f"<td{attribute}>{shown}</td>"


def _tied(text: str) -> str:
    """A cell of numbers whose only line break may be before its interval."""
    mean, bracket, ends = text.partition(" [")
    space = "\N{NO-BREAK SPACE}"
    return mean.replace(" ", space) + bracket + ends.replace(" ", space)


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
    lines = [_row(block.heads), "|" + "|".join("---" if h in block.left else "---:" for h in block.heads) + "|"]
    lines += [_row(row) for row in block.rows]
    return "\n".join([*([f"*{_marked(block.caption)}*", ""] if block.caption else []), *lines])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_marked(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _marked(text: str) -> str:
    """Text for Markdown: on one line, with HTML escaped."""
    pieces = " ".join(text.split()).split("`")
    return "`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))
