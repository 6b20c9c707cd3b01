"""Draws the figures of an experiment's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim.core.errors import ConfigError, choice
from cls_sim.figures.budget import draw_spec as draw_budget
from cls_sim.figures.compared import arms, sweep
from cls_sim.figures.frontier import draw_spec as draw_frontier
from cls_sim.figures.lives import contexts_over_days, forgetting, matrix, over_days
from cls_sim.figures.page import Row, empty, label_of
from cls_sim.figures.side_by_side import draw_spec as draw_beside
from cls_sim.figures.theory import curves


def draw(
    name: str, figure_spec: Mapping[str, Any], traces: Mapping[str, Any], readings: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, list[Row]]:
    """The figure `figures.NAME` of an experiment, and its data.

    figure_spec  `kind` (over_days, contexts_over_days, forgetting, arms, side_by_side, matrix, curves, doses, sweep,
                 profile, points, theory_over_days, modes_over_days, frontier or budget), `arms` (the arms and their
                 order; default: all), and the settings of this kind
    traces       arm → trace
    readings     arm → name → [s], the last readings

    Arms that were not run are left out.  Raises ConfigError for an unknown kind or setting.
    """
    settings = dict(figure_spec)
    key = f"figures.{name}"
    kind = choice(f"{key}.kind", settings.pop("kind", None), FIGURE_KINDS)
    chosen = [arm for arm in settings.pop("arms", traces) if arm in traces]
    try:
        figure = (
            FIGURE_KINDS[kind]({arm: traces[arm] for arm in chosen}, readings, **settings) if chosen else empty(name)
        )
    except (TypeError, KeyError) as error:
        raise ConfigError(
            key, f"cannot be drawn as {kind} ({error})", "see cls_sim.figures for its settings"
        ) from error
    return figure, figure.data()


def _draw_arms(traces: Mapping[str, Any], readings: Any, reading: str = "accuracy", **settings: Any) -> Any:
    name, _, place = reading.partition("[")  # `name[3]` is one entry of a profile
    found = {
        arm: trace.last(name)[:, int(place.rstrip("]"))] if place else readings[arm][name]
        for arm, trace in traces.items()
    }
    return arms(found, **{"ylabel": label_of(reading), **settings})


def _draw_matrix(traces: Mapping[str, Any], readings: Any, reading: str = "accuracy", **settings: Any) -> Any:
    return matrix({arm: trace.matrix(reading) for arm, trace in traces.items()}, **settings)


def _draw_curves(traces: Mapping[str, Any], readings: Any, panels: Sequence[Mapping[str, Any]], **settings: Any) -> Any:
    """Go-CLS: the errors of an arm over the dose, with the analytic curves for its SNR and load."""
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
    return curves(drawn, **settings) if drawn else empty("curves")


def _draw_doses(
    traces: Mapping[str, Any], readings: Any, reading: str, snr: float, load: float, **settings: Any
) -> Any:
    """Go-CLS: an error of several arms over the dose, with their common analytic curve."""
    from cls_sim import theory

    laws = {"train": theory.go_cls_train, "generalise": theory.go_cls_generalise}
    points = {arm: _against_dose(trace, reading) for arm, trace in traces.items()}
    dose = np.linspace(0.0, max(x.max() for x, _ in points.values()), 200)
    panel = {"points": points, "lines": {"theory": (dose, laws[reading](dose, snr, load))}}
    best = {"mark": theory.best_dose(snr, load)}
    labels = {"xlabel": "dose of plasticity S", "ylabel": f"error ({label_of(reading)})"}
    return curves([panel | best], **{**labels, **settings})


def _draw_sweep(
    traces: Mapping[str, Any],
    readings: Any,
    worlds: Mapping[str, Sequence[str]],
    reading: str = "accuracy",
    **settings: Any,
) -> Any:
    """A reading of arms that differ in one number, one line per world; incomplete worlds are left out."""
    whole = {world: arms for world, arms in worlds.items() if set(arms) <= set(readings)}
    values = {world: [readings[arm][reading] for arm in arms] for world, arms in whole.items()}
    return sweep(worlds=values, **settings) if values else empty("sweep")


def _draw_profile(
    traces: Mapping[str, Any],
    readings: Any,
    reading: str | Sequence[str],
    x: Sequence[float],
    law: str | None = None,
    settings: Mapping[str, Any] | None = None,
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
    from cls_sim import theory

    many, names = not isinstance(reading, str), names or {}
    wanted: Sequence[str] = [reading] if isinstance(reading, str) else reading
    at = np.asarray(x, np.float64)
    fine = np.geomspace(at.min(), at.max(), 200) if others.get("log") else np.linspace(at.min(), at.max(), 200)
    drawn = []
    for title, chosen in (panels or {"": list(traces)}).items():
        panel: dict[str, Any] = {"title": title, "points": {}, "lines": {}}
        for arm in (arm for arm in chosen if arm in traces):
            for name in wanted:
                key = name if many and len(chosen) == 1 else f"{arm}, {name}" if many else arm
                label = names.get(key, label_of(key))
                panel["points"][label] = (at, np.asarray(traces[arm].last(name))[:, slice(*(places or (None, None)))].T)
                if law is not None:
                    own = (settings or {}).get(arm, settings or {})
                    panel["lines"][label] = (fine, theory.law("figures.law", law)(fine, **own))
        if panel["points"]:
            drawn.append(panel)
    given = {"ylabel": label_of(wanted[0]), "joined": law is None, "columns": 4, **others}
    return curves(drawn, **given) if drawn else empty("profile")


def _draw_points(
    traces: Mapping[str, Any],
    readings: Any,
    reading: str | Sequence[str],
    x: str | Sequence[float],
    law: Mapping[str, str] | str | None = None,
    settings: Mapping[str, Any] | None = None,
    panels: Mapping[str, Sequence[str]] | None = None,
    names: Mapping[str, str] | None = None,
    **others: Any,
) -> Any:
    """One reading (or several, one colour each) of arms that differ in a number, with the line of a law.

    x         the numbers of the arms in order, or the name of a reading whose mean is used
    law       a function of cls_sim.theory, at x; or reading → law
    settings  settings of the law, for all panels or panel title → settings
    panels    title → its arms (x is then a reading); None: one panel with all arms
    """
    from cls_sim import theory

    wanted: Sequence[str] = [reading] if isinstance(reading, str) else reading
    laws, drawn = law if isinstance(law, Mapping) else dict.fromkeys(wanted, law), []
    for title, chosen in (panels or {"": list(traces)}).items():
        arms = [arm for arm in chosen if arm in traces]
        if not arms or (not isinstance(x, str) and len(x) != len(arms)):
            continue
        at = np.array([np.nanmean(readings[arm][x]) for arm in arms] if isinstance(x, str) else x, np.float64)
        log = others.get("log")
        fine = np.geomspace(at.min(), at.max(), 200) if log else np.linspace(at.min(), at.max(), 200)
        own = (settings or {}).get(title, settings or {})
        panel: dict[str, Any] = {"title": title, "points": {}, "lines": {}}
        for name in wanted:
            label = (names or {}).get(name, label_of(name))
            panel["points"][label] = (at, np.stack([readings[arm][name] for arm in arms]))
            if laws.get(name):
                panel["lines"][label] = (fine, theory.law("figures.law", laws[name])(fine, **own))
        drawn.append(panel)
    given = {"ylabel": label_of(wanted[0]), "joined": law is None, "columns": 4, **others}
    return curves(drawn, **given) if drawn else empty("points")


def _draw_theory_over_days(
    traces: Mapping[str, Any],
    readings: Any,
    reading: str | Sequence[str],
    law: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    moment: str | None = None,
    names: Mapping[str, str] | None = None,
    **others: Any,
) -> Any:
    """Readings over the days of one arm (profiles are averaged), with laws of cls_sim.theory at the day.

    law       reading → law
    settings  settings of all laws
    """
    from cls_sim import theory

    ((_, trace),) = traces.items()
    panel: dict[str, Any] = {"title": "", "points": {}, "lines": {}}
    for name in [reading] if isinstance(reading, str) else reading:
        days, found = trace.reading(name, moment)
        label = (names or {}).get(name, label_of(name))
        panel["points"][label] = (days, found if found.ndim == 2 else np.nanmean(found, 2))
        fine = np.linspace(days.min(), days.max(), 200)
        panel["lines"][label] = (fine, theory.law("figures.law", law[name])(fine, **(settings or {})))
    return curves([panel], **{"xlabel": "age (days)", "columns": 1, **others})


def _draw_modes_over_days(
    traces: Mapping[str, Any],
    readings: Any,
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
    from cls_sim import theory

    ((_, trace),) = traces.items()
    days, found = trace.reading(reading)
    fine = np.linspace(days.min(), days.max(), 300)
    points = {label: (days, found[:, :, place]) for label, place in places.items()}
    lines = {label: (fine, theory.law("figures.law", law)(fine, **(settings or {})[label])) for label in points if law}
    given = {"xlabel": "age (days)", "ylabel": label_of(reading), "columns": 1, "joined": law is None, **others}
    return curves([{"title": "", "points": points, "lines": lines}], **given)


def _against_dose(trace: Any, reading: str) -> tuple[np.ndarray, np.ndarray]:
    return trace.reading("dose")[1].mean(1), trace.reading(reading)[1]


FIGURE_KINDS: dict[str, Callable[..., Any]] = {
    "over_days": lambda traces, _, **settings: over_days(traces, **settings),
    "contexts_over_days": lambda traces, _, **settings: contexts_over_days(traces, **settings),
    "forgetting": lambda traces, _, **settings: forgetting(traces, **settings),
    "arms": _draw_arms,
    "side_by_side": draw_beside,
    "budget": draw_budget,
    "matrix": _draw_matrix,
    "curves": _draw_curves,
    "doses": _draw_doses,
    "modes_over_days": _draw_modes_over_days,
    "points": _draw_points,
    "profile": _draw_profile,
    "frontier": draw_frontier,
    "sweep": _draw_sweep,
    "theory_over_days": _draw_theory_over_days,
}
