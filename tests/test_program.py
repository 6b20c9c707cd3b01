"""The claims program: what is missing is run, what is there is kept, and the table says what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cls_sim import program, tables
from cls_sim.errors import Refused
from cls_sim.program import Piece, Results

CLAIMS = {"grows": {"is": "at_least", "law": "go_cls_train"}, "known": {"is": "at_least", "missed": "0.1, too small"}}
PIECE = Piece("digits", None, "small", CLAIMS, {"do": ["plasticity.night=0"], "fails": ["grows"]})


def verdict(name: str, passed: bool | None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "says": None,
        "source": "a | b",
        "expected": 1.0,
        "tolerance": 0.1,
        "value": 0.95,
        "interval": [0.9, 1.0],
        "passed": passed,
    } | more


def summary(*claims: dict[str, Any]) -> dict[str, Any]:
    arm = {"readings": {}, "main": None, "seconds": 3.0}
    return {"title": "T", "experiment": "digits", "arms": {"cls": arm}, "claims": list(claims)}


@pytest.fixture
def lived(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run, in place of running it: without the mechanism the claim fails."""
    runs: list[list[str]] = []

    def live(overrides: list[str], folder: Path) -> tuple[dict[str, Any], float]:
        runs.append(list(overrides))
        works = "plasticity.night=0" not in overrides
        return summary(verdict("grows", works), verdict("known", False)), 7.0

    monkeypatch.setattr(program, "live", live)
    return runs


def test_what_is_missing_is_run_once(lived: list[list[str]], tmp_path: Path):
    results = Results(tmp_path)
    assert not results.done(PIECE)
    assert program.run(PIECE, results, tmp_path / "runs", off=True) == []
    assert [("plasticity.night=0" in run) for run in lived] == [False, True]
    assert results.done(PIECE) and results.off_done(PIECE)
    assert program.run(PIECE, results, tmp_path / "runs", off=True) == [] and len(lived) == 2
    changed = Piece("digits", None, "small", CLAIMS | {"grows": {"is": "at_most"}}, PIECE.off)
    assert not results.done(changed), "another claim is another question"
    now_known = Piece("digits", None, "small", CLAIMS | {"grows": CLAIMS["grows"] | {"missed": "0.2"}}, PIECE.off)
    assert results.done(now_known), "that a claim is known to miss is written down after the run"
    program.run(PIECE, results, tmp_path / "runs", off=False, again=True)
    assert len(lived) == 3


def test_the_table_shows_what_holds_fails_and_is_known_to_miss(lived: list[list[str]], tmp_path: Path):
    results = Results(tmp_path)
    program.run(PIECE, results, tmp_path / "runs", off=True)
    grows, known = tables.rows(results, PIECE)
    assert grows.passed and grows.off and not grows.wrong and grows.theory == "go_cls_train"
    assert known.passed is False and not known.wrong and "0.1, too small" in known.verdict
    page = tables.claims_page(results, [Piece("digits", None, "paper")], [PIECE])
    assert "digits (small)" in page and "0.95 [0.9, 1]" in page and "1 ± 0.1" in page and "a \\| b" in page
    assert "2 claims judged, 1 hold, 1 do not; 1 were tried without their mechanism, 1 of them then failed" in page


def test_a_row_an_arm_and_a_column_a_scenario_stand_beside_what_was_published(tmp_path: Path):
    def piece(scenario: str) -> Piece:
        known = {"is": "published", "scenario": scenario, "sem": 0.25, "source": "Anon 2020"}
        told = {"a": known | {"arm": "a", "value": 90.0}, "b": known | {"arm": "b", "value": 80.0}}
        return Piece("split_mnist", scenario, "paper", {f"{arm}_{scenario}": claim for arm, claim in told.items()})

    def arm(mean: float, sem: float) -> dict[str, Any]:
        readings = {"accuracy": {"mean": mean, "sem": sem, "n": 5}}
        return {"readings": readings, "main": "accuracy", "seconds": 900.0, "cpu_seconds": 300.0}

    results = Results(tmp_path)
    for scenario, sems in (("class", (0.001, 0.001)), ("task", (0.002, 0.04))):
        arms = {"a": arm(0.9, sems[0]), "b": arm(0.75, sems[1]), "new": arm(0.5, 0.0)}
        judged = [
            verdict(f"{name}_{scenario}", name == "a", sem=100 * sem) for name, sem in zip("ab", sems, strict=True)
        ]
        results.record(piece(scenario), {"title": "T", "experiment": "table", "arms": arms, "claims": judged}, 1.0)
    page = tables.published_page(results, [piece("class"), piece("task")])
    assert "Anon 2020.  Of 4 numbers 3 are decided, 2 inside.  All arms of one subject take 6 minutes" in page
    assert "| arm | class | task |" in page and "| new | 50.0 ± 0.0 | 50.0 ± 0.0 |" in page
    assert "| a | 90.0 ± 0.1 (90 ± 0.25), inside | 90.0 ± 0.2 (90 ± 0.25), inside |" in page
    assert "| b | 75.0 ± 0.1 (80 ± 0.25), **outside** | 75.0 ± 4.0 (80 ± 0.25), not decided |" in page


@pytest.mark.parametrize(
    "claim, off, wrong",
    [
        (verdict("grows", False), None, "failed: 0.95 [0.9, 1], expected 1 ± 0.1"),
        (verdict("grows", True), {"passed": True}, "holds without its mechanism"),
        (verdict("known", True), None, "is missed"),
        (verdict("grows", True), {"passed": False}, ""),
        (verdict("grows", None), None, ""),
    ],
)
def test_what_is_wrong_with_a_claim(claim: dict[str, Any], off: dict[str, Any] | None, wrong: str):
    row = tables._row(PIECE, claim, off, 1.0)
    assert wrong in row.wrong and bool(row.wrong) == bool(wrong)


def test_what_does_not_finish_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def live(*_: Any) -> Any:
        raise Refused("experiment=digits", "diverged", "see there")

    monkeypatch.setattr(program, "live", live)
    (line,) = program.run(PIECE, Results(tmp_path), tmp_path, off=True)
    assert "digits" in line and "diverged" in line


def test_every_experiment_is_a_piece_and_a_quarter_is_a_stable_choice():
    names = {piece.experiment for piece in program.pieces()}
    assert names == {piece.experiment for piece in program.pieces("small")} and "digits" in names
    assert [piece.name for piece in program.pieces("small", ["digits"])] == ["digits"]
    many = [f"experiment_{i}" for i in range(400)]
    assert 70 < sum(map(program.one_in_four, many)) < 130


@pytest.mark.parametrize("args", [["sizes=small"], ["size=tiny"], ["--agin"], ["digts"], ["workers=two"], ["off=half"]])
def test_mistakes_are_named(args: list[str], capsys: pytest.CaptureFixture[str]):
    assert program.main(args) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "off", [{"do": ["a=b"]}, {"do": [], "fails": ["grows"]}, {"do": ["a=b"], "fails": ["shrinks"]}]
)
def test_an_off_that_removes_nothing_is_refused(off: dict[str, Any]):
    with pytest.raises(Refused, match="off"):
        program._check("digits", CLAIMS, off)


def test_the_page_is_made_from_the_results_that_are_committed():
    docs = Path(__file__).parent.parent / "docs"
    results, paper, small = Results(docs), program.pieces(), program.pieces("small")
    assert (docs / "claims.md").read_text() == tables.claims_page(results, paper, small)
    assert (docs / "published.md").read_text() == tables.published_page(results, paper)
    assert (docs / "results.md").read_text() == tables.results_page(results, paper)


def test_a_real_experiment_without_its_mechanism(tmp_path: Path):
    """Two subjects, one arm: a subject that learns nothing at night ends at chance."""
    few = ["experiment=digits", "size=small", "subjects=5", "arms=[cls]", "world.per_context=60", "plasticity.night=0"]
    found, seconds = program.live(few, tmp_path / "run")
    assert found["arms"]["cls"]["readings"]["accuracy"]["mean"] < 0.25 and seconds > 0
