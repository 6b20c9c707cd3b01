"""Comparisons of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.core.errors import ConfigError, choice
from cls_sim.figures.numbers import estimated, finite_places, rows_of, subjects_of
from cls_sim.figures.page import (
    DOUBLE,
    FEW,
    GREY,
    PALE,
    SINGLE,
    Row,
    add_legend,
    add_note,
    draw_chance,
    draw_line,
    finished,
    ink_of,
    label_of,
    new_page,
    styled,
    whole_unit,
)


@styled
def arms(
    readings: Mapping[str, ArrayLike],
    *,
    ylabel: str = "accuracy",
    chance: float | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
    xlim: Sequence[float] | None = None,
) -> Any:
    """One reading [s] of every arm, one row each in the given order: mean, interval, and a dot per subject.

    bands  arm → (low, high) of the published number, a shaded box
    xlim   limits of the axis; None: fractions are shown from 0 to 1
    """
    values = {arm: subjects_of(arm, v) for arm, v in readings.items()}
    figure, (axes,) = new_page(SINGLE, 0.75 + 0.26 * len(values))
    rows = in_rows(axes, values, bands)
    axes.set_xlabel(ylabel)
    if xlim is None:
        whole_unit(axes, rows, axis="x")
    else:
        axes.set_xlim(*xlim)
    draw_chance(axes, chance, axis="x")
    add_legend(figure, axes)
    add_note(figure, rows)
    return finished(figure, rows)


@styled
def compared(
    readings: Mapping[str, ArrayLike],
    differences: Mapping[str, statistics.Estimate | None],
    *,
    groups: Sequence[int] | None = None,
    ylabel: str = "accuracy",
    against: str = "the first",
) -> Any:
    """One reading [s] of every row (left), and its paired differences (right), with intervals.

    groups  the number of each row's colour; None: one colour per row
    """
    values = {name: subjects_of(name, v) for name, v in readings.items()}
    figure, (left, right) = new_page(DOUBLE, 0.75 + 0.26 * len(values), 1, 2, width_ratios=(1.35, 1))
    inks = list(groups or range(len(values)))
    rows = in_rows(left, values, None, inks=inks)
    right.axvline(0.0, color=GREY, lw=0.7, zorder=0)
    for number, (row, ink) in enumerate(zip(rows, inks, strict=True)):
        e, colour = differences.get(row["arm"]), ink_of(ink)["color"]
        if e is None:
            continue
        if e.high >= e.low:
            right.barh(number, e.high - e.low, left=e.low, height=0.5, color=colour, alpha=0.35, zorder=3)
        stroke = {"lw": 1.6, "color": colour, "zorder": 4, "solid_capstyle": "butt"}
        right.plot([e.mean, e.mean], [number - 0.25, number + 0.25], **stroke)
        row |= {"difference": e.mean, "difference_low": e.low, "difference_high": e.high, "pairs": e.n, "p": e.p}
    left.set_yticks(range(len(values)), list(values))
    right.set_yticks([])
    right.set_ylim(left.get_ylim())
    right.spines["left"].set_visible(False)
    left.set_xlabel(ylabel)
    right.set_xlabel("difference within subjects")
    right.use_sticky_edges = False
    right.margins(x=0.08)
    right.autoscale(axis="x")
    whole_unit(left, rows, axis="x")
    short = against if len(against) <= 60 else f"{against[:59]}…"
    add_note(figure, rows, f"differences to {short}" if differences else "")
    return finished(figure, rows)


@styled
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
    """A reading [n_x, s] against a swept number, one line per world; a diamond marks the best mean.

    x     the swept numbers; infinity is drawn one step to the right of the last finite number
    best  which mean is marked: "max", "min" or "none"
    """
    choice("best", best, ("max", "min", "none"))
    swept = np.asarray(x, np.float64)
    places = finite_places(swept, log)
    figure, (axes,) = new_page(SINGLE, 2.5)
    if log:
        axes.set_xscale("log")
    if log or not np.isfinite(swept).all():
        shown = slice(None, None, -(-len(places) // 9))
        labels = ["∞" if np.isinf(place) else f"{place:g}" for place in swept]
        axes.set_xticks(places[shown], labels[shown])
        axes.minorticks_off()
    rows: list[Row] = []
    for number, (world, given) in enumerate(worlds.items()):
        values = np.asarray(given, np.float64)
        if values.ndim != 2 or len(values) != len(places):
            reason = f"has shape {values.shape} for {len(places)} numbers"
            raise ConfigError(world, reason, "give [numbers, subjects]")
        e, ink = estimated(values), ink_of(number)
        optimum = -1 if best == "none" else int(np.nanargmax(e.mean if best == "max" else -e.mean))
        rows += rows_of(e, values, world=world, x=swept, best=np.arange(len(places)) == optimum)
        draw_line(axes, places, e, ink, world)
        if values.shape[1] <= FEW:
            axes.plot(places, values, ls="", marker=".", ms=2, mew=0, alpha=0.35, color=ink["color"])
        if optimum >= 0:
            axes.plot(places[optimum], e.mean[optimum], "D", ms=5, mec="white", mew=0.8, color=ink["color"], zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    whole_unit(axes, rows)
    draw_chance(axes, chance)
    add_legend(figure, axes)
    add_note(figure, rows, "" if best == "none" else "diamond: best mean")
    return finished(figure, rows)


def in_rows(
    axes: Any, values: Mapping[str, np.ndarray], bands: Any, inks: Sequence[int] | None = None, **places: Any
) -> list[Row]:
    """One row per arm: published band, subjects, interval as a box, mean as a stroke and as a number at the right."""
    rows: list[Row] = []
    for number, (arm, numbers) in enumerate(values.items()):
        e, ink = statistics.estimate(numbers), ink_of(inks[number] if inks else number)["color"]
        band = (bands or {}).get(arm)
        if band is not None:
            label = None if any("published_low" in row for row in rows) else "published"
            axes.barh(number, band[1] - band[0], left=band[0], height=0.84, color=PALE, label=label, zorder=0)
        if len(numbers) <= FEW:
            spread = number + 0.42 * ((np.arange(len(numbers)) * 0.618) % 1.0 - 0.5)
            axes.plot(numbers, spread, ls="", marker=".", ms=3, mew=0, alpha=0.6, color=ink, zorder=5)
        if e.high >= e.low:
            axes.barh(number, e.high - e.low, left=e.low, height=0.5, color=ink, alpha=0.35, zorder=3)
        axes.plot([e.mean, e.mean], [number - 0.25, number + 0.25], lw=1.6, color=ink, zorder=4, solid_capstyle="butt")
        axes.annotate(f"{e.mean:.3f}", (1.02, number), xycoords=axes.get_yaxis_transform(), va="center", fontsize=6.5)
        told = {"arm": arm, "mean": e.mean, "sem": e.sem, "low": e.low, "high": e.high, "n": e.n}
        dots = {f"subject_{j}": v for j, v in enumerate(numbers)} if len(numbers) <= FEW else {}
        extra = {"published_low": band[0], "published_high": band[1]} if band is not None else {}
        rows.append({**places, **told, **extra, **dots})
    axes.set_yticks(range(len(values)), [label_of(arm) for arm in values])
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return rows
