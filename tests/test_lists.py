"""Paired associates and living things: the worlds, and the probes that lesion and relearning studies ask for."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import live, small

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.probes.amnesia import ages, crossing


def at(experience: int, subjects: int = 1) -> Clock:
    clock = Clock(subjects, 1)
    clock.experience += experience
    return clock


def lists(subjects: int = 3, **changes: Any) -> cs.Life:
    """A list a day for four days, a fifth never met, replayed every night."""
    world = {"lists": 5, "items": 4, "features": 30, "visits": [0, 1, 2, 3], "per_visit": 2}
    parts: dict[str, Any] = {
        "world": cs.Associations(**world | changes.pop("world", {})),
        "hippocampus": cs.Store(capacity=32),
        "plasticity": cs.WakeNight(wake_rate=0.0, night_rate=0.01),
        "rhythm": cs.Nights(experiences_per_day=2, steps_per_night=40),
        "readout": cs.MostConfident(threshold=0.9),
    }
    return small(subjects, **parts | changes)


# -- the world ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 20), st.floats(0.05, 1.0), st.integers(0, 2**31))
def test_lists_are_what_was_asked_for(k: int, n: int, features: int, active: float, seed: int):
    world = cs.Associations(lists=k, items=n, features=features, place=3, active=active)
    spec = world.setup(Spec(seeds=(seed,)))
    exams = [world.evaluation(c) for c in range(k)]
    assert spec.outputs == k * n and spec.contexts == k
    assert sorted(int(y) for e in exams for y in e.y[0]) == list(range(k * n)), "every pair has its own response"
    for c, exam in enumerate(exams):
        assert (exam.x[0, :, :features].sum(1) == max(1, round(active * features))).all()
        assert (exam.x[0, :, features:] == exam.x[0, :1, features:]).all(), "one list, one place"
        assert (exam.context == c).all()


def test_a_visit_goes_through_its_list_epoch_by_epoch_and_others_do_not_matter():
    world = cs.Associations(lists=3, items=6, batch=3, visits=[2, 0], per_visit=4)
    world.setup(Spec(seeds=(5, 6)))
    alone = copy.deepcopy(world)
    alone.setup(Spec(seeds=(6,)))
    for e in range(0, 8, 2):
        items = torch.cat([world.next(at(e + i, 2)).item for i in (0, 1)], 1)
        context = 2 if e < 4 else 0
        assert (items.sort(1).values == context * 6 + torch.arange(6)).all()
        torch.testing.assert_close(alone.next(at(e)).x[0], world.next(at(e, 2)).x[1])
    assert world.ends == (4, 8) and world.length == 8


def test_the_same_cues_have_other_responses_in_another_list():
    world = cs.Associations(lists=2, items=5, features=12, place=4, same_cues=True)
    world.setup(Spec(seeds=(1,)))
    ab, ac = world.evaluation(0), world.evaluation(1)
    assert torch.equal(ab.x[..., :12], ac.x[..., :12]) and not torch.equal(ab.x[..., 12:], ac.x[..., 12:])
    assert not set(ab.y[0].tolist()) & set(ac.y[0].tolist())


def test_answers_are_dealt_out_evenly():
    world = cs.Associations(lists=4, items=5, answers=10)
    world.setup(Spec(seeds=(3,)))
    y = torch.cat([world.evaluation(c).y for c in range(4)], 1)[0]
    assert (y.bincount(minlength=10) == 2).all()


def test_what_contradicts_itself_is_refused():
    with pytest.raises(ConfigError, match=r"^place: is 0"):
        cs.Associations(same_cues=True)
    with pytest.raises(ConfigError, match=r"^visits\[1\]"):
        cs.Associations(lists=2, visits=[0, 2])
    with pytest.raises(ConfigError, match=r"not in this world"):
        life = small(world=cs.Semantic(), neocortex=cs.Relational(), hippocampus=cs.NoHippocampus())
        cs.Belief(item="dodo").measure(life)


def test_revisit_gives_the_list_studied_last():
    world = cs.Associations(lists=3, items=4, visits=[2, 0], per_visit=2)
    world.setup(Spec(seeds=(1,)))
    assert torch.cat([b.item for b in world.revisit(at(2), 3)], 1).sort().values.tolist() == [[8, 9, 10, 11]]
    assert torch.cat([b.item for b in world.revisit(at(4), 3)], 1).sort().values.tolist() == [[0, 1, 2, 3]]


# -- lesion studies -------------------------------------------------------------------------------------------


def test_ages_count_from_the_end_of_the_last_visit():
    life = live(lists(world={"visits": [0, 1, 0, 3]}))
    assert ages(life)[0].tolist() == [1.0, 2.0, np.inf, 0.0, np.inf]


@pytest.mark.parametrize(
    "index, day", [([1, 0.75, 0.25], 1.5), ([0.4, 0.1, 0.0], 0.0), ([1, 1, 1], 2.0), ([np.nan, 1, 0], 1.5)]
)
def test_the_day_of_crossing(index: list[float], day: float):
    assert crossing(np.arange(3.0), np.array(index, float), 0.5) == day


def test_without_sleep_a_lesion_takes_everything_and_with_sleep_it_does_not():
    slept, awake = live(lists(6)), live(lists(6, rhythm=cs.Sleepless(experiences_per_day=2)))
    for life in (slept, awake):
        assert cs.Amnesia(of="control").measure(life).shape == (6, 4)
        assert cs.Amnesia(of="control").measure(life).mean() > 0.9
    left = cs.Amnesia(of="lesion").measure(slept).mean(0)
    assert left[-1] > 0.8 and left[-1] >= left[0]
    assert cs.Amnesia(of="lesion").measure(awake).mean() < 0.2
    assert (cs.TransferTime().measure(awake) > cs.TransferTime().measure(slept)).all()
    assert cs.Amnesia(of="rr").measure(slept).mean() > cs.Amnesia(of="rr").measure(awake).mean() + 0.3


def test_the_hippocampus_notices_what_is_new_and_answers_what_is_old():
    life = live(lists())
    gate = cs.NoveltyGate(readout=cs.HippocampusReadout()).measure(life)
    assert (gate > 0.95).all()
    assert (cs.HippocampalShare(readout=cs.HippocampusReadout()).measure(life) == 1).all()
    assert (cs.HippocampalShare(readout=cs.CortexReadout()).measure(life) == 0).all()


def test_savings_and_interference_by_a_cortex_that_learnt():
    parts = {
        "hippocampus": cs.NoHippocampus(),
        "rhythm": cs.Sleepless(experiences_per_day=2),
        "consolidation": cs.Descent(),
    }
    world = {"lists": 2, "items": 5, "place": 6, "same_cues": True, "visits": [0], "per_visit": 150}
    life = live(lists(4, world=world, plasticity=cs.Constant(rate=0.01), **parts))
    young = lists(4, world=world, plasticity=cs.Constant(rate=0.01), **parts)
    study: dict[str, Any] = {"rate": 0.01, "passes": 120}
    assert (cs.Savings(**study).measure(life) == 1).all(), "it is all there"
    assert (cs.Savings(**study).measure(young) == 0).all(), "nothing was learnt yet"
    assert (cs.Interference(**study).measure(life) > 0.5).all()
    assert (cs.Interference(of="proactive", **study).measure(young) == 0).all()


# -- living things --------------------------------------------------------------------------------------------


def test_focused_lessons_teach_the_ninth_alone():
    world = cs.Semantic(schedule="focused", epochs_before=3, epochs_with=2)
    world.setup(Spec(seeds=(0, 1)))
    assert world.next(at(2, 2)).weights()[0].tolist() == [1.0] * 32 + [0.0] * 4
    assert world.next(at(3, 2)).weights()[0].tolist() == [0.0] * 32 + [1.0] * 4
    other = cs.Semantic(epochs_before=3, epochs_with=2)
    other.setup(Spec(seeds=(0,)))
    assert other.next(at(3)).weights().sum() == 36


def test_a_penguin_does_not_fly_and_a_sparrow_does():
    for new, flies in (("penguin", 0.0), ("sparrow", 1.0)):
        world = cs.Semantic(new=new)
        world.setup(Spec(seeds=(0,)))
        row, unit = world.question(new, "can", "fly")
        assert world.evaluation(1).y[0, row - 32, unit] == flies
        assert world.evaluation(0).y[0, world.question("robin", "can", "fly")[0], unit] == 1.0


def test_schema_consistency_is_one_for_what_is_known_already():
    life = small(
        world=cs.Semantic(epochs_before=4, epochs_with=1),
        neocortex=cs.Relational(),
        hippocampus=cs.NoHippocampus(),
        consolidation=cs.Descent(optimizer=cs.Sgd(), reduction="sum"),
    )
    known = life.world.evaluation(0)
    answers = known.y.clone()
    life.neocortex.scores = lambda x, *_: answers  # a cortex that knows the eight
    robin = slice(*(life.world.question(item, "isa", "bird")[0] for item in ("robin", "canary")))
    life.world.evaluation = lambda context: (
        known if context == 0 else known.with_(x=known.x[:, robin], y=known.y[:, robin])
    )
    assert torch.allclose(cs.SchemaConsistency(rank=8).measure(life), torch.ones(2, dtype=torch.float64))
    assert (cs.SchemaConsistency(rank=1).measure(life) < 0.95).all()
