"""cls-sim choose: chooses on validation and seeds below 1000, reports on fresh seeds, keeps, continues, writes a preset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cls_sim.__main__ import main
from cls_sim.commands.choose import settings, trials
from cls_sim.commands.choose.trials import Bench, Stopped, split_of
from cls_sim.config import experiments

DIGITS = [
    "experiment=digits",
    "size=small",
    "world.per_context=12",
    "rhythm.experiences_per_day=6",
    "rhythm.steps_per_night=4",
]
CAPACITY = "over=hippocampus.capacity=5,10,20,40"


class Pretended:
    """In place of lives: a reading that grows with the capacity up to 20; notes who was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.asked: list[tuple[tuple[str, ...], int, int, bool]] = []
        monkeypatch.setattr(Bench, "live", lambda _, *args, **how: self.live(*args, **how))
        monkeypatch.setattr(Bench, "together", lambda *_: None)

    def live(self, setting: tuple[str, ...], seed: int, subjects: int, *, validating: bool = True) -> np.ndarray:
        self.asked.append((setting, seed, subjects, validating))
        size = next((int(one.split("=")[1]) for one in setting if "capacity" in one), 15)
        return -abs(size - 20) / 100 + np.arange(subjects) / 1000 + 0.5


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "choice.json").read_text())


def test_the_best_on_validation_is_reported_on_fresh_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    lives = Pretended(monkeypatch)
    assert main(["choose", *DIGITS, "arm=cls", CAPACITY, "fresh=5", f"out={tmp_path}/a b"]) == 0
    assert [asked[1:] for asked in lives.asked] == [(0, 4, True)] * 4 + [(1000, 5, False)] * 2
    assert [asked[0] for asked in lives.asked[-2:]] == [("hippocampus.capacity=20",), ()]
    found = told(tmp_path / "a b")
    assert found["chosen"] == ["hippocampus.capacity=20"] and found["fresh"]["difference"] == pytest.approx(0.05)
    assert found["split"] == ["world.eval_split=validation", "world.validation=0.1"] and len(found["trials"]) == 4
    assert "difference +0.0500" in capsys.readouterr().out
    (arm,) = experiments.read(["experiment=digits", "method=chosen"], [f"{tmp_path}/a b/conf"]).arms.values()
    assert arm.cfg["hippocampus"]["capacity"] == 20 and arm.cfg["hippocampus"]["_target_"] == "cls_sim.Sparse"
    assert main(["choose", *DIGITS, "arm=cls", CAPACITY, "goal=least", f"out={tmp_path}/least"]) == 0
    assert told(tmp_path / "least")["chosen"] == ["hippocampus.capacity=40"]


def test_halving_gives_the_better_half_new_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lives = Pretended(monkeypatch)
    assert main(["choose", *DIGITS, "arm=cls", CAPACITY, "how=halving", "subjects=3", f"out={tmp_path}/x"]) == 0
    assert [asked[1] for asked in lives.asked if asked[3]] == [0] * 4 + [3] * 2
    assert sorted(len(one["values"]) for one in told(tmp_path / "x")["trials"]) == [3, 3, 6, 6]


@pytest.mark.parametrize(
    ("arm", "over", "place", "values"),
    [
        ("exact", "hippocampus.capacity=20,30", ("hippocampus", "capacity"), [20, 30]),  # its own: 50
        ("exact", "hippocampus.eviction=balanced,ring", ("hippocampus", "eviction"), ["balanced", "ring"]),
        ("wake_replay", "rhythm.steps_per_nap=3,7", ("rhythm", "steps_per_nap"), [3, 7]),
        ("joint", "world.order=iid,sharp", ("world", "order"), ["iid", "sharp"]),
    ],
)
def test_a_searched_value_wins_over_the_arms_own(
    arm: str, over: str, place: tuple[str, str], values: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lived: list[Any] = []

    def live(bench: Bench, setting: Any, seed: int, subjects: int, *, validating: bool = True) -> np.ndarray:
        read = experiments.read(bench.overrides(setting, seed, subjects, validating=validating))
        again = experiments.read(read.overrides)  # as a resumed run reads them
        assert again.arms[arm].cfg == read.arms[arm].cfg and list(read.arms) == [arm]
        lived.append(read.arms[arm].cfg[place[0]][place[1]])
        return np.arange(subjects) / 100 + len(lived)

    monkeypatch.setattr(Bench, "live", live)
    monkeypatch.setattr(Bench, "together", lambda *_: None)
    own = experiments.read(["experiment=digits", f"arms=[{arm}]"]).arms[arm].cfg
    assert main(["choose", "experiment=digits", f"arm={arm}", f"over={over}", f"out={tmp_path}/x"]) == 0
    assert lived == [*values, values[-1], own[place[0]][place[1]]]
    chosen = experiments.read(["experiment=digits", "method=chosen"], [f"{tmp_path}/x/conf"]).arms["chosen"].cfg
    assert chosen[place[0]] == own[place[0]] | {place[1]: values[-1]}


def test_random_settings_lie_in_their_ranges_and_do_not_depend_on_the_day():
    over = ["a=0.001..0.1", "b=50..400", "c=x,y"]
    found = settings.some(over, 30)
    assert len(set(found)) == 30 and found == settings.some(over, 30)
    a, b = ([float(one[i].split("=")[1]) for one in found] for i in (0, 1))
    assert min(a) >= 0.001 and max(a) <= 0.1 and np.median(a) < 0.05, "on a logarithmic scale"
    assert all(50 <= value <= 400 and value == int(value) for value in b)
    assert len(settings.some(["c=x,y"], 30)) == 2


def test_numbers_per_subject_live_as_one_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def live(_: Any, setting: Any, seed: int, subjects: int, **how: Any) -> np.ndarray:
        asked.append((setting, seed, subjects))
        return np.arange(subjects, dtype=float)

    monkeypatch.setattr(Bench, "live", live)
    bench = Bench(tuple(DIGITS), "cls", (), None, tmp_path, (), "")
    rates = [("plasticity.night_rate=0.001",), ("plasticity.night_rate=0.003",)]
    found = bench.together(rates, 7, 2)
    assert found is not None and [list(one) for one in found] == [[0, 1], [2, 3]]
    assert asked == [(("plasticity.night_rate=[0.001,0.001,0.003,0.003]",), 7, 4)]
    assert bench.together([("hippocampus.capacity=5",), ("hippocampus.capacity=9",)], 0, 2) is None, (
        "a size, the same for all"
    )
    assert bench.together(rates, 997, 2) is None, "seeds from 1000 are for the report"
    assert trials.joint([("a=x",), ("a=y",)], 2) is None


def test_a_world_without_validation_data_is_told(tmp_path: Path):
    assert split_of({"_target_": "x", "inner": {"eval_split": "test", "validation": 0.2}}) == (
        "world.inner.eval_split=validation",
    )
    assert split_of({"_target_": "x"}) == ()


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def stop(*_: Any, **__: Any) -> Any:
        raise Stopped("SIGTERM", "a b")

    monkeypatch.setattr(Bench, "together", lambda *_: None)
    monkeypatch.setattr(Bench, "live", stop)
    command = ["choose", *DIGITS, "arm=cls", CAPACITY, f"out={tmp_path}/x"]
    assert main(command) == 143 and "repeat the command with 'out=a b'" in capsys.readouterr().err
    lives = Pretended(monkeypatch)
    assert main(command) == 0 and len(lives.asked) == 6


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["experiment=digits"], "over: is missing"),
        (["experiment=digits", "over=seed"], "is no choice"),
        (["experiment=digits", "over=hippocampus.capacity=1..9"], "is a range"),
        (["experiment=digits", "over=hippocampus.capacity=9..1", "how=random"], "is no range"),
        (["experiment=digits", "over=hippocampus.capacity=1,1"], "has a value twice"),
        (["experiment=digits", "over=hippocampus.capacty=1,2"], "did you mean"),
        (["experiment=digits", "over=hippocampus.capacity=1,x"], "hippocampus.capacity"),
        (["experiment=digits", "arm=sleepless", "over=hippocampus.capacity=1,2"], "hippocampus"),
        (["experiment=digits", "arm=lesioned", "over=replay.batch=1,2"], "is a branch of cls"),
        (["experiment=digits", CAPACITY, "seed=1000"], "must be below 1000"),
        (["experiment=digits", CAPACITY, "first=7"], "must be below 1000"),
        (["experiment=digits", CAPACITY, "subjects=x"], "is not a whole number"),
        (["experiment=digits", CAPACITY, "how=best"], "how"),
        (["experiment=digits", CAPACITY, "preset=../x"], "is not a name"),
        (["experiment=digits", "over=a=" + ",".join(map(str, range(3000)))], "more than 2000"),
    ],
)
def test_bad_input_is_one_line(args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["choose", *args]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err and not list(tmp_path.iterdir())


@pytest.mark.claims
def test_a_search_lives(tmp_path: Path, capsys: pytest.CaptureFixture):
    command = [
        "choose",
        *DIGITS,
        "arm=cls",
        "over=plasticity.night_rate=0.0001,0.01",
        "subjects=2",
        "fresh=5",
        f"out={tmp_path}/x",
    ]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert told(tmp_path / "x")["chosen"] == ["plasticity.night_rate=0.01"]
    assert len(list((tmp_path / "x" / "validation").iterdir())) == 1, "both in one cohort"
    assert main(command) == 0 and capsys.readouterr().out == first, "nothing is lived again"
