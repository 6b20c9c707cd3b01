"""Runs and sweeps in one table: paired where seeds coincide, refused where they are not alike."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cls_sim import statistics
from cls_sim.commands import compare


def made(folder: Path, arms: dict[str, list[float | None]], seed: int = 1000, **told) -> Path:
    """A run's directory, as far as it is read; `arms` has the accuracies of the subjects."""
    folder.mkdir(parents=True)
    summary = {"experiment": "digits", "version": "0.1.0", "seed": seed, "arms": {}, **told}
    for arm, values in arms.items():
        readings = {name: {"per_subject": values} for name in ("accuracy", "dose")}
        summary["arms"][arm] = {"main": told.get("main", "accuracy"), "readings": readings}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def called(*args: object, capsys) -> tuple[int, str, str]:
    code = compare.main([str(arg) for arg in args])
    said = capsys.readouterr()
    return code, said.out, said.err


A, B = [0.5, 0.6, 0.7, 0.8, 0.9], [0.6, 0.6, 0.9, 0.9, 1.0]


def test_a_sweep_is_compared_arm_by_arm_within_subjects(tmp_path: Path, capsys):
    made(tmp_path / "sweep" / "capacity=10", {"cls": A, "sleepless": [0.1] * 5})
    made(tmp_path / "sweep" / "capacity=2", {"cls": B, "sleepless": [0.2] * 5})
    code, out, err = called(tmp_path / "sweep", f"out={tmp_path / 'table'}", capsys=capsys)
    assert code == 0 and err == ""
    rows = list(csv.DictReader((tmp_path / "table" / "table.csv").open()))
    assert [(row["arm"], row["run"]) for row in rows] == [
        *(("cls", "capacity=2"), ("cls", "capacity=10")),
        *(("sleepless", "capacity=2"), ("sleepless", "capacity=10")),
    ]
    expected = statistics.paired(A, B)
    assert float(rows[1]["difference"]) == expected.mean == pytest.approx(-0.1)
    assert float(rows[1]["difference_low"]) == expected.low and float(rows[1]["p"]) == expected.p
    assert rows[1]["pairs"] == "5" and rows[1]["against"] == "cls capacity=2"
    assert rows[0]["difference"] == "" and rows[2]["against"] == "cls capacity=2", "another arm of the first run"
    assert rows[3]["against"] == "sleepless capacity=2" and float(rows[3]["difference"]) == pytest.approx(-0.1)
    page = (tmp_path / "table" / "table.md").read_text()
    assert page.splitlines()[1] == "| --- | --- | --- | --- | --- | --- | --- |"
    assert "-0.100 [" in page and "-0.100 [" in out
    for kind in ("png", "pdf", "csv"):
        assert (tmp_path / "table" / f"figure.{kind}").stat().st_size > 100
    shown = list(csv.DictReader((tmp_path / "table" / "figure.csv").open()))
    assert float(shown[1]["difference"]) == expected.mean


def test_differences_are_taken_over_the_seeds_that_both_have(tmp_path: Path):
    made(tmp_path / "a", {"cls": [0.1, 0.2, 0.3, 0.4]}, seed=1000)
    made(tmp_path / "b", {"cls": [0.5, 0.7, 0.9]}, seed=1002)  # of subjects 1002, 1003, 1004
    made(tmp_path / "c", {"cls": [0.5, 0.7, 0.9]}, seed=5000)
    a, b, c = compare.compared(compare.collect([tmp_path]), "accuracy")
    assert (b.difference.n, b.difference.mean) == (2, pytest.approx(((0.5 - 0.3) + (0.7 - 0.4)) / 2))
    assert a.difference is None and c.difference is None and c.against is a
    assert "no common seed" in str(compare._cells([a, b, c], "accuracy"))


def test_an_arm_may_have_a_seed_of_its_own(tmp_path: Path):
    folder = made(tmp_path / "a", {"cls": A, "other": A})
    (folder / "run.json").write_text(json.dumps({"arms": {"cls": {"seed": 1000}, "other": {"seed": 1001}}}))
    _, other = compare.compared(compare.collect([tmp_path]), "accuracy")
    assert other.difference.n == 4 and other.difference.mean == pytest.approx(-0.1)


def test_a_subject_without_a_number_is_left_out(tmp_path: Path):
    made(tmp_path / "a", {"cls": [0.1, None, 0.3]})
    made(tmp_path / "b", {"cls": [0.2, 0.9, 0.4]})
    a, b = compare.compared(compare.collect([tmp_path]), "accuracy")
    assert a.estimate.n == 2 and b.difference.n == 2 and b.difference.mean == pytest.approx(0.1)


def test_runs_that_are_not_alike_are_refused_in_one_line(tmp_path: Path, capsys):
    a = made(tmp_path / "a", {"cls": A})
    b = made(tmp_path / "b", {"cls": A}, experiment="split_mnist")
    c = made(tmp_path / "c", {"cls": A}, main="dose")
    d = made(tmp_path / "d", {"cls": A}, main=None)
    broken = made(tmp_path / "broken", {"cls": A})
    (broken / "summary.json").write_text("{}")
    torn = made(tmp_path / "torn", {"cls": A})
    (torn / "summary.json").write_text('{"experiment": "dig')
    huge, piped = made(tmp_path / "huge", {"cls": [10**400]}), made(tmp_path / "piped", {"cls": A})
    (piped / "summary.json").unlink()
    os.mkfifo(piped / "summary.json")
    (tmp_path / "empty").mkdir()
    for args, word in (
        ([a, b], "of the experiment split_mnist"),
        ([a, c], "main reading dose"),
        ([d], "reading="),
        ([a, "reading=accuracie"], "did you mean accuracy?"),
        ([broken], "not a summary of a run"),
        ([torn], "damaged"),
        ([tmp_path / "empty"], "no finished run"),
        ([tmp_path / "nowhere"], "not a folder"),
        ([a, "--verbose"], "not an option"),
        ([f"out={tmp_path}"], "needs a folder"),  # was a traceback
        (["reading=accuracy"], "needs a folder"),  # was a traceback
        (["x" * 5000], "not a folder"),  # was a traceback
        ([huge], "not a summary of a run"),  # was a traceback
        ([piped], "not a regular file"),  # was waited for
        ([a, f"out={a / 'summary.json'}"], "cannot be written"),
    ):
        code, _, err = called(*args, capsys=capsys)
        assert code == (3 if word == "cannot be written" else 2), (args, err)
        assert err.startswith("cls-sim-compare: error: ") and err.count("\n") == 1 and word in err
    assert called(a, c, "reading=dose", capsys=capsys)[0] == 0


def test_runs_keep_the_order_in_which_they_were_named(tmp_path: Path):
    a, b = made(tmp_path / "a", {"cls": A}), made(tmp_path / "b", {"cls": A})
    assert [run.label for run in compare.collect([b, a, tmp_path])] == ["b", "a"]


def test_names_cannot_lie_to_the_terminal_or_break_the_table(tmp_path: Path, capsys):
    made(tmp_path / "a\x1b[31m|b", {"c|ls": A})
    made(tmp_path / "a\x1d[31m|b", {"c|ls": A, "other": A})
    made(tmp_path / "$x", {"c|ls": A})
    code, out, _ = called(tmp_path, f"out={tmp_path / 'table'}", capsys=capsys)
    assert code == 0 and "\x1b" not in out
    page = (tmp_path / "table" / "table.md").read_text()
    assert "\x1b" not in page
    assert {line.replace("\\|", "").count("|") for line in page.splitlines()} == {8}


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20, unique=True))
def test_numbers_in_names_are_counted(numbers: list[int]):
    names = [Path(f"x={number}") for number in numbers]
    assert sorted(names, key=compare._naturally) == [Path(f"x={number}") for number in sorted(numbers)]


def test_equal_runs_do_not_differ(tmp_path: Path):
    made(tmp_path / "a", {"cls": A})
    made(tmp_path / "b", {"cls": A})
    _, b = compare.compared(compare.collect([tmp_path]), "accuracy")
    assert b.difference.mean == 0.0 and b.difference.p == 1.0 and np.isfinite(b.estimate.low)


def test_the_door_is_light():
    code = "import sys; from cls_sim.commands.compare import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "cls-sim-compare DIR" in done.stdout
