"""A run goes on where it was: killed anywhere, its checkpoints damaged, its length raised; never silently from zero."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import TINY, TWO, Campaign, came_to, count, few_or_many, forked, into, newest, plain, scratch, tell, tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lives import live, small

import cls_sim as cs
from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError
from cls_sim.core.signals import Interrupted
from cls_sim.life import Life
from cls_sim.running import jobs, runs
from cls_sim.storage import checkpoint, disk, run_directory
from cls_sim.storage.trace import Trace

FIXTURES = Path(__file__).parent / "fixtures"
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process")


@pytest.fixture(scope="module")
def two() -> experiments.Experiment:
    return tiny(*TWO)


@pytest.fixture(scope="module")
def done(two):
    """A run that is finished: tests look at it, or leave it as it was."""
    with scratch() as where:
        runs.perform(into(two, where / "run"), quiet=True)
        yield where / "run"


@pytest.fixture(scope="module")
def whole(done) -> dict[str, Any]:
    """What a run comes to if nothing happens to it."""
    return came_to(done)


@pytest.fixture
def home():
    with scratch() as where:
        yield where


def stopped(experiment: experiments.Experiment, out: Path, at: int, monkeypatch: pytest.MonkeyPatch, every: str = "0"):
    """The run, left at this tick of its first life as by a signal, with a checkpoint at every tick."""
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", every)
    step = Life.step

    def stopping(life: Life) -> Any:
        if life.clock.tick == at:
            raise Interrupted("SIGTERM")
        return step(life)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Life, "step", stopping)
        runs.perform(into(experiment, out), quiet=True)
    return out


def gone_on(experiment: experiments.Experiment, out: Path) -> dict[str, Any]:
    runs.perform(into(experiment, out), quiet=True)
    return came_to(out)


# -- killed -------------------------------------------------------------------------------------------------


@forks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", few_or_many(6, 20, 200))
def test_killed_anywhere_it_comes_to_the_same_bits(two, home, figure, kills: int):
    """State, trace, reports and summary after kill -9, a third of the kills within a save, as if nothing had been."""
    campaign = Campaign(two, home, seed=kills)
    campaign.run(kills)
    where = Counter(campaign.where)
    in_save = sum(n for place, n in where.items() if place.startswith("in save"))
    lived = {place: where[place] for place in ("wake", "night", "exam")}
    print(f"{sum(where.values())} kills: {dict(where.most_common())}")
    assert not campaign.wrong
    assert in_save >= kills // 3 and "before" not in where, "a third within a save, none in imports"
    assert kills < 20 or all(lived.values())
    words = {"wake": "awake", "night": "asleep", "exam": "in an evaluation"}
    places = ", ".join([f"{in_save} in a save", *(f"{n} {words.get(place, place)}" for place, n in lived.items())])
    kinds = f"{places}, the rest between these; 0 during imports"
    figure(f"{sum(where.values())} kills ({kinds}): 0 different results, 0 restarts from the beginning")


def write_in_place() -> None:
    """A saver as many are: one file, written over the old one, and nothing checked."""
    load = checkpoint.load

    def saving(where: Path, tree: Any, meta: Any) -> Path:
        if "fork-" in where.name:
            return real(where, tree, meta)
        state, kinds = checkpoint._packed(tree)
        where.mkdir(parents=True, exist_ok=True)
        file = os.open(where / "tick-000000000", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for part in (json.dumps([meta, kinds]).encode() + b"\n", state[: len(state) // 2], state[len(state) // 2 :]):
            os.write(file, part)
        os.close(file)
        return where / "tick-000000000"

    def loading(where: Path, aside: Any = None) -> Any:
        if "fork-" in where.name:
            return load(where, aside)
        head, _, state = (where / "tick-000000000").read_bytes().partition(b"\n")
        meta, kinds = json.loads(head)
        return checkpoint._unpacked(state, kinds), meta

    real, checkpoint.save, checkpoint.load = checkpoint.save, saving, loading


def forget_the_rule() -> None:
    """A saver that leaves out the memory of the learning rule."""
    load = Life.load

    def loading(life: Life, tree: Any) -> None:
        load(life, tree | {"consolidation": copy.deepcopy(life.consolidation.state())})

    Life.load = loading


def leave_rows() -> None:
    """A resumption that leaves the trace as it is."""
    Trace.cut = lambda trace, rows: None  # pyright: ignore
    init = Trace.__init__
    Trace.__init__ = lambda trace, path=None, *, rows=None: init(trace, path)


@forks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("worse", [write_in_place, forget_the_rule, leave_rows])
def test_the_kills_find_a_naive_saver(two, home, figure, worse):
    campaign = Campaign(two, home, seed=1, change=worse, loads=worse is not write_in_place)
    campaign.run(count(30, 60), each=3, enough=1)
    assert campaign.wrong, f"{len(campaign.where)} kills found nothing: {campaign.where}"
    figure(f"{worse.__name__.replace('_', ' ')}: found after {len(campaign.where)} kills")


@forks
def test_killed_before_its_first_checkpoint_it_begins(two, whole, home):
    out = home / "run"

    def work(say) -> None:
        checkpoint.save = lambda *_: os._exit(9)
        runs.perform(into(two, out), quiet=True)

    assert forked(work, home / "log").ends() == 9
    assert (out / "run.json").is_file() and not newest(out)
    assert gone_on(two, out) == whole


@forks
@pytest.mark.parametrize("name", ["run.json", "config.yaml", "environment.json"])
def test_killed_while_the_folder_is_made(two, home, name: str):
    out = home / "run"

    def work(say) -> None:
        put = disk.put
        disk.put = lambda path, *data, **how: os._exit(9) if path.name == name else put(path, *data, **how)
        runs.perform(into(two, out), quiet=True)

    assert forked(work, home / "log").ends() == 9
    runs.perform(into(two, out), quiet=True)
    assert came_to(out)["summary"]["experiment"] == "digits"


# -- damaged ------------------------------------------------------------------------------------------------


def spoil(path: Path) -> None:
    data = bytearray((path / checkpoint.STATE).read_bytes())
    data[len(data) // 2] ^= 1
    (path / checkpoint.STATE).write_bytes(data)


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(two, whole, home, monkeypatch, capsys):
    out = stopped(two, home / "run", 20, monkeypatch)
    newest_, _ = checkpoint.found(out / "checkpoints" / "cls-000000")
    spoil(newest_)
    capsys.readouterr()
    assert gone_on(two, out) == whole
    said = [line for line in capsys.readouterr().err.splitlines() if "set aside" in line]
    assert len(said) == 1 and newest_.name in said[0] and said[0].startswith("cls-sim: warning: ")


def test_none_left_is_refused_and_never_a_start_from_zero(two, home, monkeypatch, capsys):
    out = stopped(two, home / "run", 20, monkeypatch)
    for path in checkpoint.found(out / "checkpoints" / "cls-000000"):
        spoil(path)
    trace = (out / "trace" / "cls-000000.jsonl").read_bytes()
    for _ in range(2):  # and once more, when the damaged ones are no longer there to be seen
        with pytest.raises(ConfigError) as caught:
            runs.perform(into(two, out), quiet=True)
        assert caught.value.exit_code == 2 and "cls-000000" in str(caught.value)
    shutil.rmtree(out / "checkpoints" / "cls-000000")
    with pytest.raises(ConfigError, match="has no checkpoint"):
        runs.perform(into(two, out), quiet=True)
    assert (out / "trace" / "cls-000000.jsonl").read_bytes() == trace


def test_a_lost_trace_is_refused(two, home, monkeypatch):
    out = stopped(two, home / "run", 20, monkeypatch)
    (out / "trace" / "cls-000000.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"cls-000000\.jsonl: is missing"):
        runs.perform(into(two, out), quiet=True)
    assert newest(out)["cls-000000"] == 20


def test_damage_behind_the_saved_rows_does_not_matter_and_within_them_is_named(two, whole, home, monkeypatch):
    out = stopped(two, home / "run", 20, monkeypatch)
    trace = out / "trace" / "cls-000000.jsonl"
    good = trace.read_bytes()
    again = shutil.copytree(out, home / "again")
    trace.write_bytes(good + b'{"moment":"day.end"\n' + good[:50])
    assert gone_on(two, out) == whole
    lines = good.splitlines(keepends=True)
    (again / "trace" / "cls-000000.jsonl").write_bytes(lines[0] + lines[1].replace(b"0", b"1", 1) + b"".join(lines[2:]))
    with pytest.raises(ConfigError, match=r"cls-000000\.jsonl:2: the line fails its checksum"):
        runs.perform(into(two, again), quiet=True)
    (again / "trace" / "cls-000000.jsonl").write_bytes(b"".join(lines[:-2]))
    with pytest.raises(ConfigError, match="rows"):
        runs.perform(into(two, again), quiet=True)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_refused(two, done, home, text: bytes):
    out = shutil.copytree(done, home / "run")
    (out / "jobs" / "cls-000000.json").write_bytes(text)  # a report is made again
    assert gone_on(two, out)
    (out / "run.json").write_bytes(text)
    with pytest.raises(ConfigError, match=r"run\.json"):
        runs.perform(into(two, out), quiet=True)
    with pytest.raises(ConfigError, match=r"run\.json"):
        run_directory.resumed([f"resume={out}"])


def test_a_checkpoint_of_something_else_is_refused(two, home, monkeypatch):
    out = stopped(two, home / "run", 20, monkeypatch)
    here = out / "checkpoints" / "cls-000000"
    tree, meta = checkpoint.load(here)
    for tick, (odd, said) in enumerate(
        [
            ((tree, {}), "does not fit"),
            ((tree, meta | {"rows": -1}), "rows"),
            ((tree, meta | {"unseen": [["x"]]}), "does not fit"),
            (({"clock": tree["clock"]}, meta), "does not fit"),
            ((tree | {"neocortex": {"weights": {}}}, meta), "does not fit"),
            ((small(3).state(), meta), "does not fit"),
        ]
    ):
        clock = odd[0]["clock"] | {"tick": np.array(30 + tick)}
        checkpoint.save(here, odd[0] | {"clock": clock}, odd[1])
        with pytest.raises(ConfigError, match=said):
            runs.perform(into(two, out), quiet=True)


# -- changed ------------------------------------------------------------------------------------------------


CHANGES = {
    "seed": st.integers(0, 99),
    "hippocampus.capacity": st.integers(1, 9),
    "world.per_context": st.integers(7, 20),
    "world.scenario": st.sampled_from(["domain", "task"]),
    "plasticity.wake_rate": st.floats(0.01, 1.0),
    "rhythm.steps_per_night": st.integers(7, 30),
    "replay.batch": st.integers(1, 16),
    "chunk": st.integers(1, 1),
    "subjects": st.integers(3, 9),
    "neocortex.bias": st.just("false"),
}


@settings(max_examples=count(6, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3, unique=True), st.data())
def test_what_decides_the_results_may_not_change(done, figure, keys: list[str], data):
    """Whatever is changed is named, in any number; nothing is touched."""
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()}
    given_ = [f"{key}={data.draw(CHANGES[key])}" for key in keys]
    experiment = experiments.read(run_directory.resumed([f"resume={done}", *given_]))
    with pytest.raises(ConfigError) as caught:
        runs.perform(experiment, quiet=True)
    assert caught.value.exit_code == 2
    for key in keys:
        assert key in caught.value.key, (key, str(caught.value))
    after = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == {path: time for path, time in before.items() if path.name != ".lock"}
    figure(f"{count(6, 200)} changes: every key named, nothing touched")


def test_what_may_change_may_change(done):
    before = came_to(done)
    for change in ("workers=1", "debug=true", "engine=local", "device=cpu", "days=5", "seed=1000", TINY[2]):
        runs.perform(plain(experiments.read(run_directory.resumed([f"resume={done}", change]))), quiet=True)
        assert came_to(done)["summary"] == before["summary"]


def test_another_machine_is_said_and_not_refused(done, capsys):
    told = json.loads((done / "environment.json").read_text())
    for key, value in {"torch": "1.0", "cls_sim": "0.0.9", "threads": 4, "processor": "6502", "device": "cuda"}.items():
        disk.write(done / "environment.json", told | {key: value})
        capsys.readouterr()
        runs.perform(into(tiny(*TWO), done), quiet=True)
        said = [line for line in capsys.readouterr().err.splitlines() if "bit-identical" in line]
        assert len(said) == 1 and f"{key} was {value}" in said[0]
    disk.write(done / "environment.json", told)
    capsys.readouterr()
    runs.perform(into(tiny(*TWO), done), quiet=True)
    assert "bit-identical" not in capsys.readouterr().err


def test_a_newer_run_is_refused(done):
    told = json.loads((done / "run.json").read_text())
    disk.write(done / "run.json", told | {"schema": 2, "version": "9.9"})
    try:
        with pytest.raises(ConfigError, match=r"made by cls_sim 9\.9 \(schema 2\)"):
            run_directory.resumed([f"resume={done}"])
    finally:
        disk.write(done / "run.json", told)


def test_a_longer_life_is_the_one_lived_at_once_and_a_shorter_one_is_refused(home):
    arms = ["arms=[lesioned,buffer_only]", "arm.lesioned.branch_at=2d"]
    runs.perform(into(tiny(*arms, "days=4"), home / "whole"), quiet=True)
    for days in (1, 2, 3, 4):  # on the first day, nobody is lesioned before the end
        runs.perform(into(tiny(*arms, f"days={days}"), home / "run"), quiet=True)
    assert came_to(home / "run") == came_to(home / "whole")
    assert json.loads((home / "run" / "run.json").read_text())["resumed"] == 3
    assert run_directory.resumed([f"resume={home / 'run'}"]).count("days=4") == 1
    with pytest.raises(ConfigError, match="days: 3 is less than the present age of cls-000000; give 4 or more"):
        runs.perform(into(tiny(*arms, "days=3"), home / "run"), quiet=True)
    assert came_to(home / "run") == came_to(home / "whole")


# -- every part at every edge -------------------------------------------------------------------------------


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


PARTS = {
    "sparse_adam": {"hippocampus": lambda: cs.Sparse(capacity=12, units=60, winners=5, fade=0.02)},
    "blend": {"hippocampus": lambda: cs.Sparse(capacity=12, units=60, winners=5, learning_rate=0.5, merge=0.5)},
    "store_momentum": {
        "hippocampus": lambda: cs.Store(capacity=12, eviction="reservoir"),
        "consolidation": lambda: cs.Descent(optimizer=cs.Momentum()),
    },
    "ring_sgd": {
        "hippocampus": lambda: cs.Store(capacity=12, eviction="ring"),
        "consolidation": lambda: cs.Descent(optimizer=cs.Sgd(), reduction="sum", objective=cs.DistillationLoss()),
        "replay": lambda: cs.OldNew(batch=8),
    },
    "interleaved": {
        "replay": lambda: cs.Interleaved(cs.Recent(batch=8)),
        "rhythm": lambda: cs.Naps(experiences_per_day=6, experiences_between_naps=4, steps_per_nap=3),
    },
    "everything_linear": {"neocortex": lambda: cs.Linear(bias=True), "replay": lambda: cs.FullBatch()},
    "context_nights": {
        "rhythm": lambda: cs.ContextNights(experiences_per_day=6, steps_per_night=5),
        "replay": lambda: cs.Shuffled(cs.Uniform()),
    },
    "lesion": {"hippocampus": lambda: cs.Lesion(cs.Store(capacity=12), fraction=0.5)},
    "sleepless": {"rhythm": lambda: cs.Sleepless(experiences_per_day=6), "hippocampus": lambda: cs.NoHippocampus()},
    "module": {
        "neocortex": lambda: cs.Module(module=lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
    },
}


def life_of(name: str) -> cs.Life:
    return small(2, world=cs.Digits(per_context=4, batch=4), **{room: make() for room, make in PARTS[name].items()})


@pytest.mark.parametrize("name", PARTS)
def test_every_part_goes_on_bit_for_bit_from_every_edge(name: str, home):
    """First, last and edges of phases; through the disk, and twice; the whole state at the end."""
    life, edges, asleep = life_of(name), [0, 1], False
    while not life.over:
        life.step()
        if bool(life.clock.asleep[0]) != asleep:
            asleep, edges = not asleep, [*edges, life.clock.tick - 1, life.clock.tick, life.clock.tick + 1]
    whole, last = jobs.fingerprint(life.state()), life.clock.tick
    chosen = sorted({edge for edge in (*edges[:5], *edges[-2:], last // 2, last - 1, last) if edge <= last})
    saved = life_of(name)
    for tick in chosen:
        live(saved, tick)
        checkpoint.save(home / str(tick), saved.state(), {})
        again = life_of(name)
        again.load(checkpoint.load(home / str(tick))[0])
        live(again, tick + 2)
        checkpoint.save(home / f"{tick}-2", again.state(), {})
        third = life_of(name)
        third.load(checkpoint.load(home / f"{tick}-2")[0])
        assert jobs.fingerprint(live(third).state()) == whole, tick


def test_a_field_that_is_left_out_is_found():
    """Every leaf of the state matters: without it, a life cannot go on, or goes on otherwise."""
    life = live(life_of("sparse_adam"), 10)
    tree, whole = copy.deepcopy(life.state()), jobs.fingerprint(live(life).state())
    assert _ends(tree) == whole
    for path in _paths(tree):
        fresh = _at(life_of("sparse_adam").state(), path)
        if not torch.equal(torch.as_tensor(fresh), torch.as_tensor(_at(tree, path))):
            assert _ends(_with(tree, path, fresh)) != whole, path


def _ends(tree: dict) -> str:
    life = life_of("sparse_adam")
    try:
        life.load(copy.deepcopy(tree))
        return jobs.fingerprint(live(life, 200).state())
    except (ConfigError, RuntimeError, IndexError, ValueError):
        return "cannot"


def _paths(tree: dict, above: tuple = ()) -> list[tuple]:
    return [p for k, v in tree.items() for p in (_paths(v, (*above, k)) if isinstance(v, dict) else [(*above, k)])]


def _at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _with(tree: dict, path: tuple, value: Any) -> dict:
    return tree | {path[0]: value if len(path) == 1 else _with(tree[path[0]], path[1:], value)}


# -- earlier versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()))
def test_checkpoints_of_released_versions_load(version: str, home):
    """What was saved then is read bit for bit, and the life that it is of goes on (tests/fixtures/README.md)."""
    told = json.loads((FIXTURES / version / "expected.json").read_text())
    shutil.copytree(FIXTURES / version / "run", home / "run")
    tree, meta = checkpoint.load(home / "run" / "checkpoints" / "cls-000000")
    assert (jobs.fingerprint(tree), meta["rows"]) == (told["fingerprint"], told["rows"])
    assert len(Trace.read(home / "run" / "trace" / "cls-000000.jsonl", rows=meta["rows"])) == told["rows"]
    cfg = run_directory.record(home / "run")["arms"]["cls"] | {"device": "cpu"}
    life = experiments.make_life(cfg, cfg["subjects"], cfg["seed"])
    life.load(tree)
    assert live(life, told["tick"] + 10).clock.tick == told["tick"] + 10


def test_this_version_has_its_fixture():
    assert (FIXTURES / cs.__version__).is_dir() or cs.__version__.endswith("dev")


def test_the_hooks_that_kills_are_timed_by_see_every_kind_of_place(two, home, monkeypatch):
    monkeypatch.setenv("CLS_SIM_SAVE_EVERY", "0")
    child = forked(lambda say: (tell(say), runs.perform(into(two, home / "run"), quiet=True)), home / "log")
    assert child.ends() == 0, child.errors()
    places = {word.split()[0] for word in child.hears(0)}
    assert places == {"begun", "wake", "night", "exam", "save", "saved", "fork", "report"}
