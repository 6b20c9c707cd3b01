"""Several readings of the same arms, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.figures.page import DOUBLE, GREY, INK, PALETTE, Row, add_note, finished, label_of, new_page, styled


@styled
def side_by_side(
    readings: Mapping[str, Mapping[str, ArrayLike]],
    *,
    names: Mapping[str, str] | None = None,
    neutral: Mapping[str, float] | None = None,
    unit: Sequence[str] = (),
) -> Any:
    """Title → arm → values [s]: one column per reading, one row per arm; mean, interval, and the mean as a number.

    An arm without a number has a dash.

    names    arm → its name in the figure
    neutral  title → position of a dotted line, such as no bias
    unit     titles of the columns that go from 0 to 1
    """
    arms = list(dict.fromkeys(arm for column in readings.values() for arm in column))
    figure, pages = new_page(DOUBLE, 0.75 + 0.2 * len(arms), 1, len(readings))
    rows: list[Row] = []
    for axes, (title, column) in zip(pages, readings.items(), strict=True):
        if title in (neutral or {}):
            axes.axvline((neutral or {})[title], color=GREY, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        for number, arm in enumerate(arms):
            values = np.asarray(column.get(arm, np.nan), np.float64).reshape(-1)
            e = statistics.estimate(values[np.isfinite(values)]) if np.isfinite(values).any() else None
            said = "–" if e is None else f"{e.mean + 0.0:.2f}".replace("-0.00", "0.00")
            axes.annotate(said, (1.04, number), xycoords=axes.get_yaxis_transform(), va="center", fontsize=6, color=INK)
            if e is None:
                continue
            if e.high >= e.low:
                axes.barh(number, e.high - e.low, left=e.low, height=0.5, color=PALETTE[0], alpha=0.35, zorder=3)
            stroke = {"lw": 1.8, "color": PALETTE[0], "zorder": 4, "solid_capstyle": "butt"}
            axes.plot([e.mean, e.mean], [number - 0.28, number + 0.28], **stroke)
            rows.append({"reading": title, "arm": arm, "mean": e.mean, "low": e.low, "high": e.high, "n": e.n})
        first = axes is pages[0]
        axes.set_yticks(range(len(arms)), [(names or {}).get(arm, label_of(arm)) for arm in arms] if first else [])
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=6)
        axes.locator_params(axis="x", nbins=3)
        axes.use_sticky_edges = False
        axes.margins(x=0.12)
        if title in unit:
            axes.set_xlim(-0.04, 1.04)
        axes.spines["left"].set_visible(False)
        axes.set_title(title, loc="left", fontsize=6.5)
    add_note(figure, rows)
    return finished(figure, rows)


def draw_spec(
    traces: Mapping[str, Any],
    readings: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, str],
    **settings: Any,
) -> Any:
    """`kind: side_by_side` of an experiment: columns are title → reading, for the arms that were run."""
    return side_by_side(
        {
            title: {arm: readings[arm][reading] for arm in traces if reading in readings[arm]}
            for title, reading in columns.items()
        },
        **settings,
    )
