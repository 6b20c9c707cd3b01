"""A job, one arm's life of one chunk of the cohort: how it begins, how it is kept, how it goes on.

A trace is there once its life was saved at birth, so that a job that has begun always has a checkpoint to go on from.
A checkpoint says how many rows of the trace came before it, and which moments of its tick nobody has looked at yet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cls_sim import checkpoint, configs, sinks
from cls_sim.clock import Moment
from cls_sim.configs import Arm, Experiment
from cls_sim.errors import Broken, Refused, real, whole
from cls_sim.folder import claimed, read, say, write
from cls_sim.interrupts import Ear, Interrupted, heeded
from cls_sim.life import Life
from cls_sim.trace import Trace
from cls_sim.vitals import Vitals

SAVE_EVERY = 60.0  # seconds between checkpoints; where a night or a context ends, a twelfth of it
SHARE = 50  # there, saving takes at most a fiftieth of the time


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

    @property
    def seed(self) -> int:
        return self.arm.cfg["seed"] + self.first

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


def live(job: Job, folder: Path, show: bool = False) -> None:
    """Live a job's life to its end, from where it was last saved: trace, checkpoints, forks, and a report when done."""
    report = folder / "jobs" / f"{job.name}.json"
    if _reported(report) == job.arm.cfg["days"]:
        return
    with heeded() as ear, _one_thread(), claimed(folder / "jobs" / f".{job.name}.lock"):
        kept = Kept(job, folder, ear)
        kept.open()
        if report.is_file() and not kept.life.over:
            kept.reopen(report)
        bar = sinks.progress(kept.life, job.arm.cfg["days"], job.arm.name) if show else None
        try:
            kept.live(bar)
        except Interrupted:
            kept.save()
            raise
        finally:
            if bar:
                bar.close()
        done = {"days": job.arm.cfg["days"], "budget": budget(kept.life), "seconds": kept.seconds()}
        write(report, done | {"fingerprint": fingerprint(kept.life.state())})


def _reported(report: Path) -> Any:
    """The days of the life that was lived to its end, or a thing that no `days` equals."""
    with suppress(Refused):
        if report.is_file():
            return read(report).get("days", report)
    return report


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Kept:
    """A job's life, and what keeps it on the disk."""

    life: Life
    trace: Trace

    def __init__(self, job: Job, folder: Path, ear: Ear):
        self.job, self.folder, self.ear = job, folder, ear
        self.path = folder / "trace" / f"{job.name}.jsonl"
        self.here = folder / "checkpoints" / job.name
        self.unseen: list[str | Moment] = []  # moments of this tick that no probe has looked at yet
        self.left: str | None = None  # the hash of the past that another arm left to this life
        self.before = {"wall": 0.0, "cpu": 0.0}  # seconds lived by processes that are gone
        self.began = {"wall": time.monotonic(), "cpu": time.process_time()}
        self.every = _every()
        self.saved, self.cost = time.monotonic(), 0.0

    # -- beginning and going on -------------------------------------------------------------------------

    def open(self) -> None:
        """The life as it is born, as it leaves another life, or as it was last saved."""
        left = _seal(self._fork_of_origin())
        if self.path.is_file():
            tree, meta = _whole(self.here)
            if left is None or _told(self.here, meta, "left", str, None) == left:
                self._go_on(tree, meta)
                return
            self.path.unlink()  # the life that this one left was lived on: another past
            shutil.rmtree(self.here)
        self._be_born(left)

    def reopen(self, report: Path) -> None:
        """A life that had ended goes on: whoever left it at its end will leave it later."""
        for name, _ in self.job.forks:
            for path in checkpoint.found(self.here / f"fork-{name}"):
                if _tick(path) == self.life.clock.tick:
                    shutil.rmtree(path.parent)
        report.unlink()

    def _go_on(self, tree: dict[str, Any], meta: Mapping[str, Any]) -> None:
        rows = whole("rows", _told(self.here, meta, "rows", int, None), 0)
        self.life = _make(self.job)
        try:
            self.life.load(tree)
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            raise Refused(str(self.here), f"does not fit this life ({error})", "restore it from a copy") from error
        if self.life.clock.subjects != self.job.subjects:
            raise Refused(str(self.here), f"has {self.life.clock.subjects} subjects", "restore it from a copy")
        self.trace = Trace(self.path, rows=rows)
        self.trace.cut(rows)
        self.unseen = self._moments(_told(self.here, meta, "unseen", list, []))
        self.before |= _told(self.here, meta, "seconds", dict, {})
        self._grow_up()

    def _be_born(self, left: str | None) -> None:
        """Save the life at birth, then make its trace: a trace without a checkpoint is a loss, not a beginning."""
        past: list[dict] = []
        tree = None
        if self.job.origin is not None:
            tree, meta = _whole(self._fork_of_origin())
            if not self.job.arm.keep:
                path = self.folder / "trace" / f"{self.job.of(self.job.origin.name)}.jsonl"
                past = Trace.read(path, rows=_told(self.here, meta, "rows", int, 0)).rows
        self.life, self.left = _make(self.job, tree), left
        if any(_tick(path) > self.life.clock.tick for path in checkpoint.found(self.here)):
            raise Refused(str(self.path), "is gone", f"restore it, or remove {self.here} to live this life anew")
        everybody = np.ones(self.job.subjects, bool)
        self.unseen = [] if self.life.clock.tick else [Moment("life.begin", everybody)]
        self._grow_up()
        self.trace = Trace()
        self.trace.extend(past)
        self._save()
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        trace = Trace(aside)
        trace.extend(past)
        trace.close()
        os.replace(aside, self.path)
        self.trace = Trace(self.path)

    def _grow_up(self) -> None:
        """What the end of this life is, and who watches over it."""
        self.vitals = Vitals(self.life, self.job.arm.name)
        self.life.horizon = self.life.until(self.job.arm.cfg["days"])
        lived = int(self.life.clock.experience.max())
        if lived > self.life.horizon:
            remedy = f"give {lived / self.life.clock.per_day:g} or more"
            raise Refused("days", f"{self.job.arm.cfg['days']} is less than {self.job.name} has lived", remedy)

    def _fork_of_origin(self) -> Path | None: ...
