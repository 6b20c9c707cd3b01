"""Probes at intervals within a day (`every N`), and the readings that are made of them."""

from __future__ import annotations

import numpy as np
import pytest

import cls_sim as cs
from cls_sim.storage.readings import anytime, readings
from cls_sim.storage.trace import Trace
from tests.lives import small


def test_a_probe_is_asked_after_every_nth_experience_of_a_subject():
    probe = cs.Accuracy().at("every 4", "day.end")
    trace = cs.run(small(2, probes={"accuracy": probe}), progress=False, days=4)
    rows = [row for row in trace.rows if row["moment"] == "every 4"]
    assert [row["day"][0] * 6 for row in rows] == [4, 8, 12, 16, 20, 24]
    assert [row["moment"] for row in trace.rows if row["day"][0] == 2.0] == ["every 4", "day.end"]


def test_subjects_at_other_ages_are_asked_at_their_own_experiences():
    rhythm = cs.Pressure(
        experiences_per_day=6, rise_per_experience=0.3, error_gain=0.3, novelty_gain=0.3, fall_per_step=0.2
    )
    life = small(4, rhythm=rhythm, probes={"accuracy": cs.Accuracy().at("every 5")})
    trace = cs.run(life, progress=False, days=5)
    for row in (row for row in trace.rows if row["moment"] == "every 5"):
        who = row.get("who", np.ones(4, bool))
        assert (np.round(row["day"][who] * 6) % 5 == 0).all()


@pytest.mark.parametrize("name", ["every", "every 0", "every -3", "every 5 days", "every 1.5", "evry 5"])
def test_other_words_are_no_moments(name: str):
    with pytest.raises(cs.ConfigError, match="at:"):
        cs.Accuracy().at(name)


def test_chunks_with_different_intervals_at_a_tick_are_joined():
    """At a tick one chunk may have `every 4`, another both `every 4` and `every 6`."""
    probes = {"a": cs.Accuracy().at("every 4"), "b": cs.Accuracy().at("every 6")}
    whole = cs.run(small(4, probes=probes), progress=False, days=5)
    parts = [cs.run(small(2, seed, probes=probes), progress=False, days=5) for seed in (0, 2)]
    joined = Trace.join(parts)
    assert [row["moment"] for row in joined.rows] == [row["moment"] for row in whole.rows]
    for ours, theirs in zip(joined.rows, whole.rows, strict=True):
        for name in ours["readings"]:
            assert np.allclose(ours["readings"][name], theirs["readings"][name], atol=0.02, equal_nan=True)


def test_anytime_accuracy_is_the_mean_over_what_was_met():
    values = np.array([[0.8, np.nan], [1.0, 0.0], [0.5, 0.7], [0.6, 0.9]])
    ends, looks = np.array([0, 1, 0, 1], bool), np.array([1, 0, 1, 1], bool)
    assert anytime(values, ends, looks) == pytest.approx((0.8 + 0.6 + 0.75) / 3)


def test_readings_hold_the_anytime_accuracy_of_the_finest_interval():
    probe = cs.Accuracy().at("every 3", "day.end", "context.end", "life.end")
    trace = cs.run(small(2, probes={"accuracy": probe}), progress=False)
    found = readings(trace)
    rows, met, means = trace.rows, 1, []
    for row in rows:
        if row["moment"] == "every 3":
            means.append(row["readings"]["accuracy"][:, :met].mean(1))
        met = min(met + (row["moment"] == "context.end"), 5)
    assert np.allclose(found["accuracy.anytime"], np.mean(means, 0))
    assert {"accuracy.stability_gap", "accuracy.min_old"} <= set(found)
