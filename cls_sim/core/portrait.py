"""Pictures in words: what a notebook shows of a life, a trace or a study."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, Spec

WIDTH = 100  # characters of a line
Rows = Sequence[tuple[str, str]]


def rows(parts: Mapping[str, Part], spec: Spec, clock: Clock, probes: Sequence[str]) -> list[tuple[str, str]]:
    """The lines about a life: its subjects, its clock, its sizes, its parts, its probes."""
    days, nights = clock.day, int(clock.asleep.sum())
    age = f"{days.min():g}" if days.min() == days.max() else f"{days.min():g} to {days.max():g}"
    now = "all asleep" if nights == len(days) else "all awake" if not nights else f"{nights} of {len(days)} asleep"
    seeds = f"seed {spec.seeds[0]}" if spec.subjects == 1 else f"seeds {spec.seeds[0]} to {spec.seeds[-1]}"
    inputs = " x ".join(map(str, spec.inputs))
    weights = sum(math.prod(shape[1:]) for shape in spec.weights.values())
    kind = "numbers to predict" if spec.regression else "classes"
    found = [
        ("subjects", f"{spec.subjects} ({seeds}) on {spec.device}"),
        ("clock", f"{age} days old, tick {clock.tick:,}, {now}; {clock.per_day} experiences a day"),
        ("sizes", f"{inputs} inputs, {spec.outputs} {kind}, {weights:,} weights a subject"),
    ]
    if spec.budget is not None:
        found.append(("budget", f"{spec.budget:,} bytes left for the hippocampus"))
    found += [(name, repr(part)) for name, part in parts.items()]
    return [*found, ("probes", ", ".join(probes) or "none")]


def text(title: str, lines: Rows) -> str:
    """The lines as text, each cut at the width of a terminal.

    >>> print(text("Life", [("clock", "3 days old"), ("world", "Digits()")]))
    Life
      clock  3 days old
      world  Digits()
    """
    width = max((len(name) for name, _ in lines), default=0)
    return "\n".join([title, *(_cut(f"  {name:<{width}}  {what}") for name, what in lines)])


def page(title: str, lines: Rows) -> str:
    """The lines as an HTML table, with a long line folded behind its beginning.

    >>> page("Life", [("clock", "3 < 4")])
    '<table><caption>Life</caption><tr><th>clock</th><td style="text-align:left">3 &lt; 4</td></tr></table>'
    """
    cells = ((html.escape(name), _folded(what)) for name, what in lines)
    body = "".join(f'<tr><th>{name}</th><td style="text-align:left">{what}</td></tr>' for name, what in cells)
    return f"<table><caption>{html.escape(title)}</caption>{body}</table>"


def _folded(what: str) -> str:
    if len(what) <= WIDTH:
        return html.escape(what)
    return f"<details><summary>{html.escape(_cut(what))}</summary>{html.escape(what)}</details>"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
