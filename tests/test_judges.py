"""The kinds of claim: each passes on what it should, fails on what it should not, and says by how much."""

from __future__ import annotations

import numpy as np
import pytest

from cls_sim import claims
from cls_sim.__main__ import main
from cls_sim.claims.arms import frontier
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError
from cls_sim.running.studies import study
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace
from cls_sim.theory import best_dose, go_cls_generalise

CFG = {"size": "paper", "seed": 1000}
NOISE = np.random.default_rng(0).normal(0, 0.01, 12)


def verdict(claim: dict, readings: dict | None = None, traces: dict | None = None, **cfg) -> dict:
    readings = {arm: {"accuracy": np.asarray(v, float)} for arm, v in (readings or {}).items()}
    (found,) = claims.judge({"it": claim}, traces or dict.fromkeys(readings), readings, CFG | cfg)
    return found


def test_a_mean_against_a_number():
    low = {"kind": "at_most", "arm": "a", "value": 0.3}
    assert verdict(low, {"a": 0.25 + NOISE})["passed"] is True
    assert verdict(low, {"a": 0.35 + NOISE})["passed"] is False
    high = {"kind": "at_least", "arm": "a", "value": 0.3}
    assert verdict(high, {"a": 0.25 + NOISE})["passed"] is False
    assert verdict(high, {"a": 0.35 + NOISE})["value"] == pytest.approx(0.35, abs=0.01)


def test_an_interval_across_the_bound_decides_nothing():
    high = {"kind": "at_least", "arm": "a", "value": 0.3}
    found = verdict(high, {"a": 0.302 + NOISE - NOISE.mean()})
    assert found["passed"] is True and found["decided"] is False
    assert verdict(high, {"a": 0.35 + NOISE})["decided"] is True
    assert verdict(high, {"a": 0.35 + NOISE}, seed=0)["decided"] is False, "nothing is judged"
    few = verdict(high, {"a": [0.35, 0.36]})
    assert few["passed"] is True and few["decided"] is False, "two subjects have no interval"


def test_better_needs_an_interval_above_zero():
    claim = {"kind": "better", "arm": "a", "than": "b"}
    other = np.random.default_rng(1).normal(0, 0.01, 12)
    assert verdict(claim, {"a": 0.5 + NOISE, "b": 0.45 + other})["passed"] is True
    assert verdict(claim, {"a": 0.45 + NOISE, "b": 0.5 + other})["passed"] is False
    assert verdict(claim, {"a": other - other.mean(), "b": NOISE - NOISE.mean()})["passed"] is False
    assert verdict(claim | {"by": 0.1}, {"a": 0.5 + NOISE, "b": 0.45 + other})["passed"] is False


@pytest.mark.parametrize("ours, passed", [(0.90, True), (0.914, True), (0.93, False), (0.88, False)])
def test_a_published_band_is_at_least_a_point_and_a_half(ours: float, passed: bool):
    claim = {"kind": "published", "arm": "a", "value": 90.0, "sem": 0.1}
    assert verdict(claim, {"a": ours + NOISE * 0.01})["passed"] is passed


def test_a_published_band_widens_with_both_errors():
    found = verdict({"kind": "published", "arm": "a", "value": 90.0, "sem": 2.0}, {"a": 0.9 + NOISE})
    ours = 100 * NOISE.std(ddof=1) / np.sqrt(12)
    assert found["tolerance"] == pytest.approx(3 * np.hypot(2.0, ours))


def test_an_optimum_inside_and_no_decay_better_than_none():
    arms = {"x1": 0.3 + NOISE, "x2": 0.8 + NOISE[::-1], "x3": 0.6 + NOISE}
    inside = {"kind": "interior_optimum", "arms": ["x1", "x2", "x3"]}
    assert verdict(inside, arms)["passed"] is True and verdict(inside, arms)["value"] == "x2"
    assert verdict(inside | {"arms": ["x1", "x3", "x2"]}, arms)["passed"] is False
    last = {"kind": "best_last", "arms": ["x1", "x3", "x2"]}
    assert verdict(last, arms)["passed"] is True
    assert verdict(last | {"arms": ["x1", "x2", "x3"]}, arms)["passed"] is False


def curve(scale: float = 1.0, steps: int = 50, snr: float = 1.0) -> Trace:
    """A cohort that follows the theory, times `scale`."""
    trace, clock = Trace(), Clock(4, 1)
    for dose in np.linspace(0, 10, steps):
        error = np.full(4, scale * go_cls_generalise(np.array([dose]), snr, 1.0)[0])
        trace.append(Moment("night.end", np.ones(4, bool)), clock, {"dose": np.full(4, dose), "generalise": error})
        clock.advance(np.ones(4, bool), np.zeros(4, bool))
    return trace


def test_a_curve_against_theory_fails_by_the_worst_cell():
    claim = {
        "kind": "curve", "cells": {"a": 1.0, "b": 1.0}, "load": 1.0,
        "reading": "generalise", "law": "generalise", "tolerance": 0.04,
    }  # fmt: skip
    good = verdict(claim, traces={"a": curve(), "b": curve(1.02)})
    assert good["passed"] and good["worst"] == "b" and good["value"] == pytest.approx(0.02, abs=1e-6)
    assert not verdict(claim, traces={"a": curve(), "b": curve(1.05)})["passed"]
    assert not verdict(claim | {"cells": {"a": 8.0}}, traces={"a": curve()})["passed"], "another teacher's curve"


def test_schedules_at_equal_dose():
    claim = {"kind": "same_dose", "arm": "a", "than": "b", "reading": "generalise", "tolerance": 0.005}
    assert verdict(claim, traces={"a": curve(steps=200), "b": curve(steps=37)})["passed"]
    assert not verdict(claim, traces={"a": curve(steps=200), "b": curve(1.01, steps=37)})["passed"]


def test_the_best_dose():
    claim = {"kind": "optimum", "cells": {"a": 1.0}, "load": 1.0, "reading": "generalise", "tolerance": 0.02}
    assert verdict(claim, traces={"a": curve(steps=400)})["passed"]
    assert not verdict(claim | {"cells": {"a": 30.0}}, traces={"a": curve(steps=400)})["passed"]
    assert 0.6 < best_dose(1.0, 1.0) < 0.8


def test_where_an_interval_is_asked_for_few_subjects_decide_nothing():
    claim, apart = {"kind": "better", "arm": "a", "than": "b"}, {"a": 0.9 + NOISE[:3], "b": 0.1 + NOISE[3:6]}
    found = verdict(claim, apart, subjects=3)
    assert found["passed"] is None and found["value"] == pytest.approx(0.8, abs=0.02)
    assert verdict({"kind": "at_least", "arm": "a", "value": 0.3}, apart, subjects=3)["passed"] is True
    lost = {"a": np.full(8, np.nan), "b": NOISE[:8]}
    assert verdict(claim, lost, subjects=8)["passed"] is False


def test_below_seed_1000_nothing_is_decided_and_other_sizes_are_left_out():
    claim = {"kind": "at_most", "arm": "a", "value": 0.3}
    assert verdict(claim, {"a": NOISE}, seed=999)["passed"] is None
    assert claims.judge({"it": claim | {"size": "small"}}, {}, {}, CFG) == []
    assert verdict(claim | {"arm": "missing"}, {"a": NOISE})["passed"] is None


def test_a_claim_with_an_unknown_key_or_kind_is_refused():
    with pytest.raises(ConfigError, match="vale"):
        verdict({"kind": "at_most", "arm": "a", "vale": 0.3}, {"a": NOISE})
    with pytest.raises(ConfigError, match=r"claims\.it\.value: is missing"):  # was a TypeError
        verdict({"kind": "at_most", "arm": "a"}, {"a": NOISE})
    with pytest.raises(ConfigError, match=r"claims\.it\.kind"):
        verdict({"kind": "at_mos", "arm": "a", "value": 0.3}, {"a": NOISE})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+claims.it={kind: better, arm: cls, than: nobody}", "claims.it.than: there is no arm 'nobody'"),
        ("+claims.it={kind: trend, arms: [cls, clss], at_least: 1}", "claims.it.arms: there is no arm 'clss'; did you"),
        ("+claims.it={kind: trend, arms: 3, at_least: 1}", "claims.it.arms: 3 does not name arms"),
        ("+claims.it={kind: bettr, arm: cls, than: joint}", "claims.it.kind: 'bettr' is none of"),
        ("+claims.it={kind: better, arm: cls, than: joint, bye: 1}", "claims.it.bye: is unknown; did you mean by?"),
        ("+figures.it={kind: pie}", "figures.it.kind: 'pie' is none of"),
        ("ablation.must_fail=[grows]", "ablation.must_fail: there is no claim 'grows'"),
        ("ablation.must_fail=[]", "ablation: needs overrides and must_fail"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_before_anything_runs(override, said, tmp_path, capsys):
    given = ["experiment=digits", "size=small", "subjects=2", override]
    assert main([*given, f"out={tmp_path / 'run'}"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"cls-sim: error: {said}") and line.count("\n") == 1
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=said[:24]):
        study(*given)


# -- the general kinds --------------------------------------------------------------------------------------


def profiled(**arms: np.ndarray) -> dict[str, Trace]:
    """Traces whose one row, at the end of life, holds a profile [s, k] called `p`."""
    found = {}
    for name, values in arms.items():
        found[name] = Trace()
        found[name].append(Moment("life.end", np.ones(len(values), bool)), Clock(len(values), 1), {"p": values})
    return found


def judged(claim: dict, **arms: np.ndarray) -> dict:
    (found,) = claims.judge({"it": claim}, profiled(**arms), {arm: {} for arm in arms}, CFG)
    return found


def test_near_holds_within_its_tolerance_only():
    cells = {"kind": "near", "cells": {"a": 0.5, "b": 1.0}, "tolerance": 0.05}
    assert verdict(cells, {"a": 0.48 + NOISE, "b": 1.03 + NOISE})["passed"] is True
    assert verdict(cells, {"a": 0.48 + NOISE, "b": 1.1 + NOISE})["worst"] == "b"
    share = {"kind": "near", "arm": "a", "value": 10.0, "tolerance": 0.12, "relative": True}
    assert verdict(share, {"a": 11.0 + NOISE})["passed"] is True
    assert verdict(share, {"a": 11.5 + NOISE})["passed"] is False


def test_a_ratio_is_of_means_or_of_each():
    claim = {"kind": "ratio", "arm": "a", "than": "b", "at_most": 0.5}
    a, b = np.full(12, 0.45), np.ones(12)
    assert verdict(claim, {"a": a, "b": b})["passed"] is True
    a[3] = 0.6
    assert verdict(claim, {"a": a, "b": b})["passed"] is True
    assert verdict(claim | {"each": True}, {"a": a, "b": b})["value"] == pytest.approx(0.6)


def test_a_trend_is_of_means_in_order():
    claim = {"kind": "trend", "arms": ["a", "b", "c"], "at_least": 1.0}
    assert verdict(claim, {"a": NOISE, "b": 1 + NOISE, "c": 2 + NOISE})["passed"] is True
    assert verdict(claim, {"a": NOISE, "c": 1 + NOISE, "b": 2 + NOISE})["passed"] is False


def test_a_profile_against_a_law_a_slope_and_its_order():
    x = [0.1, 0.5, 1.0, 3.0]
    right = np.tile(go_cls_generalise(np.array(x), snr=1.0, load=1.0), (12, 1)) + NOISE[:, None]
    law = {"kind": "law", "arm": "a", "reading": "p", "x": x, "law": "go_cls_generalise", "tolerance": 0.02}
    law["settings"] = {"snr": 1.0, "load": 1.0}
    assert judged(law, a=right)["passed"] is True
    assert judged(law, a=right + 0.03)["passed"] is False
    assert judged(law | {"norm": "l2"}, a=right + 0.03)["value"] == pytest.approx(0.03, abs=0.01)
    power = np.tile(np.array(x) ** -0.5, (12, 1))
    slope = {"kind": "slope", "arm": "a", "reading": "p", "x": x, "low": -0.53, "high": -0.46}
    assert judged(slope, a=power)["value"] == pytest.approx(-0.5)
    assert judged(slope, a=power**2)["passed"] is False
    assert judged({"kind": "profile_trend", "arm": "a", "reading": "p", "at_most": -1}, a=power)["passed"] is True
    assert judged({"kind": "at_most", "arm": "a", "reading": "p[3]", "value": 0.6}, a=power)["passed"] is True
    with pytest.raises(ConfigError, match="law"):
        judged(law | {"law": "go_cls"}, a=right)


def test_the_frontier_of_the_better_family_encloses_more():
    rng = np.random.default_rng(0)
    jitter = lambda value: value + 0.01 * rng.standard_normal(10)  # noqa: E731
    readings = {
        name: {"kept": jitter(x), "new": jitter(y)}
        for name, (x, y) in {"a": (0.9, 0.5), "b": (0.6, 0.8), "c": (0.3, 0.0), "d": (0.0, 0.8)}.items()
    }
    case = Case({}, readings)
    found = frontier(case, ["a", "b"], ["c", "d"], "kept", "new", by=0.5)
    assert found.passed and found.value == pytest.approx(0.9 * 0.5 + 0.6 * 0.3, abs=0.03)
    assert not frontier(case, ["c", "d"], ["a", "b"], "kept", "new").passed


def test_sleep_spares_only_where_something_is_lost():
    lost, none = 1.0 + NOISE, NOISE - NOISE.mean()
    claim = {"kind": "selective_advantage", "arms": ["a", "b"], "than": ["c", "d"], "reading": "accuracy"}
    assert verdict(claim, {"a": 0.5 + NOISE[::-1], "b": none[::-1], "c": lost, "d": none})["passed"] is True
    assert verdict(claim, {"a": lost[::-1], "b": none[::-1], "c": lost, "d": none})["passed"] is False
    assert verdict(claim, {"a": none, "b": none, "c": none, "d": none})["passed"] is False


def test_a_reading_on_a_day_and_its_change_since_another():
    trace, clock = Trace(), Clock(5, 1)
    for day in range(4):
        clock.experience[:] = day
        trace.append(Moment("day.end", np.ones(5, bool)), clock, {"accuracy": np.full((5, 2), [day, 10.0 * day])})
    for reading, value in (("accuracy@2", 11.0), ("accuracy[1]@1", 10.0), ("accuracy[0]@1..3", 2.0)):
        claim = {"kind": "near", "arm": "a", "value": value, "tolerance": 1e-9, "reading": reading}
        assert verdict(claim, {"a": NOISE[:5]}, {"a": trace})["passed"] is True, reading
