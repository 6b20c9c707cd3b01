"""A life on the disk: its trace and its checkpoints, and how it starts, is saved and resumes.

The trace file is created after the first checkpoint, so a started job always has a checkpoint to resume from.  A
checkpoint records the number of trace rows before it, and the moments of its tick that are not measured yet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cls_sim import sinks
from cls_sim.config import experiments
from cls_sim.core.clock import Moment
from cls_sim.core.errors import ConfigError, StorageError, real, whole
from cls_sim.core.part import State
from cls_sim.core.signals import SignalHandler
from cls_sim.life import Life
from cls_sim.running.finite import FiniteCheck
from cls_sim.running.kept import KeptAnswers
from cls_sim.sinks.wandb_run import WandbRun
from cls_sim.storage import checkpoint
from cls_sim.storage.disk import ANY, NotPlain, content
from cls_sim.storage.run_directory import say
from cls_sim.storage.trace import Trace, new_trace

if TYPE_CHECKING:
    from cls_sim.running.job import Job

SAVE_EVERY = 60.0  # seconds between checkpoints; at the end of a night or a context, one twelfth of it
SHARE = 50  # at such ends, saving takes at most 1/50 of the time


class CheckpointedLife:
    """The life of a job with its trace and checkpoints, at birth or resumed from the last checkpoint.

    life    the life at birth (see `begun`), if it is built already
    traces  job → its trace, for traces in memory
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        ear: SignalHandler,
        life: Life | None = None,
        traces: Mapping[str, Trace] | None = None,
    ):
        self.job, self.folder, self.ear = job, folder, ear
        newborn, self.traces = begun(job) if life is None else life, traces or {}
        self.path = folder / "trace" / f"{job.name}.jsonl"
        self.here = folder / "checkpoints" / job.name
        self.left = past_of(job, folder)
        self.unseen: list[Moment] = []  # moments of this tick that are not measured yet
        self.spent = {"wall": 0.0, "cpu": 0.0}  # seconds used by earlier processes
        self.began = {"wall": time.monotonic(), "cpu": time.process_time()}
        self.answers = KeptAnswers(job, folder)
        self.every = save_every()
        self.saved, self.cost = time.monotonic(), 0.0
        saved = _whole(self.here) if self.path.is_file() else None
        if saved and self.left not in (None, saved[1].get("left")):  # the origin was continued, so the past has changed
            self.path.unlink()
            shutil.rmtree(self.here)
            saved = None
        self.life, self.trace = self._go_on(newborn, *saved) if saved else self._be_born(newborn)
        self.finite = FiniteCheck(self.life, job.arm.name)
        self.wandb_run: WandbRun | None = None  # W&B
        self.leaving = {name: at for name, at in job.forks if not checkpoint.found(self.here / f"fork-{name}")}

    def _go_on(self, life: Life, tree: dict[str, Any], meta: Mapping[str, Any]) -> tuple[Life, Trace]:
        life = branched(self.job, life)
        with _fitting(self.here):
            life.load(tree)
            if life.clock.subjects != self.job.subjects:
                raise ValueError(f"it has {life.clock.subjects} subjects")
            rows, who = whole("rows", meta["rows"], 0), np.zeros(self.job.subjects, bool)
            self.unseen = [Moment(str(name), who | np.array(reached, bool)) for name, reached in meta["unseen"]]
            self.left = meta["left"]
            self.spent = {name: float(meta["seconds"][name]) for name in self.spent}
        self._age(life)
        trace = Trace(self.path, rows=rows)
        trace.cut(rows)
        self.answers.go_on(whole("answers", meta.get("answers", 0), 0))
        for fork in (self.here / f"fork-{name}" for name, _ in self.job.forks):
            if any(checkpoint.tick_of(path) >= life.clock.tick for path in checkpoint.found(fork)):
                shutil.rmtree(fork)  # branches after this tick are made again, at the end if the end has moved
        return life, trace

    def _be_born(self, life: Life) -> tuple[Life, Trace]:
        """Save a life at birth, and only then create its trace: a trace without a checkpoint is then a data loss."""
        origin, past, said = self.job.origin, [], ()
        if origin is not None:
            tree, meta = _whole(_fork(self.job, self.folder))
            with _fitting(_fork(self.job, self.folder)):
                life, rows = branched(self.job, life, tree), whole("rows", meta["rows"], 0)
            if not self.job.arm.keep_parts:
                name = self.job.of(origin.name)
                there = self.traces.get(name) or Trace.read(self.folder / "trace" / f"{name}.jsonl", rows=rows)
                past = there.rows[:rows]
                said = self.answers.past(name, whole("answers", meta.get("answers", 0), 0))
        if any(checkpoint.tick_of(path) > life.clock.tick for path in checkpoint.found(self.here)):
            raise ConfigError(str(self.path), "is missing", f"restore it, or remove {self.here} to start this job anew")
        self._age(life)
        if life.clock.tick == 0 and not past:
            self.unseen = [Moment("life.begin", np.ones(self.job.subjects, bool))]
        self.answers.begin(said)
        checkpoint.save(self.here, life.state(), self._meta(len(past)))
        return life, new_trace(self.path, past)

    def _age(self, life: Life) -> None:
        """Set the age at which this life ends; it may be raised, but not below its present age."""
        life.horizon = life.until(self.job.arm.cfg["days"])
        lived = int(life.clock.experience.max())
        if lived > life.horizon:
            days, age = self.job.arm.cfg["days"], lived / life.clock.per_day
            if days is None:
                reason = f"ends before the present age of {self.job.name}, {age:g} days"
                raise ConfigError("world", reason, "make it longer")
            reason = f"{days:g} is less than the present age of {self.job.name}"
            raise ConfigError("days", reason, f"give {age:g} or more")

    # -- running ----------------------------------------------------------------------------------------

    def live(self, bar: sinks.Progress) -> None:
        """Run to the end.  The life can be stopped and resumed between any two ticks or moments."""
        with self.finite:
            while True:
                ended = [moment.name for moment in self.unseen]
                self._look()
                self._fork()
                if self.life.over:
                    break
                self._save_in_time("night.end" in ended or "context.end" in ended)
                self.ear.check()
                self.unseen = self.life.step()
                self.finite.pulse()
                bar.update(self.life.clock)
        self._fork(ended=True)
        self.save()  # before life.end is measured, so that a longer life can resume from here
        self.unseen = [Moment("life.end", np.ones(self.job.subjects, bool))]
        self._look()
        self.trace.close()
        self.answers.close()

    def _look(self) -> None:
        """Measure the moments of this tick and append the readings to the trace."""
        while self.unseen:
            with self.ear.at_once():  # evaluations can be long, and do not change the life
                readings = self.life.measure(self.unseen[0])
            self.answers.take(readings, self.unseen[0], self.life.clock)
            if readings:
                self.finite.examine()
                self.finite.read(readings)
                numbers = {name: value.cpu().numpy() for name, value in readings.items()}
                row = self.trace.append(self.unseen[0], self.life.clock, numbers)
                if self.wandb_run:
                    self.wandb_run.moment(row, self.life)
            self.unseen.pop(0)

    def _fork(self, ended: bool = False) -> None:
        """Save the present state for the arms that branch now."""
        if not self.leaving or self.life.clock.asleep.any():
            return
        age = float(self.life.clock.day.min())
        for name in [name for name, at in self.leaving.items() if ended or (at is not None and age >= at)]:
            checkpoint.save(
                self.here / f"fork-{name}", self._examined(), {"rows": len(self.trace), "answers": self.answers.rows}
            )
            del self.leaving[name]

    # -- saving -----------------------------------------------------------------------------------------

    def _save_in_time(self, ended: bool) -> None:
        """Save if it is time: after `every` seconds, or at the end of a night or context after one twelfth of it."""
        gone = time.monotonic() - self.saved
        if gone >= self.every or (ended and gone >= max(self.every / 12, SHARE * self.cost)):
            self.save()

    def save(self) -> None:
        """Save the present state of the life."""
        tree, started = self._examined(), time.monotonic()
        if not self.path.is_file():
            raise StorageError(str(self.path), "is missing", "restore it, then resume")
        self.trace.sync()
        self.answers.sync()
        checkpoint.save(self.here, tree, self._meta(len(self.trace)))
        self.saved = time.monotonic()
        self.cost = self.saved - started

    def _examined(self) -> State:
        """The state, after a check that every number is finite."""
        tree = self.life.state()
        self.finite.examine(tree)
        return tree

    def _meta(self, rows: int) -> dict[str, Any]:
        unseen = [[moment.name, moment.who.tolist()] for moment in self.unseen if moment.name != "life.end"]
        return {
            "rows": rows,
            "answers": self.answers.rows,
            "unseen": unseen,
            "left": self.left,
            "seconds": self.seconds(),
        }

    def seconds(self) -> dict[str, float]:
        """The wall-clock and processor time of this life, in seconds."""
        now = {"wall": time.monotonic(), "cpu": time.process_time()}
        return {name: self.spent[name] + now[name] - self.began[name] for name in now}


def begun(job: Job) -> Life:
    """The life of a job at birth; for a branch, with the parts of the arm whose past it shares."""
    cfg = job.arm.cfg
    if job.origin is not None:
        cfg = cfg | {part_kind: job.origin.cfg[part_kind] for part_kind in job.arm.keep_parts or experiments.PART_KINDS}
    return experiments.make_life(cfg, job.subjects, job.seed)


def branched(job: Job, life: Life, past: State | None = None) -> Life:
    """The life of a job, from that of `begun`; for a branch, with the past loaded (None: at birth) and its parts."""
    if job.origin is None:
        return life
    cfg, old, keep = job.arm.cfg, job.origin.cfg, job.arm.keep_parts or experiments.PART_KINDS
    if past is not None and not job.arm.keep_parts:
        life.load(past)
    elif past is not None:
        for part_kind in keep:
            getattr(life, part_kind).load(past.get(part_kind, {}))
    changes = {
        part_kind: experiments.make(part_kind, cfg[part_kind], wrapping=True)
        for part_kind in keep
        if cfg[part_kind] != old[part_kind]
    }
    return life.twin(**changes)


def final(job: Job, folder: Path) -> Life:
    """The life of a job as its last checkpoint in this run directory has it."""
    life, here = branched(job, begun(job)), folder / "checkpoints" / job.name
    tree, _ = checkpoint.load(here)
    with _fitting(here):
        life.load(tree)
    return life


@contextmanager
def _fitting(folder: Path) -> Iterator[None]:
    """Raise ConfigError for an intact checkpoint of another life."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise ConfigError(str(folder), f"does not fit this life ({error})", "restore it from a copy") from error


def _fork(job: Job, folder: Path) -> Path:
    """The folder in which the origin of a job has saved the shared past."""
    assert job.origin is not None
    return folder / "checkpoints" / job.of(job.origin.name) / f"fork-{job.arm.name}"


def past_of(job: Job, folder: Path) -> str | None:
    """The hash of the past that this life shares with its origin; None without an origin, or if it is missing."""
    there = checkpoint.found(_fork(job, folder)) if job.origin else []
    with suppress(OSError, NotPlain):
        return hashlib.sha256(content(there[0] / checkpoint.MANIFEST, ANY)).hexdigest() if there else None


def _whole(folder: Path) -> tuple[State, dict[str, Any]]:
    """The newest intact checkpoint; damaged ones are set aside, with one warning each."""
    aside: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return checkpoint.load(folder, aside)
        finally:
            for damage in aside:
                say(f"{folder}: checkpoint set aside: {damage}")


def save_every() -> float:
    """Seconds between checkpoints: the variable CLS_SIM_SAVE_EVERY, by default one minute."""
    text = os.environ.get("CLS_SIM_SAVE_EVERY", "")
    try:
        return real("CLS_SIM_SAVE_EVERY", float(text), 0.0) if text else SAVE_EVERY
    except ValueError:
        raise ConfigError("CLS_SIM_SAVE_EVERY", f"{text!r} is not a number", "give seconds from 0") from None
