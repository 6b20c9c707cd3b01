"""The stability gap inside the night: what a copy finds comes true, and how it is judged and drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lives import small

import cls_sim as cs
from cls_sim import claims
from cls_sim.core.errors import ConfigError
from cls_sim.probes.evaluations import exams
from cls_sim.storage.readings import readings
from cls_sim.storage.trace import Trace

STEPS = 5  # replay steps of a night


def evening() -> cs.Life:
    """Three subjects at the end of their first day."""
    life = small(3)
    while life.clock.experience[0] < 6:
        life.step()
    assert life.clock.asleep.all()
    return life


@torch.no_grad()
def read(life: cs.Life, **settings: Any) -> np.ndarray:
    return cs.NightAccuracy(**settings).measure(life).numpy()


def test_the_night_comes_true_and_the_subject_does_not_notice():
    life = evening()
    before, course, lowest = life.clock.tick, read(life, of="course", context=1, steps=STEPS + 2), read(life)
    assert life.clock.tick == before
    lived = [exams(life, None).numpy()]
    while life.clock.asleep.any():
        life.step()
        lived.append(exams(life, None).numpy())
    assert len(lived) == STEPS + 1
    np.testing.assert_array_equal(course[:, : STEPS + 1], np.stack(lived, 1)[:, :, 1])
    assert np.isnan(course[:, STEPS + 1 :]).all() and course.shape == (3, STEPS + 3)
    np.testing.assert_array_equal(lowest, np.min(lived, 0))
    assert (lowest < lived[0]).any() or (lowest < lived[-1]).any()


def test_awake_the_lowest_is_the_present_accuracy():
    life = small(3)
    life.step()
    np.testing.assert_array_equal(read(life), exams(life, None).numpy())
    assert np.isnan(read(life, of="course", steps=2)[:, 1:]).all()


def test_it_counts_contexts_from_0():
    with pytest.raises(ConfigError, match="context"):
        small(probes={"course": cs.NightAccuracy(of="course", context=5)})


def test_the_gap_inside_the_night_is_a_derived_reading():
    probes = {"inside": cs.NightAccuracy(), "awake": cs.Accuracy().at("day.end", "night.end", "context.end")}
    found = readings(cs.run(small(3, probes=probes), progress=False))
    assert (found["inside.min_old"] <= found["awake.min_old"]).all()
    assert (found["inside.stability_gap"] >= found["awake.stability_gap"]).all()


def test_the_interval_of_a_ratio_lies_within_its_bound():
    claim = {"kind": "ratio", "arm": "a", "than": "b", "at_most": 0.5, "interval": True}
    spread = np.linspace(-0.2, 0.2, 12)

    def verdict(a: np.ndarray, b: np.ndarray) -> dict:
        both = {"a": {"accuracy": a}, "b": {"accuracy": b}}
        (found,) = claims.judge({"it": claim}, {"a": Trace(), "b": Trace()}, both, {"seed": 1000, "subjects": 12})
        return found

    paired = verdict(0.48 * (1 + spread), 1 + spread)  # every subject has the same ratio
    assert paired["passed"] is True and paired["interval"] == pytest.approx([0.48, 0.48])
    unpaired = verdict(0.48 * (1 + spread), 1 - spread)
    assert unpaired["value"] == pytest.approx(0.48) and unpaired["interval"][1] > 0.5 and unpaired["passed"] is False


def test_the_figure_shows_the_states_of_the_night_between_those_of_the_day():
    at = "life.begin", "day.end", "night.end", "context.end"
    probes = {
        "accuracy": cs.Accuracy().at(*at),
        "course": cs.NightAccuracy(of="course", steps=STEPS).at("day.end"),
        "passes": cs.Passes().at(*at),
    }
    rhythm, plasticity = cs.Nights(experiences_per_day=6, steps_per_night=STEPS), cs.WakeNight(night_rate=0.01)
    trace = cs.run(small(6, probes=probes, rhythm=rhythm, plasticity=plasticity), progress=False)
    figure = cs.figures.awake_and_asleep({"a": trace}, rows_per_step=16, titles={"a": "nights"})
    awake, asleep = ([row for row in figure.data() if row["state"] == state] for state in ("awake", "asleep"))
    nights = len({row["step"] for row in awake}) - 1
    assert nights == 10 and {row["step"] for row in awake} == {STEPS * night for night in range(nights + 1)}
    assert len(asleep) == nights * (STEPS + 1)
    for row in awake:  # at nightfall and on waking both are the same state
        assert row["mean"] in [pytest.approx(other["mean"]) for other in asleep if other["step"] == row["step"]]
    assert figure.axes[0].get_title(loc="left") == "nights"
