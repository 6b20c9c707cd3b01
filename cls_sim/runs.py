"""Which arms, which subjects, in which order, in which process; and the loop around a life."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cls_sim import __version__, checkpoint, claims, configs, engines, sinks, statistics
from cls_sim.clock import Moment
from cls_sim.configs import Arm, Experiment
from cls_sim.errors import Broken, Refused
from cls_sim.life import Life
from cls_sim.trace import Trace

SAVE_EVERY = 60.0  # seconds between checkpoints in mid-life


def run(life: Life, days: float | None = None, *, trace: Trace | None = None, progress: bool = True) -> Trace:
    """Live on until `days` of age (None: until the world ends) and return what the probes saw.

    Can be interrupted and called again: the life goes on where it was.

    >>> from cls_sim.configs import build
    >>> trace = run(build("experiment=digits", "subjects=2", "size=small"), days=1)
    >>> trace.last("accuracy").shape
    (2, 5)
    """
    trace = Trace() if trace is None else trace
    bar = sinks.progress(life, days, "life") if progress else None
    try:
        for moment in life.live(days):
            _witness(life, moment, trace)
            if bar:
                bar.update(life.clock)
    finally:
        if bar:
            bar.close()
    return trace


def _witness(life: Life, moment: Moment, trace: Trace) -> None:
    readings = life.measure(moment)
    if readings:
        trace.append(moment, life.clock, {name: value.cpu().numpy() for name, value in readings.items()})


# -- one job: an arm's life of one chunk of the cohort ------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One arm's life for a chunk of the subjects: [first, first + subjects)."""

    arm: Arm
    first: int
    subjects: int
    origin: Arm | None = None
    forks: tuple[tuple[str, float | None], ...] = ()  # (arm, age in days at which it leaves; None: at the end)

    @property
    def name(self) -> str:
        return f"{self.arm.name}-{self.first:06d}"

    def of(self, arm: str) -> str:
        return f"{arm}-{self.first:06d}"


def jobs(experiment: Experiment) -> list[list[Job]]:
    """The jobs of an experiment in waves: a wave needs only what earlier waves left behind.

    Chunks are cut by `chunk`, never by the number of workers, so results do not depend on it.
    """
    total = experiment.cfg["subjects"]
    size = experiment.cfg["chunk"] or total
    waves: list[list[Job]] = []
    depth: dict[str, int] = {}
    for arm in experiment.arms.values():
        depth[arm.name] = 0 if arm.origin is None else depth[arm.origin] + 1
        forks = tuple((other.name, other.at) for other in experiment.arms.values() if other.origin == arm.name)
        origin = experiment.arms[arm.origin] if arm.origin else None
        while len(waves) <= depth[arm.name]:
            waves.append([])
        for first in range(0, total, size):
            waves[depth[arm.name]].append(Job(arm, first, min(size, total - first), origin, forks))
    return waves


def begin(job: Job, folder: Path) -> tuple[Life, Trace]:
    """A job's life and trace, as it is born, as it leaves another life, or as it was last saved."""
    seed = job.arm.cfg["seed"] + job.first
    path = folder / "trace" / f"{job.name}.jsonl"
    if job.origin is None:
        life, rows = configs.make_life(job.arm.cfg, job.subjects, seed), []
    else:
        life, rows = _leave(job, job.origin, folder, seed)
    saved = folder / "checkpoints" / job.name
    if saved.is_dir() and path.is_file():
        tree, meta = checkpoint.load(saved)
        trace = Trace(path)
        trace.cut(meta["rows"])
        life.load(tree)
        return life, trace
    path.unlink(missing_ok=True)
    trace = Trace(path)
    trace.extend(rows)
    return life, trace


def _leave(job: Job, origin: Arm, folder: Path, seed: int) -> tuple[Life, list[dict]]:
    """Another future of a past that was lived by the arm `origin`."""
    tree, meta = checkpoint.load(folder / "checkpoints" / job.of(origin.name) / f"fork-{job.arm.name}")
    cfg, old = job.arm.cfg, origin.cfg
    keep = job.arm.keep or configs.ROOMS
    life = configs.make_life(cfg | {room: old[room] for room in keep}, job.subjects, seed)
    if job.arm.keep:
        for room in keep:
            getattr(life, room).load(tree.get(room, {}))
    else:
        life.load(tree)
    changes = {room: configs.make(room, cfg[room], wrapping=True) for room in keep if cfg[room] != old[room]}
    past = Trace.read(folder / "trace" / f"{job.of(origin.name)}.jsonl")
    return life.twin(**changes), [] if job.arm.keep else past.rows[: meta["rows"]]


def live(job: Job, folder: Path, show: bool = False) -> None:
    """Live a job's life to its end: trace, checkpoints, forks for other arms, and its report when done."""
    torch.set_num_threads(1)
    report = folder / "jobs" / f"{job.name}.json"
    if report.is_file():
        return
    started, cpu = time.monotonic(), time.process_time()
    life, trace = begin(job, folder)
    days = job.arm.cfg["days"]
    life.horizon = life.until(days)
    here = folder / "checkpoints" / job.name
    everybody = np.ones(job.subjects, bool)
    forks = {name: at for name, at in job.forks if not (here / f"fork-{name}").is_dir()}

    def fork(due: Callable[[float | None], bool]) -> None:
        for name in [name for name, at in forks.items() if due(at)]:
            checkpoint.save(here / f"fork-{name}", life.state(), {"rows": len(trace.rows)})
            del forks[name]

    def save() -> None:
        trace.sync()
        checkpoint.save(here, life.state(), {"rows": len(trace.rows)})

    if life.clock.tick == 0 and not trace.rows:
        _witness(life, Moment("life.begin", everybody), trace)
    bar = sinks.progress(life, days, job.arm.name) if show else None
    saved = time.monotonic()
    try:
        while not life.over:
            for moment in life.step():
                _witness(life, moment, trace)
            if forks and not life.clock.asleep.any():
                age = float(life.clock.day.min())
                fork(lambda at, age=age: at is not None and age >= at)
            if bar:
                bar.update(life.clock)
            if time.monotonic() - saved > SAVE_EVERY:
                save()
                saved = time.monotonic()
    finally:
        if bar:
            bar.close()
    _witness(life, Moment("life.end", everybody), trace)
    _finite(job, trace)
    fork(lambda at: True)
    trace.close()
    checkpoint.save(here, life.state(), {"rows": len(trace.rows)})
    seconds = {"wall": time.monotonic() - started, "cpu": time.process_time() - cpu}
    write(report, {"budget": budget(life), "seconds": seconds, "fingerprint": fingerprint(life.state())})


def _finite(job: Job, trace: Trace) -> None:
    """A life whose main number is not finite has diverged; say whose."""
    for name in trace.names():
        values = np.atleast_2d(trace.last(name))
        bad = np.isinf(values).reshape(len(values), -1).any(1)
        if bad.any():
            raise Refused(
                f"arm.{job.arm.name}", f"{name} of subject {int(np.flatnonzero(bad)[0])} diverged", "lower the rate"
            )


def budget(life: Life) -> dict[str, Any]:
    """What each subject cost: passes, dose, bytes stored and parameters; and whether the context was told."""
    totals = {name: count.tolist() for name, count in life.ledger.totals().items()}
    parameters = sum(int(np.prod(shape[1:])) for shape in life.spec.weights.values())
    stored = life.hippocampus.stored_bytes().cpu().tolist()
    return totals | {"stored_bytes": stored, "parameters": parameters, "context_told": life.spec.context_told}


def fingerprint(tree: Mapping[str, Any]) -> str:
    """The sha256 of a whole state tree."""
    digest = hashlib.sha256()

    def walk(name: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key in sorted(node):
                walk(f"{name}.{key}", node[key])
        else:
            array = np.ascontiguousarray(node.cpu().numpy() if isinstance(node, torch.Tensor) else node)
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())

    walk("", tree)
    return digest.hexdigest()


# -- a whole experiment -------------------------------------------------------------------------------------


def perform(experiment: Experiment, *, quiet: bool = False) -> tuple[Path, dict[str, Any]]:
    """Run an experiment's arms, and write its directory; returns it and the summary."""
    cfg = experiment.cfg
    for wave in jobs(experiment):  # whatever is contradictory is refused before anything is written
        for job in wave:
            if job.first == 0 and job.origin is None:
                configs.make_life(job.arm.cfg, 1, job.arm.cfg["seed"]).until(job.arm.cfg["days"])
    folder = _open(experiment)
    show = not quiet
    everything = [job for wave in jobs(experiment) for job in wave]
    if cfg["workers"] > 1 or cfg["engine"] != "local":
        engines.engine(cfg).spread(everything, folder)
    else:
        for job in everything:
            live(job, folder, show)
    summary = summarise(experiment, folder)
    write(folder / "summary.json", summary)
    draw(experiment, folder)
    return folder, summary


def _open(experiment: Experiment) -> Path:
    """The run directory: a new one, or the one to go on with."""
    cfg = experiment.cfg
    if cfg["resume"]:
        return _reopen(experiment, Path(cfg["resume"]))
    if cfg["out"]:
        folder = Path(cfg["out"])
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refused("out", f"{folder} exists and is not empty", "name a new folder, or resume it with resume=")
    else:
        stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid():x}"
        folder = Path("outputs") / experiment.name / stamp
    try:
        for name in ("trace", "checkpoints", "jobs", "figures"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        arms = {name: arm.cfg for name, arm in experiment.arms.items()}
        (folder / "config.yaml").write_text(
            yaml.safe_dump({"overrides": experiment.overrides, "arms": arms}, sort_keys=False)
        )
        write(folder / "environment.json", environment(cfg["device"]))
        write(folder / "run.json", {"overrides": experiment.overrides, "config_sha256": config_hash(experiment)})
    except OSError as error:
        raise Broken(str(folder), f"cannot be written ({error.strerror})", "name another folder with out=") from None
    return folder


def _reopen(experiment: Experiment, folder: Path) -> Path:
    record = folder / "run.json"
    if not record.is_file():
        raise Refused("resume", f"{folder} is no run directory", "name the folder printed as `run:`")
    if json.loads(record.read_text())["config_sha256"] != config_hash(experiment):
        raise Refused("resume", "the configuration has changed since", f"give only {', '.join(configs.FREE)}")
    return folder


def resumed(overrides: list[str]) -> list[str]:
    """The overrides of the run named by `resume=`, and those that may differ."""
    named = [o.split("=", 1)[1] for o in overrides if o.startswith("resume=")]
    if not named or named[-1] in ("", "null"):
        return overrides
    record = Path(named[-1]) / "run.json"
    if not record.is_file():
        raise Refused("resume", f"{named[-1]} is no run directory", "name the folder printed as `run:`")
    odd = sorted({o.split("=")[0] for o in overrides} - {*configs.FREE, "resume"})
    if odd:
        raise Refused(odd[0], "cannot change when a run is resumed", f"give only {', '.join(configs.FREE)}")
    old = [o for o in json.loads(record.read_text())["overrides"] if not o.startswith("out=")]
    return [*old, *overrides]


def config_hash(experiment: Experiment) -> str:
    """The sha256 of all that decides the results of a run."""
    skip = {*configs.FREE, "out", "resume"}
    plain = {n: {k: v for k, v in a.cfg.items() if k not in skip} for n, a in experiment.arms.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def environment(device: str) -> dict[str, Any]:
    """What the bits of a run depend on besides its configuration."""
    import matplotlib

    return {
        "cls_sim": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "matplotlib": matplotlib.__version__,
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "device": device,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def write(path: Path, content: Any) -> None:
    """Write strict JSON aside, then rename: a reader sees the old file or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise Broken(str(path), f"cannot be written ({error.strerror})", "make room, then resume the run") from None


def _plain(value: Any) -> Any:
    """Numbers as JSON knows them: not-a-number becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


# -- what it came to ----------------------------------------------------------------------------------------


def traces(experiment: Experiment, folder: Path) -> dict[str, Trace]:
    """The arms' traces, chunks joined along the subjects."""
    found: dict[str, list[Trace]] = {name: [] for name in experiment.arms}
    for wave in jobs(experiment):
        for job in wave:
            found[job.arm.name].append(Trace.read(folder / "trace" / f"{job.name}.jsonl"))
    return {name: Trace.join(parts) for name, parts in found.items()}


def readings(trace: Trace) -> dict[str, np.ndarray]:
    """The last reading of every probe [s], contexts averaged, and what follows from a reading by context.

    From a matrix [s, k] taken at context ends: NAME.forgetting, NAME.backward, NAME.forward.
    """
    found: dict[str, np.ndarray] = {}
    for name in trace.names():
        last = trace.last(name)
        found[name] = last if last.ndim == 1 else np.nanmean(last, 1)
        if last.ndim == 2:
            found |= {f"{name}.{k}": v for k, v in statistics.transfer(trace.matrix(name)).items() if k != "final"}
    return found


def summarise(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """summary.json: every arm's readings, paired differences with the first arm, and the claims."""
    lived = traces(experiment, folder)
    arms: dict[str, Any] = {}
    main = next((n for n in ("accuracy", "r2") if all(n in t.names() for t in lived.values())), None)
    for name, trace in lived.items():
        reports = [json.loads((folder / "jobs" / f"{job.name}.json").read_text()) for job in _jobs_of(experiment, name)]
        found = {key: _estimate(values) for key, values in readings(trace).items()}
        seconds = {key: sum(r["seconds"][key] for r in reports) for key in ("wall", "cpu")}
        arms[name] = {"readings": found, "main": main, "budget": _cost(reports), "seconds": seconds["wall"]}
    first, *others = lived
    paired = []
    for other in others if main else []:
        a, b = readings(lived[first])[main], readings(lived[other])[main]
        e = statistics.paired(a, b)
        paired.append({"reading": main, "a": first, "b": other, **_numbers(e), "p": e.p})
    cfg = experiment.cfg
    return {
        "schema": 1,
        "experiment": experiment.name,
        "title": cfg["title"],
        "size": cfg["size"],
        "arms": arms,
        "paired": paired,
        "claims": claims.judge(cfg["claims"] or {}, lived, {n: readings(t) for n, t in lived.items()}, cfg),
        "version": __version__,
        "seed": cfg["seed"],
        "config_sha256": config_hash(experiment),
    }


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


def draw(experiment: Experiment, folder: Path) -> list[Path]:
    """The figures that the experiment asks for: PNG, PDF and their data."""
    from cls_sim import figures

    lived = traces(experiment, folder)
    values = {name: readings(trace) for name, trace in lived.items()}
    made = []
    for name, given in (experiment.cfg["figures"] or {}).items():
        wish = dict(given)
        if wish.pop("scenario", experiment.cfg.get("scenario")) != experiment.cfg.get("scenario"):
            continue
        figure, data = figures.draw(name, wish, lived, values)
        made.append(figures.save(figure, data, folder / "figures" / name))
    return made
