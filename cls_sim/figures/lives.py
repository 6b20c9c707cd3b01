"""Readings over the days of a life, and by context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim.figures import page
from cls_sim.figures.compared import in_rows
from cls_sim.figures.numbers import by_arm, entries, estimated, latest, lives_of, overall, rows_of


@page.styled
def over_days(
    traces: Any,
    reading: str,
    *,
    theory: Any = None,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """A reading over the life, one line per arm (mean over contexts) with its interval; thin lines are subjects.

    theory  (x, y), or arm → (x, y): drawn as lines, with the simulation as points with error bars
    chance  chance level, a dotted line
    moment  use only readings of this moment ("night.end")
    names   names of the contexts in order, written above them if the trace has their ends
    """
    figure, (axes,) = page.new_page(page.DOUBLE if names else page.SINGLE, 2.5)
    rows: list[page.Row] = []
    for arm, days, values in lives_of(traces, reading, moment):
        shown = (names or ()) if arm.number == 0 else ()
        for start, end, name in zip([0.0, *arm.ends], arm.ends, shown, strict=False):
            page.draw_ends(axes, [end])
            place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            axes.text((start + end) / 2, 1.01, name, fontsize=6, **place)
        e, ink = estimated(overall(values)), page.ink_of(arm.number)
        rows += rows_of(e, overall(values), arm=arm.name, day=days)
        if theory is None:
            page.draw_line(axes, days, e, ink, arm.name, subjects=overall(values))
        else:
            page.draw_points(axes, days, e, ink, arm.name)
    known = list(by_arm(traces))
    for name, (x, y) in by_arm(theory).items():
        ink = {"color": page.INK, "label": name or "theory"} if name not in known else page.ink_of(known.index(name))
        axes.plot(x, y, lw=1.0, zorder=1, **ink)
    axes.set(xlabel="age (days)", ylabel=ylabel or page.label_of(reading))
    page.show_scale(axes, rows, chance)
    return page.finished(figure, rows, "" if theory is None else "points: simulation; lines: theory", legend=[axes])


@page.styled
def contexts_over_days(
    traces: Any,
    reading: str = "accuracy",
    *,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
    names: Sequence[str] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Any:
    """A reading of every context over the life, one panel per arm: the figure of forgetting.

    Thin vertical lines are the ends of contexts, if the trace has them.

    names   names of the contexts (or of the entries of another profile); None: context 1, …
    titles  arm → title of its panel, if it is not the arm's name
    """
    lives = lives_of(traces, reading, moment, by_context=True)
    columns, deep = page.grid(len(lives))
    figure, panels = page.new_page(
        page.SINGLE if columns == 1 else page.DOUBLE, 0.7 + 1.6 * deep, deep, columns, share=True
    )
    rows: list[page.Row] = []
    for panel, (arm, days, values) in zip(panels, lives, strict=False):
        page.draw_ends(panel, arm.ends)
        for context in range(values.shape[2]):
            e = estimated(values[:, :, context])
            rows += rows_of(e, values[:, :, context], arm=arm.name, context=context + 1, day=days)
            name = names[context] if names else f"context {context + 1}"
            page.draw_line(panel, days, e, {"color": page.shade(context, values.shape[2])}, name)
        panel.set_title((titles or {}).get(arm.name, arm.name.replace("_", " ")), loc="left")
        page.show_scale(panel, rows, chance)
    page.label_outer(panels, columns, len(lives), "age (days)", ylabel or page.label_of(reading))
    return page.finished(figure, rows, legend=panels[:1])


@page.styled
def forgetting(
    traces: Any,
    reading: str = "accuracy",
    *,
    contexts: int = 1,
    lines: Sequence[str] | None = None,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """A reading of the first `contexts` contexts over the life (left), and of all contexts at its end (right).

    lines  the arms drawn on the left; None: all
    """
    figure, (left, right) = page.new_page(page.DOUBLE, 2.6, 1, 2, width_ratios=(1.35, 1))
    rows: list[page.Row] = []
    last: dict[str, np.ndarray] = {}
    for arm, days, values in lives_of(traces, reading, moment, by_context=True):
        if lines is None or arm.name in lines:
            first = overall(values[:, :, :contexts])
            e = estimated(first)
            rows += rows_of(e, first, panel="first contexts", arm=arm.name, day=days)
            page.draw_line(left, days, e, page.ink_of(arm.number), arm.name)
        page.draw_ends(left, arm.ends if arm.number == 0 else ())
        last[arm.name] = latest(overall(values))
    rows += in_rows(right, last, bands, panel="all contexts, end of life")
    name = ylabel or page.label_of(reading)
    which = "context 1" if contexts == 1 else f"contexts 1-{contexts}"
    left.set(xlabel="age (days)", ylabel=f"{name}, {which}")
    right.set_xlabel(f"{name}, all contexts, end of life")
    page.show_scale(left, rows, chance)
    page.show_scale(right, rows, chance, axis="x")
    return page.finished(figure, rows, legend=[left, right])


@page.styled
def awake_and_asleep(
    traces: Any,
    awake: str = "accuracy",
    asleep: str = "course",
    *,
    x: str = "passes",
    rows_per_step: int = 1,
    context: int = 0,
    titles: Mapping[str, str] | None = None,
    xlabel: str = "steps of learning",
    ylabel: str | None = None,
    chance: float | None = None,
) -> Any:
    """A reading of one context after every step of learning, one panel per arm: the states awake, and those asleep.

    awake          a reading [s, k] by context, measured together with x
    asleep         a reading [s, steps + 1] of the same context now and during the coming night (NightAccuracy)
    x              a reading [s] that counts rows learnt
    rows_per_step  rows of one step
    titles         arm → title of its panel, if it is not the arm's name
    """
    columns, deep = page.grid(len(traces), 2)
    figure, panels = page.new_page(page.DOUBLE, 0.7 + 1.6 * deep, deep, columns, share=True)
    found: list[page.Row] = []
    for panel, (arm, trace) in zip(panels, traces.items(), strict=False):
        looks = [row for row in trace.rows if awake in row["readings"] and x in row["readings"]]
        steps = np.array([np.nanmean(row["readings"][x]) for row in looks]) / rows_per_step
        values = np.stack([row["readings"][awake][:, context] for row in looks])
        page.draw_ends(panel, steps[[row["moment"] == "context.end" for row in looks]])
        for row in (row for row in looks if asleep in row["readings"]):
            inside, start = estimated(row["readings"][asleep].T).mean, np.nanmean(row["readings"][x]) / rows_per_step
            at = start + np.arange(len(inside))
            panel.plot(at, inside, color=page.PALETTE[1], lw=0.8, zorder=1, label="asleep")
            found += [{"arm": arm, "state": "asleep", "step": a, "mean": m} for a, m in zip(at, inside, strict=True)]
        e = estimated(values)
        found += rows_of(e, values, arm=arm, state="awake", step=steps)
        if len(np.unique(steps)) <= 2 * page.FEW:
            panel.vlines(steps, e.low, e.high, color=page.PALETTE[0], lw=0.8, alpha=0.5)
            panel.plot(steps, e.mean, "o", ms=2.5, color=page.PALETTE[0], label="awake", zorder=3)
        else:
            page.draw_line(panel, steps, e, {"color": page.PALETTE[0]}, "awake")
        panel.set_title((titles or {}).get(arm, page.label_of(arm)), loc="left")
        page.show_scale(panel, found, chance)
    page.label_outer(panels, columns, len(traces), xlabel, ylabel or page.label_of(awake))
    return page.finished(figure, found, legend=panels)


@page.styled
def matrix(accuracy: Any, *, label: str = "accuracy") -> Any:
    """Accuracy on every context (columns) after every context (rows): [t, k] or [s, t, k], or arm → such an array.

    If there is one row more than columns, the first row is before learning; it is not drawn if nothing was asked then.
    """
    tables = accuracy if isinstance(accuracy, Mapping) else {"": accuracy}
    arrays = {arm: np.asarray(values, np.float64) for arm, values in tables.items()}
    if all(a.shape[-2] > a.shape[-1] and np.isnan(a[..., 0, :]).all() for a in arrays.values()):
        arrays = {arm: a[..., 1:, :] for arm, a in arrays.items()}
    columns, deep = page.grid(len(arrays))
    width = page.SINGLE if columns == 1 else page.DOUBLE
    ends, contexts = next(iter(arrays.values())).shape[-2:]
    side = min(2.2, (width - 1.35) / columns)
    figure, panels = page.new_page(width, 0.6 + deep * (side * ends / contexts + 0.27), deep, columns, share=True)
    top = max(1.0, *(float(np.nanmax(a)) for a in arrays.values()))
    low = min(0.0, *(float(np.nanmin(a)) for a in arrays.values()))
    rows: list[page.Row] = []
    for panel, (arm, array) in zip(panels, arrays.items(), strict=False):
        e = estimated(np.moveaxis(array, 0, -1)) if array.ndim == 3 else None
        table = array if e is None else e.mean
        picture = panel.imshow(table, cmap="cividis", vmin=low, vmax=top, aspect="equal")
        rows += _cells(panel, arm, table, e, low, top)
        panel.set_title(arm.replace("_", " "), loc="left")
        if panel is panels[0]:
            bar = figure.colorbar(picture, ax=panels, shrink=0.8, aspect=20, label=label)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=7, length=0)
    page.label_outer(panels, columns, len(arrays), "context evaluated", "after context")
    return page.finished(figure, rows, interval=False)


def _cells(panel: Any, arm: str, table: np.ndarray, e: Any, low: float, top: float) -> list[page.Row]:
    """Numbers and ticks of a heat map."""
    ends, contexts = table.shape
    first = 1 if ends <= contexts else 0  # row 0 is before learning
    rows: list[page.Row] = []
    for i, j in np.ndindex(ends, contexts):
        if contexts <= 10 and np.isfinite(table[i, j]):
            ink = "white" if (table[i, j] - low) / (top - low) < 0.55 else "black"
            size = 6.5 if contexts <= 6 else 5
            panel.text(j, i, f"{table[i, j]:.2f}".removeprefix("0"), ha="center", va="center", color=ink, fontsize=size)
        numbers = {"mean": table[i, j]} if e is None else entries(e, i, j)
        rows.append({"arm": arm, "after": i + first, "context": j + 1, **numbers})
    panel.set_yticks(range(ends), ["start" if i + first == 0 else str(i + first) for i in range(ends)])
    panel.set_xticks(range(contexts), [str(j + 1) for j in range(contexts)])
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return rows
