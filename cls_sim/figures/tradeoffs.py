"""Trade-offs: two readings against each other, and a reading against extra memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.figures import page

MARKS = "osD^vPXd<>p*h8"
UNITS = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}


@page.styled
def frontier(
    families: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], *, xlabel: str, ylabel: str, unit: bool = True
) -> Any:
    """Families of arms, (x [s], y [s]) each: one point per arm with both intervals, joined in the given order.

    Points become larger along their family, which shows the direction of the parameter that was varied.

    unit  whether both axes go from 0 to 1
    """
    figure, (axes,) = page.new_page(page.SINGLE, 3.0)
    rows: list[page.Row] = []
    for number, (family, arms) in enumerate(families.items()):
        ink, mark, means = page.ink_of(number), MARKS[number % 7], []
        for place, (arm, pair) in enumerate(arms.items()):
            x, y = (statistics.estimate(np.asarray(values, np.float64)) for values in pair)
            means.append((x.mean, y.mean))
            size = 3.0 + 3.5 * place / max(1, len(arms) - 1)
            axes.plot(x.mean, y.mean, mark, ms=size, color=ink["color"], mew=0, zorder=4)
            axes.plot([x.low, x.high], [y.mean, y.mean], color=ink["color"], lw=0.8, zorder=3)
            axes.plot([x.mean, x.mean], [y.low, y.high], color=ink["color"], lw=0.8, zorder=3)
            ends = {"x_low": x.low, "x_high": x.high, "low": y.low, "high": y.high}
            rows.append({"family": family, "arm": arm, "x": x.mean, "mean": y.mean, **ends, "n": y.n})
        axes.plot(*np.transpose(means), lw=1.0, alpha=0.6, label=family, **ink)
        axes.lines[-1].set(marker=mark, markevery=[], ms=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if unit:
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return page.finished(figure, rows, legend=[axes])


@page.styled
def budget(
    families: Mapping[str, Mapping[str, tuple[Any, Any]]],
    *,
    xlabel: str = "extra memory in total",
    ylabel: str = "accuracy",
    ylim: Sequence[float] | None = None,
    lines: Mapping[str, float] | None = None,
    goals: Sequence[Sequence[float]] = (),
    strong: Sequence[str] = (),
) -> Any:
    """Families of arms, (bytes [s], reading [s]) each: one point per arm with its interval, on a logarithmic axis.

    ylim    limits of the axis; points below it are drawn at the bottom, as arrows with their number
    lines   name → a level drawn as a horizontal line (such as a ceiling)
    goals   (bytes, level) of each goal, a short stroke
    strong  families with thicker lines

    Arms without extra memory are drawn at the left end of the axis.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, (axes,) = page.new_page(page.DOUBLE, 3.4)
    axes.set_xscale("log")
    feet: list[float] = []  # positions of numbers at the bottom
    kept = [np.mean(pair[0]) for arms in families.values() for pair in arms.values()]
    first = min((x for x in kept if x > 0), default=1.0) / 1.6
    low = -np.inf if ylim is None else ylim[0]
    rows: list[page.Row] = []
    for number, (family, arms) in enumerate(families.items()):
        ink, points = page.ink_of(number), []
        for arm, (given_x, given_y) in arms.items():
            x, e = max(float(np.mean(given_x)), first), statistics.estimate(np.asarray(given_y, np.float64))
            rows.append({"family": family, "arm": arm, "x": float(np.mean(given_x)), "mean": e.mean, "low": e.low})
            rows[-1] |= {"high": e.high, "n": e.n}
            if e.mean < low:
                axes.plot(x, low, marker="")  # the axis reaches it
                over = sum(0.9 < x / other < 1.1 for other in feet)  # numbers at one place are stacked on its arrow
                feet.append(x)
                arrow = {"arrowstyle": "->", "color": ink["color"], "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
                foot = {"xytext": (0, 9 + 8 * over), "textcoords": "offset points", "ha": "center", "fontsize": 6}
                arrowprops = None if over else arrow
                axes.annotate(f"{e.mean:.2f}", (x, low), color=ink["color"], arrowprops=arrowprops, **foot)
                continue
            points.append((x, e.mean))
            axes.plot([x, x], [e.low, e.high], color=ink["color"], lw=0.9, zorder=3)
        if not points and arms:
            points = [(np.nan, np.nan)]
        lw, ms, zorder = (2.2, 5.5, 4) if family in strong else (1.0, 4, 3)
        look = {"lw": lw, "marker": MARKS[number % len(MARKS)], "ms": ms, "mew": 0, "zorder": zorder}
        axes.plot(*np.transpose(points), label=family, **look, **ink)
    for name, level in (lines or {}).items():
        page.draw_level(axes, level, name)
    for place, level in goals:
        axes.plot([place / 1.15, place * 1.15], [level, level], color="black", lw=1.2, zorder=5, solid_capstyle="butt")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if ylim is not None:
        axes.set_ylim(*ylim)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda x, _: size_of(x))
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return page.finished(figure, rows, "short black strokes: goals" if goals else "")


def size_of(count: float) -> str:
    """A number of bytes with its unit.

    >>> size_of(1e5), size_of(4e6), size_of(0)
    ('100 kB', '4 MB', '0')
    """
    unit = next((unit for unit, size in UNITS.items() if count >= size), "B")
    return f"{count / UNITS[unit]:.3g} {unit}" if count else "0"
