"""Signals: saved, gone within ten seconds, resumable to the same bits; and everything left as it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import TINY, TWO, came_to, few_or_many, forked, into, newest, scratch, tell, tiny
from lives import live, small

import cls_sim as cs
from cls_sim.config import experiments
from cls_sim.core import signals
from cls_sim.core.signals import Interrupted, SignalHandler, handle_signals
from cls_sim.life import Life
from cls_sim.running import jobs, runs
from cls_sim.storage import checkpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process")
CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def two():
    return tiny(*TWO)


@pytest.fixture
def home():
    with scratch() as where:
        yield where


@pytest.fixture(scope="module")
def whole(two) -> dict[str, Any]:
    with scratch() as where:
        runs.perform(into(two, where / "whole"), quiet=True)
        return came_to(where / "whole")


def sent(two, out: Path, number: int, chance: random.Random) -> tuple[str, int, float, str, int]:
    """Where a run was when it got a signal, its exit code, how long it took to leave, what it said, and its tick."""

    def work(say) -> None:
        os.environ["CLS_SIM_SAVE_EVERY"] = chance.choice(["0", "60"])
        tell(say)
        runs.perform(into(two, out), quiet=True)

    child = forked(work, out.parent / "log")
    words = child.hears(chance.randrange(1, 60))
    time.sleep(chance.random() * 0.003)
    started = time.monotonic()
    child.signal(number)
    code = child.ends()
    took = time.monotonic() - started
    before = words[-1].split()[0] if words else "before"
    ticks = [int(word.split()[1]) for word in child.hears(0) if word.startswith(("wake", "night"))]
    return before, code, took, child.errors(), max(ticks, default=-1)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("signals", few_or_many(6, 12, 100))
def test_a_signal_anywhere_saves_and_leaves_and_the_life_goes_on(two, whole, home, figure, signals: int):
    chance, places, left, longest = random.Random(signals), set(), 0, 0.0
    while left < signals:
        out = home / f"run{left}"
        for _ in range(4):
            number = chance.choice(list(CODES))
            place, code, took, said, tick = sent(two, out, number, chance)
            if code in (0, -number):  # it was over, or had not begun to listen
                break
            left += 1
            places.add(place)
            assert code == CODES[signal.Signals(number)], said
            longest = max(longest, took)
            name = signal.Signals(number).name
            assert said == f"cls-sim: stopped by {name}; go on with resume={out}\n"
            if "lesioned-000000" not in newest(out):
                assert newest(out)["cls-000000"] >= tick, "what was lived is saved"
        runs.perform(into(two, out), quiet=True)
        assert came_to(out) == whole
    # Where a signal falls is chance: twelve meet the long stretches of a life, a hundred also the short ones.
    assert signals < 12 or {"wake", "night"} <= places
    assert signals < 100 or {"exam", "saved"} <= places
    assert longest < 10.0
    kinds = ", ".join(sorted(places)).replace("exam", "evaluation")
    figure(f"{left} signals ({kinds}): exit after at most {longest:.2f} s, the same bits afterwards")


def test_the_chain_of_a_preempted_job(two, whole, home, figure):
    """Ten short lives, each sent away by the batch system, are one life."""
    out, count_ = home / "run", 0
    while True:

        def work(say) -> None:
            step, left = Life.step, [12]

            def stepping(life: Life) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGUSR1)
                return step(life)

            Life.step = stepping
            runs.perform(into(two, out), quiet=True)

        code = forked(work, home / "log").ends()
        if code == 0:
            break
        assert code == 143
        count_ += 1
    assert count_ >= 7 and came_to(out) == whole
    import json

    assert json.loads((out / "run.json").read_text())["resumed"] == count_
    figure(f"{count_} preemptions: one folder, the same bits")


def stuck(say) -> None:
    """A tick that lasts for ever."""
    step = Life.step

    def stepping(life: Life) -> Any:
        if life.clock.tick == 20:
            say("stuck")
            while True:
                time.sleep(0.01)
        return step(life)

    Life.step = stepping
    os.environ["CLS_SIM_SAVE_EVERY"] = "0"


def test_a_second_ctrl_c_leaves_at_once(two, whole, home):
    out = home / "run"

    def work(say) -> None:
        stuck(say)
        runs.perform(into(two, out), quiet=True)

    child = forked(work, home / "log")
    assert child.hears(1) == ["stuck"]
    child.signal(signal.SIGINT)
    time.sleep(0.2)
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0), "the first waits for the tick"
    child.signal(signal.SIGINT)
    assert child.ends() == 130
    assert "what was saved before is whole" in child.errors()
    runs.perform(into(two, out), quiet=True)
    assert came_to(out) == whole


def test_who_does_not_come_to_an_end_leaves_in_time(two, whole, home):
    """A tick that lasts too long is given up; the checkpoint before it is there."""
    out = home / "run"

    def work(say) -> None:
        signals.GRACE = 0.3
        stuck(say)
        runs.perform(into(two, out), quiet=True)

    child = forked(work, home / "log")
    assert child.hears(1) == ["stuck"]
    child.signal(signal.SIGTERM)
    child.signal(signal.SIGTERM)
    assert child.ends() == 143 and "left at once by SIGTERM" in child.errors()
    assert newest(out)["cls-000000"] == 20
    runs.perform(into(two, out), quiet=True)
    assert came_to(out) == whole


def test_a_long_exam_is_left_at_once_and_sat_again(two, whole, home):
    out = home / "run"

    def work(say) -> None:
        measure = Life.measure

        def measuring(life: Life, moment: Any) -> Any:
            if moment.name == "context.end" and life.clock.tick > 20:
                say("exam")
                while True:
                    time.sleep(0.01)
            return measure(life, moment)

        Life.measure = measuring
        runs.perform(into(two, out), quiet=True)

    child = forked(work, home / "log")
    assert child.hears(1) == ["exam"]
    child.signal(signal.SIGUSR1)
    assert child.ends() == 143
    _, meta = checkpoint.load(out / "checkpoints" / "cls-000000")
    assert [name for name, _ in meta["unseen"]] == ["context.end"]
    runs.perform(into(two, out), quiet=True)
    assert came_to(out) == whole


def test_a_signal_while_the_summary_is_made(two, whole, home):
    out = home / "run"

    def work(say) -> None:
        summarise = runs.summarise
        runs.summarise = lambda *args: (os.kill(os.getpid(), signal.SIGTERM), summarise(*args))[1]
        runs.perform(into(two, out), quiet=True)

    assert forked(work, home / "log").ends() == 143
    runs.perform(into(two, out), quiet=True)
    assert came_to(out) == whole


# -- everything as it was -----------------------------------------------------------------------------------


def world() -> dict[str, Any]:
    """What a run must leave as it was."""
    return {
        "handlers": {name: signal.getsignal(getattr(signal, name)) for name in (*signals.CODES, "SIGALRM")},
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "threads": (torch.get_num_threads(), sorted(thread.name for thread in threading.enumerate())),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "random": random.getstate(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "argv": list(sys.argv),
        "files": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None,
    }


def test_a_run_leaves_the_process_as_it_was(two, home, monkeypatch):
    runs.perform(into(two, home / "first"), quiet=True)  # what is imported for the first time may open what it likes
    torch.set_num_threads(2)
    try:
        before = world()
        runs.perform(into(two, home / "run"), quiet=True)
        assert world() == before
        monkeypatch.setattr(jobs.CheckpointedLife, "_fork", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            runs.perform(into(two, home / "stopped"), quiet=True)
        monkeypatch.undo()
        assert world() == before
    finally:
        torch.set_num_threads(1)


def test_somebody_elses_alarm_goes_off():
    rang: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, _: rang.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with handle_signals() as ear:
            os.kill(os.getpid(), signal.SIGTERM)
            assert ear.heard == "SIGTERM"
        time.sleep(0.5)
        assert rang == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, old)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_what_is_ignored_stays_ignored():
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with handle_signals() as ear:
            os.kill(os.getpid(), signal.SIGUSR1)
            ear.check()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_in_a_thread_nothing_is_heard_and_nothing_breaks(two, home):
    failed: list[BaseException] = []

    def work() -> None:
        try:
            runs.perform(into(two, home / "run"), quiet=True)
        except BaseException as error:
            failed.append(error)

    before = world()["handlers"]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed and world()["handlers"] == before


def test_an_ear_within_an_ear_is_the_same():
    with handle_signals() as outer, handle_signals() as inner:
        assert inner is outer
    with handle_signals() as other:
        assert other is not outer


def test_it_strikes_only_where_it_may():
    with handle_signals() as ear:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            ear.check()
        with pytest.raises(Interrupted), ear.at_once():
            pytest.fail("it was asked before")
    with handle_signals() as ear, pytest.raises(Interrupted), ear.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it strikes at once")
    SignalHandler().check()


# -- a notebook ---------------------------------------------------------------------------------------------


class Nosy(cs.Accuracy):
    """A probe during which somebody presses Ctrl-C."""

    def measure(self, life: Any) -> torch.Tensor:
        if life.clock.tick in PRESSED:
            PRESSED.remove(life.clock.tick)
            signal.raise_signal(signal.SIGINT)
        return super().measure(life)


PRESSED: set[int] = set()


def test_in_a_notebook_an_interrupted_life_goes_on(monkeypatch):
    """Ctrl-C in a tick, in the middle of learning and in an exam: what comes of it is what would have come."""
    probes = {"accuracy": Nosy().at("day.end", "night.end", "life.end")}
    expected = cs.run(small(2, probes=probes), progress=False)
    whole = jobs.fingerprint(live(small(2)).state())
    PRESSED.update({6, 11, 50})
    presses = {3, 8, 30, 77}
    learn = cs.Descent.gradient

    def gradient(self: Any, *args: Any) -> Any:
        found = learn(self, *args)
        if life.clock.tick in presses:
            presses.remove(life.clock.tick)
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(cs.Descent, "gradient", gradient)
    life, trace, pressed = small(2, probes=probes), cs.run(small(1), days=0, progress=False), 0
    trace.rows.clear()
    handler = signal.getsignal(signal.SIGINT)
    while not life.over:
        try:
            cs.run(life, trace=trace, progress=False)
        except KeyboardInterrupt:
            pressed += 1
            assert signal.getsignal(signal.SIGINT) is handler
    assert pressed == 7 and jobs.fingerprint(life.state()) == whole
    assert [(row["moment"], row["tick"]) for row in trace.rows] == [(r["moment"], r["tick"]) for r in expected.rows]
    for mine, its in zip(trace.rows, expected.rows, strict=True):
        assert (mine["readings"]["accuracy"] == its["readings"]["accuracy"]).all()


def test_in_a_notebook_a_second_ctrl_c_does_not_wait():
    class Twice(cs.Accuracy):
        def measure(self, life: Any) -> torch.Tensor:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it should not come here")

    with pytest.raises(KeyboardInterrupt):
        cs.run(small(1, probes={"accuracy": Twice().at("day.end")}), progress=False)


# -- the console --------------------------------------------------------------------------------------------


@pytest.mark.claims
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_console_and_its_workers_leave_and_go_on(tmp_path: Path, workers: int, number: int):
    """As a terminal does it: Ctrl-C goes to all processes of the group."""
    args = [*TINY, "world.per_context=60", "subjects=4", "chunk=2", "arms=[cls]", "~figures.contexts"]

    def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "cls_sim", *more]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=env, start_new_session=True, **pipes)

    done = start(*args, "out=whole")
    assert done.wait(120) == 0, done.communicate()
    running = start(*args, f"workers={workers}", "out=run")
    end = time.monotonic() + 60
    while not list((tmp_path / "run").glob("trace/*.jsonl")) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    started = time.monotonic()
    os.killpg(running.pid, number)
    out, err = running.communicate(timeout=60)
    print(f"left after {time.monotonic() - started:.1f} s")
    assert running.returncode == CODES[signal.Signals(number)], (out, err)
    assert err.strip().splitlines()[-1] == f"cls-sim: stopped by {signal.Signals(number).name}; go on with resume=run"
    again = start("resume=run")
    assert again.wait(120) == 0, again.communicate()
    assert came_to(tmp_path / "run")["summary"] == came_to(tmp_path / "whole")["summary"]
    for job in ("cls-000000", "cls-000002"):
        assert came_to(tmp_path / "run")[job] == came_to(tmp_path / "whole")[job]


def test_an_interruption_while_arms_are_composed_is_no_bad_override(monkeypatch, capsys):
    from cls_sim import __main__ as door
    from cls_sim.config import composer

    plain, calls, strikes = composer.merged, 0, -1

    def struck(old: Any, new: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == strikes:
            signal.raise_signal(signal.SIGINT)
        return plain(old, new)

    monkeypatch.setattr(composer, "merged", struck)
    experiments.read(["experiment=digits"])
    calls, strikes = 0, calls
    assert door.main(["experiment=digits"]) == 130
    assert capsys.readouterr().err == "cls-sim: stopped before the simulation began\n"
