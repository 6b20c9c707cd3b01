"""The data sent to W&B: curves and results of every job, then tables, figures and files of the whole run.

An error in this module drops the sink; it never affects the run.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cls_sim import PART_KINDS, __version__, sinks, statistics
from cls_sim.config.composer import chosen
from cls_sim.config.reader import page
from cls_sim.config.validation import ENVIRONMENT
from cls_sim.core.errors import refuse_if
from cls_sim.storage import summary as summaries
from cls_sim.storage.disk import plain_below, read, text
from cls_sim.storage.readings import readings
from cls_sim.storage.summary import Summary
from cls_sim.storage.trace import Trace

TOP = ("subjects", "seed", "days", "size", "chunk", "device", "scenario", "label_noise", "probes")
UNNAMED = ("out", "resume", "wandb", "debug", "workers", "engine", "experiment")  # overrides left out of names
LONGEST = 120  # characters of a name
SKIPPED = ("checkpoints", "wandb")  # folders that are not part of the artifact


class WandbRun:
    """One job at W&B while it runs: `with WandbRun(…) as run`, then `run.moment(row, life)` for every row.

    At exit it reports how the job ended.  With mode "off" it does nothing.
    """

    def __init__(self, mode: str, folder: Path, job: str, cfg: Mapping[str, Any], trace: Trace, **how: Any):
        self.sink = None if mode == "off" else sinks.Fenced(Told(mode, folder, job, cfg, trace, **how))

    def __enter__(self) -> WandbRun:
        if self.sink:
            self.sink.start({})
        return self

    def moment(self, row: Mapping[str, Any], life: Any) -> None:
        """Send a row that was added to the trace, with the cost of the life so far."""
        if self.sink:
            self.sink.moment({**row, "life": life})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.sink:
            outcome = "finished" if kind is None else "failed" if issubclass(kind, Exception) else "interrupted"
            self.sink.end({"outcome": outcome})


class Told(sinks.Sink):
    """The W&B run of a job, described by its run directory."""

    def __init__(self, mode: str, folder: Path, job: str, cfg: Mapping[str, Any], trace: Trace, **how: Any):
        self.folder, self.job, self.cfg, self.trace = folder, job, cfg, trace
        self.wandb = sinks.Wandb(mode, folder, job=job, owns=owner(folder) == job and not how.get("fresh"), **how)

    def start(self, info: Mapping[str, Any]) -> None:
        self.wandb.start({**about(self.folder, self.job, self.cfg), "rows": self.trace.rows})

    def moment(self, row: Mapping[str, Any]) -> None:
        self.wandb.moment({**row, "costs": sinks.costs(row["life"])})

    def end(self, summary: Mapping[str, Any]) -> None:
        came_to: dict[str, Any] = {}
        if summary["outcome"] == "finished":
            with contextlib.suppress(OSError, ValueError, KeyError):
                came_to = final(self.folder, self.job, self.trace)
        self.wandb.end({**summary, **came_to})


def show(mode: str, folder: Path, summary: Summary, **how: Any) -> None:
    """Send the run as a whole: its claims and tables, its figures, and its files as an artifact."""
    if mode == "off":
        return
    owns = owner(folder) == "summary" and not how.get("fresh")
    sink = sinks.Fenced(sinks.Wandb(mode, folder, job="summary", owns=owns, **how))
    sink.start({**about(folder, "summary", {"size": summary.size, "seed": summary.seed}), "job_type": "summary"})
    sink.end(
        {
            "summary": results(summary),
            "tables": tables(summary),
            "images": {f"figures/{f.stem}": str(f) for f in sorted((folder.absolute() / "figures").glob("*.png"))},
            "artifact": artifact(folder, summary),
        }
    )


def owner(folder: Path) -> str:
    """The job that is the run which the environment names (WANDB_RUN_ID): the only job, else the summary of all."""
    arms = read(folder / "run.json").get("arms", {})
    if len(arms) != 1:
        return "summary"
    ((name, cfg),) = arms.items()
    return f"{name}-000000" if (cfg.get("chunk") or cfg.get("subjects")) == cfg.get("subjects") else "summary"


# -- the data -----------------------------------------------------------------------------------------------


def about(folder: Path, job: str, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a job: group (the experiment), job type (the arm), name (the overrides), configuration."""
    record = read(folder / "run.json")
    overrides = [str(override) for override in record.get("overrides", [])]
    arm, _, first = job.rpartition("-")
    config = {key: cfg[key] for key in (*TOP, *PART_KINDS) if key in cfg}
    config |= {"arm": arm or job, "run": folder.absolute().name, "cls_sim": __version__}
    name = name_of(overrides) or arm or job
    if cfg.get("chunk") and first.isdigit():
        name += f" from {int(first)}"
    return {
        "group": chosen(overrides),
        "job_type": arm,
        "name": name,
        "config": without_environment(config | {"config_sha256": record.get("config_sha256")}),
    }


def name_of(overrides: list[str]) -> str:
    """The name of a run: its overrides in one line.

    >>> name_of(["experiment=digits", "seed=7", "wandb=online", "size=small"])
    'seed=7,size=small'
    """
    named = ",".join(o for o in overrides if o.lstrip("+").split("=")[0] not in UNNAMED)
    return named if len(named) <= LONGEST else f"{named[: LONGEST - 1]}…"


def without_environment(tree: Any) -> Any:
    """A configuration in which values of environment variables are replaced by their names."""
    if isinstance(tree, Mapping):
        return {str(key): without_environment(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_environment(value) for value in tree]
    if isinstance(tree, str):
        for name in ENVIRONMENT:
            if value := os.environ.get(name):
                instead = f"${{oc.env:{name}}}"
                tree = instead if tree == value else tree.replace(value, instead) if len(value) > 5 else tree
    return tree


def final(folder: Path, job: str, trace: Trace) -> dict[str, Any]:
    """The results of a finished job: last readings with intervals, costs, and one table row per subject."""
    last = readings(trace)
    told: dict[str, Any] = {}
    for name, values in last.items():
        e = statistics.estimate(values)
        told |= {f"final/{name}": e.mean, f"final/{name}.low": e.low, f"final/{name}.high": e.high}
    report = read(folder / "jobs" / f"{job}.json")
    for name, value in report["budget"].items():
        told[f"budget/{name}"] = float(np.mean(value)) if isinstance(value, list) else value
    told |= {f"seconds/{name}": value for name, value in report["seconds"].items()}
    first = int(job.rpartition("-")[2])
    rows = [[first + i, *(_number(values[i]) for values in last.values())] for i in range(trace.subjects)]
    subjects = {"columns": ["subject", *last], "data": rows}
    numbers = {name: value for name, value in told.items() if value == value}
    return {"summary": numbers, "tables": {"subjects": subjects}}


def results(summary: Summary) -> dict[str, Any]:
    """The verdicts on the claims, and the mean of every reading of every arm as ARM/READING."""
    means = {f"{arm}/{name}": e.mean for arm, told in summary.arms.items() for name, e in told.readings.items()}
    found = {name: mean for name, mean in means.items() if mean == mean}
    return found | {f"claim/{claim.name}": claim.passed for claim in summary.claims}


def tables(summary: Summary) -> dict[str, Any]:
    """The tables of summary.json: arms, paired differences, claims."""

    arms = [
        [name, reading, *map(_number, (e.mean, e.low, e.high)), e.n]
        for name, arm in summary.arms.items()
        for reading, e in arm.readings.items()
    ]
    paired = [[e.b, e.a, e.reading, *map(_number, (e.mean, e.low, e.high, e.p))] for e in summary.paired]
    told = ("name", "statement", "value", "expected", "tolerance", "passed", "source")
    claims = [[_text(claim.told.get(key)) for key in told] for claim in summary.claims]
    found = {
        "arms": {"columns": ["arm", "reading", "mean", "low", "high", "n"], "data": arms},
        "paired": {"columns": ["arm", "than", "reading", "difference", "low", "high", "p"], "data": paired},
        "claims": {"columns": ["claim", *told[1:]], "data": claims},
    }
    return {f"tables/{name}": table for name, table in found.items() if table["data"]}


def artifact(folder: Path, summary: Summary) -> dict[str, Any]:
    """The files of the run directory without checkpoints, small files first."""
    plain_below(folder)
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    names = {file.relative_to(folder).as_posix(): file for file in files}
    mine = {name: file for name, file in names.items() if name.split("/")[0] not in SKIPPED and _plain(file)}
    kept = sorted((file.stat().st_size, name) for name, file in mine.items())
    return {
        "name": f"{re.sub('[^A-Za-z0-9_.-]', '-', summary.experiment)[:100]}-{summary.config_sha256[:12]}",
        "type": "run",
        "root": str(folder.absolute()),
        "files": [name for _, name in kept if name != "wandb.json"],
    }


def _plain(file: Path) -> bool:
    """Whether a file contains no values of environment variables."""
    if file.suffix not in (".json", ".yaml"):
        return True
    content = text(file)
    return without_environment(content) == content


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _text(value: Any) -> str | None:
    return None if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


# -- a finished run -----------------------------------------------------------------------------------------


def send(mode: str, folder: Path) -> list[str]:
    """Send a finished run to W&B: all rows of all jobs, then the run as a whole.  Returns the names of the jobs."""
    plain_below(folder)
    arms: Any = page(folder / "config.yaml")[0].get("arms")
    refuse_if(not isinstance(arms, dict), str(folder / "config.yaml"), "is damaged", f"resume={folder} writes it again")
    sent = []
    for path in sorted((folder / "trace").glob("*.jsonl")):
        arm = path.stem.rpartition("-")[0]
        if arm in arms and (folder / "jobs" / f"{path.stem}.json").is_file():
            with WandbRun(mode, folder, path.stem, arms[arm], Trace.read(path), fresh=True):
                sent.append(path.stem)
    show(mode, folder, summaries.read(folder), fresh=True)
    return [*sent, "summary"]
