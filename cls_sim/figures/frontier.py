"""Trade-offs: two readings plotted against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.figures.page import SINGLE, Row, add_legend, add_note, finished, ink_of, new_page, styled

MARKS = "osD^vPX"


@styled
def frontier(
    families: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], *, xlabel: str, ylabel: str, unit: bool = True
) -> Any:
    """Families of arms, (x [s], y [s]) each: one point per arm with both intervals, joined in the given order.

    Points become larger along their family, which shows the direction of the parameter that was varied.

    unit  whether both axes go from 0 to 1
    """
    figure, (axes,) = new_page(SINGLE, 3.0)
    rows: list[Row] = []
    for number, (family, arms) in enumerate(families.items()):
        ink, means = ink_of(number), []
        for place, (arm, pair) in enumerate(arms.items()):
            x, y = (statistics.estimate(np.asarray(values, np.float64)) for values in pair)
            means.append((x.mean, y.mean))
            size = 3.0 + 3.5 * place / max(1, len(arms) - 1)
            axes.plot(x.mean, y.mean, MARKS[number % len(MARKS)], ms=size, color=ink["color"], mew=0, zorder=4)
            axes.plot([x.low, x.high], [y.mean, y.mean], color=ink["color"], lw=0.8, zorder=3)
            axes.plot([x.mean, x.mean], [y.low, y.high], color=ink["color"], lw=0.8, zorder=3)
            ends = {"x_low": x.low, "x_high": x.high, "low": y.low, "high": y.high}
            rows.append({"family": family, "arm": arm, "x": x.mean, "mean": y.mean, **ends, "n": y.n})
        axes.plot(*np.transpose(means), lw=1.0, alpha=0.6, label=family, **ink)
        axes.lines[-1].set(marker=MARKS[number % len(MARKS)], markevery=[], ms=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if unit:
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    add_legend(figure, axes)
    add_note(figure, rows)
    return finished(figure, rows)


def draw_spec(
    traces: Mapping[str, Any],
    readings: Mapping[str, Mapping[str, Any]],
    families: Mapping[str, Sequence[str]],
    x: str,
    y: str,
    **settings: Any,
) -> Any:
    """`kind: frontier` of an experiment: readings x and y of those arms of each family that were run."""
    given = {
        family: {arm: (readings[arm][x], readings[arm][y]) for arm in arms if arm in traces}
        for family, arms in families.items()
    }
    return frontier({family: arms for family, arms in given.items() if arms}, **settings)
