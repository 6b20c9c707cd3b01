"""Runs that are killed: children forked from a process that has imported everything, and told where they are."""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cls_sim.config import experiments
from cls_sim.config.experiments import Experiment
from cls_sim.core.errors import ConfigError
from cls_sim.life import Life
from cls_sim.running import jobs, runs
from cls_sim.storage import checkpoint

FULL = os.environ.get("CLS_SIM_FAULTS") == "full"
TINY = [
    *("experiment=digits", "subjects=2", "world.per_context=6", "world.batch=8", "world.contexts=5"),
    *("hippocampus.capacity=10", "hippocampus.units=60", "hippocampus.winners=5", "hippocampus.fade=0.02"),
    *("neocortex.hidden=[8]", "plasticity.wake_rate=0.001", "rhythm.experiences_per_day=6", "rhythm.steps_per_night=6"),
]
TWO = ["arms=[lesioned]", "arm.lesioned.branch_at=2d"]  # and the arm that it leaves


def count(fast: int, full: int) -> int:
    """How many times, as CLS_SIM_FAULTS says."""
    return full if FULL else fast


def few_or_many(few: int, tenth: int, full: int) -> list[Any]:
    """How many times, as parameters of a test: a few in `make test` and a tenth in `make claims`, or all of them."""
    return [full] if FULL else [few, pytest.param(tenth, marks=pytest.mark.claims)]


def tiny(*overrides: str) -> Experiment:
    """A small experiment without figures."""
    return plain(experiments.read([*TINY, *overrides]))


def plain(experiment: Experiment) -> Experiment:
    return replace(experiment, cfg=experiment.cfg | {"figures": {}})


def into(experiment: Experiment, out: Path) -> Experiment:
    """The experiment in this folder: begun, or gone on with."""
    key = "resume" if (out / "run.json").is_file() else "out"
    cfg = experiment.cfg | {"out": None, "resume": None, key: str(out)}
    return replace(experiment, cfg=cfg)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one: what a process loses when it dies is the same, and it is faster."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    where = Path(tempfile.mkdtemp(prefix="cls_sim-", dir=memory))
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


# -- a child ------------------------------------------------------------------------------------------------


@dataclass
class Child:
    """A forked process, what it says (a word a line), and its exit code."""

    pid: int
    words: int
    log: Path
    said: bytes = b""
    code: int | None = None

    def hears(self, words: int, patience: float = 60.0) -> list[str]:
        """What it has said, once that is so many words (or it is gone)."""
        end = time.monotonic() + patience
        while self.said.count(b"\n") < words and (left := end - time.monotonic()) > 0:
            if select.select([self.words], [], [], min(left, 1.0))[0]:
                more = os.read(self.words, 65536)
                if not more:
                    break
                self.said += more
        return self.said.decode().splitlines()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ends(self, patience: float = 60.0) -> int:
        """Its exit code, negative for a signal."""
        end = time.monotonic() + patience
        while self.code is None:
            self.hears(10**9, 0.001)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.hears(10**9, 1.0)
                os.close(self.words)
            elif time.monotonic() > end:
                self.signal(signal.SIGKILL)
            else:
                time.sleep(0.002)
        return self.code

    def errors(self) -> str:
        return self.log.read_text()


def forked(work: Callable[[Callable[[str], None]], Any], log: Path) -> Child:
    """A child that does `work(say)` as the console door would: its exit codes, one line of error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader, log)
    code = 99
    try:
        os.close(reader)
        shown = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(shown, 1)
        os.dup2(shown, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = _door(lambda: work(lambda word: os.write(writer, f"{word}\n".encode())))
        sys.stderr.flush()
    finally:
        os._exit(code)


def _door(work: Callable[[], Any]) -> int:
    from cls_sim import __main__ as door

    real, door._door = door._door, lambda _: work() and 0
    try:
        return door.main([]) or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        door._door = real


def tell(say: Callable[[str], None]) -> None:
    """From now on, this process says where it is: begun at, wake, night, exam, save, saved, fork, report."""
    step, measure, begun, save, write = (
        Life.step,
        Life.measure,
        jobs.CheckpointedLife.__init__,
        checkpoint.save,
        jobs.write,
    )

    def stepping(life: Life) -> Any:
        say(f"{'night' if life.clock.asleep.any() else 'wake'} {life.clock.tick}")
        return step(life)

    def measuring(life: Life, moment: Any) -> Any:
        say(f"exam {life.clock.tick}")
        return measure(life, moment)

    def beginning(kept: jobs.CheckpointedLife, *args: Any) -> None:
        begun(kept, *args)
        say(f"begun {kept.job.name} {kept.life.clock.tick}")

    def saving(where: Path, tree: Any, meta: Any) -> Path:
        say(f"{'fork' if 'fork-' in where.name else 'save'} {int(tree['clock']['tick'])}")
        path = save(where, tree, meta)
        say(f"saved {int(tree['clock']['tick'])}")
        return path

    def writing(path: Path, content: Any) -> None:
        say(f"report {path.name}")
        write(path, content)

    Life.step, Life.measure, jobs.CheckpointedLife.__init__, checkpoint.save = stepping, measuring, beginning, saving
    jobs.write, runs.write = writing, writing


def wait_in_save(say: Callable[[str], None], call: int) -> None:
    """From now on, this process waits at its so-many-th call to the disk within a save, to be killed there."""
    save, left, inside = checkpoint.save, [call], [False]

    def saving(*args: Any) -> Path:
        inside[0] = True
        try:
            return save(*args)
        finally:
            inside[0] = False

    def waiting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                left[0] -= 1
                if left[0] == 0:
                    say(f"waiting {name}")
                    signal.pause()
            return real(*args, **kwargs)

        return called

    checkpoint.save = saving
    for name in ("open", "write", "fsync", "rename", "mkdir", "listdir", "unlink", "rmdir", "close"):
        setattr(os, name, waiting(name, getattr(os, name)))


# -- what a run came to -------------------------------------------------------------------------------------


def came_to(out: Path, loads: bool = True) -> dict[str, Any]:
    """All that must not depend on how often a run was interrupted (the last checkpoint, if it `loads`, as well)."""
    found: dict[str, Any] = {}
    for trace in sorted((out / "trace").glob("*.jsonl")):
        job = trace.stem
        tree, meta = checkpoint.load(out / "checkpoints" / job) if loads else ({}, {"rows": 0})
        report = json.loads((out / "jobs" / f"{job}.json").read_text())
        found[job] = {
            "trace": hashlib.sha256(trace.read_bytes()).hexdigest(),
            "state": jobs.fingerprint(tree),
            "rows": meta["rows"],
            "report": {key: value for key, value in report.items() if key != "seconds"},
        }
    summary = json.loads((out / "summary.json").read_text())
    for arm in summary["arms"].values():
        del arm["seconds"], arm["cpu_seconds"]
    return found | {"summary": summary}


def newest(out: Path) -> dict[str, int]:
    """The tick of each job's newest checkpoint."""
    found = {}
    for where in (out / "checkpoints").glob("*"):
        there = checkpoint.found(where)
        if there:
            found[where.name] = int(there[0].name.split("-")[1])
    return found


@dataclass
class Campaign:
    """A run that is killed again and again: where it was, and what went wrong."""

    experiment: Experiment
    home: Path
    seed: int
    change: Callable[[], None] = lambda: None  # what is made worse in every child
    every: tuple[float, ...] = (0.0, 0.03)
    loads: bool = True  # whether its last checkpoint is one

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.where: list[str] = []
        self.wrong: list[str] = []

    def whole(self) -> dict[str, Any]:
        """What the run comes to if nothing happens; how many words it says; and children find all things imported."""
        runs.perform(into(self.experiment, self.home / "whole"), quiet=True)
        child = self._child(self.home / "told", None, 60.0, unchanged=True)
        assert child.ends() == 0, child.errors()
        self.words = len(child.said.splitlines())
        return came_to(self.home / "whole", self.loads)

    def run(self, kills: int, each: int = 5, enough: int = 5) -> None:
        """Kill a run up to `each` times, let it end, compare; until so many kills have landed, or enough went wrong."""
        expected, number = self.whole(), 0
        while len(self.where) < kills and len(self.wrong) < enough:
            out, number = self.home / f"run{number}", number + 1
            try:
                fault = self._fault(out, expected, each)
            except ConfigError as refused:  # what was left cannot even be looked at
                fault = str(refused)
            self.wrong += [fault] if fault else []
            shutil.rmtree(out, ignore_errors=True)

    def _fault(self, out: Path, expected: dict[str, Any], each: int) -> str | None:
        """Kill one run up to `each` times, let it end; what is wrong with what it came to."""
        landed = 0
        while landed < each and self._killed(out, len(self.where) % 3 == 2):
            landed += 1
        before = newest(out)
        child = self._child(out, None, 60.0)
        if child.ends() != 0:
            return f"resume failed: {child.errors()[-300:]}"
        self._from_zero(child, before)
        return None if came_to(out, self.loads) == expected else f"another result after {self.where[-each:]}"

    def _child(self, out: Path, call: int | None, every: float, unchanged: bool = False) -> Child:
        def work(say: Callable[[str], None]) -> None:
            os.environ["CLS_SIM_SAVE_EVERY"] = str(every)
            if not unchanged:
                self.change()
            tell(say)
            if call is not None:
                wait_in_save(say, call)
            runs.perform(into(self.experiment, out), quiet=True)

        return forked(work, self.home / "log")

    def _killed(self, out: Path, in_save: bool) -> bool:
        """Kill the run once, within a save or anywhere; whether it was still there to be killed."""
        before = newest(out)
        call = self.chance.randrange(1, 400) if in_save else None
        child = self._child(out, call, 0.0 if in_save else self.chance.choice(self.every))
        if in_save:
            _until(child, "waiting")
        else:
            child.hears(self.chance.randrange(1, self.words))
            time.sleep(self.chance.random() * 0.004)
        child.signal(signal.SIGKILL) if child.code is None else None
        if child.ends() != -signal.SIGKILL:
            return False
        words = child.hears(0)
        self._from_zero(child, before)
        self.where.append(_place(words))
        return True

    def _from_zero(self, child: Child, before: dict[str, int]) -> None:
        """Every job that had been saved must have gone on from its newest checkpoint."""
        for word in child.hears(0):
            if word.startswith("begun "):
                _, job, tick = word.split()
                if before.get(job, 0) > int(tick):
                    self.wrong.append(f"{job} began at tick {tick}, not {before[job]}")


def _until(child: Child, word: str) -> bool:
    """Wait until it says this word; whether it did."""
    while True:
        words = child.hears(child.said.count(b"\n") + 1)
        if any(said.startswith(word) for said in words):
            return True
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False


def _place(words: list[str]) -> str:
    """Where a process was when it said its last word."""
    last = words[-1].split()[0] if words else "before"
    if last == "waiting":
        return f"in save ({words[-1].split()[1]})"
    return {"save": "in save", "fork": "in fork", "saved": "between", "begun": "between"}.get(last, last)
