"""Simulations as points, and theory as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim.figures.numbers import estimated, rows_of
from cls_sim.figures.page import (
    DOUBLE,
    GREY,
    INK,
    SINGLE,
    Row,
    add_legend,
    add_note,
    draw_points,
    finished,
    ink_of,
    label_outer,
    new_page,
    styled,
)


@styled
def curves(
    panels: Sequence[Mapping[str, Any]],
    *,
    xlabel: str,
    ylabel: str = "error",
    columns: int = 5,
    log: bool = False,
    logy: bool = False,
    joined: bool = False,
) -> Any:
    """Small panels of simulation points and lines of theory.

    A panel is {"title": …, "points": label → (x [n], values [n, s]), "lines": label → (x, y), "mark": x}.  Equal labels
    have equal colours; a mark is a vertical line (such as a best dose).  At most 25 points are drawn.

    log, logy  logarithmic axes
    joined     join the points of a simulation by thin lines, for a simulation without theory
    """
    columns = min(columns, len(panels))
    deep = -(-len(panels) // columns)
    alone = columns == 1
    size = (SINGLE, 2.6) if alone else (DOUBLE, 0.6 + 1.25 * deep if deep > 1 else 2.4)
    figure, pages = new_page(*size, deep, columns, share=True)
    labels = list(dict.fromkeys(name for p in panels for kind in ("points", "lines") for name in p.get(kind, {})))
    rows: list[Row] = []
    for axes, panel in zip(pages, panels, strict=False):
        if log:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
        if panel.get("mark") is not None:
            axes.axvline(panel["mark"], color=GREY, lw=0.7, ls=(0, (2, 2)), zorder=0)
        for name, (x, y) in panel.get("lines", {}).items():
            ink = ink_of(labels.index(name)) if name in panel.get("points", {}) else {"color": INK}
            axes.plot(x, y, lw=1.0, **ink, label=name if name not in panel.get("points", {}) else None, zorder=2)
            rows += [
                {"panel": panel.get("title", ""), "label": name, "kind": "theory", "x": a, "mean": b}
                for a, b in zip(x, y, strict=True)
            ]
        for name, (x, values) in panel.get("points", {}).items():
            e = estimated(np.asarray(values, np.float64))
            at = np.asarray(x, np.float64)
            rows += rows_of(e, None, panel=panel.get("title", ""), label=name, kind="simulation", x=at)
            draw_points(axes, at, e, ink_of(labels.index(name)), name, log=log)
            if joined:
                axes.plot(at, e.mean, lw=0.7, color=ink_of(labels.index(name))["color"], zorder=2)
        axes.set_title(panel.get("title", ""), loc="left", fontsize=6.5 if not alone else None)
    for axes in pages[len(panels) :]:
        axes.set_axis_off()
    label_outer(pages, columns, len(panels), xlabel, ylabel)
    add_legend(figure, *pages[: len(panels)])
    add_note(figure, rows, "points: simulation; lines: theory" if any(p.get("lines") for p in panels) else "")
    return finished(figure, rows)
