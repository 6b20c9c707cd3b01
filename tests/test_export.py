"""Ways out: tidy tables, finished runs, plain PyTorch networks."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import cls_sim as cs
from cls_sim.__main__ import main
from tests.lives import live, small

ASKED = [
    "experiment=digits",
    "size=small",
    "subjects=3",
    "chunk=2",
    "arms=[cls,sleepless,lesioned]",
    "world.per_context=12",
]
ASKED += ["rhythm.experiences_per_day=12", "rhythm.steps_per_night=20", "arm.lesioned.branch_at=2d"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three arms, one of which branches, in two chunks."""
    place = tmp_path_factory.mktemp("runs") / "run"
    assert main([*ASKED, f"out={place}"]) == 0
    return place


# -- tables ---------------------------------------------------------------------------------------------------


def test_a_trace_is_a_tidy_table(tmp_path: Path):
    trace = cs.run(small(2, probes={"accuracy": cs.Accuracy(), "day": lambda life: life.clock.day}), progress=False)
    table = trace.to_pandas()
    assert list(table.columns) == ["subject", "day", "tick", "moment", "reading", "context", "value"]
    last = table[(table.reading == "accuracy") & (table.moment == "life.end")]
    assert np.array_equal(last.pivot(index="subject", columns="context", values="value"), trace.last("accuracy"))
    assert table[table.reading == "day"].context.isna().all()
    with trace.to_csv(tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(table)
    assert [float(row["value"]) for row in rows] == table.value.tolist()


def test_subjects_that_did_not_reach_a_moment_are_not_in_the_table():
    rhythm = cs.Pressure(
        experiences_per_day=6, rise_per_experience=0.3, error_gain=0.3, novelty_gain=0.3, fall_per_step=0.2
    )
    trace = cs.run(small(4, rhythm=rhythm, probes={"accuracy": cs.Accuracy().at("night.end")}), progress=False)
    assert len(trace.to_pandas()) == 5 * sum(int(row.get("who", np.ones(4, bool)).sum()) for row in trace.rows)


def test_without_pandas_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    trace = cs.run(small(1, probes={"accuracy": cs.Accuracy()}), progress=False, days=1)
    with pytest.raises(cs.ConfigError, match=r"to_csv\(path\)"):
        trace.to_pandas()


# -- finished runs --------------------------------------------------------------------------------------------


def test_a_finished_run_is_what_was_run(folder: Path):
    run = cs.open_run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert set(run.traces) == set(run.config) == {"cls", "sleepless", "lesioned"}
    assert run.readings["cls"]["accuracy"].tolist() == summary["arms"]["cls"]["readings"]["accuracy"]["per_subject"]
    assert [claim["name"] for claim in run.summary["claims"]] == [claim["name"] for claim in summary["claims"]]
    assert set(run.to_pandas().arm) == set(run.config)
    assert run.config["sleepless"]["rhythm"]["_target_"] == "cls_sim.Sleepless"
    assert run.figure("first_life") is not None
    assert "hippocampus and replay beat the cortex alone" in repr(run)


@pytest.mark.parametrize("arm", ["cls", "sleepless", "lesioned"])
def test_the_weights_of_a_subject_come_as_a_plain_network(folder: Path, arm: str):
    run = cs.open_run(folder)
    for subject in range(3):
        life = run.life(arm, subject)
        net = run.module(arm, subject)
        right, asked = [], []
        for k in range(5):
            batch = life.world.evaluation(k)
            i = subject % 2
            there = batch.present()[i]
            right.append(float((net(batch.x[i]).argmax(1) == batch.y[i])[there].float().mean()))
            asked.append(run.traces[arm].last("accuracy")[subject, k])
        assert np.allclose(right, asked, atol=1e-6)


def test_exporting_writes_what_other_programs_read(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    assert main(["export", str(folder), f"out={tmp_path / 'there'}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"export: {tmp_path / 'there'}"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before
    state = load_file(tmp_path / "there" / "weights" / "cls-2.safetensors")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net.load_state_dict(state)
    assert len(list((tmp_path / "there" / "weights").iterdir())) == 9
    assert len((tmp_path / "there" / "table.csv").read_text().splitlines()) == 1 + len(cs.open_run(folder).to_pandas())


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda place: shutil.rmtree(place), "is not a run directory"),
        (lambda place: (place / "summary.json").unlink(), "is not finished"),
        (lambda place: (place / "trace" / "cls-000000.jsonl").unlink(), "there is no such trace"),
        (lambda place: shutil.rmtree(place / "checkpoints" / "cls-000000"), "checkpoint"),
    ],
)
def test_what_is_no_finished_run_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], break_it, said: str
):
    place = tmp_path / "copy"
    shutil.copytree(folder, place)
    break_it(place)
    assert main(["export", str(place), f"out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cls-sim") and said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "said"), [([], ""), (["a", "b"], "name one run directory"), (["a", "--what"], "is not an option")]
)
def test_wrong_arguments_of_export(args: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["export", *args]) == (2 if args else 0)
    assert said in capsys.readouterr().err


def test_unknown_arms_and_subjects_are_refused(folder: Path):
    run = cs.open_run(folder)
    with pytest.raises(cs.ConfigError, match="did you mean cls"):
        run.life("cl")
    with pytest.raises(cs.ConfigError, match="subject"):
        run.life("cls", 3)


# -- plain PyTorch --------------------------------------------------------------------------------------------


CORTICES = {
    "mlp": lambda: cs.Mlp(hidden=[12, 8], activation="tanh"),
    "no bias": lambda: cs.Mlp(hidden=[12], bias=False),
    "linear": lambda: cs.Linear(),
    "deep linear": lambda: cs.Mlp(hidden=[6], activation="linear"),
    "module": lambda: cs.Module(
        module=lambda: nn.Sequential(nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 10))
    ),
    "cnn": lambda: cs.Cnn4(channels=[2, 2, 2, 2]),
}


@pytest.mark.parametrize("name", CORTICES)
def test_a_network_goes_out_and_comes_back(name: str):
    life = live(small(2, neocortex=CORTICES[name]()), 20)
    x = life.world.evaluation(0).x
    for i in range(2):
        assert torch.allclose(life.neocortex.to_module(i)(x[i]), life.neocortex.scores(x)[i], atol=1e-5)
    x = x[1:].expand_as(x)
    other = small(2, 7, neocortex=CORTICES[name]())
    other.neocortex.load_state_dict(life.neocortex.state_dict(1), subject=0)
    assert torch.allclose(other.neocortex.scores(x)[0], life.neocortex.scores(x)[1], atol=1e-5)
    assert not torch.allclose(other.neocortex.scores(x)[1], life.neocortex.scores(x)[1], atol=1e-5)
    live(other, 10)  # it still learns


def test_states_that_do_not_fit_are_refused_and_change_nothing():
    cortex = small(1).neocortex
    before, state = {n: w.detach().clone() for n, w in cortex.weights.items()}, cortex.state_dict()
    for wrong in ({}, state | {"more": torch.zeros(1)}, state | {"1.weight": torch.zeros(3, 3)}):
        with pytest.raises(cs.ConfigError, match="state"):
            cortex.load_state_dict(wrong)
    assert all(torch.equal(w, before[n]) for n, w in cortex.weights.items())


def test_a_wrapped_network_is_that_inside_and_others_say_no():
    life = small(1, neocortex=cs.LayerPeriods(cs.Mlp(hidden=[5])))
    assert torch.equal(life.neocortex.state_dict()["1.weight"], life.neocortex.weights["weight0"][0])
    with pytest.raises(cs.ConfigError, match="no plain PyTorch form"):
        small(1, neocortex=cs.Feedback(hidden=[6], latent=3, renew_every=100)).neocortex.to_module()
