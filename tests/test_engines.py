"""Jobs in other processes: in the right order, with the same bits, and no job is lost with another's process."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError, Diverged, StorageError
from cls_sim.core.signals import Interrupted
from cls_sim.running import engines
from cls_sim.running.engines import owners
from cls_sim.running.engines.base import Engine, Failure, died
from cls_sim.running.job import Job
from cls_sim.running.job import jobs as every
from cls_sim.running.jobs import live
from cls_sim.storage import run_directory

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = [
    "subjects=6",
    "chunk=2",
    "size=small",
    "arms=[cls,lesioned]",
    "arm.lesioned.branch_at=4d",
    "world.per_context=60",
]
SHORT = [*CHUNKS, "world.per_context=20", "rhythm.experiences_per_day=10", "rhythm.steps_per_night=10"]


def spread(path: Path, *overrides: str) -> Path:
    """Live the jobs of a run, without its summary."""
    experiment = experiments.read([*overrides, f"{'resume' if path.exists() else 'out'}={path}"])
    with run_directory.opened(experiment) as run:
        jobs = every(experiment)
        if experiment.cfg["workers"] > 1:
            engines.engine(experiment.cfg).spread(jobs, run)
        else:
            for job in jobs:
                live(job, run)
    return path


def bits(run: Path) -> dict[str, str]:
    """Every trace, and the fingerprint of every state."""
    traces = {file.name: file.read_text() for file in (run / "trace").glob("*.jsonl")}
    prints = {file.name: json.loads(file.read_text())["fingerprint"] for file in (run / "jobs").glob("*.json")}
    assert len(traces) == len(prints) == 6, "three chunks of two arms"
    return traces | prints


def until(what, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def begun(run: Path) -> bool:
    """Whether two lives have been saved after their birth."""
    names = [path.name for path in run.glob("checkpoints/*/tick-*")]  # they come and go
    return len([name for name in names if int(name.split("-")[1])]) >= 2


# -- the order of jobs, without lives -----------------------------------------------------------------------


class Pretended(Engine):
    """Ends each job when asked, failing those of these names."""

    def __init__(self, workers: int, fails: dict[str, BaseException]):
        self.workers, self.fails = workers, fails
        self.now: list[Job] = []
        self.log: list[str] = []
        self.most = 0
        self.left = False

    @contextmanager
    def opened(self, folder: Path) -> Iterator[None]:
        yield

    def room(self) -> bool:
        return len(self.now) < self.workers

    def busy(self) -> bool:
        return bool(self.now)

    def start(self, job: Job) -> None:
        self.now.append(job)
        self.most = max(self.most, len(self.now))

    def ended(self, seconds: float) -> list[tuple[str, Failure]]:
        name = self.now.pop(0).name
        failure = self.fails.get(name)
        if isinstance(failure, KeyboardInterrupt):
            raise failure
        self.log.append(name)
        return [(name, failure)]

    def leave(self) -> None:
        self.left = True


def arms(**origins: str | None) -> list[Job]:
    """Two chunks of each arm; an arm named with another comes from it."""
    made = {name: experiments.Arm(name, {"seed": 0}, origin) for name, origin in origins.items()}
    found = []
    for depth in range(3):
        for name, origin in origins.items():
            above = [] if origin is None else [origin] + ([made[origin].origin] if made[origin].origin else [])
            if len(above) == depth:
                found += [Job(made[name], first, 2, made[origin] if origin else None) for first in (0, 2)]
    return found


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_job_comes_after_the_one_that_it_leaves_and_all_workers_are_used(workers: int):
    jobs = arms(a=None, b="a", c="b", d=None)
    engine = Pretended(workers, {})
    engine.spread(jobs, Path())
    assert sorted(engine.log) == sorted(job.name for job in jobs)
    for job in jobs:
        if job.origin:
            assert engine.log.index(job.of(job.origin.name)) < engine.log.index(job.name)
    assert engine.most == min(workers, 4), "at first the chunks of a and d can be lived, then as many"


def test_where_a_job_fails_those_that_do_not_need_it_are_lived():
    jobs = arms(a=None, b="a", c="b", d=None)
    first = Diverged("neocortex", "is not finite", "lower the rate")
    engine = Pretended(2, {"a-000000": first, "d-000002": StorageError("disk", "is full", "make room")})
    with pytest.raises(Diverged) as caught:
        engine.spread(jobs, Path())
    assert caught.value is first
    skipped = {"b-000000", "c-000000"}
    assert {job.name for job in jobs} - set(engine.log) == skipped


def test_the_line_of_error_says_how_many_failed():
    engine = Pretended(
        2, {"a-000000": died("a-000000", "exit code 1", Path("run")), "a-000002": ConfigError("", "", "")}
    )
    with pytest.raises(StorageError) as caught:
        engine.spread(arms(a=None), Path("run"))
    assert "a-000000" in str(caught.value) and "1 other" in str(caught.value) and "resume=run" in str(caught.value)


def test_who_is_asked_to_stop_passes_it_on():
    engine = Pretended(2, {"a-000000": Interrupted("SIGTERM")})
    with pytest.raises(Interrupted):
        engine.spread(arms(a=None), Path())
    assert engine.left


def test_errors_come_home_from_other_processes():
    for error in (ConfigError("a", "b", "c"), Diverged("a", "b", "c"), Interrupted("SIGTERM", "run")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and again.exit_code == error.exit_code


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(experiments, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cls-sim\[ray\]'"):
        experiments.read(["engine=ray"])
    with pytest.raises(ConfigError, match="engine"):
        experiments.read(["engine=rey"])


# -- processes ----------------------------------------------------------------------------------------------


def test_a_process_that_has_lost_its_job_to_another_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A node that was cut off comes back: its jobs are others' now."""
    monkeypatch.setattr(owners, "WATCH", 0.1)
    (tmp_path / "jobs").mkdir()
    code = (
        "import sys, time; from pathlib import Path; from cls_sim.running.engines import owners; owners.WATCH = 0.1\n"
        f"with owners.sole('cls-000000', Path({str(tmp_path)!r}), node='first'): time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        book = tmp_path / "jobs" / "cls-000000.where.jsonl"
        until(lambda: book.is_file() and owners.owner(book))
        with owners.sole("cls-000000", tmp_path, node="second"):
            assert process.wait(30) == 1
    finally:
        process.kill()
    told = [json.loads(line) for line in book.read_text().splitlines()]
    assert [line.get("node") for line in told] == ["first", "second", None]
    assert owners.owner(book) == owners.OVER


@pytest.mark.claims
def test_results_are_the_same_bits_for_any_number_of_workers(tmp_path: Path):
    alone = bits(spread(tmp_path / "1", *SHORT, "workers=1"))
    for workers in (2, 3):
        assert bits(spread(tmp_path / f"{workers}", *SHORT, f"workers={workers}")) == alone


@pytest.mark.claims
def test_a_worker_that_is_killed_takes_no_other_job_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", "0.2")
    run, killed = tmp_path / "run", []

    def kill() -> None:
        until(lambda: begun(run))
        killed.append(multiprocessing.active_children()[0].pid)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(StorageError) as caught:
        spread(run, *CHUNKS, "workers=2")
    thread.join()
    assert str(caught.value).startswith("chunk cls-00000") and "signal 9" in str(caught.value)
    assert f"resume={run}" in str(caught.value) and "\n" not in str(caught.value)
    assert len(list((run / "jobs").glob("*.json"))) == 4, "the other two chunks of both arms"
    assert not multiprocessing.active_children()
    assert bits(spread(run, *CHUNKS)) == bits(spread(tmp_path / "whole", *CHUNKS))


@pytest.mark.claims
def test_workers_save_and_leave_when_asked_and_die_with_who_started_them(tmp_path: Path):
    run = tmp_path / "run"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        args = [*CHUNKS, "workers=2", "resume=run" if run.exists() else "out=run"]
        start = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "cls_sim", *args],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CLS_SIM_SAVE_EVERY": "0.2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda t=start: begun(run) and any(p.stat().st_mtime > t for p in run.glob("checkpoints/*/tick-*")))
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
            assert process.returncode == code, said
            assert code < 0 or said == "cls-sim: stopped by SIGTERM; go on with resume=run\n"
            until(lambda w=workers: not any(Path(f"/proc/{pid}/task").is_dir() for pid in w))
        finally:
            process.kill()
    assert bits(spread(run, *CHUNKS)) == bits(spread(tmp_path / "whole", *CHUNKS))
