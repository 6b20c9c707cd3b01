"""The same treatments in several groups of arms, such as learners on several streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.figures import page
from cls_sim.figures.tradeoffs import MARKS
from cls_sim.storage.case import Case

SPREAD = 0.74  # of a row, over which the treatments of a group are spread


@page.styled
def grouped(readings: Mapping[str, Mapping[str, Mapping[str, ArrayLike]]]) -> Any:
    """Title → group → treatment → values [s]: one column per reading, one row per group, one mark per treatment.

    A treatment has the same colour and mark everywhere; a group may lack some.  Lines are 95 % intervals.
    """
    groups = list(dict.fromkeys(group for column in readings.values() for group in column))
    names = list(dict.fromkeys(name for column in readings.values() for group in column.values() for name in group))
    figure, pages = page.new_page(page.DOUBLE, 0.95 + 0.42 * len(groups), 1, len(readings))
    rows: list[page.Row] = []
    for axes, (title, column) in zip(pages, readings.items(), strict=True):
        for place, group in enumerate(groups):
            if place:
                axes.axhline(place - 0.5, color=page.PALE, lw=0.6, zorder=0)
            for number, name in enumerate(names):
                values = np.asarray(column.get(group, {}).get(name, np.nan), np.float64).reshape(-1)
                if not np.isfinite(values).any():
                    continue
                e, ink = statistics.estimate(values[np.isfinite(values)]), page.ink_of(number)["color"]
                y = place + SPREAD * ((number + 0.5) / len(names) - 0.5)
                axes.plot([e.low, e.high], [y, y], color=ink, lw=0.9, zorder=2)
                axes.plot(e.mean, y, MARKS[number % len(MARKS)], color=ink, ms=3.6, mew=0, zorder=3, label=name)
                numbers = {"mean": e.mean, "low": e.low, "high": e.high, "n": e.n}
                rows.append({"reading": title, "group": group, "arm": name, **numbers})
        page.label_rows(axes, len(groups), groups if axes is pages[0] else [])
        axes.tick_params(axis="x", labelsize=6)
        axes.set_title(title, loc="left", fontsize=6.5)
    return page.finished(figure, rows, legend=pages)


def draw_grouped(
    case: Case, columns: Mapping[str, str], groups: Mapping[str, str], treatments: Mapping[str, str]
) -> Any:
    """The arms GROUP_TREATMENT that were run, or None.

    columns             title → reading
    groups, treatments  label → its part of the arm's name
    """
    there = {
        title: {
            group: {
                name: case.values(arm, reading)
                for name, last in treatments.items()
                if (arm := f"{first}_{last}") in case.traces and case.has(arm, reading)
            }
            for group, first in groups.items()
        }
        for title, reading in columns.items()
    }
    met = {group for column in there.values() for group, found in column.items() if found}
    if not met:
        return None
    return grouped(
        {title: {group: column[group] for group in groups if group in met} for title, column in there.items()}
    )
