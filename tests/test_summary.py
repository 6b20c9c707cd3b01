"""summary.json, typed: what is written is read again, and what a stranger wrote is refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cls_sim.core.errors import ConfigError
from cls_sim.storage import disk, summary
from cls_sim.storage.summary import Summary

ROWS = sorted((Path(__file__).parent.parent / "docs" / "results").glob("*.json"))
GOOD: dict[str, Any] = {
    "experiment": "digits",
    "seed": 1000,
    "arms": {"cls": {"main": "accuracy", "readings": {"accuracy": {"mean": 0.5, "per_subject": [0.5, None]}}}},
    "paired": [{"reading": "accuracy", "a": "cls", "b": "joint", "mean": 0.1, "p": 0.0625}],
    "claims": [{"name": "saves", "value": [1, 2.5], "expected": "both", "interval": [0.1, None], "passed": None}],
}


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_every_stored_summary_is_read_and_written_as_it_was(path: Path, tmp_path: Path):
    told = json.loads(path.read_text())["summary"]
    disk.write(tmp_path / "summary.json", Summary.of(told).entries())
    again = json.loads((tmp_path / "summary.json").read_text())
    assert again == told
    assert summary.read(tmp_path).entries().keys() == told.keys()


def test_what_is_missing_has_a_plain_value():
    found = Summary.of(GOOD)
    reading = found.arms["cls"].readings["accuracy"]
    assert (found.main, reading.n, reading.mean) == ("accuracy", 1, 0.5) and math.isnan(reading.low)
    assert found.paired[0].p == 0.0625 and found.claims[0].interval is None and found.claims[0].value == [1.0, 2.5]


@pytest.mark.parametrize(
    "change",
    [
        {"arms": None},
        {"arms": {"cls": {}}},
        {"arms": {"cls": {"readings": {"accuracy": {"per_subject": ["much"]}}}}},
        {"arms": {"cls": {"readings": {"accuracy": {"per_subject": [10**400]}}}}},
        {"arms": {"cls": {"readings": {"accuracy": {"mean": True}}}}},
        {"arms": {"cls": {"readings": {"accuracy": {"ci95": [1]}}}}},
        {"experiment": 3},
        {"seed": "first"},
        {"paired": {"a": 1}},
        {"claims": [{"name": "x", "passed": "yes"}]},
        {"claims": [3]},
    ],
    ids=str,
)
def test_what_is_no_summary_is_refused_in_one_line(change: dict[str, Any], tmp_path: Path):
    (tmp_path / "summary.json").write_text(json.dumps(GOOD | change))
    with pytest.raises(ConfigError, match=r"summary\.json: is not a summary of a run; ") as refused:
        summary.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_names_can_be_shown_on_a_terminal(tmp_path: Path):
    odd = {"title": "a\ud800\x1b[31m", "arms": {"\x1bx": {"readings": {}}}}
    (tmp_path / "summary.json").write_text(json.dumps(GOOD | odd))
    found = summary.read(tmp_path)
    assert found.title == "a??[31m" and list(found.arms) == ["?x"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk, "LARGEST", 10)
    (tmp_path / "summary.json").write_text(json.dumps(GOOD))
    with pytest.raises(ConfigError, match="larger than it should be"):
        summary.read(tmp_path)
