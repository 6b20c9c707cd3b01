"""Performance against memory: accuracy over extra bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim import statistics
from cls_sim.figures.page import DOUBLE, GREY, Row, add_note, finished, ink_of, new_page, styled

MARKS = "osD^vPXd<>p*h8"
UNITS = ((1e6, "MB"), (1e3, "kB"), (1.0, "B"))


@styled
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

    figure, (axes,) = new_page(DOUBLE, 3.4)
    axes.set_xscale("log")
    feet: list[float] = []  # positions of numbers at the bottom
    kept = [np.mean(pair[0]) for arms in families.values() for pair in arms.values()]
    first = min((x for x in kept if x > 0), default=1.0) / 1.6
    low = -np.inf if ylim is None else ylim[0]
    rows: list[Row] = []
    for number, (family, arms) in enumerate(families.items()):
        ink, mark = ink_of(number), MARKS[number % len(MARKS)]
        width, points = 2.2 if family in strong else 1.0, []
        for arm, (given_x, given_y) in arms.items():
            x, e = max(float(np.mean(given_x)), first), statistics.estimate(np.asarray(given_y, np.float64))
            rows.append({"family": family, "arm": arm, "x": float(np.mean(given_x)), "mean": e.mean, "low": e.low})
            rows[-1] |= {"high": e.high, "n": e.n}
            if e.mean < low:
                axes.plot(x, low, marker="")  # the axis reaches it
                over = sum(0.9 < x / other < 1.1 for other in feet)  # numbers at one place are stacked on its arrow
                feet.append(x)
                arrow = None if over else {"arrowstyle": "->", **_thin(ink)}
                foot = {"xy": (x, low), "xytext": (0, 9 + 8 * over), "textcoords": "offset points"}
                foot |= {"ha": "center", "fontsize": 6}
                axes.annotate(f"{e.mean:.2f}", color=ink["color"], arrowprops=arrow, **foot)
                continue
            points.append((x, e.mean))
            axes.plot([x, x], [e.low, e.high], color=ink["color"], lw=0.9, zorder=3)
        if not points and arms:
            points = [(np.nan, np.nan)]
        look = {
            "lw": width,
            "marker": mark,
            "ms": 5.5 if family in strong else 4,
            "mew": 0,
            "zorder": 4 if family in strong else 3,
        }
        axes.plot(*np.transpose(points), label=family, **look, **ink)
    for name, level in (lines or {}).items():
        axes.axhline(level, color=GREY, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
        axes.annotate(
            name, (1.0, level), xycoords=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=6, color=GREY
        )
    for place, level in goals:
        axes.plot([place / 1.15, place * 1.15], [level, level], color="black", lw=1.2, zorder=5, solid_capstyle="butt")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if ylim is not None:
        axes.set_ylim(*ylim)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda x, _: _told(x))
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    add_note(figure, rows, "short black strokes: goals" if goals else "")
    return finished(figure, rows)


def _thin(ink: Mapping[str, Any]) -> dict[str, Any]:
    return {"color": ink["color"], "lw": 0.7, "shrinkA": 0, "shrinkB": 0}


def _told(count: float) -> str:
    """A tick label for a number of bytes.

    >>> _told(1e5), _told(4e6)
    ('100 kB', '4 MB')
    """
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), UNITS[-1])
    return f"{count / size:g} {unit}"


def draw_spec(
    traces: Mapping[str, Any],
    readings: Mapping[str, Mapping[str, Any]],
    families: Mapping[str, Any],
    reading: str = "accuracy",
    x: str = "extra_bytes",
    lines: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """`kind: budget` of an experiment: a reading against the extra bytes of those arms of each family that were run.

    families  name → its arms, or {arms: […], reading: another reading}
    lines     name → a number, or an arm whose mean is used
    """
    drawn: dict[str, dict[str, tuple[Any, Any]]] = {}
    for family, told in families.items():
        arms, asked = (told["arms"], told.get("reading", reading)) if isinstance(told, Mapping) else (told, reading)
        if found := {arm: (readings[arm][x], readings[arm][asked]) for arm in arms if arm in traces}:
            drawn[family] = found
    across = {
        name: float(np.mean(readings[level][reading])) if isinstance(level, str) else float(level)
        for name, level in (lines or {}).items()
        if not isinstance(level, str) or level in traces
    }
    return budget(drawn, lines=across, **settings)
