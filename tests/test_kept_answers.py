"""Readings at bounded cost, answers that a run keeps, and readings that are computed from them later."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.__main__ import main
from cls_sim.config import experiments
from cls_sim.core.clock import Moment
from cls_sim.core.trees import fingerprint
from cls_sim.probes.accuracy import lived_contexts
from cls_sim.probes.answers import looked
from cls_sim.probes.sampled import asked
from cls_sim.running import kept
from cls_sim.running.opened import open_run
from cls_sim.running.runs import perform
from cls_sim.storage import packed
from cls_sim.storage.looks import FULL, MEASURES, Course, courses, measured
from cls_sim.storage.readings import dips, readings, windowed
from cls_sim.storage.trace import Trace
from tests.lives import live, small

ALL = 10**4  # more questions and contexts than there are
TINY = ("experiment=digits", "subjects=2", "arms=[cls]", "world.per_context=10", "rhythm.experiences_per_day=5")
TINY = (*TINY, "rhythm.steps_per_night=5", "probes=accuracy", "figures={}", "claims={}", "answers=kept")


def look(life: cs.Life, **probes: Any) -> dict[str, np.ndarray]:
    """What probes read now."""
    life.probes.update({name: probe.at("day.end") for name, probe in probes.items()})
    found = life.measure(Moment("day.end", np.ones(len(life.seeds), bool)))
    return {name: found[name].numpy() for name in probes}


def test_with_every_question_it_is_the_accuracy_on_the_contexts_met():
    life = live(small(3, seed=4, world=cs.Digits(per_context=12, batch=8, shuffle_classes=True)), 70)
    sampled = cs.SampledAccuracy(questions=ALL, contexts=ALL)
    found = look(life, anytime=cs.AnytimeAccuracy(questions=ALL, contexts=ALL), accuracy=cs.Accuracy(), sampled=sampled)
    met = lived_contexts(life).numpy()
    assert np.allclose(found["sampled"], np.where(met, found["accuracy"], np.nan), equal_nan=True)
    assert met.sum(1).min() > 1 and not met.all()
    assert np.allclose(found["anytime"], np.where(met, found["accuracy"], 0).sum(1) / met.sum(1))


def test_the_sample_is_bounded_and_what_leaves_it_stays_out():
    world = cs.Arrays(
        x=np.random.default_rng(0).random((360, 4)),
        y=np.arange(360) % 2,
        context=np.arange(360) // 2 % 30,
        scenario="domain",
        per_context=2,
        batch=2,
    )
    life, before = small(2, world=world, rhythm=cs.Sleepless(experiences_per_day=2)), [set(), set()]
    while not life.over:
        life.step()
        found = asked(life, 3, 4, None)
        met = lived_contexts(life).numpy()
        for i in range(2):
            drawn = set(found.contexts[i][found.drawn[i]].tolist())
            assert len(drawn) == min(4, met[i].sum()) and found.y.shape[1] <= 5
            assert found.newest[i] in found.contexts[i]
            assert drawn <= before[i] | {int(found.newest[i])}, (
                "a context in the sample was asked ever since it was met"
            )
            before[i] = drawn
    assert before[0] != before[1], "every subject has its own sample"


def test_looks_do_not_depend_on_company_on_earlier_looks_or_on_a_resumed_life():
    probes = {"a": cs.AnytimeAccuracy(questions=4, contexts=2), "r": cs.RecencyBias(questions=9), "p": cs.Prequential()}
    pair, alone = (small(n, seed=9 - n, world=cs.Digits(per_context=12, batch=8)) for n in (2, 1))
    for life in (pair, alone):
        live(life, 40)
    look(pair, **probes)
    together, apart = (look(live(life, 90), **probes) for life in (pair, alone))
    heir = small(1, seed=8, world=cs.Digits(per_context=12, batch=8))
    heir.load(alone.state())
    again = look(heir, **probes)
    for name in probes:
        assert np.allclose(together[name][1], apart[name][0], atol=1e-6, equal_nan=True), name
        assert np.array_equal(apart[name], again[name], equal_nan=True), name


def test_looks_change_nothing():
    plain, watched = small(2), small(2)
    while not plain.over:
        plain.step()
        watched.step()
        look(watched, a=cs.AnytimeAccuracy(questions=3), p=cs.Prequential(), k=cs.Answers(questions=3))
    assert fingerprint(plain.state()) == fingerprint(watched.state())


def test_prequential_accuracy_is_that_of_the_next_batch():
    life = live(small(2), 30)
    coming = life.world.next(life.clock)
    said = life.readout.answer(coming.x, None, life.hippocampus, life.neocortex).scores.argmax(2)
    assert np.allclose(look(life, p=cs.Prequential())["p"], (said == coming.y).double().mean(1))
    assert np.isnan(look(live(life), p=cs.Prequential())["p"]).all(), "nothing comes after the end"


def test_the_cortex_alone_answers_with_the_newest_classes():
    life = small(
        2, world=cs.Digits(per_context=40, batch=8), rhythm=cs.Sleepless(experiences_per_day=10), plasticity=0.02
    )
    bias = look(live(life, 120), r=cs.RecencyBias())["r"]
    assert (bias > 0.9).all()
    domain = small(2, world=cs.Digits(per_context=12, batch=8, scenario="domain"))
    assert np.isnan(look(live(domain, 60), r=cs.RecencyBias())["r"]).all(), "all contexts have the same classes"


def test_a_regression_is_refused():
    x = np.random.default_rng(0).random((40, 3))
    with pytest.raises(cs.ConfigError, match="answers that are classes"):
        small(
            1,
            hippocampus=cs.Store(),
            world=cs.Arrays(x=x, y=x[:, :1], per_context=4, batch=4),
            probes={"a": cs.AnytimeAccuracy()},
        )


# -- readings of a course ------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12), st.integers(2, 14))
def test_windows_are_those_of_all_pairs(values: list[float], window: int):
    pairs = [(a, b) for (i, a), (j, b) in combinations(enumerate(values), 2) if j - i < window]
    known = [b - a for a, b in pairs if np.isfinite(b - a)]
    found = [windowed(np.array(values), window, sign) for sign in (-1, 1)]
    wanted = [max(-d for d in known), max(known)] if known else [np.nan, np.nan]
    assert np.allclose(found, wanted, atol=1e-11, equal_nan=True)


def traced(life: cs.Life) -> tuple[Trace, Trace]:
    """The trace of a life with the probe `answers`, and its raw answers as a run keeps them."""
    trace, file = cs.run(life, progress=False), Trace(form=packed)
    rows = [row for row in trace.rows if "answers" in row["readings"]]
    file.extend(row | {"readings": {"answers": packed.packed(row["readings"]["answers"])}} for row in rows)
    return trace, file


def test_later_readings_are_those_of_the_trace_if_every_question_is_asked():
    moments = ("day.end", "context.end", "life.end")
    probes = {"accuracy": cs.Accuracy().at(*moments), "answers": cs.Answers(questions=ALL, contexts=ALL).at(*moments)}
    probes |= {"p": cs.Prequential().at("day.end")}
    world = cs.Digits(per_context=6, batch=8, shuffle_classes=True)
    trace, file = traced(
        small(3, seed=2, world=world, rhythm=cs.Nights(experiences_per_day=3, steps_per_night=4), probes=probes)
    )
    derived = readings(trace)
    names = {"anytime": "accuracy.anytime", "stability_gap": "accuracy.stability_gap", "min_acc": "accuracy.min_old"}
    for reading, name in names.items():
        assert np.allclose(measured([file], reading).per_subject, derived[name]), reading
    last = trace.last("accuracy")
    assert np.allclose(measured([file], "accuracy").per_subject, last.mean(1))
    expected = np.nanmean(trace.reading("p")[1], 0)
    assert np.allclose(measured([file], "prequential").per_subject, expected)
    assert np.isfinite(derived["accuracy.windowed_forgetting"]).all()
    worst = last[:, -1] / 5 + 0.8 * derived["accuracy.min_old"]
    assert np.allclose(measured([file], "worst_case").per_subject, worst)


def course(values: list[list[float]], newest: list[int]) -> Course:
    t, c = np.array(values).shape
    return Course(
        np.ones(t, bool), np.array(newest), np.zeros(t), np.array(values), np.arange(c), np.zeros(t), np.zeros(t)
    )


def test_gap_and_minimum_of_a_known_course():
    known = course([[0.9, np.nan], [0.3, 0.5], [0.4, 0.8], [0.7, 0.9]], [0, 1, 1, 1])
    read = {name: MEASURES[name][0](known, 10) for name in MEASURES}
    assert read["stability_gap"] == pytest.approx(0.4) and read["min_acc"] == pytest.approx(0.3)
    assert read["worst_case"] == pytest.approx(0.45 + 0.15) and read["forgetting"] == pytest.approx(0.2)
    assert read["windowed_forgetting"] == pytest.approx((0.6 - 0.1) / 2), "a context that only rises counts below 0"
    assert read["windowed_plasticity"] == pytest.approx((0.4 + 0.4) / 2)
    ends = np.array([True, False, False, True])
    assert dips(known.values, ends)["stability_gap"] == pytest.approx(read["stability_gap"])


def test_what_is_undefined_says_why():
    probes = {"answers": cs.Answers(questions=4).at("context.end")}
    _, file = traced(small(2, world=cs.Digits(per_context=6, batch=8), probes=probes))
    for reading in ("stability_gap", "anytime"):
        found = measured([file], reading)
        assert np.isnan(found.per_subject).all() and found.why and "every N" in found.why
    assert measured([file], "min_acc").why is None
    with pytest.raises(cs.ConfigError, match=r"reading: 'min_ac' is not .*min_acc"):
        measured([file], "min_ac")
    with pytest.raises(cs.ConfigError, match="window"):
        measured([file], "anytime", 1)
    file.extend([file.rows[-1] | {"moment": FULL}])
    assert "largest size" in (measured([file], "min_acc").why or "")


# -- in the run directory ----------------------------------------------------------------------------------------------


def ran(out: Path, *more: str) -> Path:
    return perform(experiments.read([*TINY, f"out={out}", *more]), quiet=True)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its answers: tests look at it, and change copies of it."""
    return ran(tmp_path_factory.mktemp("whole") / "r")


def test_a_run_keeps_answers_and_is_measured_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = ran(tmp_path / "r", "chunk=1")
    assert main(["measure", str(folder), "reading=min_acc,anytime"]) == 0
    told = json.loads((folder / "measured.json").read_text())
    shown = capsys.readouterr().out
    assert set(told) == {"min_acc", "anytime"} and len(told["anytime"]["cls"]["per_subject"]) == 2
    assert "min_acc" in shown and "n = 2" in shown
    assert main(["measure", str(folder), "reading=recency_bias", "window=3"]) == 0
    assert set(json.loads((folder / "measured.json").read_text())) == {"min_acc", "anytime", "recency_bias"}
    run = open_run(folder)
    assert np.allclose(run.measure("anytime")["cls"].per_subject, told["anytime"]["cls"]["per_subject"])
    assert "answers" not in run.traces["cls"].names()


def test_answers_of_a_resumed_run_are_those_of_a_whole_one(whole: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    ran(broken, "days=6")
    perform(experiments.read([*TINY, "days=null", f"resume={broken}"]), quiet=True)
    name = "answers/cls-000000.jsonl"
    rows = [
        [line for line in (place / name).read_text().splitlines() if "life.end" not in line]
        for place in (whole, broken)
    ]
    assert rows[0] == rows[1]
    assert (whole / name).read_bytes() == (broken / name).read_bytes()


def test_a_branch_has_the_answers_of_its_past(tmp_path: Path):
    arms = "arm={cls: [], other: {branch_from: cls, branch_at: 4d, overrides: ['replay.batch=8']}}"
    folder = ran(tmp_path / "r", arms, "arms=[cls,other]", "small=[]")
    one, other = (Trace.read(folder / "answers" / f"{arm}-000000.jsonl", form=packed).rows for arm in ("cls", "other"))
    past = [row for row in one if row["day"][0] < 4]
    assert past and [row["moment"] for row in other[: len(past)]] == [row["moment"] for row in past]
    for a, b in zip(past, other, strict=False):
        assert (a["readings"]["answers"] == b["readings"]["answers"]).all()


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(kept, "LIMIT", 3000)
    folder = ran(tmp_path / "r")
    assert (folder / "answers" / "cls-000000.jsonl").stat().st_size < 4000
    assert "answers end on day" in capsys.readouterr().err
    found = open_run(folder).measure("anytime")["cls"]
    assert found.why and found.why.startswith("answers end on day") and np.isnan(found.per_subject).all()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["NONE"], "is not a run directory"),
        (["RUN", "reading=best"], "reading: 'best' is not a reading"),
        (["RUN", "window=x"], "window: 'x' is not a whole number"),
        (["RUN", "reading=anytime", "window=1"], "window: 1 is out of range"),
        (["RUN", "RUN"], "has 2 folders"),
        (["PLAIN"], "has kept no answers; run it again with answers=kept"),
        (["DAMAGED"], "the line fails its checksum"),
    ],
)
def test_a_bad_question_is_one_line(
    whole: Path, tmp_path: Path, args: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    places = {"NONE": tmp_path / "none", "RUN": tmp_path / "r", "PLAIN": tmp_path / "r", "DAMAGED": tmp_path / "r"}
    if args[0] in ("RUN", "DAMAGED"):
        shutil.copytree(whole, tmp_path / "r")
    if args[0] == "PLAIN":
        ran(tmp_path / "r", "answers=null")
    if args[0] == "DAMAGED":
        file = tmp_path / "r" / "answers" / "cls-000000.jsonl"
        file.write_bytes(file.read_bytes().replace(b'"tick":', b'"tick":1', 1))
    assert main(["measure", *(str(places.get(arg, arg)) for arg in args)]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_the_key_is_checked():
    with pytest.raises(cs.ConfigError, match="answers: 'all' is none of kept"):
        experiments.read([*TINY, "answers=all"])
    with pytest.raises(cs.ConfigError, match=r"probes\.answers"):
        experiments.build(*TINY, "+probes.answers={_target_: cls_sim.Accuracy}")


def test_raw_answers_come_back_as_they_were():
    life = live(small(2), 40)
    numbers = look(life, answers=cs.Answers(questions=7, contexts=3))["answers"]
    back = looked(packed.unpacked(packed.packed(numbers)))
    found = asked(life, 7, 3, None)
    most = found.y.shape[1]
    assert (back.said[:, :most] == found.said.numpy()).all() and (back.y[:, :most] == found.y.numpy()).all()
    assert (back.contexts[:, :most] == found.contexts).all() and (back.its == found.its).all()
    assert (back.contexts[:, most:] == -1).all() and (back.y[:, most:] == -1).all()
    with pytest.raises(ValueError, match="fit together"):
        looked(numbers[:, :-1])


def test_the_help_names_every_reading():
    page = subprocess.run([sys.executable, "-m", "cls_sim", "measure", "--help"], capture_output=True, text=True).stdout
    assert all(name in page for name in MEASURES)
    assert courses(Trace(form=packed)) == []
