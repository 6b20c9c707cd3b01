"""Simulations as points, and theory as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim.figures import page
from cls_sim.figures.numbers import estimated, rows_of

FEW = 8  # swept numbers that are labelled one by one on a logarithmic axis


@page.styled
def curves(
    panels: Sequence[Mapping[str, Any]],
    *,
    xlabel: str,
    ylabel: str = "error",
    columns: int = 5,
    log: bool = False,
    logy: bool = False,
    joined: bool = False,
    ticks: Sequence[str] | None = None,
) -> Any:
    """Small panels of simulation points and lines of theory.

    A panel is {"title": …, "points": label → (x [n], values [n, s]), "lines": label → (x, y), "mark": x}.  Equal labels
    have equal colours; a mark is a vertical line (such as a best dose).  At most 25 points are drawn.

    log, logy  logarithmic axes; a few numbers x that are far apart are the labels of their axis
    joined     join the points of a simulation by thin lines, for a simulation without theory
    ticks      the names of the points on the axis of x, if they are no numbers
    """
    columns, deep = page.grid(len(panels), columns)
    alone = columns == 1
    size = (page.SINGLE, 2.6) if alone else (page.DOUBLE, 0.6 + 1.25 * deep if deep > 1 else 2.4)
    figure, pages = page.new_page(*size, deep, columns, share=True)
    labels = list(dict.fromkeys(name for p in panels for kind in ("points", "lines") for name in p.get(kind, {})))
    rows: list[page.Row] = []
    for axes, panel in zip(pages, panels, strict=False):
        title, points = panel.get("title", ""), panel.get("points", {})
        if log:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
        if panel.get("mark") is not None:
            axes.axvline(panel["mark"], color=page.GREY, lw=0.7, ls=(0, (2, 2)), zorder=0)
        for name, (x, y) in panel.get("lines", {}).items():
            ink = page.ink_of(labels.index(name)) if name in points else {"color": page.INK, "label": name}
            axes.plot(x, y, lw=1.0, zorder=2, **ink)
            place = {"panel": title, "label": name, "kind": "theory"}
            rows += [{**place, "x": a, "mean": b} for a, b in zip(x, y, strict=True)]
        for name, (x, values) in points.items():
            e, at = estimated(np.asarray(values, np.float64)), np.asarray(x, np.float64)
            ink = page.ink_of(labels.index(name))
            rows += rows_of(e, None, panel=title, label=name, kind="simulation", x=at)
            page.draw_points(axes, at, e, ink, name, log=log)
            if joined:
                axes.plot(at, e.mean, lw=0.7, color=ink["color"], zorder=2)
        places = np.unique([a for x, _ in points.values() for a in x])
        if ticks is not None:
            axes.set_xticks(places, ticks)
        elif log and 1 < len(places) <= FEW and (places[1:] >= 1.5 * places[:-1]).all():
            axes.set_xticks(places, [f"{place:.3g}" for place in places])
            axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set_title(title, loc="left", fontsize=6.5 if not alone else None)
    page.label_outer(pages, columns, len(panels), xlabel, ylabel)
    note = "points: simulation; lines: theory" if any(p.get("lines") for p in panels) else ""
    return page.finished(figure, rows, note, legend=pages[: len(panels)])
