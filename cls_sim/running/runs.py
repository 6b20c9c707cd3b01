"""A life in a notebook, and a whole experiment: its jobs, its summary, its figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim import __version__, claims, sinks, statistics
from cls_sim.config import configs
from cls_sim.config.configs import Experiment
from cls_sim.core.clock import Moment
from cls_sim.core.errors import Diverged, Refused
from cls_sim.core.part import Part
from cls_sim.core.signals import Ear, Interrupted, heeded
from cls_sim.life import Life
from cls_sim.running import engines
from cls_sim.running.job import Job, jobs
from cls_sim.running.jobs import fingerprint, live
from cls_sim.running.kept import made, save_every
from cls_sim.running.vitals import Vitals
from cls_sim.sinks.mirror import show
from cls_sim.storage import folder as folders
from cls_sim.storage.derived import readings
from cls_sim.storage.disk import read, write
from cls_sim.storage.folder import config_hash
from cls_sim.storage.trace import Trace

COSTS = ("cls_sim.Dose", "cls_sim.Passes", "cls_sim.ExtraBytes")

__all__ = ["Job", "draw", "fingerprint", "jobs", "live", "perform", "readings", "run", "summarise", "traces"]


def run(life: Life, days: float | None = None, *, trace: Trace | None = None, progress: bool = True) -> Trace:
    """Live `days` more from now (None: until the world ends) and return what the probes saw.

    Can be interrupted and called again: Ctrl-C waits until the tick and its exams are over, so that the life goes on
    where it was (a second one does not wait); `life.clock.day` tells how old it is.  With the `trace` of an earlier
    run, its row of life.end gives way: the life has gone on.  Raises Refused where the world has not so many days
    left, Diverged as soon as a number of the cortex is none any more.

    >>> from cls_sim.config.configs import build
    >>> trace = run(build("experiment=digits", "subjects=2", "size=small"), days=1)
    >>> trace.last("accuracy").shape
    (2, 5)
    """
    trace, vitals, everybody = Trace() if trace is None else trace, Vitals(life), np.ones(life.spec.subjects, bool)
    life.horizon = life.ahead(days)
    if trace.rows and trace.rows[-1]["moment"] == "life.end":
        trace.cut(len(trace) - 1)

    def look(moment: Moment) -> None:
        readings = life.measure(moment)
        if readings:
            trace.append(moment, life.clock, {name: value.cpu().numpy() for name, value in readings.items()})

    bar = sinks.progress(life, "life") if progress else None
    try:
        with heeded("SIGINT", leaves=False) as ear, vitals:
            if life.clock.tick == 0:
                look(Moment("life.begin", everybody))
            while not life.over:
                ear.check()
                moments = life.step()
                vitals.pulse()
                for moment in moments:
                    look(moment)
                if bar:
                    bar.update(life.clock)
            look(Moment("life.end", everybody))
    finally:
        life.horizon = life.world.length
        if bar:
            bar.close()
    return trace


# -- a whole experiment -------------------------------------------------------------------------------------


def perform(experiment: Experiment, *, quiet: bool = False) -> tuple[Path, dict[str, Any]]:
    """Run an experiment's arms, and write its directory; returns it and the summary.

    Asked to stop by a signal, it saves and raises Interrupted; `resume=` goes on from there.
    """
    everything = [job for wave in jobs(experiment) for job in wave]
    save_every()
    protocols: dict[str, list[str]] = {}
    for job in everything:  # whatever is contradictory is refused before anything is written
        if job.first == 0:
            _refused(job, protocols)
    with heeded() as ear, folders.opened(experiment) as folder:
        try:
            if not (folder / "protocol.json").is_file():
                write(folder / "protocol.json", protocols)
            if not quiet:
                sinks.print_protocol(protocols)
            _spread(everything, folder, experiment.cfg, ear, watched=not quiet)
            summary = summarise(experiment, folder)
            write(folder / "summary.json", summary)
            draw(experiment, folder, ear)
            ear.check()
            show(experiment.cfg["wandb"], folder, summary)
        except Interrupted as stop:
            raise Interrupted(stop.name, str(folder)) from None
    return folder, summary


def _refused(job: Job, protocols: dict[str, list[str]]) -> None:
    """Make a job's life for one subject, for the sake of what is refused then, and note its protocol in words."""
    cfg, seed = job.arm.cfg, job.arm.cfg["seed"]
    if job.origin is None:
        life = configs.make_life(cfg, 1, seed)
        life.until(cfg["days"])
        protocols[job.arm.name] = getattr(life.world, "describe", life.world.__repr__)().splitlines()
        return
    try:
        made(replace(job, subjects=1)).until(cfg["days"])
        parts = {room: configs.make(room, cfg[room], wrapping=True) for room in configs.ROOMS}
        own = {room: cfg[room] for room, part in parts.items() if isinstance(part, Part)}  # a wrap needs a past
        configs.make_life(job.origin.cfg | own, 1, seed)
    except Refused as refused:
        raise refused.under(f"arm.{job.arm.name}.do") from None


def _spread(everything: list[Job], folder: Path, cfg: Mapping[str, Any], ear: Ear, watched: bool) -> None:
    """Live all jobs, here or in other processes.  Where one fails, those that do not need it are lived all the same."""
    if cfg["workers"] > 1 or cfg["engine"] != "local":
        with ear.at_once():  # the engine passes it on
            engines.engine(cfg).spread(everything, folder)
        return
    lost: set[str] = set()
    first: Diverged | None = None
    for job in everything:
        ear.check()
        if job.origin is not None and job.of(job.origin.name) in lost:
            lost.add(job.name)
            continue
        try:
            live(job, folder, watched)
        except Diverged as diverged:
            lost.add(job.name)
            first = first or diverged
    if first is not None:
        raise first


# -- what it came to ----------------------------------------------------------------------------------------


def traces(experiment: Experiment, folder: Path) -> dict[str, Trace]:
    """The arms' traces, chunks joined along the subjects."""
    found: dict[str, list[Trace]] = {name: [] for name in experiment.arms}
    for wave in jobs(experiment):
        for job in wave:
            found[job.arm.name].append(Trace.read(folder / "trace" / f"{job.name}.jsonl"))
    return {name: Trace.join(parts) for name, parts in found.items()}


def summarise(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """summary.json: every arm's readings, paired differences with the first arm, and the claims."""
    lived = traces(experiment, folder)
    arms: dict[str, Any] = {}
    learnt: dict[str, Any] = {}
    main = next((n for n in ("accuracy", "r2") if all(n in t.names() for t in lived.values())), None)
    for name, trace in lived.items():
        reports = [read(folder / "jobs" / f"{job.name}.json") for job in _jobs_of(experiment, name)]
        found = {key: _estimate(values) for key, values in readings(trace).items()}
        seconds = {key: sum(r["seconds"][key] for r in reports) for key in ("wall", "cpu")}
        told = {"seconds": seconds["wall"], "cpu_seconds": seconds["cpu"]}
        learnt[name] = [report.get("learnt") for report in reports]
        arms[name] = {"readings": found, "main": main, "budget": _cost(reports), **told}
    first, *others = lived
    paired = []
    for other in others:
        if main is not None:
            e = statistics.paired(readings(lived[first])[main], readings(lived[other])[main])
            paired.append({"reading": main, "a": first, "b": other, **_numbers(e), "p": e.p})
    cfg, values = experiment.cfg, {name: readings(trace) for name, trace in lived.items()}
    origins = {name: arm.origin for name, arm in experiment.arms.items()}
    same = identical(lived, learnt, origins, _costs(experiment))
    return {
        "schema": 1,
        "experiment": experiment.name,
        "title": cfg["title"],
        "size": cfg["size"],
        "arms": arms,
        "paired": paired,
        "identical": same,
        "claims": claims.judge(cfg["claims"] or {}, lived, values, cfg, same),
        "version": __version__,
        "seed": cfg["seed"],
        "config_sha256": config_hash(experiment),
    }


def identical(
    lived: Mapping[str, Trace],
    learnt: Mapping[str, Any],
    origins: Mapping[str, str | None],
    costs: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Arms whose lives are bit-equal in all subjects, in what was learnt at the end and in every reading but `costs`.

    Each is beside its origin where that is one of them, else beside the first of them.
    """
    groups: dict[Any, list[str]] = {}
    for name, trace in lived.items():
        if len(lived) > 1 and None not in learnt[name]:
            groups.setdefault((trace.digest(costs), *learnt[name]), []).append(name)
    found = []
    for first, *others in groups.values():
        for name in others:
            than = origins[name] if origins[name] in (first, *others) else first
            found.append({"arm": name, "than": than, "subjects": lived[name].subjects})
    return found


def _costs(experiment: Experiment) -> set[str]:
    """The readings that count what a life costs, which differ where a step at rate 0 is a step without rows."""
    probes = {name: cfg for arm in experiment.arms.values() for name, cfg in (arm.cfg["probes"] or {}).items() if cfg}
    return {name for name, cfg in probes.items() if cfg["_target_"] in COSTS}


def _jobs_of(experiment: Experiment, arm: str) -> list[Job]:
    return [job for wave in jobs(experiment) for job in wave if job.arm.name == arm]


def _numbers(e: statistics.Estimate) -> dict[str, Any]:
    return {"mean": e.mean, "sem": e.sem, "ci95": [e.low, e.high], "n": e.n}


def _estimate(values: np.ndarray) -> dict[str, Any]:
    return _numbers(statistics.estimate(values)) | {"per_subject": values}


def _cost(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Chunks put together: the mean over subjects of each count."""
    cost: dict[str, Any] = {}
    for key, value in reports[0]["budget"].items():
        cost[key] = (
            float(np.mean(np.concatenate([r["budget"][key] for r in reports]))) if isinstance(value, list) else value
        )
    return cost


def draw(experiment: Experiment, folder: Path, ear: Ear | None = None) -> list[Path]:
    """The figures that the experiment asks for: PNG, PDF and their data."""
    from cls_sim import figures

    lived = traces(experiment, folder)
    values = {name: readings(trace) for name, trace in lived.items()}
    made = []
    for name, given in (experiment.cfg["figures"] or {}).items():
        if ear:
            ear.check()
        wish = dict(given)
        if wish.pop("scenario", experiment.cfg.get("scenario")) != experiment.cfg.get("scenario"):
            continue
        figure, data = figures.draw(name, wish, lived, values)
        made.append(figures.save(figure, data, folder / "figures" / name))
    return made
