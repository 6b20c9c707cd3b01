"""Figures: mean over subjects with its 95 % interval, the subjects themselves where there are few, theory beside.

Every function returns a matplotlib Figure (no pyplot, no window, shown by Jupyter as it is) with one method more,
`data()`: the rows of numbers that it shows.  `save` writes PNG, PDF and those rows as CSV.

`traces` is a trace or a dict arm → trace; (days [t], values [t, s] or [t, s, k]) serves as a trace as well.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.errors import Broken, Refused, choice

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # an eighth arm has the first colour, dashed
INK, GREY, PALE = "#222222", "#6b6b6b", "#e4e4e4"
SINGLE, DOUBLE = 3.4, 7.0  # inches: one column, two columns
FEW = 40  # subjects up to which each is shown
THIN = 20  # simulation points beside a curve
STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.3,
    "text.color": INK,
    "pdf.fonttype": 42,  # letters stay letters
    "savefig.facecolor": "white",
}

Row = dict[str, Any]


def _styled(draw: Callable) -> Callable:
    """Draw in our style, whatever the user's is."""

    @wraps(draw)
    def inner(*args: Any, **kwargs: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
            return draw(*args, **kwargs)

    return inner


# -- the figures --------------------------------------------------------------------------------------------


@_styled
def over_days(
    traces: Any,
    reading: str,
    *,
    theory: Any = None,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
) -> Any:
    """A reading over the life, a line an arm (contexts averaged), with its interval; thin lines are subjects.

    theory  (x, y), or arm → (x, y): drawn as lines, and the simulation as points with error bars
    chance  a dotted line
    moment  only readings taken at such moments ("night.end")
    """
    figure, (axes,) = _page(SINGLE, 2.5)
    rows: list[Row] = []
    for arm, days, values in _lives(traces, reading, moment):
        e, ink = _estimated(_overall(values)), _ink(arm.number)
        rows += _told(e, _overall(values), arm=arm.name, day=days)
        if theory is None:
            _line(axes, days, e, ink, arm.name, subjects=_overall(values))
        else:
            _points(axes, days, e, ink, arm.name)
    for number, (name, (x, y)) in enumerate(_named(theory).items()):
        axes.plot(
            x, y, lw=1.0, color=_ink(number)["color"] if isinstance(theory, Mapping) else INK, label=name, zorder=1
        )
    axes.set(xlabel="age (days)", ylabel=ylabel or _label(reading))
    _whole_unit(axes, rows)
    _chance(axes, chance)
    _legend(figure, axes)
    _note(axes, rows)
    return _done(figure, rows)


@_styled
def contexts_over_days(
    traces: Any,
    reading: str = "accuracy",
    *,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
) -> Any:
    """A reading of every context over the life, a panel an arm: the figure of forgetting.

    Thin vertical lines are the ends of contexts, where the trace tells them.
    """
    lives = _lives(traces, reading, moment)
    columns = min(len(lives), 4)
    deep = -(-len(lives) // columns)
    figure, panels = _page(SINGLE if columns == 1 else DOUBLE, 0.7 + 1.6 * deep, deep, columns, share=True)
    rows: list[Row] = []
    for panel, (arm, days, values) in zip(panels, lives, strict=False):
        if values.ndim != 3:
            raise Refused(reading, "is no reading by context", "name one that gives [s, k]")
        for end in arm.ends:
            panel.axvline(end, color=PALE, lw=0.8, zorder=0)
        for context in range(values.shape[2]):
            e = _estimated(values[:, :, context])
            rows += _told(e, values[:, :, context], arm=arm.name, context=context + 1, day=days)
            _line(panel, days, e, {"color": _order(context, values.shape[2])}, f"context {context + 1}")
        panel.set_title(arm.name, loc="left")
        _chance(panel, chance)
        _whole_unit(panel, rows)
    for panel in panels[len(lives) :]:
        panel.set_axis_off()
    _outer(panels, columns, len(lives), "age (days)", ylabel or _label(reading))
    _legend(figure, panels[0], columns=6)
    _note(panels[min(columns, len(lives)) - 1], rows)
    return _done(figure, rows)


@_styled
def forgetting(
    traces: Any,
    reading: str = "accuracy",
    *,
    contexts: int = 1,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """What becomes of the first `contexts` contexts over the life, and, at the right, of all of them in the end."""
    figure, (left, right) = _page(DOUBLE, 2.6, 1, 2, width_ratios=(1.35, 1))
    rows: list[Row] = []
    last: dict[str, np.ndarray] = {}
    for arm, days, values in _lives(traces, reading, moment):
        if values.ndim != 3:
            raise Refused(reading, "is no reading by context", "name one that gives [s, k]")
        first = _overall(values[:, :, :contexts])
        e = _estimated(first)
        rows += _told(e, first, panel="first contexts", arm=arm.name, day=days)
        _line(left, days, e, _ink(arm.number), arm.name)
        for end in arm.ends if arm.number == 0 else ():
            left.axvline(end, color=PALE, lw=0.8, zorder=0)
        last[arm.name] = _latest(_overall(values))
    rows += _in_rows(right, last, bands, panel="all contexts, end of life")
    name = ylabel or _label(reading)
    which = "context 1" if contexts == 1 else f"contexts 1-{contexts}"
    left.set(xlabel="age (days)", ylabel=f"{name}, {which}")
    right.set_xlabel(f"{name}, all contexts, end of life")
    _whole_unit(left, rows)
    _whole_unit(right, rows, axis="x")
    _chance(left, chance)
    _chance(right, chance, axis="x")
    _legend(figure, left, columns=6)
    _note(right, rows)
    return _done(figure, rows)


@_styled
def arms(
    readings: Mapping[str, ArrayLike],
    *,
    ylabel: str = "accuracy",
    chance: float | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """One reading [s] of every arm, a row each, in the order given: mean and interval, a dot a subject.

    bands  arm → (low, high): what was published, a shaded box
    """
    values = {arm: _subjects(arm, v) for arm, v in readings.items()}
    figure, (axes,) = _page(SINGLE, 0.75 + 0.26 * len(values))
    rows = _in_rows(axes, values, bands)
    axes.set_xlabel(ylabel)
    _whole_unit(axes, rows, axis="x")
    _chance(axes, chance, axis="x")
    _legend(figure, axes)
    _note(axes, rows)
    return _done(figure, rows)


@_styled
def matrix(accuracy: Any, *, label: str = "accuracy") -> Any:
    """Accuracy of every context (columns) after every context (rows): [t, k] or [s, t, k], or arm → such.

    With one row more than columns, the first is before anything was learnt.
    """
    tables = accuracy if isinstance(accuracy, Mapping) else {"": accuracy}
    arrays = {arm: np.asarray(values, np.float64) for arm, values in tables.items()}
    columns = min(len(arrays), 4)
    deep = -(-len(arrays) // columns)
    width = SINGLE if columns == 1 else DOUBLE
    figure, panels = _page(width, 0.55 + deep * (width - 0.9) / max(columns, 1.25), deep, columns, share=True)
    top = max(1.0, *(float(np.nanmax(a)) for a in arrays.values()))
    low = min(0.0, *(float(np.nanmin(a)) for a in arrays.values()))
    rows: list[Row] = []
    for panel, (arm, array) in zip(panels, arrays.items(), strict=False):
        e = _estimated(np.moveaxis(array, 0, -1)) if array.ndim == 3 else None
        table = array if e is None else e.mean
        picture = panel.imshow(table, cmap="cividis", vmin=low, vmax=top, aspect="equal")
        rows += _cells(panel, arm, table, e, low, top)
        panel.set_title(arm, loc="left")
        if panel is panels[0]:
            figure.colorbar(picture, ax=panels, shrink=0.7, aspect=25, label=label).outline.set_visible(False)
    for panel in panels[len(arrays) :]:
        panel.set_axis_off()
    _outer(panels, columns, len(arrays), "context examined", "after context")
    return _done(figure, rows)


@_styled
def sweep(
    x: ArrayLike,
    worlds: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str = "accuracy",
    log: bool = False,
    best: str = "max",
    chance: float | None = None,
) -> Any:
    """A reading [n_x, s] against a number swept, a line a world; a diamond marks the best mean.

    best  "max" or "min"
    """
    pick = {"max": np.nanargmax, "min": np.nanargmin}[choice("best", best, ("max", "min"))]
    places = np.asarray(x, np.float64)
    figure, (axes,) = _page(SINGLE, 2.5)
    if log:
        axes.set_xscale("log")
    rows: list[Row] = []
    for number, (world, given) in enumerate(worlds.items()):
        values = np.asarray(given, np.float64)
        if values.ndim != 2 or len(values) != len(places):
            raise Refused(world, f"has shape {values.shape} for {len(places)} places", "give [places, subjects]")
        e, ink = _estimated(values), _ink(number)
        optimum = int(pick(e.mean))
        rows += _told(e, values, world=world, x=places, best=np.arange(len(places)) == optimum)
        _line(axes, places, e, ink, world)
        if values.shape[1] <= FEW:
            axes.plot(places, values, ls="", marker=".", ms=2, mew=0, alpha=0.35, color=ink["color"])
        axes.plot(places[optimum], e.mean[optimum], "D", ms=5, mec="white", mew=0.8, color=ink["color"], zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _whole_unit(axes, rows)
    _chance(axes, chance)
    _legend(figure, axes)
    _note(axes, rows, "diamond: best mean")
    return _done(figure, rows)


@_styled
def curves(
    panels: Sequence[Mapping[str, Any]],
    *,
    xlabel: str,
    ylabel: str = "error",
    columns: int = 5,
    log: bool = False,
) -> Any:
    """Small panels of simulation points over the lines of theory.

    A panel is {"title": …, "points": label → (x [n], values [n, s]), "lines": label → (x, y), "mark": x}; equal labels
    have equal colours, and a mark is a vertical line (a best dose).  Points are thinned to twenty.
    """
    columns = min(columns, len(panels))
    deep = -(-len(panels) // columns)
    alone = columns == 1
    figure, pages = _page(SINGLE if alone else DOUBLE, 2.6 if alone else 0.6 + 1.25 * deep, deep, columns, share=True)
    labels = list(dict.fromkeys(name for p in panels for kind in ("points", "lines") for name in p.get(kind, {})))
    rows: list[Row] = []
    for axes, panel in zip(pages, panels, strict=False):
        if log:
            axes.set_xscale("log")
        if panel.get("mark") is not None:
            axes.axvline(panel["mark"], color=GREY, lw=0.7, ls=(0, (2, 2)), zorder=0)
        for name, (x, y) in panel.get("lines", {}).items():
            ink = _ink(labels.index(name)) if name in panel.get("points", {}) else {"color": INK}
            axes.plot(x, y, lw=1.0, **ink, label=name if name not in panel.get("points", {}) else None, zorder=2)
            rows += [
                {"panel": panel.get("title", ""), "label": name, "kind": "theory", "x": a, "mean": b}
                for a, b in zip(x, y)
            ]
        for name, (x, values) in panel.get("points", {}).items():
            e = _estimated(np.asarray(values, np.float64))
            at = np.asarray(x, np.float64)
            rows += _told(e, None, panel=panel.get("title", ""), label=name, kind="simulation", x=at)
            _points(axes, at, e, _ink(labels.index(name)), name, log=log)
        axes.set_title(panel.get("title", ""), loc="left", fontsize=6.5 if not alone else None)
    for axes in pages[len(panels) :]:
        axes.set_axis_off()
    _outer(pages, columns, len(panels), xlabel, ylabel)
    _legend(figure, pages[0], columns=4)
    _note(pages[columns - 1] if alone else None, rows, "points: simulation; lines: theory", figure=figure)
    return _done(figure, rows)
