"""Replay as retrieval in a context that drifts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from tests.lives import live, small

GAP, RUN = 2, 10  # experiences elsewhere before a run, and of both together


def born(subjects: int = 3, seed: int = 0, runs: int = 6, rest: bool = True, **settings: Any) -> cs.Life:
    """Subjects that run through sequences and rest after each, or sleep after all."""
    salience = settings.pop("salience", None)
    start = {"start": "here" if rest else "anywhere"}
    return cs.Life(
        world=cs.Sequences(sequences=3, items=8, runs=runs, gap=GAP, salience=salience),
        neocortex=cs.Linear(),
        hippocampus=cs.TemporalContext(capacity=24, **start | settings),
        rhythm=cs.Nights(experiences_per_day=RUN if rest else RUN * runs, steps_per_night=8 if rest else 90),
        plasticity=0.0,
        replay=cs.Events(cs.Dreamed(batch=1), cells=3, longest=8),
        subjects=subjects,
        seed=seed,
    )


def lived(*args: Any, **settings: Any) -> cs.Life:
    return live(born(*args, **settings))


def onward(life: cs.Life) -> float:
    return float(cs.ReplayEvents(of="onward").measure(life).nanmean())


def test_after_a_run_replay_runs_backward_and_asleep_forward():
    awake, asleep = lived(12), lived(12, rest=False)
    assert onward(awake) < 0.35 and onward(asleep) > 0.65


def test_experience_suppresses_the_beginning_of_replay():
    tired, rested = (cs.ReplayedItems(of="rows").measure(lived(6, tired=tired)).mean() for tired in (2.0, 0.0))
    assert 0 < tired < 0.5 * rested


def test_elsewhere_moves_the_context_and_is_not_kept():
    life = live(born(2), GAP)
    memory = life.hippocampus
    assert not memory.met.any() and torch.allclose(memory.context[:, -1], torch.ones(2))
    live(life, GAP + 3)
    assert memory.met.sum(1).tolist() == [3, 3] and bool((memory.context[:, -1] < 0.8).all())


def test_no_item_comes_twice_in_a_cascade():
    life, seen = born(2, stop=0.0, tired=0.0), list[tuple[int, list[int]]]()
    while not life.over:
        asleep, night = bool(life.clock.asleep[0]), int(life.clock.night[0])
        before = life.hippocampus.replayed[0].clone() if life.clock.tick else None
        life.step()
        if asleep and before is not None:
            seen.append((night, (life.hippocampus.replayed[0] - before).nonzero().flatten().tolist()))
    for night in {night for night, _ in seen}:
        items = [item for one, some in seen if one == night for item in some]
        assert len(items) == len(set(items)) == 8


def test_salient_sequences_are_replayed_more_and_weak_ones_gain_more():
    even, salient = lived(8, rest=False), lived(8, rest=False, salience=[1.8, 1.0, 1.0])
    share = [float(cs.ReplayedItems().measure(life)[:, 0].mean()) for life in (even, salient)]
    assert share[1] > share[0] + 0.1
    awake = lived(8, rest=False, salience=[1.8, 1.0, 1.0], learning=0.0)
    spread = [cs.SequenceStrength(of="spread").measure(life).mean() for life in (awake, salient)]
    assert spread[1] < spread[0]


def test_the_sequence_met_last_is_suppressed_most():
    tired, rested = lived(12, runs=9, rest=False, tired=1.5), lived(12, runs=9, rest=False, tired=0.0)
    last = [float(cs.ReplayedItems().measure(life)[:, 2].mean()) for life in (tired, rested)]
    assert last[0] < last[1] - 0.03


def test_without_sharpness_order_is_by_lot():
    assert abs(onward(lived(12, rest=False, sharpness=0.0)) - 0.5) < 0.1


def test_looking_at_dreams_changes_nothing():
    life = born(2)
    for _ in range(15):
        life.step()
    before = copy.deepcopy(life.hippocampus.state())
    life.hippocampus.dream(1, life.clock, life.view)
    after = life.hippocampus.state()
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(after[name])) for name in before)


def test_a_cascade_is_the_same_alone_and_in_company_and_after_a_pause():
    whole, alone, resumed = live(born(2), 60), live(born(1, 1), 60), born(2)
    first = live(born(2), 33)
    resumed.load(copy.deepcopy(first.state()))
    live(resumed, 60)
    for name, value in whole.hippocampus.state().items():
        value = torch.as_tensor(value)
        assert torch.equal(value, torch.as_tensor(resumed.hippocampus.state()[name])), name
        if value.dim():
            assert torch.allclose(value[1:], torch.as_tensor(alone.hippocampus.state()[name])), name


def test_what_is_refused():
    with pytest.raises(ConfigError, match="needs a memory in a drifting context"):
        cs.ReplayedItems().measure(small())
    with pytest.raises(ConfigError, match="has 2 numbers for 3 sequences"):
        cs.Sequences(salience=[1.0, 2.0])
