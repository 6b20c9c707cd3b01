"""Comparisons of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.core.errors import choice, refuse_if
from cls_sim.figures import page
from cls_sim.figures.numbers import entries, estimated, finite_places, rows_of, subjects_of


@page.styled
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
    figure, (axes,) = page.new_page(page.SINGLE, 0.75 + 0.26 * len(values))
    rows = in_rows(axes, values, bands)
    axes.set_xlabel(ylabel)
    page.show_scale(axes, rows, chance, axis="x")
    if xlim is not None:
        axes.set_xlim(*xlim)
    return page.finished(figure, rows, legend=[axes])


@page.styled
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
    figure, (left, right) = page.new_page(page.DOUBLE, 0.75 + 0.26 * len(values), 1, 2, width_ratios=(1.35, 1))
    inks = list(groups or range(len(values)))
    rows = in_rows(left, values, None, inks=inks)
    right.axvline(0.0, color=page.GREY, lw=0.7, zorder=0)
    for number, (row, ink) in enumerate(zip(rows, inks, strict=True)):
        e, colour = differences.get(row["arm"]), page.ink_of(ink)["color"]
        if e is None:
            continue
        page.draw_mean(right, number, e, colour)
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
    page.show_scale(left, rows, axis="x")
    short = against if len(against) <= 60 else f"{against[:59]}…"
    return page.finished(figure, rows, f"differences to {short}" if differences else "")


@page.styled
def side_by_side(
    readings: Mapping[str, Mapping[str, ArrayLike]],
    *,
    names: Mapping[str, str] | None = None,
    neutral: Mapping[str, float] | None = None,
    unit: Sequence[str] = (),
    xlabel: str = "",
) -> Any:
    """Title → arm → values [s]: one column per reading, one row per arm; mean, interval, and the mean as a number.

    An arm without a number has a dash.

    names    arm → its name in the figure
    neutral  title → position of a dotted line, such as no bias
    unit     titles of the columns that go from 0 to 1
    xlabel   what all columns show
    """
    arms = list(dict.fromkeys(arm for column in readings.values() for arm in column))
    figure, pages = page.new_page(page.DOUBLE, 0.75 + 0.2 * len(arms), 1, len(readings))
    rows: list[page.Row] = []
    for axes, (title, column) in zip(pages, readings.items(), strict=True):
        if title in (neutral or {}):
            page.draw_level(axes, (neutral or {})[title], axis="x")
        for number, arm in enumerate(arms):
            values = np.asarray(column.get(arm, np.nan), np.float64).reshape(-1)
            e = statistics.estimate(values[np.isfinite(values)]) if np.isfinite(values).any() else None
            said = "–" if e is None else f"{e.mean + 0.0:.2f}".replace("-0.00", "0.00")
            axes.annotate(
                said, (1.04, number), xycoords=axes.get_yaxis_transform(), va="center", fontsize=6, color=page.INK
            )
            if e is None:
                continue
            page.draw_mean(axes, number, e, page.PALETTE[0], half=0.28, lw=1.8)
            rows.append({"reading": title, "arm": arm, "mean": e.mean, "low": e.low, "high": e.high, "n": e.n})
        labels = [(names or {}).get(arm, page.label_of(arm)) for arm in arms]
        page.label_rows(axes, len(arms), labels if axes is pages[0] else [])
        axes.tick_params(axis="x", labelsize=6)
        axes.locator_params(axis="x", nbins=3 if len(readings) <= 4 else 1)  # narrow columns: two labels
        axes.use_sticky_edges = False
        axes.margins(x=0.12)
        if title in unit:
            axes.set_xlim(-0.04, 1.04)
        axes.set_title(title, loc="left", fontsize=6.5)
        axes.set_xlabel(xlabel, fontsize=6.5)
    return page.finished(figure, rows)


@page.styled
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

    A line without a best mean has no diamond: the paired 95 % interval of its best from its worst number reaches 0.

    x     the swept numbers; infinity is drawn one step to the right of the last finite number
    best  which mean is marked: "max", "min" or "none"
    """
    choice("best", best, ("max", "min", "none"))
    swept = np.asarray(x, np.float64)
    places = finite_places(swept, log)
    figure, (axes,) = page.new_page(page.SINGLE, 2.5)
    if log:
        axes.set_xscale("log")
    if log or not np.isfinite(swept).all():
        shown = slice(None, None, -(-len(places) // 9))
        labels = ["∞" if np.isinf(place) else f"{place:g}" for place in swept]
        axes.set_xticks(places[shown], labels[shown])
        axes.minorticks_off()
    rows: list[page.Row] = []
    for number, (world, given) in enumerate(worlds.items()):
        values = np.asarray(given, np.float64)
        reason = f"has shape {values.shape} for {len(places)} numbers"
        refuse_if(values.ndim != 2 or len(values) != len(places), world, reason, "give [numbers, subjects]")
        e, ink = estimated(values), page.ink_of(number)
        optimum = -1 if best == "none" else _optimum(values, e.mean, -1 if best == "min" else 1)
        rows += rows_of(e, values, world=world, x=swept, best=np.arange(len(places)) == optimum)
        page.draw_line(axes, places, e, ink, world)
        if values.shape[1] <= page.FEW:
            axes.plot(places, values, ls="", marker=".", ms=2, mew=0, alpha=0.35, color=ink["color"])
        if optimum >= 0:
            axes.plot(places[optimum], e.mean[optimum], "D", ms=5, mec="white", mew=0.8, color=ink["color"], zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    page.show_scale(axes, rows, chance)
    return page.finished(figure, rows, "" if best == "none" else "diamond: best mean", legend=[axes])


def _optimum(values: np.ndarray, means: np.ndarray, sign: int) -> int:
    """The place of the best mean of values [n_x, s] (sign -1: the smallest), or -1 if no number is better."""
    best, worst = int(np.nanargmax(sign * means)), int(np.nanargmin(sign * means))
    gain = sign * (values[best] - values[worst])
    gain = gain[np.isfinite(gain)]
    above = float(statistics.estimate(gain).low) if len(gain) > 1 else float(gain.sum())
    return best if above > 0 else -1


def in_rows(
    axes: Any, values: Mapping[str, np.ndarray], bands: Any, inks: Sequence[int] | None = None, **places: Any
) -> list[page.Row]:
    """One row per arm: published band, subjects, interval as a box, mean as a stroke and as a number at the right."""
    rows: list[page.Row] = []
    for number, (arm, numbers) in enumerate(values.items()):
        e, ink = statistics.estimate(numbers), page.ink_of(inks[number] if inks else number)["color"]
        band = (bands or {}).get(arm)
        if band is not None:
            label = None if any("published_low" in row for row in rows) else "published"
            axes.barh(number, band[1] - band[0], left=band[0], height=0.84, color=page.PALE, label=label, zorder=0)
        if len(numbers) <= page.FEW:
            spread = number + 0.42 * ((np.arange(len(numbers)) * 0.618) % 1.0 - 0.5)
            axes.plot(numbers, spread, ls="", marker=".", ms=3, mew=0, alpha=0.6, color=ink, zorder=5)
        page.draw_mean(axes, number, e, ink)
        axes.annotate(f"{e.mean:.3f}", (1.02, number), xycoords=axes.get_yaxis_transform(), va="center", fontsize=6.5)
        dots = {f"subject_{j}": v for j, v in enumerate(numbers)} if len(numbers) <= page.FEW else {}
        extra = {"published_low": band[0], "published_high": band[1]} if band is not None else {}
        rows.append({**places, "arm": arm, **entries(e), **extra, **dots})
    page.label_rows(axes, len(values), [page.label_of(arm) for arm in values])
    return rows
