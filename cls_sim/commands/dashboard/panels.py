"""The panels of a dashboard of finished runs, by section, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cls_sim.commands.door import below
from cls_sim.core.errors import refuse_if
from cls_sim.storage.disk import plain_below

MOST = 20  # largest number of contexts with a panel each
AMNESIA = ("dependence", "hippocampus", "both", "rehearsal_gap")


@dataclass(frozen=True)
class Panel:
    """One panel: its `kind` (line, points, bar, media or table), its axes y and x, and a note on what to look for."""

    section: str
    title: str
    y: tuple[str, ...]
    kind: str = "line"
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
    refuse_if(not places, str(folder), "holds no finished run", "name a folder printed as `run:`, or resume it")
    for place in places:
        plain_below(place)
    return [_run(place) for place in places]


def _run(folder: Path) -> Run:
    from cls_sim.storage import summary
    from cls_sim.storage.trace import Trace

    told = summary.read(folder)
    arms, mains = tuple(told.arms), [arm.main for arm in told.arms.values() if arm.main]
    trace = Trace.read(folder / "trace" / f"{arms[0] if arms else ''}-000000.jsonl")
    refuse_if(not trace.names(), str(folder), "has no reading in its trace", "name another run")
    wide = [trace.last(name).shape[1] for name in trace.names() if trace.last(name).ndim == 2]
    drawn = tuple(sorted(file.stem for file in (folder / "figures").glob("*.png")))
    main = mains[0] if mains else trace.names()[0]
    return Run(folder, told.experiment, tuple(trace.names()), max(wide, default=1), arms, drawn, main)


# -- panels -------------------------------------------------------------------------------------------------


def panels(runs: Sequence[Run]) -> list[Panel]:
    """The panels for these runs, by section; readings that no run has measured are left out."""
    readings = list(dict.fromkeys(name for run in runs for name in run.readings))
    contexts, main = max(run.contexts for run in runs), runs[0].main
    night = [name for name in readings if name.startswith("night_")]
    amnesia = [name for name in AMNESIA if name in readings]
    lists = {
        "several": [contexts] if contexts > 1 else [],
        "contexts": range(1, min(contexts, MOST) + 1) if contexts > 1 else [],
        "night": night,
        "dose": [name for name in readings if name == "dose"],
        "amnesia": amnesia,
        "others": [name for name in readings if name not in (*night, *amnesia, "dose", main)],
    }
    made: list[Panel] = []
    for section, told in _sections().items():
        for panel in told:
            for one in lists[panel["each"]] if "each" in panel else [main]:
                known = {"main": main, "last": contexts, "one": one, "words": str(one).replace("_", " ")}
                y = tuple(key.format(**known) for key in panel["y"])
                texts = {name: panel[name].format(**known) for name in panel if name not in ("each", "y")}
                made.append(Panel(section, **texts, y=y))
    if drawn := dict.fromkeys(f"figures/{name}" for run in runs for name in run.figures):
        made.append(Panel("Arms", "figures", tuple(drawn), "media"))
    return made


@cache
def _sections() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The content of panels.yaml, read once."""
    return yaml.safe_load(Path(__file__).with_name("panels.yaml").read_text())
