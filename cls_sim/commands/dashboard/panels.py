"""The panels of a dashboard of finished runs, by section, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cls_sim.commands.door import below
from cls_sim.core.errors import ConfigError

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
    made = [*_stability(main, contexts), *_contexts(main, contexts), *_nights(readings), *_dose(main, readings)]
    made += [_line("Amnesia and dependence", name.replace("_", " "), name) for name in AMNESIA if name in readings]
    shown = {key.removeprefix("evaluation/") for panel in made for key in panel.y}
    rest = [name for name in readings if name not in shown and name != main]
    made += [_line("Other readings", name.replace("_", " "), name) for name in rest]
    return [*made, *_arms(runs, main)]


def _line(section: str, title: str, name: str, says: str = "") -> Panel:
    return Panel(section, title, "line", (f"evaluation/{name}",), says=says)


def _stability(main: str, contexts: int) -> list[Panel]:
    section = "Stability and plasticity"
    made = [_line(section, f"{main}, all contexts", main, "overall performance")]
    if contexts > 1:
        new, old = f"{main}.context.{contexts}", f"{main}.context.1"
        made.append(_line(section, "the oldest context", old, "stability: it falls if new contexts overwrite old ones"))
        made.append(_line(section, "the newest context", new, "plasticity: it rises if new contexts can be learnt"))
        y, x = (f"final/{main}",), f"final/{main}.forgetting"
        made.append(Panel(section, f"final {main} against forgetting", "points", y, x, "best at the upper left"))
    return made


def _contexts(main: str, contexts: int) -> list[Panel]:
    if contexts < 2:
        return []
    section = "Forgetting by context"
    each = [_line(section, f"context {k}", f"{main}.context.{k}") for k in range(1, min(contexts, MOST) + 1)]
    return [*each, Panel(section, "forgetting by arm", "bar", (f"final/{main}.forgetting",))]


def _nights(readings: Sequence[str]) -> list[Panel]:
    section = "Replay at night"
    content = [_line(section, name.replace("_", " "), name) for name in readings if name.startswith("night_")]
    passes = Panel(section, "sample passes asleep and awake", "line", ("sleep/passes", "wake/passes"))
    return [*content, passes]


def _dose(main: str, readings: Sequence[str]) -> list[Panel]:
    section = "Dose"
    made = [_line(section, "dose of plasticity", "dose")] if "dose" in readings else []
    rates = Panel(section, "plasticity by night and by day", "line", ("sleep/rate", "wake/rate"))
    over = Panel(section, f"{main} over the dose asleep", "line", (f"evaluation/{main}",), "sleep/dose")
    return [*made, rates, over]


def _arms(runs: Sequence[Run], main: str) -> list[Panel]:
    section = "Arms"
    interval = tuple(f"evaluation/{main}{end}" for end in ("", ".low", ".high"))
    made = [
        Panel(section, f"{main} with its 95 % interval", "line", interval),
        Panel(section, f"{main} at the end", "bar", (f"final/{main}",)),
        Panel(section, "arms: means and intervals", "table", ("tables/arms",)),
    ]
    drawn = tuple(dict.fromkeys(f"figures/{name}" for run in runs for name in run.figures))
    return [*made, Panel(section, "figures", "media", drawn)] if drawn else made
