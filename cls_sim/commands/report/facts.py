"""The facts about a run, read from its directory; the run may be unfinished."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim.config import experiments
from cls_sim.config.arms import treatment
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.storage import summary as summaries
from cls_sim.storage.disk import read
from cls_sim.storage.run_directory import are_overrides
from cls_sim.storage.summary import Claim, is_name


@dataclass
class Arm:
    """An arm with its finished subjects.

    values  reading → [s]
    trace   the trace of the finished subjects, or None
    budget  mean over subjects of each count; None if no job is done
    asked   number of subjects of the run
    """

    name: str
    method: str | None
    seed: int
    asked: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    trace: Any = None
    budget: dict[str, float] | None = None
    seconds: float = 0.0
    world: str = ""  # its class, with the parts inside it in parentheses

    @property
    def lived(self) -> int:
        return 0 if self.trace is None else self.trace.subjects

    def cost(self, key: str) -> float:
        return (self.budget or {}).get(key, 0.0)

    def matrix(self, reading: str) -> np.ndarray | None:
        """The reading [s, t, k] of each context (k) at birth and after each context (t); None if it has no contexts."""
        trace = self.trace
        if trace is None or trace.last(reading).ndim != 2 or not trace.is_taken(reading, "context.end"):
            return None
        return trace.matrix(reading)


@dataclass(frozen=True)
class Published:
    """A published mean and SEM in percentage points; with sem None (not published) it is shown and not counted."""

    value: float
    sem: float | None
    source: str
    within: float = 1.5  # the least distance in points that counts as inside


@dataclass
class Facts:
    """The facts about a run.

    arms       the arms with at least one finished subject
    main       the main reading; empty if there is none
    published  arm → its published number, for the main reading
    missing    one line for each missing result
    """

    folder: Path
    experiment: str
    title: str
    cite: str
    scenario: str | None
    size: str
    seed: int
    version: str
    overrides: list[str]
    environment: dict[str, Any]
    protocol: dict[str, list[str]]
    arms: dict[str, Arm]
    main: str
    published: dict[str, Published]
    claims: tuple[Claim, ...]
    missing: list[str]
    figures: list[tuple[str, Path]]

    @property
    def label(self) -> str:
        return f"{self.experiment}, scenario {self.scenario}" if self.scenario else self.experiment

    @property
    def cohort(self) -> str:
        """The number of finished subjects of an arm, in words."""
        sizes = sorted({arm.lived for arm in self.arms.values()}) or ["no"]
        return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"

    @property
    def made(self) -> str:
        """The software and the day of the run."""
        env = self.environment
        parts = [f"{name} {env[name]}" for name in ("python", "torch", "device") if env.get(name)]
        return ", ".join(filter(None, [f"cls_sim {self.version}", *parts, str(env.get("time", ""))[:10]]))

    @property
    def readings(self) -> list[str]:
        return list(dict.fromkeys(name for arm in self.arms.values() for name in arm.values))

    @property
    def stores(self) -> bool:
        """Whether an arm stores episodes."""
        return any(arm.cost("stored_bytes") for arm in self.arms.values())


def facts(folder: Path) -> Facts:
    """The facts about the run in this folder; raises ConfigError if it is not a run, or damaged."""
    try:
        return _facts(folder)
    except ConfigError:
        raise
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ) as error:  # a file holds anything
        reason = f"is damaged ({type(error).__name__} in its numbers and names)"
        raise ConfigError(str(folder), reason, "resume that run, or leave its folder out") from None


def _facts(folder: Path) -> Facts:
    remedy = "name the folder printed as `run:`, or a folder above it"
    refuse_if(not (folder / "run.json").is_file(), str(folder), "is not a run (no run.json)", remedy)
    record = read(folder / "run.json")
    told: Any = record.get("arms")
    overrides: Any = record.get("overrides")
    whole = isinstance(told, dict) and all(isinstance(cfg, dict) and is_name(arm) for arm, cfg in told.items())
    if not whole or not are_overrides(overrides):
        raise ConfigError(str(folder / "run.json"), "is damaged", "restore it from a copy, or leave its folder out")
    summary = summaries.read(folder) if (folder / "summary.json").is_file() else None
    asked = _asked(overrides)
    arms, missing = {}, []
    for name, cfg in told.items():
        arm = _arm(folder, name, cfg, _method(name, asked))
        if arm.lived:
            arms[name] = arm
        if arm.lived < arm.asked:
            missing.append(f"{name}: {arm.lived} of {arm.asked} subjects are finished")
    if summary is None:
        missing.append("summary.json: the run has not finished" + ("" if arms else ", and no subject is finished"))
    if 4 * sum(arm.method is not None for arm in arms.values()) < 3 * len(arms):  # names that only look like methods
        for arm in arms.values():
            arm.method = None
    main = next((n for n in ("accuracy", "r2") if arms and all(n in arm.values for arm in arms.values())), "")
    cfg = next(iter(told.values()), {})
    base = asked.cfg if asked else {}
    files = (folder / name for name in ("protocol.json", "environment.json"))
    protocol, environment = (read(file) if file.is_file() else {} for file in files)
    world = cfg.get("world")
    scenario = base.get("scenario") or (world.get("scenario") if isinstance(world, dict) else None)
    chosen = {arg.partition("=")[0].lstrip("+"): arg.partition("=")[2] for arg in overrides}
    return Facts(
        folder=folder,
        experiment=summary.experiment if summary else asked.name if asked else chosen.get("experiment", "a run"),
        title=(summary.title if summary else None) or str(base.get("title") or ""),
        cite=str(base.get("cite") or ""),
        scenario=str(scenario) if scenario else None,
        size=summary.size if summary else str(base.get("size") or chosen.get("size", "paper")),
        seed=int(cfg.get("seed", 0)),
        version=str(record.get("version", "")),
        overrides=[str(o) for o in overrides],
        environment=environment,
        protocol={str(k): [str(line) for line in v] for k, v in protocol.items() if isinstance(v, list)},
        arms=arms,
        main=main,
        published=_published(base, scenario),
        claims=summary.claims if summary else (),
        missing=missing,
        figures=_figures(folder, base, main),
    )


SHOWN = ("arms", "matrix")  # kinds of figures of the main reading that every report draws itself


def _figures(folder: Path, cfg: Mapping[str, Any], main: str) -> list[tuple[str, Path]]:
    """The figures of the run, without those that the report draws itself."""
    mine = {
        name
        for name, told in (cfg.get("figures") or {}).items()
        if told.get("kind") in SHOWN and told.get("reading", "accuracy") == main
    }
    return [(path.stem, path) for path in sorted((folder / "figures").glob("*.png")) if path.stem not in mine]


def _asked(overrides: list[Any]) -> experiments.Experiment | None:
    """The experiment, composed from the present configuration files; None if that fails."""
    try:
        return experiments.read([str(override) for override in overrides])
    except ConfigError:
        return None


def _method(name: str, asked: experiments.Experiment | None) -> str | None:
    """The method of an arm, from its overrides or else from its name; er_500 is the method er."""
    from cls_sim.commands.report.expected import table

    arms = (asked.cfg["arm"] if asked else None) or {}
    given = treatment(arms, name).overrides if name in arms else []
    named = [o.split("=", 1)[1] for o in given if o.startswith("method=")]
    known = table()["methods"]
    return next((m for m in (*named[::-1], name, re.sub(r"_\d+$", "", name)) if m in known), None)


def _arm(folder: Path, name: str, cfg: Mapping[str, Any], method: str | None) -> Arm:
    """An arm, from the traces and reports of its finished jobs."""
    from cls_sim.running.jobs import cost
    from cls_sim.storage.readings import readings
    from cls_sim.storage.trace import Trace

    arm = Arm(name, method, int(cfg.get("seed", 0)), int(cfg.get("subjects", 0)))
    arm.world = _classes(cfg["world"]) if isinstance(cfg.get("world"), dict) else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if traces := _done(folder, name):
            arm.trace = Trace.join([trace for trace, _ in traces])
            arm.values = readings(arm.trace)
            arm.seconds = sum(float(report["seconds"]["wall"]) for _, report in traces)
            arm.budget = {name: float(n or 0) for name, n in cost([report for _, report in traces]).items()}
    return arm


def _done(folder: Path, name: str) -> list[tuple[Any, dict[str, Any]]]:
    """The traces and reports of finished jobs, contiguous from the first subject on."""
    from cls_sim.storage.trace import Trace

    found: list[tuple[Any, dict[str, Any]]] = []
    first = 0
    while (path := folder / "jobs" / f"{name}-{first:06d}.json").is_file():
        report = read(path)
        if not isinstance(report.get("budget"), dict) or not isinstance(report.get("seconds"), dict):
            raise ConfigError(str(path), "is damaged", "resume that run, or leave its folder out")
        trace = Trace.read(folder / "trace" / f"{path.stem}.jsonl")
        if not trace.subjects:
            break
        found.append((trace, report))
        first += trace.subjects
    return found


def _classes(part: Mapping[str, Any]) -> str:
    """The class of a part, with the parts inside it in parentheses."""
    inside = [_classes(value) for value in part.values() if isinstance(value, dict) and "_target_" in value]
    name = str(part.get("_target_", "")).rsplit(".", 1)[-1]
    return f"{name}({', '.join(inside)})" if inside else name


def _published(cfg: Mapping[str, Any], scenario: Any) -> dict[str, Published]:
    """The published number of each arm: the claims of the kind `published` for this scenario, at any size."""
    found = {}
    for claim in (cfg.get("claims") or {}).values():
        if claim.get("kind") != "published" or claim.get("reading", "accuracy") != "accuracy":
            continue
        if claim.get("scenario", scenario) == scenario:
            sem = None if claim.get("sem") is None else float(claim["sem"])
            found[claim["arm"]] = Published(
                float(claim["value"]), sem, str(claim.get("source") or ""), float(claim.get("within", 1.5))
            )
    return found
