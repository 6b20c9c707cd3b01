"""The claims program: what is missing is run, what is there is kept, and the table says what failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cls_sim.commands.campaign import plan, runner, tables
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results, fingerprint
from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError
from cls_sim.storage.summary import Summary, claim_of

CLAIMS = {
    "grows": {"kind": "at_least", "law": "go_cls_train"},
    "known": {"kind": "at_least", "missed": "0.1, too small"},
}
PIECE = Piece("digits", None, "small", CLAIMS, ({"overrides": ["plasticity.night_rate=0"], "must_fail": ["grows"]},))


def verdict(name: str, passed: bool | None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "statement": None,
        "source": "a | b",
        "expected": 1.0,
        "tolerance": 0.1,
        "value": 0.95,
        "interval": [0.9, 1.0],
        "passed": passed,
    } | more


def summary(*claims: dict[str, Any]) -> Summary:
    arm = {"readings": {}, "main": None, "seconds": 3.0}
    return Summary.of({"title": "T", "experiment": "digits", "arms": {"cls": arm}, "claims": list(claims)})


@pytest.fixture
def lived(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run, in place of running it: without the mechanism the claim fails."""
    runs: list[list[str]] = []

    def live(overrides: list[str], folder: Path) -> tuple[Summary, float]:
        runs.append(list(overrides))
        works = "plasticity.night_rate=0" not in overrides
        return summary(verdict("grows", works), verdict("known", False)), 7.0

    monkeypatch.setattr(runner, "live", live)
    return runs


def test_what_is_missing_is_run_once(lived: list[list[str]], tmp_path: Path):
    results = Results(tmp_path)
    assert not results.done(PIECE)
    assert runner.run(PIECE, results, tmp_path / "runs", off=True) == []
    assert [("plasticity.night_rate=0" in run) for run in lived] == [False, True]
    assert results.done(PIECE) and results.off_done(PIECE)
    assert runner.run(PIECE, results, tmp_path / "runs", off=True) == [] and len(lived) == 2
    changed = Piece("digits", None, "small", CLAIMS | {"grows": {"kind": "at_most"}}, PIECE.off)
    assert not results.done(changed), "another claim is another question"
    now_known = Piece("digits", None, "small", CLAIMS | {"grows": CLAIMS["grows"] | {"missed": "0.2"}}, PIECE.off)
    assert results.done(now_known), "that a claim is known to miss is written down after the run"
    runner.run(PIECE, results, tmp_path / "runs", off=False, again=True)
    assert len(lived) == 3


def test_each_of_several_ablations_is_run_and_judges_its_own_claims(lived: list[list[str]], tmp_path: Path):
    off = [{"overrides": ["plasticity.night_rate=0"], "must_fail": ["grows"]}]
    off.append({"overrides": ["rhythm.steps_per_night=1"], "must_fail": ["known"]})
    (piece,) = plan.of("digits", {"claims": CLAIMS, "ablation": off}, "paper")
    assert piece.fails == ["grows", "known"]
    results = Results(tmp_path)
    runner.run(piece, results, tmp_path / "runs", off=True)
    assert [run[-1] for run in lived[1:]] == ["plasticity.night_rate=0", "rhythm.steps_per_night=1"]
    kept = (results.kept(piece) or {})["ablation"]
    assert [claim["passed"] for claim in kept["claims"].values()] == [False, False] and kept["seconds"] == 14.0
    assert results.off_done(piece) and len(kept["overrides"]) == 2


def test_the_table_shows_what_holds_fails_and_is_known_to_miss(lived: list[list[str]], tmp_path: Path):
    results = Results(tmp_path)
    runner.run(PIECE, results, tmp_path / "runs", off=True)
    grows, known = tables.rows(results, PIECE)
    assert grows.claim.passed and grows.off and not grows.wrong and grows.claim.theory == "go_cls_train"
    assert known.claim.passed is False and not known.wrong and "0.1, too small" in known.verdict
    page = tables.claims_page(results, [Piece("digits", None, "paper")], [PIECE])
    assert "digits (small)" in page and "0.95 [0.9, 1]" in page and "1 ± 0.1" in page and "a \\| b" in page
    assert (
        "2 claims were tested: 1 hold, 1 do not hold, 0 are not decided.  1 were also tested without their mechanism; "
        "1 of them then failed" in page
    )


def test_a_row_an_arm_and_a_column_a_scenario_stand_beside_what_was_published(tmp_path: Path):
    def piece(scenario: str) -> Piece:
        known = {"kind": "published", "scenario": scenario, "sem": 0.25, "source": "Anon 2020"}
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
        told = {"title": "T", "experiment": "table", "arms": arms, "claims": judged}
        results.record(piece(scenario), Summary.of(told), 1.0)
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
    row = tables._row(PIECE, claim_of(claim), off, 1.0, None)
    assert wrong in row.wrong and bool(row.wrong) == bool(wrong)


def test_what_does_not_finish_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def live(*_: Any) -> Any:
        raise ConfigError("experiment=digits", "diverged", "see there")

    monkeypatch.setattr(runner, "live", live)
    (line,) = runner.run(PIECE, Results(tmp_path), tmp_path, off=True)
    assert "digits" in line and "diverged" in line


def test_every_experiment_is_a_piece_and_a_quarter_is_a_stable_choice():
    names = {piece.experiment for piece in runner.pieces()}
    assert names == {piece.experiment for piece in runner.pieces("small")} and "digits" in names
    assert [piece.name for piece in runner.pieces("small", ["digits"])] == ["digits"]
    many = [f"experiment_{i}" for i in range(400)]
    assert 70 < sum(map(runner.one_in_four, many)) < 130


@pytest.mark.parametrize("args", [["sizes=small"], ["size=tiny"], ["--agin"], ["digts"], ["workers=two"], ["off=half"]])
def test_mistakes_are_named(args: list[str], capsys: pytest.CaptureFixture[str]):
    assert runner.main(args) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "off",
    [
        {"overrides": ["a=b"]},
        {"overrides": [], "must_fail": ["grows"]},
        {"overrides": ["a=b"], "must_fail": ["shrinks"]},
        [{"overrides": ["a=b"], "must_fail": ["grows"]}, {"overrides": ["a=c"], "must_fail": ["grows"]}],
    ],
)
def test_an_off_that_removes_nothing_is_refused(off: Any):
    with pytest.raises(ConfigError, match="ablation"):
        plan.of("digits", {"claims": CLAIMS, "ablation": off}, "paper")


# -- a scenario in parts ------------------------------------------------------------------------------------


TABLE = "vandeven_2022_table"
DIVIDED: dict[str, Any] = {
    "scenario": "class",
    "arm": {
        "none": [],
        "er": [],
        "xdg": {"scenarios": ["task"], "overrides": []},
        "dgr": {"size": "paper", "overrides": []},
    },
    "parts": {"alone": ["xdg", "none"], "replayed": ["dgr", "er"]},
    "small": ["subjects=2"],
    "ablation": {"overrides": ["arm.er=[]"], "must_fail": ["er_both", "dgr_both"]},
    "claims": {
        **{f"{arm}_both": {"kind": "at_least", "arm": arm, "value": 0.5} for arm in ("none", "er", "dgr")},
        **{f"none_{s}": {"kind": "at_most", "arm": "none", "value": 1.0, "scenario": s} for s in ("class", "task")},
        "small": {"kind": "better", "size": "small", "arm": "er", "than": "none"},
    },
}


def divided(**says: Any) -> list[Piece]:
    return plan.of("divided", DIVIDED | says, "paper")


def test_a_scenario_is_lived_in_parts_at_full_size_alone():
    found = {piece.name: piece for piece in divided()}
    assert list(found) == [f"divided_{s}_{part}" for s in ("class", "task") for part in ("alone", "replayed")]
    last, first = found["divided_task_alone"], found["divided_class_alone"]
    assert last.overrides == ["experiment=divided", "scenario=task", "arms=[xdg,none]"]
    assert first.arms == ("none",) and list(first.claims) == ["none_both", "none_class"]
    replayed = found["divided_class_replayed"]
    assert not first.fails and replayed.fails == ["er_both", "dgr_both"], "without the mechanism once, not once a part"
    ((overrides, fails),) = replayed.without()
    assert overrides[-3:] == ["arms=[dgr,er]", "size=small", "arm.er=[]"] and fails == replayed.fails
    assert [piece.name for piece in plan.of("divided", DIVIDED, "small")] == ["divided_class", "divided_task"]


@pytest.mark.parametrize(
    "says, wrong",
    [
        ({"parts": {"alone": ["none", "xdg"], "replayed": ["er", "dgr", "ewc"]}}, "there is no arm 'ewc'"),
        ({"parts": {"alone": ["none", "xdg", "er"], "replayed": ["er", "dgr"]}}, "er is in alone already"),
        ({"parts": {"alone": ["none", "xdg"], "replayed": ["er"]}}, "dgr is in no part"),
        ({"parts": {"alone": "none"}}, "not a mapping of lists"),
        ({"parts": {"alone": {"arms": ["none", "xdg"]}, "replayed": ["er", "dgr"]}}, "not a mapping of lists"),
        ({"parts": ["none"]}, "not a mapping of lists"),
        (
            {"ablation": {}, "claims": {"c": {"kind": "better", "arm": "er", "than": "none"}}},
            r"arms that are in different parts \(er, none\)",
        ),
        ({"ablation": {}, "claims": {"c": {"kind": "law", "law": "go_cls_train"}}}, "every arm"),
        (
            {"arm": DIVIDED["arm"] | {"er": {"branch_from": "none", "branch_at": "2d", "overrides": []}}},
            "er branches from none",
        ),
    ],
)
def test_parts_that_do_not_divide_an_experiment_are_refused(says: dict[str, Any], wrong: str):
    with pytest.raises(ConfigError, match=wrong) as refused:
        divided(**says)
    assert str(refused.value).startswith("divided.") and "\n" not in str(refused.value)


def test_a_part_goes_by_the_name_of_its_experiment_its_scenario_and_its_own():
    def names(asked: str) -> list[str]:
        return [piece.name for piece in runner.pieces("paper", [asked])]

    scenario = [f"{TABLE}_class_{part}" for part in ("alone", "taught", "stored", "generated")]
    assert names(f"{TABLE}_class") == scenario and names(f"{TABLE}_class_alone") == scenario[:1]
    assert len(names(TABLE)) == 12 and set(names(f"{TABLE}_task")) < set(names(TABLE))
    whole = set(experiments.read([f"experiment={TABLE}", "scenario=domain"]).arms)
    parts = [set(experiments.read(piece.overrides).arms) for piece in runner.pieces("paper", [f"{TABLE}_domain"])]
    assert set.union(*parts) == whole and sum(map(len, parts)) == len(whole), "together they are the scenario"


def test_how_an_experiment_is_divided_is_nothing_of_what_is_lived():
    asked = experiments.read([f"experiment={TABLE}", "scenario=task", "arms=[ewc,none]"])
    assert "parts" not in asked.cfg and not any("parts" in arm.cfg for arm in asked.arms.values())
    turned = experiments.read([f"experiment={TABLE}", "scenario=task", "arms=[none,ewc]"])
    prints = [fingerprint({name: arm.cfg for name, arm in e.arms.items()}) for e in (asked, turned)]
    assert prints[0] == prints[1]
    with pytest.raises(ConfigError, match="parts"):
        experiments.read([f"experiment={TABLE}", "parts.alone=[none]"])


def test_parts_are_kept_one_by_one_and_put_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A rerun lives the part that is missing; in the table a scenario is one column, in the order of the file."""
    chosen = runner.pieces("paper", [f"{TABLE}_class"])
    results, runs = Results(tmp_path), []

    def live(overrides: list[str], folder: Path) -> tuple[Summary, float]:
        runs.append(folder.name.rpartition("-")[0])
        if runs == [chosen[0].name, chosen[1].name]:
            raise ConfigError("table", "was broken off", "go on")
        lived = next(piece for piece in chosen if piece.overrides == overrides)
        e = {"mean": 0.5, "sem": 0.001, "n": 5, "ci95": [0.4, 0.6]}
        arm = {"readings": {"accuracy": e}, "main": "accuracy", "seconds": 900.0, "cpu_seconds": 300.0}
        every = [claim for piece in chosen for claim in piece.claims]  # a run says of all that it did not judge them
        mine = [verdict(name, True if name in lived.claims else None, sem=0.1) for name in every]
        arms = {name: {**arm, "readings": {"accuracy": e}} for name in lived.arms}
        return Summary.of({"title": "T", "experiment": TABLE, "arms": arms, "claims": mine}), 7.0

    monkeypatch.setattr(runner, "live", live)
    assert [bool(runner.run(piece, results, tmp_path / "runs", off=True)) for piece in chosen] == [
        False,
        True,
        False,
        False,
    ]
    assert [results.done(piece) for piece in chosen] == [True, False, True, True]
    page = tables.published_page(results, chosen)
    assert "Of 11 numbers 11 are decided" in page and "All arms of one subject take 11 minutes" in page
    runs.clear()
    assert not any(runner.run(piece, results, tmp_path / "runs", off=True) for piece in chosen)
    assert runs == [chosen[1].name]
    page = tables.published_page(results, chosen)
    assert "| arm | class |" in page and "Of 12 numbers 12 are decided, 12 inside" in page
    shown = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if "50.0 ± 0.1" in line]
    assert shown == list(experiments.read(chosen[0].overrides[:2]).arms), "each arm once"
    assert f"## {chosen[2].title} ({chosen[2].part})" in tables.results_page(results, chosen)
    kept = results.kept(chosen[0])
    assert kept and kept["seconds"] == 1200.0 and kept["command"].endswith("arms=[none,joint,ewc,si]")
    claims = tables.claims_page(results, chosen, runner.pieces("small", [TABLE]))
    assert claims.startswith("# Claims") and "12 claims were tested: 12 hold" in claims


def test_the_page_is_made_from_the_results_that_are_committed():
    docs = Path(__file__).parent.parent / "docs"
    results, paper, small = Results(docs), runner.pieces(), runner.pieces("small")
    assert (docs / "claims.md").read_text() == tables.claims_page(results, paper, small)
    assert (docs / "published.md").read_text() == tables.published_page(results, paper)
    assert (docs / "results.md").read_text() == tables.results_page(results, paper)


def test_a_real_experiment_without_its_mechanism(tmp_path: Path):
    """Two subjects, one arm: a subject that learns nothing at night ends at chance."""
    few = [
        "experiment=digits",
        "size=small",
        "subjects=5",
        "arms=[cls]",
        "world.per_context=60",
        "plasticity.night_rate=0",
        "figures=null",
    ]
    found, seconds = runner.live(few, tmp_path / "run")
    assert found.arms["cls"].readings["accuracy"].mean < 0.25 and seconds > 0
