"""The style of figures, and the functions that draw estimates."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cls_sim import statistics
from cls_sim.storage import tidy
from cls_sim.storage.disk import made, put
from cls_sim.storage.tidy import cell

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # the eighth arm has the first colour, dashed
INK, GREY, PALE = "#222222", "#6b6b6b", "#e4e4e4"
SINGLE, DOUBLE = 3.4, 7.0  # inches: one column, two columns
FEW = 40  # largest number of subjects that are drawn singly
THIN = 25  # largest number of simulation points on a curve
STYLE = Path(__file__).parent / "figures.mplstyle"

Row = dict[str, Any]
Settings = ParamSpec("Settings")
Drawn = TypeVar("Drawn")


def styled(draw: Callable[Settings, Drawn]) -> Callable[Settings, Drawn]:
    """Decorator: draw in the style of this package, independent of the user's style."""

    @wraps(draw)
    def inner(*args: Settings.args, **kwargs: Settings.kwargs) -> Drawn:
        from matplotlib import style

        with style.context(STYLE):
            return draw(*args, **kwargs)

    return inner


def new_page(width: float, height: float, rows: int = 1, columns: int = 1, share: bool = False, **grid: Any) -> Any:
    """A figure and the flat list of its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.03, hspace=0.03)  # pyright: ignore
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share, gridspec_kw=grid or None)
    for one in axes.flat:
        one.locator_params(nbins=6, steps=[1, 2, 5, 10])
        one.tick_params(labelsize=7, width=0.6, length=2.5, color=INK, labelcolor=INK)
    return figure, list(axes.flat)


def grid(count: int, most: int = 4) -> tuple[int, int]:
    """The numbers of columns (up to `most`) and of rows for so many panels."""
    columns = min(count, most)
    return columns, -(-count // columns)


def ink_of(number: int) -> dict[str, Any]:
    return {"color": PALETTE[number % len(PALETTE)], "ls": DASHES[number // len(PALETTE) % len(DASHES)]}


def shade(number: int, count: int) -> Any:
    """Colours for ordered lines: viridis without its yellow, which is hard to see on white."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.85 * number / max(1, count - 1))


def draw_line(axes: Any, x: np.ndarray, e: Any, ink: dict, label: str, subjects: np.ndarray | None = None) -> None:
    if subjects is not None and subjects.shape[1] <= FEW:
        axes.plot(x, subjects, lw=0.4, alpha=0.25, color=ink["color"], zorder=1)
    few = len(x) <= 15
    axes.plot(x, e.mean, **ink, label=label or None, marker="o" if few else None, ms=2.5, zorder=3)
    axes.fill_between(x, e.low, e.high, color=ink["color"], alpha=0.22, lw=0, zorder=2)


def draw_points(axes: Any, x: np.ndarray, e: Any, ink: dict, label: str, log: bool = False) -> None:
    chosen = thinned(x, log)
    error = np.abs(np.stack([e.mean - e.low, e.high - e.mean]))[:, chosen]
    look = {"fmt": "o", "ms": 2.6, "mew": 0, "elinewidth": 0.8, "zorder": 3}
    axes.errorbar(x[chosen], e.mean[chosen], yerr=np.nan_to_num(error), color=ink["color"], label=label or None, **look)


def thinned(x: np.ndarray, log: bool) -> np.ndarray:
    """The indices of at most 25 points, evenly spread along the axis."""
    if len(x) <= THIN:
        return np.arange(len(x))
    places = np.log(np.maximum(x, x[x > 0].min())) if log else x
    wanted = np.linspace(places.min(), places.max(), THIN)
    return np.unique(np.abs(places[:, None] - wanted).argmin(0))


def label_outer(panels: Sequence[Any], columns: int, count: int, xlabel: str, ylabel: str) -> None:
    """Axis labels at the left and at the bottom; tick labels for panels without a panel below; no unused panels."""
    for panel in panels[count:]:
        panel.set_axis_off()
    for panel in panels[:count:columns]:
        panel.set_ylabel(ylabel)
    for panel in panels[max(0, count - columns) : count]:
        panel.set_xlabel(xlabel)
        panel.tick_params(labelbottom=True)


def label_rows(axes: Any, count: int, labels: Sequence[str]) -> None:
    """An axis of `count` rows, the first at the top."""
    axes.set_yticks(range(count), labels)
    axes.set_ylim(count - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def draw_ends(axes: Any, places: Iterable[float]) -> None:
    """Thin vertical lines at the ends of contexts."""
    for place in places:
        axes.axvline(place, color=PALE, lw=0.8, zorder=0)


def draw_mean(axes: Any, row: int, e: statistics.Estimate, colour: str, half: float = 0.25, lw: float = 1.6) -> None:
    """An estimate in a row: its interval as a box, its mean as a stroke from row - half to row + half."""
    if e.high >= e.low:
        axes.barh(row, e.high - e.low, left=e.low, height=0.5, color=colour, alpha=0.35, zorder=3)
    axes.plot([e.mean, e.mean], [row - half, row + half], lw=lw, color=colour, zorder=4, solid_capstyle="butt")


def show_scale(axes: Any, rows: Sequence[Row], chance: float | None = None, axis: str = "y") -> None:
    """Show fractions on the interval from 0 to 1, if they use much of it; and the chance level, if there is one."""
    means = np.array([row["mean"] for row in rows], np.float64)
    means = means[np.isfinite(means)]
    if means.size and means.min() >= 0.0 and 0.4 < means.max() <= 1.0:
        axes.set(**{f"{axis}lim": (-0.02, 1.04)})
    if chance is not None:
        draw_level(axes, chance, "chance", axis)


def draw_level(axes: Any, level: float, name: str = "", axis: str = "y") -> None:
    """A dotted line at a level of an axis, with its name at the right end (of a vertical line: at the top)."""
    (axes.axvline if axis == "x" else axes.axhline)(level, color=GREY, lw=0.8, ls=(0, (1, 1.5)), zorder=0)
    place, end, side = (1.0, level), axes.get_yaxis_transform(), "right"
    if axis == "x":
        place, end, side = (level, 1.0), axes.get_xaxis_transform(), "center"
    if name:
        axes.annotate(name, place, xycoords=end, ha=side, va="bottom", fontsize=6, color=GREY)


def _add_legend(figure: Any, axes: Sequence[Any]) -> None:
    """A legend above the axes, in as many columns as fit, each label once; no legend for a single line."""
    every = [pair for one in axes for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    labels = [label for _, label in every]
    named = [pair for i, pair in enumerate(every) if pair[1] not in labels[:i]]
    if len(named) > 1 or [label for _, label in named] == ["published"]:
        handles, labels = zip(*named, strict=True)
        fit = int(figure.get_figwidth() / (0.45 + 0.06 * max(map(len, labels))))
        figure.legend(handles, labels, loc="outside upper center", ncols=max(1, min(len(labels), fit)))


def _add_note(figure: Any, rows: Sequence[Row], more: str, interval: bool) -> None:
    """A small grey note at the lower right: the number of subjects, and the kind of interval."""
    counts = sorted({int(row["n"]) for row in rows if "n" in row})
    if not counts:
        return
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    what = "mean and 95 % interval" if interval and counts[-1] >= statistics.FEWEST else "mean"
    figure.supxlabel(
        "; ".join(filter(None, [f"n = {many}, {what}", more])), x=0.995, ha="right", fontsize=6, color=GREY
    )


def label_of(reading: str) -> str:
    return reading.replace("_", " ").replace(".", ", ").replace("$", r"\$")  # $ would begin mathematics


def empty(name: str) -> Any:
    figure, (axes,) = new_page(SINGLE, 1.0)
    axes.set_axis_off()
    figure.text(0.5, 0.5, f"{label_of(name)}: none of its arms was run", ha="center", va="center", color=GREY)
    return finished(figure, [])


def finished(figure: Any, rows: list[Row], note: str = "", *, legend: Sequence[Any] = (), interval: bool = True) -> Any:
    """The figure with its legend and its note, the method `data`, and a PNG representation for Jupyter.

    legend    the axes whose labels are in the legend
    interval  whether the figure shows 95 % intervals
    """
    _add_legend(figure, legend)
    _add_note(figure, rows, note, interval)
    figure.data = partial(list, rows)
    figure._repr_png_ = partial(drawn, figure)
    return figure


@styled
def drawn(figure: Any, **settings: Any) -> bytes:
    """A figure as a file, by default as PNG with 200 dots per inch; the same figure gives the same bytes."""
    page = io.BytesIO()
    figure.savefig(page, **{"format": "png", "dpi": 200, "metadata": {"Software": None}, **settings})
    return page.getvalue()


@styled
def save(figure: Any, data: Sequence[Mapping[str, Any]] | None, stem: str | Path) -> Path:
    """Write STEM.png (200 dpi), STEM.pdf and STEM.csv (`data`, by default that of the figure); returns the PNG's path.

    The same figure gives the same bytes.  Raises StorageError if a file cannot be written.
    """
    stem = Path(stem)
    rows = figure.data() if data is None else list(data)
    made(stem.parent)
    png, layout = drawn(figure), figure.get_layout_engine()
    figure.set_layout_engine(None)  # the same places in the second drawing, found once
    pdf = drawn(figure, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.set_layout_engine(layout)
    table = tidy.table([{head: _cell(value) for head, value in row.items()} for row in rows])
    for kind, content in (("png", png), ("pdf", pdf), ("csv", table)):
        put(stem.with_name(f"{stem.name}.{kind}"), content, lasts=False)
    return stem.with_name(f"{stem.name}.png")


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return "" if value != value else repr(value) if isinstance(value, float) else cell(value)
