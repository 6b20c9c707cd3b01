"""Sweeps of W&B: its agent starts runs in its own form, and each trial is the run that the agent has named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import cls_sim
from cls_sim import __main__ as command
from cls_sim import sinks
from cls_sim.config import experiments
from cls_sim.sinks import service, wandb_run
from cls_sim.sinks import wandb as arm
from cls_sim.storage.run_directory import opened
from cls_sim.storage.summary import Summary
from tests.test_wandb import FAITHFUL, Dummy, tell
from tests.wandb_server import served

ROOT = Path(cls_sim.__file__).parents[1]
TINY = ["subjects=2", "size=small", "world.per_context=12", "rhythm.experiences_per_day=6"]
SWEEP = ("WANDB_RUN_ID", "WANDB_NAME", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")
EVERY = ("WANDB_RUN_GROUP", "WANDB_TAGS", "WANDB_NOTES")


@pytest.fixture(autouse=True)
def forgotten():
    arm.SAID.clear()
    arm.OUT_OF_REACH.clear()


# -- what is lost is said -------------------------------------------------------------------------------------


class Taken:
    """In place of W&B's sink: what a run as a whole is told."""

    ends: dict[str, Any]

    def __init__(self, *_: Any, **how: Any):
        type(self).how = how

    def start(self, info: Any) -> None:
        pass

    def end(self, told: Any) -> None:
        type(self).ends = told


@pytest.mark.parametrize("place", ["outputs/run", "."])
def test_figures_have_absolute_paths(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """W&B's process starts in another folder: with the default, relative folder all figures were lost."""
    monkeypatch.chdir(tmp_path)
    folder = Path(place)
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "a.png").write_bytes(b"png")
    (folder / "run.json").write_text('{"overrides": [], "arms": {}}')
    monkeypatch.setattr(sinks, "Wandb", Taken)
    wandb_run.show("offline", folder, Summary("lab2/mine2 ü", {}, config_sha256="0" * 64))
    image, artifact = Taken.ends["images"]["figures/a"], Taken.ends["artifact"]
    assert os.path.isabs(image) and Path(image).is_file() and os.path.isabs(artifact["root"])
    assert artifact["name"] == "lab2-mine2---" + "0" * 12


LACKING = FAITHFUL.replace("'closed': True", "'missing': {'figures/a': 'no such file'}, 'closed': True")


def test_what_is_lost_is_said_once_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    Dummy(monkeypatch, LACKING)
    folder = tmp_path / "my run"
    folder.mkdir()
    for _ in range(2):
        record = tell(sinks.Wandb("offline", folder, job="summary"), range(3))
    assert record["missing"] == {"figures/a": "no such file"}
    said = capsys.readouterr().err.splitlines()
    assert (
        len(said) == 1 and "figures/a (no such file)" in said[0] and f"cls-sim-dashboard '{folder}' --send" in said[0]
    )


def test_one_bad_figure_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    wandb = pytest.importorskip("wandb")
    said: list[Any] = []
    logged: dict[str, Any] = {}

    class Run:
        summary: dict[str, Any] = {}  # noqa: RUF012

        def log(self, told: Any) -> None:
            logged.update(told)

        def log_artifact(self, _: Any) -> None:
            logged["artifact"] = True

        def finish(self, exit_code: int) -> None:
            pass

    def image(path: str) -> str:
        if not Path(path).is_file():
            raise FileNotFoundError(path)
        return path

    monkeypatch.setattr(wandb, "Image", image)
    monkeypatch.setattr(service, "FILES", 3)
    (tmp_path / "a").write_text("abc")
    (tmp_path / "b").write_text("abc")
    talk = service.Service(said.append)
    talk.run = Run()
    artifact = {"name": "x", "type": "run", "root": str(tmp_path), "files": ["a", "b"]}
    talk.finish({"images": {"one": str(tmp_path / "a"), "two": str(tmp_path / "no")}, "artifact": artifact})
    (missing,) = (told["missing"] for told in said if "missing" in told)
    assert set(missing) == {"two", "b"} and logged["one"] and logged["artifact"]
    assert set(Run.summary) == {"missing/two", "missing/b"}


# -- who is the agent's run -----------------------------------------------------------------------------------


def test_the_only_job_or_the_summary_owns_the_run(tmp_path: Path):
    for name, more, owner in (
        ("one", ["arms=[cls]"], "cls-000000"),
        ("two", ["arms=[cls,sleepless]"], "summary"),
        ("chunks", ["arms=[cls]", "chunk=1"], "summary"),
    ):
        with opened(experiments.read([*TINY, *more, f"out={tmp_path / name}"])) as folder:
            assert wandb_run.owner(folder) == owner


def test_the_variables_of_a_trial_are_kept_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, Any] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **how: seen.update(how))
    for name in (*SWEEP, *EVERY, "WANDB_MODE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.chdir(tmp_path)
    for owns in (True, False):
        arm._service(tmp_path, owns)
        assert {name for name in (*SWEEP, *EVERY, "WANDB_MODE") if name in seen["env"]} == {
            *EVERY,
            *(SWEEP if owns else ()),
        }
    arm._service(tmp_path, True)
    assert seen["env"]["WANDB_SWEEP_PARAM_PATH"] == str(tmp_path / "x")
    assert set(SWEEP).isdisjoint(arm.without_run(os.environ))


def test_the_agent_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Dummy(monkeypatch, FAITHFUL)
    monkeypatch.setenv("WANDB_RUN_ID", "abcXYZ-1")
    assert tell(sinks.Wandb("online", tmp_path, job="a", owns=True), range(2))["id"] == "abcXYZ-1"
    assert tell(sinks.Wandb("online", tmp_path, job="b"), range(2))["id"] != "abcXYZ-1"
    again = tell(sinks.Wandb("online", tmp_path, job="a", owns=True), range(2, 4), before=range(2))
    assert again["id"] == "abcXYZ-1" and again["rows"] == 4
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    again = tell(sinks.Wandb("online", tmp_path, job="a", owns=True), range(4, 5), before=range(4))
    assert again["id"] == "another" and again["rows"] == 5 and again["lost"] == 0, "all rows are sent to the new run"


# -- the form of its arguments --------------------------------------------------------------------------------


def test_arguments_of_an_agent_are_overrides(capsys: pytest.CaptureFixture):
    given = ["experiment=digits", "hippocampus.capacity=30", "seed=4", "arms=[cls]"]
    shown = []
    for args in (given, [f"--{arg}" for arg in given]):
        assert command.main([*args, "--cfg", "job"]) == 0
        shown.append(yaml.safe_load(capsys.readouterr().out))
    assert shown[0] == shown[1] and shown[0]["hippocampus"]["capacity"] == 30
    assert (
        command.main(["--hippocampus.capacty=30"]) == 2
        and "did you mean hippocampus.capacity?" in capsys.readouterr().err
    )
    assert command.main(["--experimnt=digits"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_the_example_of_the_page_is_a_sweep():
    told = yaml.safe_load((ROOT / "docs" / "wandb_sweep.yaml").read_text())
    assert told["program"] == "cls-sim" and "${args_no_hyphens}" in told["command"]
    fixed = [word for word in told["command"] if "=" in word]
    values = [
        f"{key}={(spec.get('values') or [spec.get('min', spec.get('value'))])[0]}"
        for key, spec in told["parameters"].items()
    ]
    (one,) = experiments.read([*fixed, *values]).arms
    assert told["metric"]["name"] == "final/accuracy" and one


@pytest.mark.claims
@pytest.mark.timeout(600)
@pytest.mark.parametrize("args", ["${args}", "${args_no_hyphens}"])
def test_an_agent_runs_a_trial_and_stops_another_early(args: str, tmp_path: Path):
    """W&B's own agent, against the local server."""
    fixed = ["experiment=digits", "size=small", "subjects=2", "arms=[cls]", "wandb=online"]
    program = [sys.executable, "-m", "cls_sim"]
    long = {"world.per_context": {"value": 6000}, "seed": {"value": 7}}

    def run(name: str, args: dict[str, Any]) -> dict[str, Any]:
        return {"type": "run", "run_id": name, "program": "cls-sim", "args": args}

    with served() as server:
        server.sweep = {"command": ["${env}", *program, *fixed, args]}
        server.commands = [
            run("trial1", {"seed": {"value": 3}, "hippocampus.capacity": {"value": 30}}),
            lambda running: "trial1" in server.exits and "trial1" not in running,
            run("trial2", long),
            lambda _: len(server.rows.get("trial2", ())) > 2,
            {"type": "stop", "run_id": "trial2"},
            lambda running: "trial2" not in running,
            {"type": "exit"},
        ]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        ours |= server.environment(
            WANDB_ENTITY="tester", WANDB_PROJECT="cls-sim", WANDB_TAGS="mine, yours", PYTHONPATH=str(ROOT)
        )
        agent = [sys.executable, "-m", "wandb", "agent", "tester/cls-sim/sweep1"]
        done = subprocess.run(
            agent, cwd=tmp_path, env=ours, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        assert server.exits["trial1"] == 0, done.stderr
        about = server.runs["trial1"]
        assert about["sweep"] == "sweep1" and set(about["tags"]) == {"mine", "yours"} and about["group"] == "digits"
        assert json.loads(about["config"])["hippocampus"]["value"]["capacity"] == 30
        assert [row for row in server.rows["trial1"] if "evaluation/accuracy" in row]
        assert "trial2" in server.exits
    runs = sorted((tmp_path / "outputs" / "digits").iterdir())
    assert len(runs) == 2 and not (runs[1] / "summary.json").exists()
    assert list((runs[1] / "checkpoints" / "cls-000000").glob("tick-*")), "it was saved, and can go on"
