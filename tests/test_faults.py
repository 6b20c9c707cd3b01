"""What goes wrong around a run: full, failing and vanishing disks, crowds, numbers that are none, odd places."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disk import Disk
from faults import FULL, TWO, came_to, count, few_or_many, forked, into, newest, scratch, tiny
from lives import small

import cls_sim as cs
from cls_sim.core.errors import ConfigError, Diverged, StorageError
from cls_sim.core.signals import Interrupted
from cls_sim.life import Life
from cls_sim.running import jobs, runs
from cls_sim.running.finite import FiniteCheck
from cls_sim.storage import checkpoint, run_directory, trace
from cls_sim.storage.trace import Trace

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process")


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


def begun(two, out: Path) -> dict[str, int]:
    """A run that was left in mid-life."""

    def work(say) -> None:
        step = Life.step
        Life.step = lambda life: (
            os.kill(os.getpid(), signal.SIGTERM) or step(life) if life.clock.tick == 20 else step(life)
        )
        runs.perform(into(two, out), quiet=True)

    assert forked(work, out.parent / "log").ends() == 143
    return newest(out)


def good(out: Path, before: dict[str, int]) -> None:
    """No checkpoint that was there is lost, nor any that is there damaged; nothing half-made bears a name."""
    for job, tick in before.items():
        tree, _ = checkpoint.load(out / "checkpoints" / job)
        assert int(tree["clock"]["tick"]) >= tick
    assert not list(out.rglob(".corrupt-*"))


# -- full and failing disks ---------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("limits", few_or_many(4, 10, 50))
def test_a_full_disk_is_exit_3_and_loses_nothing(two, whole, home, figure, limits: int):
    """No file may grow beyond a limit, which lies anywhere; then there is room again."""
    codes = []
    for i, limit in enumerate(np.geomspace(300, 30_000, limits).astype(int).tolist()):
        out = home / f"run{i}"
        before = begun(two, out) if i % 2 else {}

        def work(say, limit=limit, out=out) -> None:
            os.environ["CLS_SIM_SAVE_EVERY"] = "0"
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            runs.perform(into(two, out), quiet=True)

        log = home / "log"
        child = forked(work, log)
        code, said = child.ends(), child.errors()
        codes.append(code)
        assert code in (0, 3), said
        if code:
            assert said.startswith("cls-sim: error: ") and str(out) in said and said.count("\n") == 1, said
        good(out, before)
        runs.perform(into(two, out), quiet=True)
        assert came_to(out) == whole
    assert 3 in codes
    figure(f"{limits} limits ({codes.count(3)} times exit 3): 0 checkpoints lost, {limits} resumed to the same bits")


def failing(after: int, code: int) -> list[int]:
    """From now on, the call to the disk that is the so-many-th, and all that follow, fail; counts them."""
    left = [after]

    def wrapped(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(code, os.strerror(code), str(args[0]))
            return real(*args, **kwargs)

        return call

    for name in ("open", "write", "fsync", "mkdir", "rename", "replace"):
        setattr(os, name, wrapped(getattr(os, name)))

    class File(trace.FileIO):
        write = wrapped(trace.FileIO.write)

    trace.FileIO = File
    return left


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_at_any_call(two, whole, home, figure, code: int):
    chance = random.Random(code)
    for i in range(count(2, 15)):
        out = home / f"run{i}"
        before = begun(two, out)

        def work(say, out=out) -> None:
            os.environ["CLS_SIM_SAVE_EVERY"] = "0"
            failing(chance.randrange(300), code)
            runs.perform(into(two, out), quiet=True)

        child = forked(work, home / "log")
        assert child.ends() == 3, child.errors()
        said = child.errors()
        assert said.startswith("cls-sim: error: ") and os.strerror(code) in said and said.count("\n") == 1, said
        good(out, before)
        runs.perform(into(two, out), quiet=True)
        assert came_to(out) == whole
    figure(f"{errno.errorcode[code]} at {count(2, 15)} calls: exit 3, the same bits afterwards")


def test_a_folder_that_vanishes_is_exit_3(two, home, monkeypatch):
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", "0")
    step = Life.step
    for i, gone in enumerate(("", "trace")):
        out = home / str(i)

        def stepping(life: Life, out=out, gone=gone) -> Any:
            if life.clock.tick == 20:
                shutil.rmtree(out / gone, ignore_errors=True)
            return step(life)

        with monkeypatch.context() as patch, pytest.raises(StorageError) as caught:
            patch.setattr(Life, "step", stepping)
            runs.perform(into(two, out), quiet=True)
        assert caught.value.exit_code == 3 and str(out) in str(caught.value)


def test_a_folder_that_may_not_be_written_to_is_refused_before_the_first_step(two, home):
    shut = home / "shut"
    shut.mkdir()
    mine = home / "mine"
    before = begun(two, mine)
    os.chmod(home, 0o755)

    def work(say, out: Path) -> None:
        Life.step = lambda _: os._exit(77)
        if os.getuid() == 0:
            os.setuid(65534)  # root may write anywhere
        runs.perform(into(two, out), quiet=True)

    for path in [shut, *mine.rglob("*"), mine]:
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    try:
        for out in (shut / "run", mine):
            log = home / f"log-{out.name}"
            log.touch()
            os.chmod(log, 0o666)
            child = forked(lambda say, out=out: work(say, out), log)
            assert child.ends() == 3 and str(out) in child.errors(), child.errors()
    finally:
        for path in [mine, *mine.rglob("*")]:
            os.chmod(path, 0o755)
    good(mine, before)


def test_what_was_not_synced_may_be_lost(two, home, monkeypatch, figure):
    """Power fails at any call: of what was not synced any part is lost, and what is left is a run that can go on."""
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", "0")
    out = home / "run"
    runs.perform(into(tiny("arms=[cls]", "days=1"), out), quiet=True)
    experiment = into(tiny("arms=[cls]", "days=2"), out)
    disk = Disk(home)
    with monkeypatch.context() as patch:
        disk.watch(patch)
        runs.perform(experiment, quiet=True)
    assert len(disk.log) > 100
    seen, chance, states = set(), random.Random(0), 0
    for when in range(0, len(disk.log), max(1, len(disk.log) // count(20, 600))):
        for keep in (lambda: False, lambda: True, lambda: chance.random() < 0.5):
            state = disk.after(when, keep, home / "state")
            left = state / "run" / "checkpoints" / "cls-000000"
            path = state / "run" / "trace" / "cls-000000.jsonl"
            tree, meta = checkpoint.load(left)
            kept = Trace.read(path, rows=meta["rows"])
            assert len(kept) == meta["rows"]
            assert run_directory.record(state / "run")["schema"] == 1
            seen.add(int(tree["clock"]["tick"]))
            shutil.rmtree(state)
            states += 1
    assert len(seen) > 5
    figure(f"power lost in {states} ways over {len(disk.log)} calls: {states} loadable, with their rows")


# -- crowds -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "crowd, rounds", [(20, 20)] if FULL else [(6, 2), pytest.param(20, 2, marks=pytest.mark.claims)]
)
def test_of_many_jobs_in_one_folder_one_proceeds(two, home, figure, crowd: int, rounds: int):
    for turn in range(rounds):
        out = home / f"run{turn}"
        if turn % 2:
            begun(two, out)
        gate, opener = os.pipe()

        def work(say, out=out, gate=gate, opener=opener) -> None:
            os.close(opener)

            def waiting(life: Life) -> None:
                say("alone")
                signal.pause()

            Life.step = waiting
            experiment = into(two, out)
            say("ready")
            os.read(gate, 1)
            runs.perform(experiment, quiet=True)

        children = [forked(work, home / f"log{i}") for i in range(crowd)]
        for child in children:
            child.hears(1)
        os.close(gate)
        os.close(opener)
        end = time.monotonic() + 60
        while sum(_gone(child) for child in children) < crowd - 1 and time.monotonic() < end:
            time.sleep(0.01)
        living = [child for child in children if not _gone(child)]
        assert len(living) == 1 and living[0].hears(2) == ["ready", "alone"]
        for child in children:
            if child not in living:
                assert child.ends() == 2
                said = child.errors()
                held = f"is in use by process {living[0].pid} on {socket.gethostname()}" in said
                assert held or f"out: {out} exists and is not empty" in said  # who comes late need not ask for the lock
                assert said.count("\n") == 1 and str(out) in said
        living[0].signal(signal.SIGKILL)  # its lock is stale
        living[0].ends()
        with run_directory.claimed(out / ".lock"), run_directory.claimed(out / "jobs" / ".cls-000000.lock"):
            pass
    figure(f"{crowd} jobs at once, {rounds} times: one proceeds, {crowd - 1} exit with 2, no lock is left")


def _gone(child: Any) -> bool:
    return child.code is not None or os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_a_lock_names_a_holder_who_signs_late(tmp_path):
    """A lock is taken before it is signed: whoever asks in between is told the name all the same."""
    path = tmp_path / ".lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    signing = threading.Timer(0.2, os.write, (file, b"process 7 on earth\n"))
    signing.start()
    with pytest.raises(ConfigError, match="process 7 on earth"), run_directory.claimed(path):
        pass
    signing.join()
    os.close(file)
    with run_directory.claimed(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert not path.read_text()


def test_a_lock_says_who_and_waits_if_asked(tmp_path):
    path = tmp_path / ".lock"
    with run_directory.claimed(path):
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"), run_directory.claimed(path):
            pass
        assert path.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    held = run_directory.claimed(path)
    held.__enter__()
    timer = threading.Timer(0.3, held.__exit__, (None, None, None))
    timer.start()
    with run_directory.claimed(path, patience=10.0):
        pass
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError), run_directory.claimed(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


# -- numbers that are none ----------------------------------------------------------------------------------

PLACES = ["neocortex.weights", "consolidation.optimizer.mean", "consolidation.optimizer.square"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", few_or_many(4, 10, 50))
def test_a_number_that_is_none_is_found_and_its_owner_named(two, whole, home, monkeypatch, figure, times: int):
    chance, lags = random.Random(times), []
    step = Life.step
    runs.perform(into(two, home / "whole"), quiet=True)
    rows = (home / "whole" / "trace" / "cls-000000.jsonl").read_bytes()
    for i in range(times):
        out, at = home / f"run{i}", chance.randrange(1, 58)
        place, subject = chance.choice(PLACES), chance.randrange(2)
        value = chance.choice([np.nan, np.nan, np.inf, -np.inf])

        def stepping(life: Life, at=at, place=place, subject=subject, value=value) -> Any:
            if life.clock.tick == at:
                found: Any = life
                for name in place.split("."):
                    found = getattr(found, name)
                with torch.no_grad():
                    flat = chance.choice(list(found.values()))[subject].view(-1)
                    flat[chance.randrange(len(flat))] = value
            return step(life)

        monkeypatch.setenv("CLS_SIM_SAVE_EVERY", chance.choice(["0", "60"]))
        with monkeypatch.context() as patch, pytest.raises(Diverged) as caught:
            patch.setattr(Life, "step", stepping)
            runs.perform(into(two, out), quiet=True)
        said = str(caught.value)
        assert caught.value.exit_code == 4 and f"subject {subject} (seed {1000 + subject}) of arm cls" in said, said
        assert said.startswith(("neocortex.weights.", "consolidation.optimizer.")), said
        lags.append(int(said.split("at tick ")[1].split(",")[0]) - at)
        assert lags[-1] <= (2 if "optimizer" in place else 1) or np.isinf(value), (
            said
        )  # a rule's number spoils weights first
        tree, _ = checkpoint.load(out / "checkpoints" / "cls-000000")
        life = small(2)
        FiniteCheck(life).examine({room: tree[room] for room in ("neocortex", "consolidation", "hippocampus")})
        assert rows.startswith((out / "trace" / "cls-000000.jsonl").read_bytes()), "what was read before is good"
        monkeypatch.delenv("CLS_SIM_SAVE_EVERY")
        runs.perform(into(two, out), quiet=True)
        assert came_to(out) == whole, "the last good checkpoint is kept"
    soon = sum(lag <= 1 for lag in lags)
    found = f"{times} found and named, {soon} within one tick, the last after {max(lags)}"
    figure(f"{times} numbers made not finite: {found}")


def test_what_is_not_finite_is_not_saved(two, home, monkeypatch):
    """A memory that is no number is used by nobody yet; the save finds it."""
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", "0")
    step = Life.step

    def stepping(life: Life) -> Any:
        found = step(life)
        if life.clock.tick == 9:
            life.hippocampus.strength[1, 2] = float("nan")
        return found

    monkeypatch.setattr(Life, "step", stepping)
    with pytest.raises(
        Diverged, match=r"hippocampus\.strength: is not finite in subject 1 \(seed 1001\) .* at tick 9,"
    ):
        runs.perform(into(two, home / "run"), quiet=True)
    assert newest(home / "run")["cls-000000"] == 8


def test_a_life_that_learns_too_fast_diverges():
    rate = {"plasticity": cs.Constant(rate=[0.01, 1e6]), "consolidation": cs.Descent(optimizer=cs.Sgd())}
    others = {
        "neocortex": cs.Linear(),
        "hippocampus": cs.NoHippocampus(),
        "rhythm": cs.Sleepless(experiences_per_day=10),
    }
    life = small(2, world=cs.Teacher(items=5, features=10), **rate, **others)
    with pytest.raises(
        Diverged, match=r"neocortex\.weights\.weight0: is not finite in subject 1 \(seed 1\) at tick \d,"
    ):
        cs.run(life, days=5, progress=False)
    assert torch.isfinite(life.neocortex.weights["weight0"][0]).all(), "others are unharmed"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_on_a_gpu_it_is_found_when_probes_look_and_a_run_goes_on_there(two, home, monkeypatch, capsys):
    out = home / "run"
    before = begun(two, out)
    gpu = tiny(*TWO, "device=cuda")
    step = Life.step

    def stepping(life: Life) -> Any:
        found = step(life)
        if life.clock.tick == 25:
            life.neocortex.weights["bias0"].data[0] = float("nan")
        return found

    with monkeypatch.context() as patch, pytest.raises(Diverged, match=r"neocortex\.weights\.\w+: .* in subject 0 "):
        patch.setattr(Life, "step", stepping)
        runs.perform(into(gpu, out), quiet=True)
    assert "device was cpu and is cuda" in capsys.readouterr().err
    good(out, before)
    runs.perform(into(gpu, out), quiet=True)
    assert (out / "summary.json").is_file()


def test_an_infinite_reading_is_divergence_and_nan_is_not():
    def infinite(life: Any) -> torch.Tensor:
        return torch.tensor([1.0, float("inf") if life.clock.tick > 20 else float("nan")])

    life = small(2, probes={"odd": infinite})
    with pytest.raises(Diverged, match=r"probes\.odd: is not finite in subject 1 \(seed 1\)"):
        finite = FiniteCheck(life)
        for moment in life.live():
            finite.read(life.measure(moment))
    assert life.clock.tick > 20


def test_chunks_that_need_not_the_one_that_diverged_are_lived(home, monkeypatch):
    """Of two chunks and two arms: the sound chunk is lived in both arms, what needs the other is left."""
    experiment = tiny(*TWO, "chunk=1")
    step, sound = Life.step, home / "sound"
    runs.perform(into(experiment, sound), quiet=True)

    def stepping(life: Life) -> Any:
        if life.spec.seeds == (1000,) and life.clock.tick == 30:
            life.neocortex.weights["bias0"].data.fill_(float("nan"))
        return step(life)

    monkeypatch.setattr(Life, "step", stepping)
    with pytest.raises(Diverged, match=r"seed 1000\) of arm cls"):
        runs.perform(into(experiment, home / "run"), quiet=True)
    for job in ("cls-000001", "lesioned-000001"):
        mine, its = (json.loads((where / "jobs" / f"{job}.json").read_text()) for where in (home / "run", sound))
        assert mine["fingerprint"] == its["fingerprint"]
        paths = [where / "trace" / f"{job}.jsonl" for where in (home / "run", sound)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not (home / "run" / "trace" / "lesioned-000000.jsonl").exists()


# -- odd places, long lives ---------------------------------------------------------------------------------

ODD = ["with space", "ünïcødé 海馬", "x" * 200, "a'b\"c$d", "-dash", "link", "umask", "clock", "deep/er/still"]


@pytest.mark.parametrize("name", ODD)
def test_odd_places_make_no_difference(home, monkeypatch, name: str):
    experiment = tiny("arms=[cls]", "days=1")
    runs.perform(into(experiment, home / "plain"), quiet=True)
    expected, out = came_to(home / "plain"), home / name
    if name == "link":
        (home / "real").mkdir()
        out.symlink_to(home / "real", target_is_directory=True)
    if name == "clock":  # it is set back by an hour at every look
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: (clock.append(1), now - 3600 * len(clock))[1])
        clock: list[int] = []
    old = os.umask(0o077 if name == "umask" else 0o022)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(jobs.CheckpointedLife, "_fork", _stop_once())
            with pytest.raises(Interrupted):
                runs.perform(into(experiment, out), quiet=True)
        runs.perform(into(experiment, out), quiet=True)
    finally:
        os.umask(old)
    assert came_to(out) == expected


def _stop_once() -> Any:
    def fork(kept: jobs.CheckpointedLife, ended: bool = False) -> None:
        if kept.life.clock.tick == 5:
            raise Interrupted("SIGTERM")

    return fork


@pytest.mark.timeout(3600)
@pytest.mark.claims
def test_a_long_life_does_not_grow(figure):
    """Memory, open files and threads, over ticks and over runs in one process."""
    ticks, runs_ = count(3000, 20_000), count(10, 100)
    life = small(
        1, world=cs.Digits(per_context=ticks, batch=4), rhythm=cs.Nights(experiences_per_day=10, steps_per_night=10)
    )
    for _ in range(500):
        life.step()
    before = _memory()
    for _ in range(ticks):
        life.step()
    slope = (_memory() - before) / ticks
    assert slope < 1024
    with scratch() as home:
        experiment = tiny("arms=[cls]", "days=1")
        runs.perform(into(experiment, home / "first"), quiet=True)
        open_, threads, memory = len(os.listdir("/proc/self/fd")), threading.active_count(), _memory()
        for i in range(runs_):
            runs.perform(into(experiment, home / f"run{i}"), quiet=True)
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (open_, threads)
        more = _memory() - memory
        assert more < 64 * 2**20
    each = f"{more / runs_ / 1024:.0f} KiB a run over {runs_}, open files and threads +0"
    figure(f"{slope:.0f} bytes a tick over {ticks} ticks; {each}")


def _memory() -> int:
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("this system does not tell how large a process is")
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
