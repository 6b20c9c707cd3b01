"""The panels of a dashboard of finished runs, by section, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cls_sim.commands.door import below
from cls_sim.core.errors import ConfigError
from cls_sim.storage.disk import plain_below

MOST = 20  # largest number of contexts with a panel each
AMNESIA = ("dependence", "hippocampus", "both", "rehearsal_gap")


@dataclass(frozen=True)
class Panel:
    """One panel: its `kind` (line, points, bar, media or table), its axes y and x, and a note on what to look for."""

    section: str
    title: str
    kind: str
    y: tuple[str, ...]
    x: str = "day"
    says: str = ""


@dataclass(frozen=True)
class Run:
    """The properties of a run that a dashboard needs."""

    folder: Path
    experiment: str
    readings: tuple[str, ...]
    contexts: int
    arms: tuple[str, ...]
    figures: tuple[str, ...]
    main: str


def found(folder: Path) -> list[Run]:
    """The finished runs in a folder, itself or below."""
    places = [place for place in below(folder, "summary.json") if (place / "run.json").is_file()]
    if not places:
        raise ConfigError(str(folder), "holds no finished run", "name a folder printed as `run:`, or resume it")
    for place in places:
        plain_below(place)
    return [_run(place) for place in places]


def _run(folder: Path) -> Run:
    from cls_sim.storage import summary
    from cls_sim.storage.trace import Trace

    told = summary.read(folder)
    arms, mains = tuple(told.arms), [arm.main for arm in told.arms.values() if arm.main]
    trace = Trace.read(folder / "trace" / f"{arms[0] if arms else ''}-000000.jsonl")
    if not trace.names():
        raise ConfigError(str(folder), "has no reading in its trace", "name another run")
    wide = [trace.last(name).shape[1] for name in trace.names() if trace.last(name).ndim == 2]
    drawn = tuple(sorted(file.stem for file in (folder / "figures").glob("*.png")))
    main = mains[0] if mains else trace.names()[0]
    return Run(folder, told.experiment, tuple(trace.names()), max(wide, default=1), arms, drawn, main)


# -- panels -------------------------------------------------------------------------------------------------


def panels(runs: Sequence[Run]) -> list[Panel]:
    """The panels for these runs, by section; readings that no run has measured are left out."""
    readings = list(dict.fromkeys(name for run in runs for name in run.readings))
    contexts, main = max(run.contexts for run in runs), runs[0].main
    exam, final, forgotten = f"evaluation/{main}", f"final/{main}", f"final/{main}.forgetting"
    made: list[Panel] = []

    def add(title: str, *y: str, kind: str = "line", x: str = "day", says: str = "") -> None:
        made.append(Panel(section, title, kind, y, x, says))

    def lines(names: Iterable[str]) -> None:
        for name in names:
            add(name.replace("_", " "), f"evaluation/{name}")

    section = "Stability and plasticity"
    add(f"{main}, all contexts", exam, says="overall performance")
    if contexts > 1:
        old, new = f"{exam}.context.1", f"{exam}.context.{contexts}"
        add("the oldest context", old, says="stability: it falls if new contexts overwrite old ones")
        add("the newest context", new, says="plasticity: it rises if new contexts can be learnt")
        add(f"final {main} against forgetting", final, kind="points", x=forgotten, says="best at the upper left")
        section = "Forgetting by context"
        for k in range(1, min(contexts, MOST) + 1):
            add(f"context {k}", f"{exam}.context.{k}")
        add("forgetting by arm", forgotten, kind="bar")
    section = "Replay at night"
    lines(name for name in readings if name.startswith("night_"))
    add("sample passes asleep and awake", "sleep/passes", "wake/passes")
    section = "Dose"
    if "dose" in readings:
        add("dose of plasticity", "evaluation/dose")
    add("plasticity by night and by day", "sleep/rate", "wake/rate")
    add(f"{main} over the dose asleep", exam, x="sleep/dose")
    section = "Amnesia and dependence"
    lines(name for name in AMNESIA if name in readings)
    shown = {key.removeprefix("evaluation/") for panel in made for key in panel.y}
    section = "Other readings"
    lines(name for name in readings if name not in shown and name != main)
    section = "Arms"
    add(f"{main} with its 95 % interval", exam, f"{exam}.low", f"{exam}.high")
    add(f"{main} at the end", final, kind="bar")
    add("arms: means and intervals", "tables/arms", kind="table")
    if drawn := dict.fromkeys(f"figures/{name}" for run in runs for name in run.figures):
        add("figures", *drawn, kind="media")
    return made
