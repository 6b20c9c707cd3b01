"""The console door, as a user meets it: processes, exit codes, one line of error, a run directory.

What a process of its own shows (its exit code, its pipes, what it imports) is asked of a process; the rest of the door.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cls_sim import PART_KINDS
from cls_sim.commands.show import candidates
from cls_sim.config import validation

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "subjects=2",
    "size=small",
    "world.per_context=12",
    "rhythm.experiences_per_day=6",
    "rhythm.steps_per_night=4",
    "debug=true",
]


def cls_sim(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cls_sim", *args],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("cli")
    return folder / "run", cls_sim(*TINY, "arms=[cls,sleepless,lesioned,buffer_only]", "out=run", cwd=folder)


def test_a_run_leaves_a_directory_and_says_where(lived):
    folder, done = lived
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "run: run"
    for name in ("config.yaml", "environment.json", "run.json", "summary.json", "protocol.json"):
        assert (folder / name).is_file(), name
    assert {f.suffix for f in (folder / "figures").iterdir()} == {".png", ".pdf", ".csv"}
    assert len(list((folder / "trace").glob("*.jsonl"))) == 4


def test_the_summary_keeps_to_its_schema(lived):
    folder, _ = lived
    summary = json.loads((folder / "summary.json").read_text())
    import jsonschema  # a second: not for those who only look for tests

    jsonschema.validate(summary, json.loads((ROOT / "docs" / "summary.schema.json").read_text()))
    assert set(summary["arms"]) == {"cls", "sleepless", "lesioned", "buffer_only"}
    for arm in summary["arms"].values():
        assert arm["main"] == "accuracy"
        assert len(arm["readings"]["accuracy"]["per_subject"]) == 2
        assert arm["readings"]["accuracy"]["ci95"] == [None, None], "two subjects are too few for an interval"
    assert summary["seed"] == 1000


def test_nothing_is_drawn_to_a_pipe_but_the_table(lived):
    _, done = lived
    assert "\r" not in done.stdout and "\x1b" not in done.stdout
    assert "cls" in done.stdout and "accuracy" in done.stdout


def test_bad_input_is_one_line_and_exit_2_and_leaves_nothing(tmp_path: Path, typed):
    done = cls_sim("subjcts=3", cwd=tmp_path)
    said = {"subjcts=3": (done.returncode, done.stdout, done.stderr)}
    for one in ("hippocampus.capacity=-1", "experiment=nope", "resume=nowhere", "--config-dir"):
        said[one] = typed(one, cwd=tmp_path)
    for one, (code, _, err) in said.items():
        assert code == 2, one
        assert err.startswith("cls-sim: error: ") and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_written_over(lived, typed):
    folder, _ = lived
    code, _, err = typed(*TINY[:-1], "out=run", cwd=folder.parent)
    assert code == 2 and "out" in err


def test_a_finished_run_resumes_to_the_same_summary(lived, typed):
    folder, _ = lived
    before = json.loads((folder / "summary.json").read_text())
    code, out, err = typed("resume=run", cwd=folder.parent)
    assert code == 0, err
    assert out.strip().splitlines()[-1] == "run: run"
    assert json.loads((folder / "summary.json").read_text()) == before


def test_a_resumed_run_may_not_change_what_decides_its_results(lived, typed):
    folder, _ = lived
    code, _, err = typed("resume=run", "hippocampus.capacity=9", cwd=folder.parent)
    assert code == 2 and "hippocampus.capacity" in err


def test_help_is_light_and_names_the_rooms(tmp_path: Path):
    done = cls_sim("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in (
        "world",
        "hippocampus",
        "neocortex",
        "plasticity",
        "rhythm",
        "replay",
        "experiment",
        "sparse",
        "resume",
    ):
        assert word in done.stdout, word
    code = "import sys; from cls_sim.__main__ import main; main(['--help']); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False).returncode == 0


def test_options_and_overrides_come_in_any_order_also_with_a_folder_of_ones_own(tmp_path: Path, typed):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\ntitle: mine\n")
    code, out, err = typed("experiment=mine", "--cfg", "job", "subjects=3", cwd=tmp_path)
    assert code == 0, err
    assert {"title: mine", "subjects: 3"} <= set(out.splitlines())


def test_completion_offers_groups(tmp_path: Path):
    console = Path(sys.executable).parent / "cls-sim"
    if not console.exists():
        pytest.skip("the console script is not installed")
    done = subprocess.run([console, "-sc", "install=bash"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "complete" in done.stdout


@pytest.mark.parametrize(
    "line, offered",
    [
        ("cls-sim scen", {"scenario="}),
        ("cls-sim experiment=split_mnist scenario=", {"scenario=class", "scenario=domain", "scenario=task"}),
        ("cls-sim arms=[cls,sl", {"arms=[cls,sleepless"}),
        ("cls-sim experiment=buzzega_2020_table arms=er_5", set()),
        ("cls-sim experiment=buzzega_2020_table arms=[er_5", {"arms=[er_500", "arms=[er_5120"}),
        ("cls-sim subjects=", {"subjects=16"}),
        ("cls-sim hippocampus=sp", {"hippocampus=sparse"}),
        ("cls-sim hippocampus=store hippocampus.cap", {"hippocampus.capacity="}),
        ("cls-sim experiment=digits_", {"experiment=digits_plasticity", "experiment=digits_timing"}),
        ("cls-sim -m wandb=o", {"wandb=off", "wandb=offline", "wandb=online"}),
        ("cls-sim experiment=nobody hipp", set()),
    ],
)
def test_a_tab_completes(line: str, offered: set[str]):
    assert set(candidates(line)) == offered


def test_a_tab_completes_every_key_at_the_top():
    keys = {one.rstrip("=") for one in candidates("cls-sim ")}
    assert {"experiment", "scenario", "method", *validation.TOP, *PART_KINDS} <= keys


def test_completion_without_a_line_is_told_in_one(tmp_path: Path):
    done = cls_sim("-sc", "query=bash", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("cls-sim: error: COMP_LINE: is not set") and done.stderr.count("\n") == 1
    done = cls_sim("-sc", "query=bash", cwd=tmp_path, COMP_LINE="cls-sim wandb=onl")
    assert (done.returncode, done.stdout) == (0, "wandb=online\n")
    done = cls_sim("-sc", "qery=bash", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean query=bash?" in done.stderr
