"""What a run makes once: no life is built twice, no trace is read back more than once, jobs are cut once."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cls_sim.config import experiments
from cls_sim.life import Life
from cls_sim.running import runs
from cls_sim.storage.trace import Trace

FEW = ("experiment=digits", "size=small", "subjects=2", "days=2")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a life is made (and for how many subjects), jobs are cut, and a file of a trace is read."""
    found: Counter[str] = Counter()
    begin, read, cut = Life.__init__, Trace._read, runs.jobs

    def beginning(self: Life, **given: object) -> None:
        found[f"life of {given['subjects']}"] += 1
        begin(self, **given)  # pyright: ignore[reportArgumentType]

    def reading(self: Trace, most: int | None) -> None:
        found[f"trace {Path(str(self.path)).name}"] += 1
        read(self, most)

    def cutting(experiment: experiments.Experiment) -> list[list[runs.Job]]:
        found["jobs"] += 1
        return cut(experiment)

    monkeypatch.setattr(Life, "__init__", beginning)
    monkeypatch.setattr(Trace, "_read", reading)
    monkeypatch.setattr(runs, "jobs", cutting)
    return found


def test_each_life_is_made_once_and_only_a_resumed_run_reads_traces_once_each(counted: Counter[str], tmp_path: Path):
    """In version 0.1 such a run of seven arms made 16 lives, cut its jobs 10 times and read 22 traces."""
    experiment = experiments.read([*FEW, f"out={tmp_path / 'run'}"])
    runs.perform(experiment, quiet=True)
    branches = [arm for arm in experiment.arms.values() if arm.origin]
    assert counted.pop("life of 2") == len(experiment.arms) > 4 and branches
    assert counted.pop("life of 1", 0) <= len(branches)  # whether the parts of a branch fit one another from birth
    assert counted == {"jobs": 1}
    counted.clear()
    runs.perform(experiments.read([*FEW, f"resume={tmp_path / 'run'}"]), quiet=True)
    assert {n for name, n in counted.items() if name.startswith("trace")} == {1} and counted["jobs"] == 1


def test_a_study_reads_no_trace(counted: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from cls_sim.running.studies import study

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = study(*FEW, "arms=[cls,sleepless]")
    assert not any(name.startswith("trace") for name in counted)
    assert np.array_equal(found.traces["cls"].last("accuracy").mean(1), found.readings["cls"]["accuracy"])


def test_a_life_that_waited_is_the_life_that_is_built_when_it_is_due(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Lives beyond those that may wait are built again; their bits are the same."""
    fingerprints = []
    for waiting in (16, 0):
        monkeypatch.setattr(runs, "WAITING", waiting)
        out = tmp_path / str(waiting)
        runs.perform(experiments.read([*FEW, "arms=[cls,buffer_only]", "figures=null", f"out={out}"]), quiet=True)
        files = sorted((out / "trace").glob("*.jsonl"))
        fingerprints.append([file.read_bytes() for file in files])
    assert fingerprints[0] == fingerprints[1] and len(fingerprints[0]) > 1
