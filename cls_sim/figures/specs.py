"""Draws the figures of an experiment's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from cls_sim import theory
from cls_sim.core.errors import ConfigError, choice
from cls_sim.figures.compared import arms, side_by_side, sweep
from cls_sim.figures.grouped import draw_grouped
from cls_sim.figures.lives import awake_and_asleep, contexts_over_days, forgetting, matrix, over_days
from cls_sim.figures.page import Row, empty, label_of
from cls_sim.figures.people import draw_people
from cls_sim.figures.theory import curves
from cls_sim.figures.tradeoffs import budget, frontier

Traces = Mapping[str, Any]
Readings = Mapping[str, Mapping[str, Any]]
Settings = Mapping[str, Any] | None
Points = tuple[np.ndarray, np.ndarray]  # x [n], values [n, s]


def draw(name: str, figure_spec: Mapping[str, Any], traces: Traces, readings: Readings) -> tuple[Any, list[Row]]:
    """The figure `figures.NAME` of an experiment, and its data.

    figure_spec  `kind` (over_days, contexts_over_days, forgetting, awake_and_asleep, arms, side_by_side, grouped,
                 matrix, curves, doses, sweep, profile, points, theory_over_days, modes_over_days, people, frontier or
                 budget), `arms` (the arms and their order; default: all), and the settings of this kind
    traces       arm → trace
    readings     arm → name → [s], the last readings

    Arms that were not run are left out.  Raises ConfigError for an unknown kind or setting.
    """
    kind = kind_of(name, figure_spec)
    settings = {key: value for key, value in figure_spec.items() if key not in ("kind", "arms")}
    chosen = {arm: traces[arm] for arm in figure_spec.get("arms", traces) if arm in traces}
    try:
        figure = FIGURE_KINDS[kind](chosen, readings, **settings) if chosen else None
    except ConfigError:
        raise
    except (TypeError, KeyError, ValueError) as error:
        reason = f"cannot be drawn as {kind} ({error})"
        raise ConfigError(f"figures.{name}", reason, "see cls_sim.figures for its settings") from error
    figure = empty(kind if chosen else name) if figure is None else figure
    return figure, figure.data()


def kind_of(name: str, figure_spec: Mapping[str, Any]) -> str:
    """The kind of the figure `figures.NAME`; raises ConfigError if there is no such kind."""
    return choice(f"figures.{name}.kind", figure_spec.get("kind"), FIGURE_KINDS)


# -- the kinds of figures: (traces, readings, settings) → figure, or None if none of its arms was run --------


def _plain(figure: Callable[..., Any], traces: Traces, _: Readings, **settings: Any) -> Any:
    """A figure that reads traces only."""
    return figure(traces, **settings)


def _found(traces: Traces, readings: Readings, arm: str, reading: str) -> Any:
    """The last reading [s] of an arm; `name[3]` is one entry of a profile."""
    name, _, place = reading.partition("[")
    return traces[arm].last(name)[:, int(place.rstrip("]"))] if place else readings[arm][name]


def draw_arms(traces: Traces, readings: Readings, reading: str = "accuracy", **settings: Any) -> Any:
    found = {arm: _found(traces, readings, arm, reading) for arm in traces}
    return arms(found, **{"ylabel": label_of(reading), **settings})


def draw_side_by_side(traces: Traces, readings: Readings, columns: Mapping[str, str], **settings: Any) -> Any:
    """columns: title → reading."""
    there = {
        title: {
            arm: _found(traces, readings, arm, reading) for arm in traces if reading.partition("[")[0] in readings[arm]
        }
        for title, reading in columns.items()
    }
    return side_by_side(there, **settings)


def draw_budget(
    traces: Traces,
    readings: Readings,
    families: Mapping[str, Any],
    reading: str = "accuracy",
    x: str = "extra_bytes",
    lines: Settings = None,
    **settings: Any,
) -> Any:
    """A reading against the extra bytes of the arms.

    families  name → its arms, or {arms: […], reading: another reading}
    lines     name → a number, or an arm whose mean is used
    """
    across = {
        name: float(np.mean(readings[level][reading])) if isinstance(level, str) else float(level)
        for name, level in (lines or {}).items()
        if not isinstance(level, str) or level in traces
    }
    return budget(_families(traces, readings, families, x, reading), lines=across, **settings)


def draw_frontier(
    traces: Traces, readings: Readings, families: Mapping[str, Sequence[str]], x: str, y: str, **settings: Any
) -> Any:
    return frontier(_families(traces, readings, families, x, y), **settings)


def _families(traces: Traces, readings: Readings, families: Mapping[str, Any], x: str, y: str) -> dict[str, Any]:
    """Family → arm → its readings x and y, for the arms that were run; a family may name another reading y."""
    found = {}
    for family, told in families.items():
        arms, name = (told["arms"], told.get("reading", y)) if isinstance(told, Mapping) else (told, y)
        found[family] = {arm: (readings[arm][x], readings[arm][name]) for arm in arms if arm in traces}
    return {family: pairs for family, pairs in found.items() if pairs}


def draw_matrix(traces: Traces, _: Readings, reading: str = "accuracy", **settings: Any) -> Any:
    return matrix({arm: trace.matrix(reading) for arm, trace in traces.items()}, **settings)


def draw_sweep(
    traces: Traces, readings: Readings, worlds: Mapping[str, Any], reading: str = "accuracy", **settings: Any
) -> Any:
    """A reading of arms that differ in one number, one line per world; incomplete worlds are left out.

    worlds  name → its arms, or {arms: […], reading: another reading}
    """
    values = {}
    for world, told in worlds.items():
        arms, name = (told["arms"], told.get("reading", reading)) if isinstance(told, Mapping) else (told, reading)
        if set(arms) <= set(traces):
            values[world] = [_found(traces, readings, arm, name) for arm in arms]
    return sweep(worlds=values, **settings) if values else None


# -- simulations with the lines of laws -----------------------------------------------------------------------


def draw_curves(traces: Traces, _: Readings, panels: Sequence[Mapping[str, Any]], **settings: Any) -> Any:
    """Go-CLS: the errors of an arm over the dose, with the analytic curves for its SNR and load."""
    drawn = []
    for panel in (panel for panel in panels if panel["arm"] in traces):
        points = {name: _against_dose(traces[panel["arm"]], name) for name in panel["readings"]}
        drawn.append(_go_cls(panel["title"], points, {name: name for name in points}, panel["snr"], panel["load"]))
    return _curves(drawn, settings)


def draw_doses(traces: Traces, _: Readings, reading: str, snr: float, load: float, **settings: Any) -> Any:
    """Go-CLS: an error of several arms over the dose, with their common analytic curve."""
    points = {arm: _against_dose(trace, reading) for arm, trace in traces.items()}
    drawn = [_go_cls("", points, {"theory": reading}, snr, load)]
    return _curves(drawn, settings, xlabel="dose of plasticity S", ylabel=f"error ({label_of(reading)})")


def _curves(drawn: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], **usual: Any) -> Any:
    """The figure of these panels, None if there are none; `usual` are the settings of its kind."""
    return curves(drawn, **{**usual, **settings}) if drawn else None


def _against_dose(trace: Any, reading: str) -> Points:
    return trace.reading("dose")[1].mean(1), trace.reading(reading)[1]


def _go_cls(title: str, points: Mapping[str, Points], laws: Mapping[str, str], snr: float, load: float) -> Any:
    """A panel of errors over the dose, with analytic curves (label → reading) and a mark at the best dose."""
    doses, settings = np.array([0.0, max(x.max() for x, _ in points.values())]), {"snr": snr, "load": load}
    lines = {label: _line(f"go_cls_{reading}", doses, settings) for label, reading in laws.items()}
    best = theory.best_dose(snr, load)
    return {"title": title, "points": points, "lines": lines, "mark": best if best < doses[-1] else None}


def _line(law: str, x: np.ndarray, settings: Settings, log: bool = False, count: int = 200) -> Points:
    """A law of cls_sim.theory over the range of x."""
    fine = (np.geomspace if log else np.linspace)(x.min(), x.max(), count)
    return fine, theory.law("figures.law", law)(fine, **(settings or {}))


def _panel(
    title: str, series: Iterable[tuple[str, Points, str | None, Settings]], log: bool = False, count: int = 200
) -> dict[str, Any]:
    """A panel of (label, points, law or None, settings of the law)."""
    panel: dict[str, Any] = {"title": title, "points": {}, "lines": {}}
    for label, points, law, settings in series:
        panel["points"][label] = points
        if law:
            panel["lines"][label] = _line(law, points[0], settings, log, count)
    return panel


def draw_profile(
    traces: Traces,
    _: Readings,
    reading: str | Sequence[str],
    x: Sequence[float],
    law: str | None = None,
    settings: Settings = None,
    panels: Mapping[str, Sequence[str]] | None = None,
    names: Mapping[str, str] | None = None,
    places: Sequence[int] | None = None,
    **others: Any,
) -> Any:
    """Profiles [s, k] at x, one colour per arm (or per reading, if there are several), with the lines of a law.

    law       a function of cls_sim.theory, at x; None: points are joined
    settings  settings of the law, for all arms or arm → settings
    panels    title → its arms; None: one panel with all arms
    names     arm or reading → its name in the legend
    places    [from, to) of the profile; None: all entries
    """
    wanted, at, entries = _several(reading), np.asarray(x, np.float64), slice(*(places or (None, None)))
    drawn = []
    for title, chosen in (panels or {"": list(traces)}).items():
        series = []
        for arm, name in ((arm, name) for arm in chosen if arm in traces for name in wanted):
            key = arm if isinstance(reading, str) else name if len(chosen) == 1 else f"{arm}, {name}"
            values = np.asarray(traces[arm].last(name))[:, entries].T
            series.append(((names or {}).get(key, label_of(key)), (at, values), law, _own(settings, arm)))
        drawn += [_panel(title, series, others.get("log", False))] if series else []
    return _curves(drawn, others, ylabel=label_of(wanted[0]), joined=law is None, columns=4)


def draw_points(
    traces: Traces,
    readings: Readings,
    reading: str | Sequence[str],
    x: str | Sequence[float],
    law: Mapping[str, str] | str | None = None,
    settings: Settings = None,
    panels: Mapping[str, Sequence[str]] | None = None,
    names: Mapping[str, str] | None = None,
    **others: Any,
) -> Any:
    """One reading (or several, one colour each) of arms that differ in a number, with the line of a law.

    x         the numbers of the arms in order, or the name of a reading whose mean is used
    law       a function of cls_sim.theory, at x; or reading → law
    settings  settings of the law, for all, or panel title → settings, or reading → settings
    panels    title → its arms (x is then a reading); None: one panel with all arms
    """
    wanted, drawn = _several(reading), []
    laws = law if isinstance(law, Mapping) else dict.fromkeys(wanted, law)
    for title, chosen in (panels or {"": list(traces)}).items():
        arms = [arm for arm in chosen if arm in traces]
        if not arms or (not isinstance(x, str) and len(x) != len(arms)):
            continue
        at = np.array([np.nanmean(readings[arm][x]) for arm in arms] if isinstance(x, str) else x, np.float64)
        own, series = _own(settings, title), []
        for name in wanted:
            points = at, np.stack([readings[arm][name] for arm in arms])
            series.append(((names or {}).get(name, label_of(name)), points, laws.get(name), _own(own, name)))
        drawn.append(_panel(title, series, others.get("log", False)))
    return _curves(drawn, others, ylabel=label_of(wanted[0]), joined=law is None, columns=4)


def _several(reading: str | Sequence[str]) -> Sequence[str]:
    return [reading] if isinstance(reading, str) else reading


def _own(settings: Settings, key: str) -> Settings:
    """The settings of this key, or else those for all keys."""
    return (settings or {}).get(key, settings)


def draw_theory_over_days(
    traces: Traces,
    _: Readings,
    reading: str | Sequence[str],
    law: Mapping[str, str],
    settings: Settings = None,
    moment: str | None = None,
    names: Mapping[str, str] | None = None,
    x: str | None = None,
    **others: Any,
) -> Any:
    """Readings over the days of one arm (profiles are averaged), with laws of cls_sim.theory at the day.

    law       reading → law
    settings  settings of all laws, or reading → settings
    x         a reading whose mean takes the place of the day, such as dose
    """
    (trace,) = traces.values()
    series = []
    for name in _several(reading):
        days, found = trace.reading(name, moment)
        at = days if x is None else trace.reading(x, moment)[1].mean(1)
        points = at, found if found.ndim == 2 else np.nanmean(found, 2)
        series.append(((names or {}).get(name, label_of(name)), points, law[name], _own(settings, name)))
    return _curves([_panel("", series, others.get("log", False))], others, xlabel="age (days)", columns=1)


def draw_modes_over_days(
    traces: Traces,
    _: Readings,
    reading: str,
    places: Mapping[str, int],
    law: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    **others: Any,
) -> Any:
    """Entries of a profile over the days of one arm, one colour each (label → entry), with the lines of a law.

    law       a function of cls_sim.theory, at the day
    settings  label → settings of the law
    """
    (trace,) = traces.values()
    days, found = trace.reading(reading)
    own = settings or {}
    series = [(label, (days, found[:, :, place]), law, own[label] if law else None) for label, place in places.items()]
    labels = {"xlabel": "age (days)", "ylabel": label_of(reading)}
    return _curves([_panel("", series, count=300)], others, **labels, columns=1, joined=law is None)


KINDS = (
    *(draw_arms, draw_side_by_side, draw_grouped, draw_budget, draw_frontier, draw_matrix, draw_sweep, draw_curves),
    *(draw_doses, draw_profile, draw_points, draw_theory_over_days, draw_modes_over_days, draw_people),
)
LIVES = (over_days, contexts_over_days, forgetting, awake_and_asleep)
FIGURE_KINDS: dict[str, Callable[..., Any]] = {
    **{kind.__name__: partial(_plain, kind) for kind in LIVES},
    **{kind.__name__.removeprefix("draw_"): kind for kind in KINDS},
}
