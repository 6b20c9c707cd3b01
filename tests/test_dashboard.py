"""The dashboard of a finished run: what its panels name is there, and nobody is called unless asked."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from cls_sim.commands import dashboard
from cls_sim.commands.dashboard.panels import Panel, found, panels
from cls_sim.commands.dashboard.picture import _drawn
from cls_sim.core.clock import Clock, Moment
from cls_sim.sinks import curves
from cls_sim.storage import summary
from cls_sim.storage.trace import Trace
from tests.wandb_server import served

RUN = ("experiment=digits", "size=small", "subjects=5", "days=8", "arms=[sleepless,joint]")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    from cls_sim.config.experiments import read
    from cls_sim.running.runs import perform

    out = tmp_path_factory.mktemp("dashboard") / "run"
    return perform(read([*RUN, f"out={out}"]), quiet=True)[0]


@pytest.fixture
def alone(monkeypatch):
    """Whoever calls somebody fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_ENTITY", raising=False)


def test_a_workspace_is_made_without_calling_anybody(run, alone, capsys):
    assert dashboard.main([str(run)]) == 0
    told = json.loads((run / "dashboard.json").read_text())
    sections = told["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == [
        *("Stability and plasticity", "Forgetting by context", "Replay at night", "Dose"),
        *("Amnesia and dependence", "Arms"),
    ]
    (runs,) = told["spec"]["section"]["runSets"]
    assert runs["filters"]["filters"][0]["value"] == "digits" and runs["grouping"][0]["name"] == "jobType"
    lines = [p["config"] for s in sections for p in s["panels"] if p["viewType"] == "Run History Line Plot"]
    assert ["evaluation/accuracy", "evaluation/accuracy.low", "evaluation/accuracy.high"] in [
        line["metrics"] for line in lines
    ]
    assert {line["xAxis"] for line in lines} == {"day", "sleep/dose"}
    assert "24 panels" in capsys.readouterr().out


def test_panels_name_only_what_a_run_tells(run):
    """Every key of every panel is told by a job or by the summary of the run."""
    from cls_sim import sinks
    from cls_sim.sinks import wandb_run
    from cls_sim.sinks.curves import COSTS

    trace = Trace.read(run / "trace" / "joint-000000.jsonl")
    told = {key for row in trace.rows for key in sinks.curves(row)} | set(COSTS.values())
    told |= {f"evaluation/{name}" for name in trace.names()}  # nights of the sleepless are no numbers
    told |= wandb_run.final(run, "joint-000000", trace)["summary"].keys()
    told |= wandb_run.tables(summary.read(run)).keys()
    told |= {f"figures/{file.stem}" for file in (run / "figures").glob("*.png")}
    for panel in panels(list(found(run))):
        assert {*panel.y, panel.x} <= told, panel
    assert curves(trace.rows[0])["evaluation/accuracy.context.5"] >= 0


def test_a_sweep_is_one_workspace(run, tmp_path, alone):
    many = tmp_path / "sweep"
    many.mkdir()
    for name in ("seed=1", "seed=2"):
        shutil.copytree(run, many / name)
    assert len(list(found(many))) == 2
    assert dashboard.main([str(many)]) == 0 and (many / "dashboard.json").is_file()


def test_a_panel_whose_readings_are_not_there_is_not_drawn():
    """A run whose contexts never end has no forgetting; the command failed on it."""
    trace = Trace()
    trace.append(Moment("life.end", np.ones(2, bool)), Clock(2, 10), {"pairs": np.array([0.5, 0.75])})
    panel = Panel("Arms", "forgetting", ("final/pairs",), "points", "final/pairs.forgetting")
    assert _drawn(panel, {"cls": trace}) is None
    assert _drawn(Panel("Arms", "pairs", ("final/pairs",), "bar"), {"cls": trace}) is not None


def test_a_picture_shows_the_panels(run, alone):
    from PIL import Image

    assert dashboard.main([str(run), "--picture"]) == 0
    with Image.open(run / "dashboard.png") as image:
        assert image.width > 1000 and image.height > 1000


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "needs one folder"),
        (["nowhere"], "is not a folder"),
        (["."], "holds no finished run"),
        (["--pusch", "."], "did you mean --push?"),
        (["--send=now", "."], "neither online nor offline"),
        (["--entity=a b", "."], "is not a name"),
    ],
)
def test_bad_input_is_one_line(args, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dashboard.main(args) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("cls-sim-dashboard: error: ") and said in lines[0]


def test_without_the_package_one_line_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert dashboard.main([str(run)]) == 2
    assert "pip install 'cls-sim[dashboards]'" in capsys.readouterr().err


def test_a_package_that_has_changed_is_named(run, monkeypatch, capsys):
    from wandb_workspaces import workspaces

    monkeypatch.delattr(workspaces.Workspace, "_to_model")
    assert dashboard.main([str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot make this workspace" in line and "0.4.13" in line


def test_nothing_is_pushed_where_nobody_is_known(run, alone, capsys):
    assert dashboard.main([str(run), "--push"]) == 2
    assert "give --entity=NAME" in capsys.readouterr().err


@pytest.mark.claims
def test_a_push_without_a_login_is_one_line(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert dashboard.main([str(run), "--push", "--entity=me"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "API key" in line and "wandb login" in line


@pytest.mark.claims
def test_a_finished_run_is_sent_and_its_workspace_pushed(run, monkeypatch, capsys):
    with served() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert dashboard.main([str(run), "--send"]) == 0
        assert dashboard.main([str(run), "--push"]) == 0
    assert [about["job_type"] for about in server.runs.values()] == ["joint", "sleepless", "summary"]
    for name, one in json.loads((run / "wandb.json").read_text()).items():
        assert (one["state"], one["lost"], server.exits[one["id"]]) == ("finished", 0, 0)
        if name != "summary":
            ours = [curves(row) for row in Trace.read(run / "trace" / f"{name}.jsonl").rows]
            theirs = [row for row in server.rows[one["id"]] if "day" in row]
            assert [{key: row.get(key) for key in wanted} for row, wanted in zip(theirs, ours, strict=True)] == ours
    (view,) = server.saved
    assert view["entityName"] == "tester" and "evaluation/accuracy.context.1" in view["spec"]
    out = capsys.readouterr().out
    assert "0 lost" in out and "pushed: http" in out


@pytest.mark.claims
def test_a_finished_run_is_sent_offline(run, capsys):
    assert dashboard.main([str(run), "--send=offline"]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))
