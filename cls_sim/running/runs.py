"""A whole experiment: its jobs, its summary, its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim import __version__, claims, sinks, statistics
from cls_sim.config import experiments
from cls_sim.config.experiments import Experiment
from cls_sim.core.errors import ConfigError, Diverged, refuse_if
from cls_sim.core.part import Part
from cls_sim.core.signals import Interrupted, SignalHandler, handle_signals
from cls_sim.figures.numbers import entries
from cls_sim.life import Life
from cls_sim.running import engines
from cls_sim.running.checkpointed import begun, branched, save_every
from cls_sim.running.identical import identical
from cls_sim.running.job import Job, jobs
from cls_sim.running.jobs import cost, fingerprint, live
from cls_sim.running.precision import possible
from cls_sim.sinks.wandb_run import show
from cls_sim.storage import run_directory as folders
from cls_sim.storage.disk import read, synced, write
from cls_sim.storage.readings import readings
from cls_sim.storage.run_directory import config_hash
from cls_sim.storage.summary import Arm, Claim, Difference, Reading, Summary, claim_of
from cls_sim.storage.trace import Trace

__all__ = ["Job", "draw", "fingerprint", "jobs", "live", "perform", "readings", "summarise"]

WAITING = 16  # lives that are built before the first one runs; more would use too much memory and are built twice


@dataclass(frozen=True)
class Outcome:
    """The results of an experiment.

    jobs      the jobs of all arms
    traces    arm → Trace, chunks joined along the subjects
    readings  arm → name → [s], the last of each
    """

    experiment: Experiment
    folder: Path
    jobs: Sequence[Job]
    traces: Mapping[str, Trace]
    readings: Mapping[str, Mapping[str, np.ndarray]]
    summary: Summary | None = None


def perform(experiment: Experiment, *, quiet: bool = False) -> tuple[Path, dict[str, Any]]:
    """Run the arms of an experiment and write the run directory; returns its path and the content of summary.json.

    On a signal it saves a checkpoint and raises Interrupted; `resume=` continues from there.
    """
    done = performed(experiment, quiet=quiet)
    assert done.summary is not None
    return done.folder, done.summary.entries()


def performed(experiment: Experiment, *, quiet: bool = False) -> Outcome:
    """Run an experiment as `perform` does, and return all its results."""
    everything = jobs(checked(experiment))
    save_every()
    possible(experiment.cfg)
    protocols: dict[str, list[str]] = {}
    here = experiment.cfg["workers"] == 1 and experiment.cfg["engine"] == "local"
    newborn: dict[str, Life] = {}  # checked lives that have not started
    for job in everything:  # contradictory settings raise ConfigError before anything is written
        if job.first == 0:
            waits = here and len(newborn) < WAITING
            life = _checked(job if waits else replace(job, subjects=1), protocols)
            newborn |= {job.name: life} if waits else {}
    with handle_signals() as ear, folders.opened(experiment) as folder:
        try:
            if not (folder / "protocol.json").is_file():
                write(folder / "protocol.json", protocols)
            if not quiet:
                sinks.print_protocol(protocols)
            if here:
                lived = _live_here(everything, folder, ear, newborn, watched=not quiet)
            else:
                lived = {}
                with ear.at_once():  # the engine passes it on
                    engines.engine(experiment.cfg).spread(everything, folder)
            outcome = gathered(experiment, folder, everything, lived)
            summary = summarise(outcome)
            write(folder / "summary.json", summary.entries())
            for place in (folder / "jobs", folder):
                with suppress(OSError):  # not all systems can sync a folder
                    synced(place)
            draw(outcome, ear)
            ear.check()
            show(experiment.cfg["wandb"], folder, summary)
        except Interrupted as stop:
            raise Interrupted(stop.name, str(folder)) from None
    return replace(outcome, summary=summary)


def checked(experiment: Experiment) -> Experiment:
    """The experiment; raises ConfigError if a claim, its ablation or a figure names what does not exist."""
    from cls_sim import figures

    cfg = experiment.cfg
    claims.check(cfg["claims"] or {}, {**(cfg["arm"] or {}), **experiment.arms})
    claims.check_ablation(cfg["ablation"], cfg["claims"] or {})
    for name, figure_spec in (cfg["figures"] or {}).items():
        figures.kind_of(name, figure_spec)
    return experiment


def _checked(job: Job, protocols: dict[str, list[str]]) -> Life:
    """Build a job's life, so that invalid settings raise ConfigError, and note its protocol in words."""
    cfg = job.arm.cfg
    if job.origin is None:
        life = begun(job)
        life.until(cfg["days"])
        protocols[job.arm.name] = getattr(life.world, "describe", life.world.__repr__)().splitlines()
        return life
    try:
        life = begun(job)
        if life.budget is not None and "hippocampus" in job.arm.keep_parts:
            there = experiments.make_life(job.origin.cfg, 1, cfg["seed"]).spec.budget
            reason = f"leaves {life.spec.budget:,} bytes to the hippocampus, and {there:,} in {job.origin.name}"
            refuse_if(there != life.spec.budget, "budget", reason, "give both arms the same parts, or no budget")
        branched(job, life).until(cfg["days"])
        own = {  # parts that are not wraps must also fit together from birth, if one of them is new
            part_kind: cfg[part_kind]
            for part_kind in experiments.PART_KINDS
            if isinstance(experiments.make(part_kind, cfg[part_kind], wrapping=True), Part)
        }
        if any(job.origin.cfg[part_kind] != said for part_kind, said in own.items()):
            experiments.make_life(job.origin.cfg | own, 1, cfg["seed"])
        return life
    except ConfigError as refused:
        raise refused.under(f"arm.{job.arm.name}.overrides") from None


def _live_here(
    everything: Sequence[Job], folder: Path, ear: SignalHandler, newborn: dict[str, Life], watched: bool
) -> dict[str, Trace]:
    """Run all jobs in this process; returns their traces.  If one diverges, jobs that do not need it still run."""
    found: dict[str, Trace] = {}
    lost: set[str] = set()
    first: Diverged | None = None
    for job in everything:
        ear.check()
        if job.origin is not None and job.of(job.origin.name) in lost:
            lost.add(job.name)
            continue
        try:
            trace = live(job, folder, watched, newborn.pop(job.name, None), found)
            found |= {job.name: trace} if trace is not None else {}
        except Diverged as diverged:
            lost.add(job.name)
            first = first or diverged
    if first is not None:
        raise first
    return found


# -- results ------------------------------------------------------------------------------------------------


def gathered(
    experiment: Experiment, folder: Path, everything: Sequence[Job], lived: Mapping[str, Trace] | None = None
) -> Outcome:
    """The outcome of finished jobs.

    lived  job → its trace, if it is in memory; the others are read from disk
    """
    chunks: dict[str, list[Trace]] = {name: [] for name in experiment.arms}
    for job in everything:
        trace = (lived or {}).get(job.name)
        path = folder / "trace" / f"{job.name}.jsonl"
        chunks[job.arm.name].append(Trace.read(path) if trace is None else trace)
    traces = {name: Trace.join(parts) for name, parts in chunks.items()}
    return Outcome(experiment, folder, everything, traces, {name: readings(trace) for name, trace in traces.items()})


def summarise(outcome: Outcome) -> Summary:
    """Every arm's readings, paired differences with the first arm, and the claims."""
    traces, cfg = outcome.traces, outcome.experiment.cfg
    main = next((n for n in ("accuracy", "r2") if all(n in t.names() for t in traces.values())), None)
    arms: dict[str, Arm] = {}
    for name, values in outcome.readings.items():
        reports = _reports(outcome, name)
        found = {key: Reading(**entries(statistics.estimate(v)), per_subject=v) for key, v in values.items()}
        wall, cpu = (sum(report["seconds"][key] for report in reports) for key in ("wall", "cpu"))
        arms[name] = Arm(found, main, cost(reports), wall, cpu)
    first, *others = traces
    paired = []
    for other in others:
        if main is None:
            continue
        e = statistics.paired(outcome.readings[first][main], outcome.readings[other][main])
        paired.append(Difference(**entries(e), reading=main, a=first, b=other, p=e.p))
    same, verdicts = judged(outcome)
    return Summary(
        experiment=outcome.experiment.name,
        arms=arms,
        title=cfg["title"],
        size=cfg["size"],
        paired=tuple(paired),
        identical=tuple(same),
        claims=verdicts,
        version=__version__,
        seed=cfg["seed"],
        config_sha256=config_hash(outcome.experiment),
    )


def judged(outcome: Outcome) -> tuple[list[dict[str, Any]], tuple[Claim, ...]]:
    """The arms whose lives are identical (see `identical`), and the verdict on every claim."""
    traces, cfg = outcome.traces, outcome.experiment.cfg
    learnt = {name: [report.get("learnt") for report in _reports(outcome, name)] for name in traces}
    same = identical(outcome.experiment, traces, learnt)
    found = claims.judge(cfg["claims"] or {}, traces, outcome.readings, cfg, same)
    return same, tuple(claim_of(claim) for claim in found)


def _reports(outcome: Outcome, arm: str) -> list[dict[str, Any]]:
    return [read(outcome.folder / "jobs" / f"{job.name}.json") for job in outcome.jobs if job.arm.name == arm]


def draw(outcome: Outcome, ear: SignalHandler | None = None) -> list[Path]:
    """Draw and save the figures of the experiment: PNG, PDF and CSV; returns the paths of the PNG files."""
    from cls_sim import figures

    made = []
    for name, figure_spec in figure_specs(outcome.experiment).items():
        if ear:
            ear.check()
        figure, data = figures.draw(name, figure_spec, outcome.traces, outcome.readings)
        made.append(figures.save(figure, data, outcome.folder / "figures" / name))
    return made


def figure_specs(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The figures of an experiment in its scenario: name → kind and settings."""
    scenario = experiment.cfg.get("scenario")
    return {
        name: {key: value for key, value in figure_spec.items() if key != "scenario"}
        for name, figure_spec in (experiment.cfg["figures"] or {}).items()
        if figure_spec.get("scenario", scenario) == scenario
    }
