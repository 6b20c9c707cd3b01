"""The report: what it says of a run, finished or not, and that a browser and a reader of Markdown can use it."""

from __future__ import annotations

import html.parser
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cls_sim import statistics
from cls_sim.__main__ import main
from cls_sim.claims.arms import published
from cls_sim.commands import report
from cls_sim.commands.report import arms, expected
from cls_sim.commands.report.facts import Published, facts
from cls_sim.config import experiments
from cls_sim.sinks import print_protocol
from cls_sim.storage.case import Case

RUN = (
    *("experiment=split_mnist", "world=digits", "size=small", "scenario=class", "subjects=5", "chunk=null"),
    *("world.per_context=16", "world.batch=16", "neocortex.hidden=[16]", "+world.test=0.15"),
    *("plasticity.wake_rate=0.01", "probes=classification", "figures=null"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three arms, a few ticks long."""
    folder = tmp_path_factory.mktemp("report") / "run"
    assert main([*RUN, "arms=[none,joint,er]", f"out={folder}"]) == 0
    return folder


def called(*args: object, capsys) -> tuple[int, str, str]:
    code = report.main([str(arg) for arg in args])
    said = capsys.readouterr()
    return code, said.out, said.err


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its text, its tags all closed, and all that it would fetch."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href", "srcset") and not str(v).startswith("#")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        self.text += data


def test_a_finished_run_is_told_in_full(run: Path, tmp_path: Path, capsys):
    code, out, err = called(run, f"out={tmp_path / 'there'}", capsys=capsys)
    assert (code, err) == (0, "") and "report.html" in out and "report.md" in out
    text = (tmp_path / "there" / "report.html").read_text()
    page = Page(text)
    assert not page.open and "script" not in page.tags and "link" not in page.tags
    assert all(src.startswith("data:image/png;base64,") for src in page.fetched), "it needs no network"
    assert "prefers-color-scheme:dark" in text and "@media print" in text
    summary = json.loads((run / "summary.json").read_text())
    markdown = (tmp_path / "there" / "report.md").read_text()
    for said in (page.text, markdown):
        for head in ("Protocol", "Methods", "What is expected", "Accuracy by context", "Forgetting and transfer"):
            assert head in said
        for head in ("Budget", "Paired tests against none", "All pairs", "Claims", "stability gap", "rehearsal gap"):
            assert head in said
        assert "van de Ven, Tuytelaars & Tolias 2022" in said and "class-incremental" in said
        for arm in summary["arms"].values():
            assert f"{arm['readings']['accuracy']['mean']:.3f}" in said
        assert "none" in said and "smaller than the published" in said
    pictures = re.findall(r"!\[.*?\]\((report_figures/.*?\.png)\)", markdown)
    assert len(pictures) >= 2 and all((tmp_path / "there" / name).is_file() for name in pictures)


def test_what_is_told_of_a_run_is_its_own(run: Path):
    told, summary = facts(run), json.loads((run / "summary.json").read_text())
    assert told.main == "accuracy" and told.scenario == "class" and told.missing == []
    for name, arm in told.arms.items():
        assert arm.lived == arm.asked == 5 and arm.method == name
        for reading, e in summary["arms"][name]["readings"].items():
            mine = arm.values[reading]
            assert np.array_equal(mine, np.array(e["per_subject"], float), equal_nan=True), reading
        assert arm.budget == summary["arms"][name]["budget"]
    assert told.published["er"] == Published(88.79, 0.2, "van de Ven et al. 2022, Table 2 (n = 20)")


def test_a_comparison_has_one_p_value_everywhere(run: Path, tmp_path: Path, capsys):
    """Sign flips of five subjects give .062 at the least; the report said < .001, by a t test of its own."""
    from cls_sim.commands import compare
    from cls_sim.sinks.console import p_value

    summary = json.loads((run / "summary.json").read_text())
    stored = {entry["b"]: p_value(entry["p"]) for entry in summary["paired"]}
    rows = {row.arm: p_value(row.difference.p) for row in compare.compared(compare.collect([run]), "accuracy")[1:]}
    assert rows == stored == {name: p_value(statistics.paired(*_accuracies(run, name)).p) for name in stored}
    assert called(run, f"out={tmp_path}", capsys=capsys)[0] == 0
    page = (tmp_path / "report.md").read_text().split("Paired tests against none")[1].split("All pairs")[0]
    reported = {cells[0]: cells[4] for line in page.splitlines() if len(cells := line.strip("| ").split(" | ")) == 7}
    assert {name: reported[name] for name in stored} == stored
    assert "0.062" in stored.values() and "p cannot be below 0.062" in page and "higher" in page


def _accuracies(run: Path, arm: str) -> list[list[float]]:
    summary = json.loads((run / "summary.json").read_text())
    return [summary["arms"][name]["readings"]["accuracy"]["per_subject"] for name in (arm, "none")]


def test_a_run_that_is_not_finished_says_what_is_missing(run: Path, tmp_path: Path, capsys):
    part = tmp_path / "part"
    shutil.copytree(run, part)
    (part / "summary.json").unlink()
    (part / "jobs" / "er-000000.json").unlink()
    code, _, err = called(part, capsys=capsys)
    assert (code, err) == (0, "")
    text = (part / "report.md").read_text()
    assert "not complete" in text and "er: 0 of 5 subjects" in text and "has not finished" in text
    assert "| joint |" in text and "| er |" not in text
    for job in (part / "jobs").glob("*.json"):
        job.unlink()
    assert called(part, capsys=capsys)[0] == 0
    assert "no subject is finished" in (part / "report.md").read_text()


def test_several_runs_are_chapters_of_one_page(run: Path, tmp_path: Path, capsys):
    for name in ("a", "b"):
        shutil.copytree(run, tmp_path / "all" / name)
    code, _, err = called(tmp_path / "all", "reference=joint", capsys=capsys)
    assert (code, err) == (0, "")
    text = (tmp_path / "all" / "report.md").read_text()
    assert "## All runs" in text and "| arm | family | a | b |" in text and text.count("### Methods") == 2
    assert "Paired tests against joint" in text and "report_figures/b_methods.png" in text


def _report(run: Path) -> Path:
    """The report of a finished job."""
    return sorted((run / "jobs").glob("*.json"))[0]


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda run: (run / "run.json").unlink(), "holds no run"),
        (lambda run: (run / "run.json").write_text("{"), "damaged"),
        (lambda run: (run / "run.json").write_text('{"arms": 3, "overrides": []}'), "damaged"),
        (lambda run: _report(run).write_text(_report(run).read_text().replace('"wall"', '"wal"')), "damaged"),
        (
            lambda run: _report(run).write_text(_report(run).read_text().replace('"passes": ', '"passes": "x", "p": ')),
            "damaged",
        ),
        (lambda run: (run / "run.json").write_text('{"arms": {"cls": {"seed": []}}, "overrides": []}'), "damaged"),
        (lambda run: (run / "run.json").write_text('{"arms": {}, "overrides": [3]}'), "damaged"),
        (lambda run: (run / "summary.json").write_text("[]"), "damaged"),
        (lambda run: (run / "jobs" / "er-000000.json").write_text('{"days": null}'), "damaged"),
        (lambda run: (run / "trace" / "er-000000.jsonl").write_text('{"moment": 1}\n'), "checksum"),
        (lambda run: (run / "trace" / "er-000000.jsonl").unlink(), "no such trace"),
    ],
)
def test_a_bad_folder_is_refused_in_one_line(run: Path, tmp_path: Path, capsys, damage, said: str):
    bad = tmp_path / "bad"
    shutil.copytree(run, bad)
    damage(bad)
    code, out, err = called(bad, capsys=capsys)
    assert code == 2 and out == "" and said in err and len(err.strip().splitlines()) == 1
    assert not (bad / "report.html").exists()


def test_bad_arguments_are_refused(run: Path, tmp_path: Path, capsys):
    assert called(tmp_path / "nowhere", capsys=capsys)[0] == 2
    assert called("--fast", capsys=capsys)[0] == 2
    code, _, err = called(run, f"out={tmp_path}", "reference=ex", capsys=capsys)
    assert code == 2 and "ex" in err
    code, _, err = called(run, f"out={run / 'run.json'}", capsys=capsys)
    assert code == 3 and len(err.strip().splitlines()) == 1
    assert called(capsys=capsys)[0] == 0


def test_names_from_a_file_are_text_and_no_markup(run: Path, tmp_path: Path, capsys):
    odd = tmp_path / "odd"
    shutil.copytree(run, odd)
    summary = json.loads((odd / "summary.json").read_text())
    summary["title"] = "<script>alert(1)</script> & co"
    summary["claims"][0]["statement"] = "<img src=x onerror=y> | `a`"
    (odd / "summary.json").write_text(json.dumps(summary))
    assert called(odd, capsys=capsys)[0] == 0
    page = Page((odd / "report.html").read_text())
    assert "script" not in page.tags and "alert(1)" in page.text and "x" not in page.fetched
    assert "<img" not in (odd / "report.md").read_text()


# -- what it judges ---------------------------------------------------------------------------------------------


def test_a_verdict_is_that_of_the_claim():
    """Inside and outside as in claims; nothing is decided where our SEM is above 3 points or not known."""
    inside, wide = [0.60, 0.61, 0.62, 0.63, 0.64], [0.3, 0.5, 0.6, 0.8, 0.9]
    for values in (inside, wide, [0.62]):
        e, known = statistics.estimate(values), Published(60.13, 1.66, "x")
        claim = published(Case({}, {"none": {"accuracy": np.array(values)}}), "none", 60.13, 1.66)
        band, said = arms.verdict(e, known)
        assert band == pytest.approx(claim.tolerance)
        assert said == ("inside" if values is inside else "not decided")
    assert arms.verdict(statistics.estimate(inside), Published(70.0, 0.1, ""))[1] == "outside"
    assert arms.verdict(statistics.estimate(inside), Published(70.0, None, ""))[1] == "shown, not counted"


def test_every_method_has_a_family_and_levels_that_are_known():
    table = expected.table()
    files = {file.stem for file in (experiments.conf_dir() / "method").glob("*.yaml")}
    assert set(table["methods"]) <= files, "a line in expected.yaml without a method"
    assert len(table["methods"]) > 0.8 * len(files), "methods without a line in expected.yaml"
    for name, told in table["methods"].items():
        assert told["family"] in table["families"], name
        for scenario in ("task", "domain", "class"):
            assert told.get(scenario, "floor") in table["levels"]
            assert scenario in told or scenario not in told.get("published", ())


@pytest.mark.parametrize(
    "scenario, none, joint", [("class", 19.89, 98.17), ("domain", 60.13, 98.59), ("task", 84.32, 99.67)]
)
def test_what_is_expected_is_what_was_published(scenario: str, none: float, joint: float):
    """Each published mean of the table lies on the level that is expected of its method."""
    claims = experiments.read(["experiment=vandeven_2022_table", f"scenario={scenario}"]).cfg["claims"]
    seen = 0
    for claim in claims.values():
        told = expected.table()["methods"].get(claim.get("arm"), {}).get(scenario)
        if claim["kind"] == "published" and claim["scenario"] == scenario and told:
            assert expected.level((claim["value"] - none) / (joint - none)) == told, claim
            seen += 1
    assert seen >= 6


def test_an_expectation_is_held_against_the_run():
    assert "as expected" in expected.found("ewc", "class", 0.2, 0.19, 0.98)
    assert "not as expected, but near joint" in expected.found("ewc", "class", 0.9, 0.19, 0.98)
    assert "do not differ" in expected.found("er", "task", 0.97, 0.97, 0.98)
    assert expected.found("er", "task", 0.97, None, 0.98) == "Ours: 0.970."
    assert expected.told("unknown", "class") == "" and "as published" not in expected.told("mas", "class")


# -- and at the beginning of a run ------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_run_begins_with_its_protocol_in_a_few_lines(run: Path):
    protocols = json.loads((run / "protocol.json").read_text())
    page = Terminal()
    print_protocol(protocols, page)
    lines = page.getvalue().splitlines()
    assert 3 <= len(lines) <= 6 and all(line.strip() for line in lines)
    assert "class-incremental" in lines[0] and "all compete" in lines[1] and "drawn for each subject" in lines[1]
    assert "and 4 more like it" in lines[2] and lines[3].startswith("joint") and "iid" in lines[3]
    for stream, quiet in ((io.StringIO(), None), (Terminal(), True)):
        print_protocol(protocols, stream, quiet)
        assert stream.getvalue() == "", "silent where nobody reads, and where asked"
