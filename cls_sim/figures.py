"""Figures: mean over subjects with its 95 % interval, the subjects themselves where there are few, theory beside.

Every function returns a matplotlib Figure (no pyplot, no window, shown by Jupyter as it is) with one method more,
`data()`: the rows of numbers that it shows.  `save` writes PNG, PDF and those rows as CSV.

`traces` is a trace or a dict arm → trace; (days [t], values [t, s] or [t, s, k]) serves as a trace as well.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cls_sim import statistics
from cls_sim.errors import Broken, Refused, choice

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito 2008
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # an eighth arm has the first colour, dashed
INK, GREY, PALE = "#222222", "#6b6b6b", "#e4e4e4"
SINGLE, DOUBLE = 3.4, 7.0  # inches: one column, two columns
FEW = 40  # subjects up to which each is shown
THIN = 25  # simulation points beside a curve
STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.3,
    "text.color": INK,
    "pdf.fonttype": 42,  # letters stay letters
    "savefig.facecolor": "white",
}

Row = dict[str, Any]


def _styled(draw: Callable) -> Callable:
    """Draw in our style, whatever the user's is."""

    @wraps(draw)
    def inner(*args: Any, **kwargs: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
            return draw(*args, **kwargs)

    return inner


# -- the figures --------------------------------------------------------------------------------------------


@_styled
def over_days(
    traces: Any,
    reading: str,
    *,
    theory: Any = None,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
) -> Any:
    """A reading over the life, a line an arm (contexts averaged), with its interval; thin lines are subjects.

    theory  (x, y), or arm → (x, y): drawn as lines, and the simulation as points with error bars
    chance  a dotted line
    moment  only readings taken at such moments ("night.end")
    """
    figure, (axes,) = _page(SINGLE, 2.5)
    rows: list[Row] = []
    for arm, days, values in _lives(traces, reading, moment):
        e, ink = _estimated(_overall(values)), _ink(arm.number)
        rows += _told(e, _overall(values), arm=arm.name, day=days)
        if theory is None:
            _line(axes, days, e, ink, arm.name, subjects=_overall(values))
        else:
            _points(axes, days, e, ink, arm.name)
    names = list(_named(traces))
    for name, (x, y) in _named(theory).items():
        ink = {**_ink(names.index(name)), "label": None} if name in names else {"color": INK, "label": name or "theory"}
        axes.plot(x, y, lw=1.0, zorder=1, **ink)
    axes.set(xlabel="age (days)", ylabel=ylabel or _label(reading))
    _whole_unit(axes, rows)
    _chance(axes, chance)
    _legend(figure, axes)
    _note(figure, rows, "" if theory is None else "points: simulation; lines: theory")
    return _done(figure, rows)


@_styled
def contexts_over_days(
    traces: Any,
    reading: str = "accuracy",
    *,
    ylabel: str | None = None,
    chance: float | None = None,
    moment: str | None = None,
) -> Any:
    """A reading of every context over the life, a panel an arm: the figure of forgetting.

    Thin vertical lines are the ends of contexts, where the trace tells them.
    """
    lives = _lives(traces, reading, moment)
    columns = min(len(lives), 4)
    deep = -(-len(lives) // columns)
    figure, panels = _page(SINGLE if columns == 1 else DOUBLE, 0.7 + 1.6 * deep, deep, columns, share=True)
    rows: list[Row] = []
    for panel, (arm, days, values) in zip(panels, lives, strict=False):
        if values.ndim != 3:
            raise Refused(reading, "is no reading by context", "name one that gives [s, k]")
        for end in arm.ends:
            panel.axvline(end, color=PALE, lw=0.8, zorder=0)
        for context in range(values.shape[2]):
            e = _estimated(values[:, :, context])
            rows += _told(e, values[:, :, context], arm=arm.name, context=context + 1, day=days)
            _line(panel, days, e, {"color": _order(context, values.shape[2])}, f"context {context + 1}")
        panel.set_title(arm.name, loc="left")
        _chance(panel, chance)
        _whole_unit(panel, rows)
    for panel in panels[len(lives) :]:
        panel.set_axis_off()
    _outer(panels, columns, len(lives), "age (days)", ylabel or _label(reading))
    _legend(figure, panels[0])
    _note(figure, rows)
    return _done(figure, rows)


@_styled
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
    """What becomes of the first `contexts` contexts over the life, and, at the right, of all of them in the end.

    lines  the arms drawn at the left; None: all
    """
    figure, (left, right) = _page(DOUBLE, 2.6, 1, 2, width_ratios=(1.35, 1))
    rows: list[Row] = []
    last: dict[str, np.ndarray] = {}
    for arm, days, values in _lives(traces, reading, moment):
        if values.ndim != 3:
            raise Refused(reading, "is no reading by context", "name one that gives [s, k]")
        if lines is None or arm.name in lines:
            first = _overall(values[:, :, :contexts])
            e = _estimated(first)
            rows += _told(e, first, panel="first contexts", arm=arm.name, day=days)
            _line(left, days, e, _ink(arm.number), arm.name)
        for end in arm.ends if arm.number == 0 else ():
            left.axvline(end, color=PALE, lw=0.8, zorder=0)
        last[arm.name] = _latest(_overall(values))
    rows += _in_rows(right, last, bands, panel="all contexts, end of life")
    name = ylabel or _label(reading)
    which = "context 1" if contexts == 1 else f"contexts 1-{contexts}"
    left.set(xlabel="age (days)", ylabel=f"{name}, {which}")
    right.set_xlabel(f"{name}, all contexts, end of life")
    _whole_unit(left, rows)
    _whole_unit(right, rows, axis="x")
    _chance(left, chance)
    _chance(right, chance, axis="x")
    _legend(figure, left, right)
    _note(figure, rows)
    return _done(figure, rows)


@_styled
def arms(
    readings: Mapping[str, ArrayLike],
    *,
    ylabel: str = "accuracy",
    chance: float | None = None,
    bands: Mapping[str, Sequence[float]] | None = None,
) -> Any:
    """One reading [s] of every arm, a row each, in the order given: mean and interval, a dot a subject.

    bands  arm → (low, high): what was published, a shaded box
    """
    values = {arm: _subjects(arm, v) for arm, v in readings.items()}
    figure, (axes,) = _page(SINGLE, 0.75 + 0.26 * len(values))
    rows = _in_rows(axes, values, bands)
    axes.set_xlabel(ylabel)
    _whole_unit(axes, rows, axis="x")
    _chance(axes, chance, axis="x")
    _legend(figure, axes)
    _note(figure, rows)
    return _done(figure, rows)


@_styled
def compared(
    readings: Mapping[str, ArrayLike],
    differences: Mapping[str, statistics.Estimate | None],
    *,
    groups: Sequence[int] | None = None,
    ylabel: str = "accuracy",
    against: str = "the first",
) -> Any:
    """One reading [s] of every row, and beside it by how much the row differs within subjects, with intervals.

    groups  the number of each row's colour; None: the row's own
    """
    values = {name: _subjects(name, v) for name, v in readings.items()}
    figure, (left, right) = _page(DOUBLE, 0.75 + 0.26 * len(values), 1, 2, width_ratios=(1.35, 1))
    inks = list(groups or range(len(values)))
    rows = _in_rows(left, values, None, inks=inks)
    right.axvline(0.0, color=GREY, lw=0.7, zorder=0)
    for number, (row, ink) in enumerate(zip(rows, inks, strict=True)):
        e, colour = differences.get(row["arm"]), _ink(ink)["color"]
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
    _whole_unit(left, rows, axis="x")
    short = against if len(against) <= 60 else f"{against[:59]}…"
    _note(figure, rows, f"differences to {short}" if differences else "")
    return _done(figure, rows)


@_styled
def matrix(accuracy: Any, *, label: str = "accuracy") -> Any:
    """Accuracy of every context (columns) after every context (rows): [t, k] or [s, t, k], or arm → such.

    With one row more than columns, the first is before anything was learnt.
    """
    tables = accuracy if isinstance(accuracy, Mapping) else {"": accuracy}
    arrays = {arm: np.asarray(values, np.float64) for arm, values in tables.items()}
    columns = min(len(arrays), 4)
    deep = -(-len(arrays) // columns)
    width = SINGLE if columns == 1 else DOUBLE
    ends, contexts = next(iter(arrays.values())).shape[-2:]
    side = min(2.2, (width - 1.35) / columns)
    figure, panels = _page(width, 0.45 + deep * (side * ends / contexts + 0.2), deep, columns, share=True)
    top = max(1.0, *(float(np.nanmax(a)) for a in arrays.values()))
    low = min(0.0, *(float(np.nanmin(a)) for a in arrays.values()))
    rows: list[Row] = []
    for panel, (arm, array) in zip(panels, arrays.items(), strict=False):
        e = _estimated(np.moveaxis(array, 0, -1)) if array.ndim == 3 else None
        table = array if e is None else e.mean
        picture = panel.imshow(table, cmap="cividis", vmin=low, vmax=top, aspect="equal")
        rows += _cells(panel, arm, table, e, low, top)
        panel.set_title(arm, loc="left")
        if panel is panels[0]:
            bar = figure.colorbar(picture, ax=panels, shrink=0.8, aspect=20, label=label)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=7, length=0)
    for panel in panels[len(arrays) :]:
        panel.set_axis_off()
    _outer(panels, columns, len(arrays), "context examined", "after context")
    _note(figure, rows, interval=False)
    return _done(figure, rows)


@_styled
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
    """A reading [n_x, s] against a number swept, a line a world; a diamond marks the best mean.

    x     an infinite place is drawn one step behind the last
    best  "max" or "min"
    """
    pick = {"max": np.nanargmax, "min": np.nanargmin}[choice("best", best, ("max", "min"))]
    swept = np.asarray(x, np.float64)
    places = _finite_places(swept, log)
    figure, (axes,) = _page(SINGLE, 2.5)
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
            raise Refused(world, f"has shape {values.shape} for {len(places)} places", "give [places, subjects]")
        e, ink = _estimated(values), _ink(number)
        optimum = int(pick(e.mean))
        rows += _told(e, values, world=world, x=swept, best=np.arange(len(places)) == optimum)
        _line(axes, places, e, ink, world)
        if values.shape[1] <= FEW:
            axes.plot(places, values, ls="", marker=".", ms=2, mew=0, alpha=0.35, color=ink["color"])
        axes.plot(places[optimum], e.mean[optimum], "D", ms=5, mec="white", mew=0.8, color=ink["color"], zorder=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _whole_unit(axes, rows)
    _chance(axes, chance)
    _legend(figure, axes)
    _note(figure, rows, "diamond: best mean")
    return _done(figure, rows)


@_styled
def curves(
    panels: Sequence[Mapping[str, Any]],
    *,
    xlabel: str,
    ylabel: str = "error",
    columns: int = 5,
    log: bool = False,
) -> Any:
    """Small panels of simulation points over the lines of theory.

    A panel is {"title": …, "points": label → (x [n], values [n, s]), "lines": label → (x, y), "mark": x}; equal labels
    have equal colours, and a mark is a vertical line (a best dose).  Points are thinned to 25.
    """
    columns = min(columns, len(panels))
    deep = -(-len(panels) // columns)
    alone = columns == 1
    figure, pages = _page(SINGLE if alone else DOUBLE, 2.6 if alone else 0.6 + 1.25 * deep, deep, columns, share=True)
    labels = list(dict.fromkeys(name for p in panels for kind in ("points", "lines") for name in p.get(kind, {})))
    rows: list[Row] = []
    for axes, panel in zip(pages, panels, strict=False):
        if log:
            axes.set_xscale("log")
        if panel.get("mark") is not None:
            axes.axvline(panel["mark"], color=GREY, lw=0.7, ls=(0, (2, 2)), zorder=0)
        for name, (x, y) in panel.get("lines", {}).items():
            ink = _ink(labels.index(name)) if name in panel.get("points", {}) else {"color": INK}
            axes.plot(x, y, lw=1.0, **ink, label=name if name not in panel.get("points", {}) else None, zorder=2)
            rows += [
                {"panel": panel.get("title", ""), "label": name, "kind": "theory", "x": a, "mean": b}
                for a, b in zip(x, y, strict=True)
            ]
        for name, (x, values) in panel.get("points", {}).items():
            e = _estimated(np.asarray(values, np.float64))
            at = np.asarray(x, np.float64)
            rows += _told(e, None, panel=panel.get("title", ""), label=name, kind="simulation", x=at)
            _points(axes, at, e, _ink(labels.index(name)), name, log=log)
        axes.set_title(panel.get("title", ""), loc="left", fontsize=6.5 if not alone else None)
    for axes in pages[len(panels) :]:
        axes.set_axis_off()
    _outer(pages, columns, len(panels), xlabel, ylabel)
    _legend(figure, pages[0])
    _note(figure, rows, "points: simulation; lines: theory")
    return _done(figure, rows)


# -- what an experiment's file asks for ---------------------------------------------------------------------


def draw(
    name: str, wish: Mapping[str, Any], traces: Mapping[str, Any], readings: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, list[Row]]:
    """The figure `figures.NAME` of an experiment, and its data.

    `kind` is over_days, contexts_over_days, forgetting, arms, matrix, curves, doses or sweep; `arms` chooses among the
    arms and their order (by default all), the rest are that figure's own settings.  Arms not run are left out.

    traces    arm → trace
    readings  arm → name → [s], the last of each
    """
    settings = dict(wish)
    key = f"figures.{name}"
    kind = choice(f"{key}.kind", settings.pop("kind", None), WISHES)
    chosen = [arm for arm in settings.pop("arms", traces) if arm in traces]
    try:
        figure = WISHES[kind]({arm: traces[arm] for arm in chosen}, readings, **settings) if chosen else _empty(name)
    except (TypeError, KeyError) as error:
        raise Refused(key, f"cannot be drawn as {kind} ({error})", "see cls_sim.figures for its settings") from error
    return figure, figure.data()


def _draw_arms(traces: Mapping[str, Any], readings: Any, reading: str = "accuracy", **settings: Any) -> Any:
    return arms({arm: readings[arm][reading] for arm in traces}, **{"ylabel": _label(reading), **settings})


def _draw_matrix(traces: Mapping[str, Any], readings: Any, reading: str = "accuracy", **settings: Any) -> Any:
    return matrix({arm: trace.matrix(reading) for arm, trace in traces.items()}, **settings)


def _draw_curves(traces: Mapping[str, Any], readings: Any, panels: Sequence[Mapping[str, Any]], **settings: Any) -> Any:
    """Go-CLS: an arm's errors over the dose, beside the analytic ones of its snr and load."""
    from cls_sim import theory

    laws = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}
    drawn = []
    for panel in panels:
        if panel["arm"] not in traces:
            continue
        points = {name: _against_dose(traces[panel["arm"]], name) for name in panel["readings"]}
        dose = np.linspace(0.0, max(x.max() for x, _ in points.values()), 200)
        lines = {name: (dose, laws[name](dose, panel["snr"], panel["load"])) for name in points}
        best = theory.best_dose(panel["snr"], panel["load"])
        mark = best if best < dose[-1] else None
        drawn.append({"title": panel["title"], "points": points, "lines": lines, "mark": mark})
    return curves(drawn, **settings) if drawn else _empty("curves")


def _draw_doses(
    traces: Mapping[str, Any], readings: Any, reading: str, snr: float, load: float, **settings: Any
) -> Any:
    """Go-CLS: an error of several arms over the dose, on the one analytic curve."""
    from cls_sim import theory

    laws = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}
    points = {arm: _against_dose(trace, reading) for arm, trace in traces.items()}
    dose = np.linspace(0.0, max(x.max() for x, _ in points.values()), 200)
    panel = {"points": points, "lines": {"theory": (dose, laws[reading](dose, snr, load))}}
    best = {"mark": theory.best_dose(snr, load)}
    labels = {"xlabel": "dose of plasticity S", "ylabel": f"error ({_label(reading)})"}
    return curves([panel | best], **{**labels, **settings})


def _draw_sweep(
    traces: Mapping[str, Any],
    readings: Any,
    worlds: Mapping[str, Sequence[str]],
    reading: str = "accuracy",
    **settings: Any,
) -> Any:
    """A reading of arms that differ in one number, a line a world; worlds that were not run whole are left out."""
    whole = {world: arms for world, arms in worlds.items() if set(arms) <= set(readings)}
    values = {world: [readings[arm][reading] for arm in arms] for world, arms in whole.items()}
    return sweep(worlds=values, **settings) if values else _empty("sweep")


def _against_dose(trace: Any, reading: str) -> tuple[np.ndarray, np.ndarray]:
    return trace.reading("dose")[1].mean(1), trace.reading(reading)[1]


WISHES: dict[str, Callable[..., Any]] = {
    "over_days": lambda traces, _, **settings: over_days(traces, **settings),
    "contexts_over_days": lambda traces, _, **settings: contexts_over_days(traces, **settings),
    "forgetting": lambda traces, _, **settings: forgetting(traces, **settings),
    "arms": _draw_arms,
    "matrix": _draw_matrix,
    "curves": _draw_curves,
    "doses": _draw_doses,
    "sweep": _draw_sweep,
}


@_styled
def save(figure: Any, data: Sequence[Mapping[str, Any]] | None, stem: str | Path) -> Path:
    """Write STEM.png (200 dpi), STEM.pdf and STEM.csv (`data`, or what the figure shows); returns the PNG's path.

    The same figure gives the same bytes.  Raises Broken where they cannot be written.
    """
    stem = Path(stem)
    rows = figure.data() if data is None else list(data)
    heads = list(dict.fromkeys(head for row in rows for head in row))
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf", "csv")}
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths["png"], dpi=200, metadata={"Software": None})
        figure.savefig(paths["pdf"], metadata={"CreationDate": None, "Creator": None, "Producer": None})
        with paths["csv"].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, heads, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({head: _cell(value) for head, value in row.items()} for row in rows)
    except OSError as error:
        raise Broken(
            str(stem), f"cannot be written ({error.strerror})", "make room or choose another folder"
        ) from error
    return paths["png"]


# -- numbers ------------------------------------------------------------------------------------------------


class Arm:
    """An arm's name, its number (for its colour), and the days at which its contexts ended."""

    def __init__(self, name: str, number: int, ends: Sequence[float]):
        self.name, self.number, self.ends = name, number, ends


def _lives(traces: Any, reading: str, moment: str | None) -> list[tuple[Arm, np.ndarray, np.ndarray]]:
    """Of each arm its days [t] and values [t, s] or [t, s, k]."""
    found = []
    for number, (name, trace) in enumerate(_named(traces).items()):
        if isinstance(trace, tuple):
            days, values, ends = *trace, []
        else:
            days, values = trace.reading(reading, moment)
            rows = [row for row in trace.rows if row["moment"] == "context.end"]
            ends = sorted({float(np.mean(row["day"])) for row in rows})
        values = np.asarray(values, np.float64)
        there = ~np.isnan(values.reshape(len(values), -1)).all(1)
        found.append((Arm(name, number, ends), np.asarray(days, np.float64)[there], values[there]))
    return found


def _named(given: Any) -> Mapping[str, Any]:
    return {} if given is None else given if isinstance(given, Mapping) else {"": given}


def _overall(values: np.ndarray) -> np.ndarray:
    """[t, s, k] → [t, s], the mean over the contexts that have a number."""
    if values.ndim == 2:
        return values
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(2) / there.sum(2)


def _latest(values: np.ndarray) -> np.ndarray:
    """[t, s] → [s], each subject's last number."""
    there = ~np.isnan(values)
    last = len(values) - 1 - there[::-1].argmax(0)
    return np.take_along_axis(values, last[None], 0)[0]


def _finite_places(x: np.ndarray, log: bool) -> np.ndarray:
    """Where swept numbers stand on an axis: infinity one step behind the last finite one."""
    finite = np.sort(x[np.isfinite(x)])
    if len(finite) < 2 or len(finite) == len(x):
        return x
    last, step = finite[-1], finite[-1] / finite[-2] if log else finite[-1] - finite[-2]
    return np.where(np.isfinite(x), x, last * step if log else last + step)


def _subjects(arm: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise Refused(arm, f"has shape {array.shape}", "give one number a subject, [s]")
    return array


def _estimated(values: np.ndarray) -> statistics.Estimate:
    """The estimate over the second axis: [n, s] → arrays [n]; [n, m, s] → [n, m]."""
    return statistics.estimate(np.moveaxis(values, -1, 0))


def _told(e: statistics.Estimate, values: np.ndarray | None, **places: Any) -> list[Row]:
    """What an estimate shows, a row a point, and the subjects where they are few."""
    found = []
    for i in range(len(e.mean)):
        row = {name: place[i] if isinstance(place, np.ndarray) else place for name, place in places.items()}
        row |= {"mean": e.mean[i], "sem": e.sem[i], "low": e.low[i], "high": e.high[i], "n": e.n[i]}
        if values is not None and values.shape[1] <= FEW:
            row |= {f"subject_{j}": value for j, value in enumerate(values[i])}
        found.append(row)
    return found


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return "" if value != value else repr(value) if isinstance(value, float) else value


def _label(reading: str) -> str:
    return reading.replace("_", " ").replace(".", ", ")


# -- ink ----------------------------------------------------------------------------------------------------


def _page(width: float, height: float, rows: int = 1, columns: int = 1, share: bool = False, **grid: Any) -> Any:
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


def _ink(number: int) -> dict[str, Any]:
    return {"color": PALETTE[number % len(PALETTE)], "ls": DASHES[number // len(PALETTE) % len(DASHES)]}


def _order(number: int, count: int) -> Any:
    """Colours for what has an order, light to dark would vanish on white: viridis without its yellow."""
    from matplotlib import colormaps

    return colormaps["viridis"](0.85 * number / max(1, count - 1))


def _line(axes: Any, x: np.ndarray, e: Any, ink: dict, label: str, subjects: np.ndarray | None = None) -> None:
    if subjects is not None and subjects.shape[1] <= FEW:
        axes.plot(x, subjects, lw=0.4, alpha=0.25, color=ink["color"], zorder=1)
    few = len(x) <= 15
    axes.plot(x, e.mean, **ink, label=label or None, marker="o" if few else None, ms=2.5, zorder=3)
    axes.fill_between(x, e.low, e.high, color=ink["color"], alpha=0.22, lw=0, zorder=2)


def _points(axes: Any, x: np.ndarray, e: Any, ink: dict, label: str, log: bool = False) -> None:
    chosen = _thin(x, log)
    error = np.abs(np.stack([e.mean - e.low, e.high - e.mean]))[:, chosen]
    look = {"fmt": "o", "ms": 2.6, "mew": 0, "elinewidth": 0.8, "zorder": 3}
    axes.errorbar(x[chosen], e.mean[chosen], yerr=np.nan_to_num(error), color=ink["color"], label=label or None, **look)


def _thin(x: np.ndarray, log: bool) -> np.ndarray:
    """At most 25 of the points, evenly along the axis."""
    if len(x) <= THIN:
        return np.arange(len(x))
    places = np.log(np.maximum(x, x[x > 0].min())) if log else x
    wanted = np.linspace(places.min(), places.max(), THIN)
    return np.unique(np.abs(places[:, None] - wanted).argmin(0))


def _in_rows(
    axes: Any, values: Mapping[str, np.ndarray], bands: Any, inks: Sequence[int] | None = None, **places: Any
) -> list[Row]:
    """A row an arm: published band, subjects, interval as a box, mean as a stroke and in figures at the right."""
    rows: list[Row] = []
    for number, (arm, numbers) in enumerate(values.items()):
        e, ink = statistics.estimate(numbers), _ink(inks[number] if inks else number)["color"]
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
    axes.set_yticks(range(len(values)), [_label(arm) for arm in values])
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return rows


def _cells(panel: Any, arm: str, table: np.ndarray, e: Any, low: float, top: float) -> list[Row]:
    """Numbers and ticks of a heat map."""
    ends, contexts = table.shape
    first = 1 if ends <= contexts else 0  # row 0 is before anything was learnt
    rows: list[Row] = []
    for i, j in np.ndindex(ends, contexts):
        if contexts <= 10 and np.isfinite(table[i, j]):
            ink = "white" if (table[i, j] - low) / (top - low) < 0.55 else "black"
            size = 6.5 if contexts <= 6 else 5
            panel.text(j, i, f"{table[i, j]:.2f}".removeprefix("0"), ha="center", va="center", color=ink, fontsize=size)
        row: Row = {"arm": arm, "after": i + first, "context": j + 1, "mean": table[i, j]}
        if e is not None:
            row |= {"sem": e.sem[i, j], "low": e.low[i, j], "high": e.high[i, j], "n": e.n[i, j]}
        rows.append(row)
    panel.set_yticks(range(ends), ["start" if i + first == 0 else str(i + first) for i in range(ends)])
    panel.set_xticks(range(contexts), [str(j + 1) for j in range(contexts)])
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return rows


def _outer(panels: Sequence[Any], columns: int, count: int, xlabel: str, ylabel: str) -> None:
    """Labels at the left and below; tick labels too where nothing is below."""
    for i in range(count):
        if i % columns == 0:
            panels[i].set_ylabel(ylabel)
        if i + columns >= count:
            panels[i].set_xlabel(xlabel)
            panels[i].tick_params(labelbottom=True)


def _whole_unit(axes: Any, rows: Sequence[Row], axis: str = "y") -> None:
    """Fractions that use the unit interval are shown on all of it."""
    means = np.array([row["mean"] for row in rows], np.float64)
    means = means[np.isfinite(means)]
    if means.size and means.min() >= 0.0 and 0.4 < means.max() <= 1.0:
        axes.set(**{f"{axis}lim": (-0.02, 1.04)})


def _chance(axes: Any, chance: float | None, axis: str = "y") -> None:
    if chance is None:
        return
    look = {"color": GREY, "lw": 0.8, "ls": (0, (1, 1.5)), "zorder": 0}
    words = {"fontsize": 6, "color": GREY}
    if axis == "x":
        axes.axvline(chance, **look)
        axes.annotate("chance", (chance, 1.0), xycoords=axes.get_xaxis_transform(), ha="center", va="bottom", **words)
    else:
        axes.axhline(chance, **look)
        axes.annotate("chance", (1.0, chance), xycoords=axes.get_yaxis_transform(), ha="right", va="bottom", **words)


def _legend(figure: Any, *axes: Any) -> None:
    """Above the axes, where it hides nothing, in as many columns as fit; none for a single line."""
    named = [pair for one in axes for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    if len(named) > 1 or [label for _, label in named] == ["published"]:
        handles, labels = zip(*named, strict=True)
        fit = int(figure.get_figwidth() / (0.45 + 0.06 * max(map(len, labels))))
        figure.legend(handles, labels, loc="outside upper center", ncols=max(1, min(len(labels), fit)))


def _note(figure: Any, rows: Sequence[Row], more: str = "", interval: bool = True) -> None:
    """How many subjects, and what the interval is: small and grey, below at the right."""
    counts = sorted({int(row["n"]) for row in rows if "n" in row})
    if not counts:
        return
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    what = "mean and 95 % interval" if interval and counts[-1] >= statistics.FEWEST else "mean"
    text = f"n = {many}, {what}"
    figure.supxlabel("; ".join(filter(None, [text, more])), x=0.995, ha="right", fontsize=6, color=GREY)


def _empty(name: str) -> Any:
    figure, (axes,) = _page(SINGLE, 1.0)
    axes.set_axis_off()
    figure.text(0.5, 0.5, f"{name}: none of its arms was run", ha="center", va="center", color=GREY)
    return _done(figure, [])


def _done(figure: Any, rows: list[Row]) -> Any:
    """The figure with its data; Jupyter shows it as it is."""
    figure.data = partial(list, rows)
    figure._repr_png_ = partial(_png, figure)
    return figure


@_styled
def _png(figure: Any) -> bytes:
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=200)
    return page.getvalue()
