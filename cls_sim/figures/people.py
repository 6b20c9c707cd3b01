"""Means of people with their standard errors, over the curve of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim import people as data
from cls_sim.figures import page
from cls_sim.figures.numbers import estimated, rows_of
from cls_sim.statistics import spearman
from cls_sim.storage.case import Case


@page.styled
def people(
    table: str,
    panels: Mapping[str, Mapping[str, tuple[Sequence[str], Sequence[np.ndarray]]]],
    *,
    x: Sequence[float] | None = None,
    ticks: Sequence[str] | None = None,
    half: str = "all",
    laws: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    log: bool = False,
    joined: bool = True,
) -> Any:
    """People as black points with ± 2 standard errors, and models as coloured lines with their 95 % intervals.

    One mean of people beside several models is a line with a grey band.

    panels  title → label of a model → (cells of the table, values [s] of the model in each)
    x       the number of each cell; None: the cells stand side by side, named by `ticks`
    laws    laws of forgetting that are fitted to these people (see cls_sim.people.fitted), as thin lines
    joined  False: no line from cell to cell
    """
    whole = data.read(table, half)
    size = (page.SINGLE if len(panels) == 1 else page.DOUBLE, 2.6)
    figure, pages = page.new_page(*size, 1, len(panels), share=x is not None)
    rows: list[page.Row] = []
    for axes, (title, models) in zip(pages, panels.items(), strict=True):
        cells = next(iter(models.values()))[0]
        there, count = whole.of(cells), len(cells)
        at = np.arange(count, dtype=np.float64) if x is None else np.asarray(x, np.float64)
        if log:
            axes.set_xscale("log")
        if count > 1 and len({*cells}) == 1:  # one mean of people beside several models
            axes.axhspan(*(there.mean[0] + 2 * there.sem[0] * np.array([-1, 1])), color=page.GREY, alpha=0.2, lw=0)
            axes.axhline(there.mean[0], color=page.INK, lw=1.0, label="people")
        else:
            axes.errorbar(
                at, there.mean, yerr=2 * there.sem, fmt="o", ms=3.5, color=page.INK, elinewidth=1.0, capsize=2,
                zorder=5, label="people",
            )  # fmt: skip
        rows += [
            {"panel": title, "label": "people", "kind": "people", "x": a, "mean": m, "sem": s, "cell": c}
            for a, m, s, c in zip(at, there.mean, there.sem, cells, strict=True)
        ]
        for i, (label, (_, values)) in enumerate(models.items()):
            e, ink, name = estimated(np.stack(values)), page.ink_of(i), (names or {}).get(label, page.label_of(label))
            rows += rows_of(e, None, panel=title, label=label, kind="model", x=at)
            side = at if joined else at + 0.16 * (i + 1)
            page.draw_points(axes, side, e, ink, name, log=log)
            if joined:
                axes.plot(side, e.mean, lw=0.9, zorder=3, **ink)
        for i, law in enumerate(laws):
            means = data.fitted(there, at, law)[1]
            axes.plot(at, means, lw=0.8, color=page.GREY, ls=page.DASHES[(i + 1) % 3], label=law, zorder=1)
            place = {"panel": title, "label": law, "kind": "law"}
            rows += [{**place, "x": a, "mean": b} for a, b in zip(at, means, strict=True)]
        if x is None:
            axes.set_xticks(at, ticks or cells, fontsize=6.5)
            axes.set_xlim(-0.5, count - 0.2)
        axes.set_title(title, loc="left", fontsize=7)
    page.label_outer(pages, len(panels), len(panels), xlabel, ylabel)
    ends = [axes.get_ylim() for axes in pages]
    for axes in pages:
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    note = "black: people ± 2 SEM"
    return page.finished(figure, rows, note, legend=pages)


@page.styled
def recovery(true: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> Any:
    """Numbers that were fitted to tables of the model [n], over those that made the tables; a panel for each."""
    figure, panels = page.new_page(page.SINGLE if len(true) == 1 else page.DOUBLE, 2.2, 1, len(true))
    rows: list[page.Row] = []
    for axes, (key, made) in zip(panels, true.items(), strict=True):
        found = fitted[key]
        ends = [float(min(made.min(), found.min())), float(max(made.max(), found.max()))]
        if ends[0] > 0 and ends[1] >= 10 * ends[0]:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.plot(ends, ends, lw=0.8, ls="--", color=page.GREY, zorder=1)
        axes.plot(made, found, "o", ms=3.5, alpha=0.7, mec="none", color=page.ink_of(0)["color"])
        axes.set_title(
            f"{page.label_of(key.rpartition('.')[2])}, correlation {spearman(made, found):.2f}", loc="left", fontsize=7
        )
        axes.set_xlabel("true")
        rows += [{"number": key, "x": a, "mean": b} for a, b in zip(made.tolist(), found.tolist(), strict=True)]
    panels[0].set_ylabel("fitted")
    return page.finished(figure, rows, "dashed: fitted = true", interval=False)


def draw_people(
    case: Case,
    table: str,
    panels: Mapping[str, Any],
    reading: str = "accuracy",
    than: str | None = None,
    **settings: Any,
) -> Any:
    """People over models.  panels: title → {points: cell → reading} of each arm, or {arms: arm → cell} of `reading`.

    than  an arm whose values are subtracted from those of `arms`, where the cells are effects
    """
    drawn = {}
    for title, told in panels.items():
        if "arms" in told:
            if {*told["arms"], than or next(iter(case.traces))} <= set(case.traces):
                base = 0.0 if than is None else case.values(than, reading)
                found = [case.values(arm, reading) - base for arm in told["arms"]]
                drawn[title] = {told.get("label", "model"): (list(told["arms"].values()), found)}
        else:
            points = told["points"]
            drawn[title] = {
                arm: (list(points), [case.values(arm, name) for name in points.values()])
                for arm in case.traces
                if arm in told.get("only", case.traces)
            }
    return people(table, drawn, **settings) if drawn and all(drawn.values()) else None
