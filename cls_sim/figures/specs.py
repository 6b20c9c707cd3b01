"""Draws the figures of an experiment's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from cls_sim.storage.case import Case

Settings = Mapping[str, Any] | None
Points = tuple[np.ndarray, np.ndarray]  # x [n], values [n, s]
Series = tuple[str, Points, str | None, Settings]  # label, points, a law or None, settings of the law


def draw(
    name: str, figure_spec: Mapping[str, Any], traces: Mapping[str, Any], readings: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, list[Row]]:
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
        figure = FIGURE_KINDS[kind](Case(chosen, readings, f"figures.{name}"), **settings) if chosen else None
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


# -- the kinds of figures: (case, settings) → figure, or None if none of its arms was run ---------------------


def _plain(figure: Callable[..., Any], case: Case, **settings: Any) -> Any:
    """A figure that reads traces only."""
    return figure(case.traces, **settings)


def draw_arms(case: Case, reading: str = "accuracy", **settings: Any) -> Any:
    found = {arm: case.values(arm, reading) for arm in case.traces}
    return arms(found, **{"ylabel": label_of(reading), **settings})


def draw_side_by_side(case: Case, columns: Mapping[str, str], **settings: Any) -> Any:
    """columns: title → reading."""
    there = {
        title: {arm: case.values(arm, reading) for arm in case.traces if case.has(arm, reading)}
        for title, reading in columns.items()
    }
    return side_by_side(there, **settings)


def draw_budget(
    case: Case,
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
        name: case.mean(level, reading) if isinstance(level, str) else float(level)
        for name, level in (lines or {}).items()
        if not isinstance(level, str) or level in case.traces
    }
    return budget(_families(case, families, x, reading), lines=across, **settings)


def draw_frontier(case: Case, families: Mapping[str, Sequence[str]], x: str, y: str, **settings: Any) -> Any:
    return frontier(_families(case, families, x, y), **settings)


def _families(case: Case, families: Mapping[str, Any], x: str, y: str) -> dict[str, Any]:
    """Family → arm → its readings x and y, for the arms that were run; a family may name another reading y."""
    found = {}
    for family, (mine, name) in _named(families, y):
        if pairs := {arm: (case.values(arm, x), case.values(arm, name)) for arm in mine if arm in case.traces}:
            found[family] = pairs
    return found


def _named(families: Mapping[str, Any], reading: str) -> Iterator[tuple[str, tuple[Sequence[str], str]]]:
    """Each family with its arms and its reading, from its arms, or from {arms: […], reading: another reading}."""
    for name, told in families.items():
        yield name, (told["arms"], told.get("reading", reading)) if isinstance(told, Mapping) else (told, reading)


def draw_matrix(case: Case, reading: str = "accuracy", **settings: Any) -> Any:
    return matrix({arm: trace.matrix(reading) for arm, trace in case.traces.items()}, **settings)


def draw_sweep(case: Case, worlds: Mapping[str, Any], reading: str = "accuracy", **settings: Any) -> Any:
    """A reading of arms that differ in one number, one line per world; incomplete worlds are left out.

    worlds  name → its arms, or {arms: […], reading: another reading}
    """
    values = {
        world: [case.values(arm, name) for arm in mine]
        for world, (mine, name) in _named(worlds, reading)
        if set(mine) <= set(case.traces)
    }
    return sweep(worlds=values, **settings) if values else None


# -- simulations with the lines of laws -----------------------------------------------------------------------


def draw_curves(case: Case, panels: Sequence[Mapping[str, Any]], **settings: Any) -> Any:
    """Go-CLS: the errors of an arm over the dose, with the analytic curves for its SNR and load."""
    drawn = []
    for panel in (panel for panel in panels if panel["arm"] in case.traces):
        points = {name: case.over_dose(panel["arm"], name) for name in panel["readings"]}
        drawn.append(_go_cls(panel["title"], points, {name: name for name in points}, panel["snr"], panel["load"]))
    return _curves(drawn, settings)


def draw_doses(case: Case, reading: str, snr: float, load: float, **settings: Any) -> Any:
    """Go-CLS: an error of several arms over the dose, with their common analytic curve."""
    points = {arm: case.over_dose(arm, reading) for arm in case.traces}
    drawn = [_go_cls("", points, {"theory": reading}, snr, load)]
    return _curves(drawn, settings, xlabel="dose of plasticity S", ylabel=f"error ({label_of(reading)})")


def _curves(drawn: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], **usual: Any) -> Any:
    """The figure of these panels, None if there are none; `usual` are the settings of its kind."""
    return curves(drawn, **{**usual, **settings}) if drawn else None


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


def _panel(title: str, series: Sequence[Series], log: bool = False, count: int = 200) -> dict[str, Any]:
    """A panel of points, with lines of the laws."""
    points = {label: points for label, points, _, _ in series}
    lines = {label: _line(law, at, settings, log, count) for label, (at, _), law, settings in series if law}
    return {"title": title, "points": points, "lines": lines}


def _panels(
    case: Case,
    panels: Mapping[str, Sequence[str]] | None,
    series: Callable[[str, Sequence[str]], Iterable[Series]],
    names: Mapping[str, str] | None,
    settings: Mapping[str, Any],
    **usual: Any,
) -> Any:
    """The figure of the series of each panel (title, its arms); None: one panel with all arms."""
    drawn = []
    for title, chosen in (panels or {"": list(case.traces)}).items():
        mine: list[Series] = []
        for key, points, law, own in series(title, chosen):
            mine.append(((names or {}).get(key, label_of(key)), points, law, own))
        drawn += [_panel(title, mine, settings.get("log", False))] if mine else []
    return _curves(drawn, settings, **usual)


def draw_profile(
    case: Case,
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
    wanted, at = _several(reading), np.asarray(x, np.float64)

    def series(_: str, chosen: Sequence[str]) -> Iterator[Series]:
        for arm, name in ((arm, name) for arm in chosen if arm in case.traces for name in wanted):
            key = arm if isinstance(reading, str) else name if len(chosen) == 1 else f"{arm}, {name}"
            yield key, (at, case.profile(arm, name, places).T), law, _own(settings, arm)

    return _panels(case, panels, series, names, others, ylabel=label_of(wanted[0]), joined=law is None, columns=4)


def draw_points(
    case: Case,
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
    wanted = _several(reading)
    laws = law if isinstance(law, Mapping) else dict.fromkeys(wanted, law)

    def series(title: str, chosen: Sequence[str]) -> Iterator[Series]:
        mine = [arm for arm in chosen if arm in case.traces]
        at = np.array([case.mean(arm, x) for arm in mine] if isinstance(x, str) else x, np.float64)
        for name in wanted if mine and len(at) == len(mine) else ():
            points = at, np.stack([case.values(arm, name) for arm in mine])
            yield name, points, laws.get(name), _own(_own(settings, title), name)

    return _panels(case, panels, series, names, others, ylabel=label_of(wanted[0]), joined=law is None, columns=4)


def _several(reading: str | Sequence[str]) -> Sequence[str]:
    return [reading] if isinstance(reading, str) else reading


def _own(settings: Settings, key: str) -> Settings:
    """The settings of this key, or else those for all keys."""
    return (settings or {}).get(key, settings)


def draw_theory_over_days(
    case: Case,
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
    (trace,) = case.traces.values()

    def series(*_: Any) -> Iterator[Series]:
        for name in _several(reading):
            days, found = trace.reading(name, moment)
            at = days if x is None else trace.reading(x, moment)[1].mean(1)
            yield name, (at, found if found.ndim == 2 else np.nanmean(found, 2)), law[name], _own(settings, name)

    return _panels(case, None, series, names, others, xlabel="age (days)", columns=1)


def draw_modes_over_days(
    case: Case,
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
    (trace,) = case.traces.values()
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
