"""The three verdicts on a claim, the check of weak claims, and blocks of seeds that nobody has looked at."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from cls_sim.__main__ import main
from cls_sim.claims.bounds import decided
from cls_sim.commands.campaign import blocks, runner, tables, weak
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results, asks
from cls_sim.core.errors import ConfigError
from cls_sim.storage.summary import FAILS, HOLDS, OPEN, UNJUDGED, Summary, claim_of

BETTER = {"kind": "better", "arm": "er", "than": "none", "source": "ours"}
LEAST = {"kind": "at_least", "arm": "er", "value": 0.9, "source": "ours"}


def entry(**told: Any) -> dict[str, Any]:
    return {
        "name": "it",
        "expected": "x",
        "tolerance": 0,
        "value": 0.95,
        "interval": [0.92, 0.97],
        "passed": True,
    } | told


def summary(*claims: dict[str, Any], identical: Any = (), **values: list[float]) -> Summary:
    arms = {
        name: {"readings": {"accuracy": {"mean": sum(v) / len(v), "per_subject": v}}, "main": "accuracy"}
        for name, v in values.items()
    }
    return Summary.of({"experiment": "digits", "arms": arms, "claims": list(claims), "identical": list(identical)})


# -- three verdicts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim, told, state",
    [
        (LEAST, entry(), HOLDS),
        (LEAST, entry(interval=[0.89, 0.97]), OPEN),
        (LEAST, entry(interval=[float("nan")] * 2), OPEN),  # fewer than five subjects
        (LEAST, entry(value=0.5, interval=[0.4, 0.6], passed=False), FAILS),
        (BETTER | {"by": 0.1}, entry(value=0.08, interval=[0.05, 0.12], passed=False), OPEN),
        (BETTER | {"by": 0.1}, entry(value=0.02, interval=[0.01, 0.05], passed=False), FAILS),
        (BETTER, entry(passed=None), UNJUDGED),
        (BETTER, entry(passed=False, interval=[-1.0, 1.0], reason="er and none are identical"), FAILS),
        ({"kind": "published", "arm": "agem", "value": 65.1, "sem": 3.64}, entry(value=46.4, sem=5.5), OPEN),
        ({"kind": "published", "arm": "er", "value": 88.8, "sem": 0.2}, entry(value=89.5, sem=0.2), HOLDS),
        ({"kind": "near", "arm": "er", "value": 1.0, "tolerance": 0.06}, entry(interval=[0.93, 0.97]), OPEN),
        ({"kind": "slope", "low": -0.8, "high": -0.7}, entry(value=-0.75, interval=[-0.78, -0.72]), HOLDS),
        ({"kind": "slope", "low": -0.8, "high": -0.7}, entry(value=-0.75, interval=[-0.81, -0.72]), OPEN),
        ({"kind": "trend", "at_least": 0.9}, entry(interval=None), HOLDS),  # one number without an interval
    ],
)
def test_a_claim_holds_or_does_not_or_is_not_decided(claim: dict[str, Any], told: dict[str, Any], state: str):
    told = json.loads(json.dumps(told).replace("NaN", "null"))
    assert claim_of(told | {"decided": decided(claim, told)}).state == state


def test_the_table_tells_the_three_apart(tmp_path: Path):
    told = {
        "clear": LEAST,
        "vague": LEAST,
        "wrong": LEAST,
        "known": LEAST | {"missed": "too few"},
    }
    piece, results = Piece("digits", None, "paper", told), Results(tmp_path)
    found = (
        entry(name="clear"),
        entry(name="vague", interval=[0.8, 1.0]),
        entry(name="wrong", interval=[0.4, 0.6], passed=False),
        entry(name="known", interval=[0.8, 1.0], passed=False),
    )
    results.record(piece, summary(*found, er=[0.9, 0.95]), 1.0)
    assert [row.verdict for row in tables.rows(results, piece)] == [
        "holds",
        "not decided",
        "**does not hold**",
        "not decided (known: too few)",
    ]
    page = tables.claims_page(results, [piece], [])
    assert "4 claims were tested: 1 hold, 1 do not hold, 2 are not decided." in page


# -- weak claims --------------------------------------------------------------------------------------------


def weaknesses(results: Results, told: dict[str, Any], found: Summary | None = None) -> list[str]:
    piece = Piece("digits", None, "paper", {"it": told})
    if found is not None:
        results.record(piece, found, 1.0)
    return list(weak.findings(results, [piece], []))


FINE = summary(entry(), er=[0.94, 0.96], none=[0.2, 0.3])
SAME = {"arm": "er", "than": "none", "subjects": 2}


@pytest.mark.parametrize(
    "told, found, says, mended",
    [
        (LEAST | {"source": " "}, FINE, "names no source", {"source": "Anon 2020"}),
        (LEAST, summary(entry(value=1.0, interval=[1.0, 1.0]), er=[1.0, 1.0]), "is 1 in every", {"exact": "a control"}),
        (LEAST, summary(entry(value=1.0, interval=[None, None]), er=[1.0, 1.0]), "is 1 in every", {"exact": "so few"}),
        (LEAST, summary(entry(value=0.0, interval=[0.0, 0.0]), er=[0.0, 0.0]), "is 0 in every", {"exact": "a control"}),
        (LEAST | {"value": 0.1}, FINE, "may be chance; add guess", {"guess": 0.05}),
        (LEAST | {"guess": 0.95}, FINE, "is met by a constant guess, 0.95", {"guess": 0.1}),
        ({"kind": "rms", "arms": ["er"], "reading": "x", "at_most": 0.5, "source": "ours"}, FINE, "no guess", {"guess": 2}),
        ({"kind": "rms", "arms": ["er"], "reading": "x", "at_most": 3.0, "source": "ours", "guess": 2.24}, FINE, "guess, 2.24", {"at_most": 2.0}),
        (BETTER | {"by": -0.05, "statement": "replay helps"}, FINE, "a difference of 0", {"by": 0.05}),
        (BETTER | {"by": -0.05, "statement": "replay helps"}, FINE, "a difference of 0", {"statement": "as good as none"}),
        ({"kind": "ratio", "arm": "er", "than": "none", "at_most": 1.2, "source": "ours"}, FINE, "a ratio of 1", {"at_most": 0.8}),
        (BETTER, summary(entry(), er=[0.5, 0.7], none=[0.5, 0.7]), "equal in every subject", {"exact": "a control"}),
    ],
)  # fmt: skip
def test_a_weak_claim_is_found(told: dict[str, Any], found: Summary, says: str, mended: dict[str, Any], tmp_path: Path):
    lines = weaknesses(Results(tmp_path), told, found)
    assert len(lines) == 1 and says in lines[0]
    assert lines[0].startswith("conf/experiment/digits.yaml: claims.it: ")
    assert weaknesses(Results(tmp_path), told | mended, found) == []


def test_arms_with_identical_lives_cannot_be_excused(tmp_path: Path):
    found = summary(entry(), er=[0.5, 0.7], none=[0.5, 0.7], identical=[SAME])
    (line,) = weaknesses(Results(tmp_path), BETTER | {"exact": "a control"}, found)
    assert "whose lives are identical" in line


def test_ranks_and_differences_of_accuracy_are_no_ceilings(tmp_path: Path):
    trend = {"kind": "trend", "arms": ["er", "none"], "at_least": 0.9, "source": "ours"}
    assert weaknesses(Results(tmp_path), trend, summary(entry(value=1.0, interval=None), er=[0.1, 0.2])) == []
    assert weaknesses(Results(tmp_path), LEAST | {"value": -0.01, "reading": "accuracy[0]@4..5"}, FINE) == []


def test_the_check_of_the_shipped_claims_runs_nothing(capsys: pytest.CaptureFixture[str]):
    code = runner.main(["--check", "mcclelland_2020_swil"])
    assert code == 0, capsys.readouterr().out


def test_words_are_not_part_of_a_question():
    assert asks({"it": LEAST}) == asks({"it": LEAST | {"source": "Anon", "statement": "it is", "exact": "yes"}})
    assert asks({"it": LEAST}) != asks({"it": LEAST | {"value": 0.91}})


# -- unused blocks ------------------------------------------------------------------------------------------

GOOD = LEAST | {"arm": "cls"}
PIECE = Piece("digits", None, "small", {"good": GOOD, "rare": GOOD | {"value": 0.94}})


class Lives:
    """In place of runs: claim `good` always holds, claim `rare` on every other block."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.seeds: list[int] = []
        self.cohorts: list[int] = []
        self.stop_after = stop_after

    def __call__(self, overrides: Any, folder: Path, subjects: int) -> tuple[list[Any], float]:
        *_, given, many, arms, figures = overrides
        assert figures == "figures=null", "nobody looks at the figures of a block"
        assert arms == "arms=[cls]", "no claim is about another arm"
        seed, number = int(given.removeprefix("seed=")), int(many.removeprefix("subjects=")) // subjects
        if len(self.cohorts) == self.stop_after:
            raise KeyboardInterrupt
        self.cohorts.append(number)
        self.seeds += [seed + i * subjects for i in range(number)]
        values = [0.95 - seed % (2 * subjects) / 1e3 for seed in self.seeds[-number:]]
        told = [[entry(name="good", value=v), entry(name="rare", value=v, passed=v > 0.945)] for v in values]
        return [[claim_of(one) for one in block] for block in told], 2.0


def test_each_block_is_kept_and_the_next_call_lives_the_missing_ones(tmp_path: Path, capsys: Any):
    results, first = Results(tmp_path), Lives(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        blocks.run(PIECE, results, tmp_path, first, 5)
    second = Lives()
    found = blocks.run(PIECE, results, tmp_path, second, 20)
    assert first.seeds + second.seeds == [20_000 + 8 * k for k in range(20)], "digits has 8 subjects at size=small"
    assert second.cohorts == [2, 6, 10], "three times as many, while that is cheaper"
    assert blocks.run(PIECE, results, tmp_path, Lives(stop_after=0), 20) == found == blocks.tallies(results, PIECE)
    assert found["good"].cell == "20/20" and not found["good"].rare
    assert found["rare"].cell == "10/20" and found["rare"].rare and "0.942 to 0.95" in found["rare"].spread
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 20 and "digits block 2, seeds from 20008: 1 of 2 claims hold, not rare (1 s)" in out[1]
    kept = json.loads((tmp_path / "results" / "blocks" / "digits.json").read_text())
    assert list(kept) == ["small"] and len(kept["small"]["blocks"]) == 20


def test_one_block_at_a_time_on_request(tmp_path: Path):
    lives = Lives()
    blocks.run(PIECE, Results(tmp_path), tmp_path, lives, 3, together=1)
    assert lives.cohorts == [1, 1, 1]


def test_an_experiment_that_cannot_be_lived_together_is_lived_block_by_block(tmp_path: Path):
    lives = Lives()

    def small_memory(overrides: Any, folder: Path, subjects: int) -> Any:
        if f"subjects={subjects}" not in overrides:
            raise ConfigError("memory", "is full", "free some")
        return lives(overrides, folder, subjects)

    blocks.run(PIECE, Results(tmp_path), tmp_path, small_memory, 4)
    assert lives.cohorts == [1] * 4 and lives.seeds == [20_000, 20_008, 20_016, 20_024]
    with pytest.raises(ConfigError, match="memory"):
        blocks.run(PIECE, Results(tmp_path), tmp_path, lambda *args: small_memory(args[0], args[1], 7), 5)


def test_a_changed_claim_is_tested_on_blocks_that_were_not_used(tmp_path: Path):
    results, again = Results(tmp_path), Lives()
    blocks.run(PIECE, results, tmp_path, Lives(), 20)
    weaker = Piece("digits", None, "small", PIECE.claims | {"rare": GOOD | {"value": 0.93}})
    assert (
        blocks.tallies(results, weaker)["rare"].cell == "" and blocks.tallies(results, weaker)["good"].cell == "20/20"
    )
    found = blocks.run(weaker, results, tmp_path, again, 20)
    assert again.seeds[0] == 20_160 and found["rare"].tried == 20 and found["good"].cell == "40/40"
    other = Piece("digits", "x", "small", PIECE.claims)  # another file
    assert blocks.tallies(results, other) == {}


def test_another_configuration_starts_on_blocks_that_were_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results, again = Results(tmp_path), Lives()
    blocks.run(PIECE, results, tmp_path, Lives(), 3)
    monkeypatch.setattr(blocks, "decides", lambda overrides: "another" + overrides[-1])
    assert blocks.tallies(results, PIECE) == {}
    found = blocks.run(PIECE, results, tmp_path, again, 2)
    assert again.seeds == [20_024, 20_032] and found["good"].cell == "2/2"
    blocks.run(PIECE, results, tmp_path, again, 1, again=True)
    assert again.seeds[-1] == 20_040


def test_a_claim_that_is_rare_on_unused_blocks_is_weak_unless_missed(tmp_path: Path):
    results = Results(tmp_path)
    blocks.run(PIECE, results, tmp_path, Lives(), 20)
    (line,) = weak.findings(results, [], [PIECE])
    assert "claims.rare: holds in 10/20 unused blocks" in line
    known = Piece("digits", None, "small", PIECE.claims | {"rare": PIECE.claims["rare"] | {"missed": "why"}})
    assert list(weak.findings(results, [], [known])) == []
    results.record(PIECE, summary(entry(name="good"), entry(name="rare"), cls=[0.9, 0.95]), 1.0)
    assert [row.blocks for row in tables.rows(results, PIECE)] == ["20/20", "10/20"]
    assert "| 10/20 |" in tables.claims_page(results, [], [PIECE])
    paper = Piece("digits", None, "paper", PIECE.claims)
    results.record(paper, summary(entry(name="good"), entry(name="rare"), cls=[0.9, 0.95]), 1.0)
    assert "| 20/20 (small) |" in tables.claims_page(results, [paper], [PIECE])


TINY = """# @package _global_
title: tiny
defaults: [override /world: teacher, override /neocortex: linear, override /rhythm: pressure, override /probes: regression]
subjects: 5
days: 2
world: {items: 40, features: 10, batch: 4, test: 50}
hippocampus: {eviction: ring}
rhythm: {experiences_per_day: 10, rise_per_experience: 0.15, fall_per_step: 0.1, error_gain: 0.02}
arm:
  life: []
  late: {branch_from: life, branch_at: 1d, overrides: [replay.batch=5]}
claims:
"""
LEARNS = {"kind": "at_least", "arm": "life", "reading": "r2", "value": 0.1, "guess": 0.0, "source": "ours"}
DIFFERS = {"kind": "better", "arm": "late", "than": "life", "reading": "r2", "by": 0.01, "source": "ours"}


def test_a_tiny_experiment_is_lived_on_two_unused_blocks(tmp_path: Path, monkeypatch: Any, capsys: Any):
    """The command itself, on real lives, which are lived in this process (tests/test_program.py asks another one)."""
    conf = tmp_path / "conf"
    (conf / "experiment").mkdir(parents=True)
    told = {"learns": LEARNS, "differs": DIFFERS}
    (conf / "experiment" / "tiny.yaml").write_text(TINY + "\n".join(f"  {k}: {json.dumps(v)}" for k, v in told.items()))
    monkeypatch.chdir(tmp_path)
    piece, found = Piece("tiny", None, "paper", told), {}
    monkeypatch.setattr(runner, "pieces", lambda size="paper", named=(): [piece])

    start = subprocess.run

    def here(command: list[str], **how: Any) -> Any:
        if command[:3] != [sys.executable, "-m", "cls_sim"]:
            return start(command, **how)
        with redirect_stdout(io.StringIO()):
            return subprocess.CompletedProcess(command, main(command[3:]), "", "")

    monkeypatch.setattr(subprocess, "run", here)
    for together in (5, 10):
        docs = tmp_path / str(together)
        assert runner.main(["tiny", "blocks=2", f"into={docs}", f"together={together}"]) == 0
        assert "tiny block 2, seeds from 20005" in capsys.readouterr().out
        found[together] = json.loads((docs / "results" / "blocks" / "tiny.json").read_text())["paper"]["blocks"]
        assert blocks.tallies(Results(docs), piece)["learns"].tried == 2
    for alone, beside in zip(*found.values(), strict=True):
        assert alone["seed"] == beside["seed"]
        for name in piece.claims:
            told = alone["claims"][name]
            assert beside["claims"][name] == told | {"value": pytest.approx(told["value"], abs=1e-5)}
    assert not list((tmp_path / "outputs").rglob("summary.json")), "a finished block leaves no run behind"
