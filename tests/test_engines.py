"""Jobs in other processes: in the right order, with the same bits, and no job is lost with another's process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cls_sim import configs, engines
from cls_sim.errors import Broken, Diverged, Refused
from cls_sim.interrupts import Interrupted
from cls_sim.jobs import Job

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = ["subjects=6", "chunk=2", "size=small", "arms=[cls,lesioned]", "debug=true"]
SHORT = ["world.per_context=12", "rhythm.wake=6", "rhythm.night=4", "arm.lesioned.at=4d"]


def started(*args: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lived(*args: str, cwd: Path, **env: str) -> None:
    process = started(*args, cwd=cwd, **env)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said


def bits(run: Path) -> dict[str, str]:
    """Every trace, and the fingerprint of every state."""
    traces = {file.name: file.read_text() for file in (run / "trace").glob("*.jsonl")}
    prints = {file.name: json.loads(file.read_text())["fingerprint"] for file in (run / "jobs").glob("*.json")}
    assert len(traces) == len(prints) > 0
    return traces | prints


def until(what, seconds: float = 90.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that live jobs (multiprocessing has helpers of its own)."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
            found.append(int(child))
    return found


# -- the order of jobs, without lives -----------------------------------------------------------------------


class Pretended(engines.Engine):
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

    def ended(self, seconds: float) -> list[tuple[str, engines.Failure]]:
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
    made = {name: configs.Arm(name, {"seed": 0}, origin) for name, origin in origins.items()}
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
    engine = Pretended(2, {"a-000000": first, "d-000002": Broken("disk", "is full", "make room")})
    with pytest.raises(Diverged) as caught:
        engine.spread(jobs, Path())
    assert caught.value is first
    skipped = {"b-000000", "c-000000"}
    assert {job.name for job in jobs} - set(engine.log) == skipped


def test_the_line_of_error_says_how_many_failed():
    engine = Pretended(
        2, {"a-000000": engines._died("a-000000", "exit code 1", Path("run")), "a-000002": Refused("", "", "")}
    )
    with pytest.raises(Broken) as caught:
        engine.spread(arms(a=None), Path("run"))
    assert "a-000000" in str(caught.value) and "1 other" in str(caught.value) and "resume=run" in str(caught.value)


def test_who_is_asked_to_stop_passes_it_on():
    engine = Pretended(2, {"a-000000": Interrupted("SIGTERM")})
    with pytest.raises(Interrupted):
        engine.spread(arms(a=None), Path())
    assert engine.left


def test_errors_come_home_from_other_processes():
    for error in (Refused("a", "b", "c"), Diverged("a", "b", "c"), Interrupted("SIGTERM", "run")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and again.exit_code == error.exit_code


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(configs, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'cls-sim\[ray\]'"):
        configs.read(["engine=ray"])
    with pytest.raises(Refused, match="engine"):
        configs.read(["engine=rey"])


# -- processes ----------------------------------------------------------------------------------------------


def test_a_process_that_has_lost_its_job_to_another_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A node that was cut off comes back: its jobs are others' now."""
    monkeypatch.setattr(engines, "WATCH", 0.1)
    (tmp_path / "jobs").mkdir()
    code = (
        "import sys, time; from pathlib import Path; from cls_sim import engines; engines.WATCH = 0.1\n"
        f"with engines.sole('cls-000000', Path({str(tmp_path)!r}), node='first'): time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        book = tmp_path / "jobs" / "cls-000000.where.jsonl"
        until(lambda: book.is_file() and engines.owner(book))
        with engines.sole("cls-000000", tmp_path, node="second"):
            assert process.wait(30) == 1
    finally:
        process.kill()
    told = [json.loads(line) for line in book.read_text().splitlines()]
    assert [line.get("node") for line in told] == ["first", "second", None]
    assert engines.owner(book) == engines.OVER


@pytest.mark.claims
def test_a_worker_that_is_killed_takes_no_other_job_with_it(tmp_path: Path):
    lived(*CHUNKS, "out=whole", cwd=tmp_path)
    process = started(*CHUNKS[:-1], "workers=2", "out=run", cwd=tmp_path)
    until(lambda: len(list(tmp_path.glob("run/checkpoints/*/tick-*"))) >= 2)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    out, said = process.communicate(timeout=240)
    assert process.returncode == 3 and out == ""
    assert said.count("\n") == 1 and said.startswith("cls-sim: error: chunk cls-00000"), said
    assert "signal 9" in said and f"resume={tmp_path / 'run'}" in said
    assert len(list((tmp_path / "run" / "jobs").glob("*.json"))) == 4, "two chunks of both arms"
    lived("resume=run", "workers=2", cwd=tmp_path)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


@pytest.mark.claims
def test_workers_save_and_leave_when_asked_and_die_with_who_started_them(tmp_path: Path):
    lived(*CHUNKS, "out=whole", cwd=tmp_path)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = started(*CHUNKS[:-1], "workers=2", *(["out=run"] if code == 143 else ["resume=run"]), cwd=tmp_path)
        until(lambda p=process: p.poll() is None and len(workers_of(p)) == 2)
        time.sleep(4.0)
        workers = workers_of(process)
        (os.killpg if code == 130 else os.kill)(process.pid, number)  # Ctrl-C comes to all of them
        _, said = process.communicate(timeout=30)
        assert process.returncode == code, said
        until(lambda w=workers: not any(Path(f"/proc/{pid}/task").is_dir() for pid in w), 10)
        if code > 0:
            assert "resume=run" in said
    lived("resume=run", cwd=tmp_path)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")
