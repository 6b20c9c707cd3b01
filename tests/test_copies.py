"""Copies of a cortex: running statistics belong to them, they wait for rows, and they count contexts, not visits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cls_sim as cs
from tests.lives import live, small


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 10))


def awake(**changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Digits(contexts=5, per_context=24, batch=8),
        "hippocampus": cs.NoHippocampus(),
        "rhythm": cs.Sleepless(experiences_per_day=24),
        "plasticity": cs.Constant(rate=0.01),
    }
    return small(**parts | changes)


def until(life: cs.Life, context: int) -> cs.Life:
    while life.clock.experience[0] < life.world.ends[context - 1]:
        life.step()
    return life


def learnt(life: cs.Life) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in life.neocortex.learned().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], who: Any = slice(None)) -> bool:
    return all(torch.equal(t[who].float(), other[name][who].float()) for name, t in one.items())


# -- running statistics --------------------------------------------------------------------------------------------


def test_a_teacher_answers_with_its_own_running_statistics():
    """The teacher had its weights of then, and the statistics of now."""
    life = until(awake(neocortex=cs.Module(module=normed), consolidation=cs.Descent(objective=cs.Lwf())), 1)
    x, then = life.world.evaluation(0).x, learnt(life)
    said = life.neocortex.scores(x).detach()
    until(life, 2)
    teacher, until_then = life.consolidation.objective.teacher, life.neocortex.running["1.running_mean"].clone()
    assert set(teacher) == set(then)
    fresh = until(awake(neocortex=cs.Module(module=normed), consolidation=cs.Descent(objective=cs.Lwf())), 1)
    for _ in range(2):
        fresh.step()
    assert equal(then, fresh.consolidation.objective.teacher)
    assert torch.equal(said, fresh.neocortex.scores(x, weights=fresh.consolidation.objective.teacher))
    assert not torch.equal(until_then, then["1.running_mean"])


def test_training_from_scratch_begins_with_the_first_running_statistics():
    life = awake(neocortex=cs.Module(module=normed), consolidation=cs.FromScratch())
    born = {name: t.double() for name, t in learnt(life).items()}
    until(life, 1)
    life.step()
    assert all((t - born[name]).abs().max() <= 0.011 for name, t in learnt(life).items() if "weight" in name)
    assert (life.neocortex.running["1.num_batches_tracked"] == 1).all()


@pytest.mark.parametrize("merge", ["mean", "mode"])
def test_merging_merges_running_statistics_too(merge: str):
    rule = cs.Imm(merge=merge)
    life = until(awake(neocortex=cs.Module(module=normed), consolidation=rule), 1)
    one = learnt(life)
    assert equal(one, rule.own)
    until(life, 2)
    mean = (one["1.running_mean"] + rule.own["1.running_mean"]) / 2
    torch.testing.assert_close(life.neocortex.running["1.running_mean"], mean)
    life.step()
    assert (life.neocortex.running["1.num_batches_tracked"] == rule.own["1.num_batches_tracked"] + 1).all()


def test_averages_follow_running_statistics():
    life = live(awake(neocortex=cs.Averaged(cs.Module(module=normed)), consolidation=cs.Averaging(fast_decay=0.0)), 5)
    assert equal(learnt(life), life.neocortex.averages["fast"])
    assert not equal(learnt(life), life.neocortex.averages["slow"])


@pytest.mark.parametrize("rule", [cs.Imm, cs.FromScratch, lambda: cs.Descent(objective=cs.Lwf())])
def test_a_life_with_copies_of_statistics_goes_on_from_its_state(rule: Any):
    whole, part, heir = (awake(neocortex=cs.Module(module=normed), consolidation=rule()) for _ in range(3))
    heir.load(live(part, 5).state())
    assert equal(learnt(live(heir, 9)), learnt(live(whole, 9)))


# -- branches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [lambda: cs.Mlp(hidden=[8]), lambda: cs.Module(module=normed)])
def test_averages_that_come_in_mid_life_begin_at_the_present_weights(inside: Any):
    life = live(awake(neocortex=inside()), 6)
    twin = life.twin(neocortex=cs.Averaged, consolidation=lambda rule: cs.Averaging(rule), readout=cs.SlowCopyReadout())
    for average in twin.neocortex.averages.values():
        assert equal(learnt(life), average)
    x = life.world.evaluation(0).x
    torch.testing.assert_close(twin.view.answer(x).scores, life.view.answer(x).scores)
    before = {name: t.clone() for name, t in twin.neocortex.averages["slow"].items()}
    live(twin, 12)
    assert not equal(before, twin.neocortex.averages["slow"])


# -- subjects without rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [cs.Imm, cs.FromScratch])
def test_a_subject_without_rows_stays_as_it_is(rule: Any):
    """It took up its unmerged weights, or began anew."""
    life = until(awake(neocortex=cs.Mlp(hidden=[8]), consolidation=rule()), 2)
    before, batch = learnt(life), life.world.next(life.clock)
    some = batch.with_(weight=batch.weights() * torch.tensor([[1.0], [0.0]]))
    life.consolidation.step(life.neocortex, some, np.full(2, 0.01), life.view)
    assert equal(learnt(life), before, 1) and not equal(learnt(life), before, 0)
    life.consolidation.step(life.neocortex, batch, np.full(2, 0.01), life.view)
    assert not equal(learnt(life), before, 1)


# -- contexts that come again ----------------------------------------------------------------------------------------


def test_merging_counts_contexts_not_visits():
    """Version 0.1: after four visits to one of two contexts each had a share of a quarter, for ever smaller."""
    rule = cs.Imm(merge="mean")
    lists = cs.Associations(lists=2, visits=[0, 0, 1, 0, 1], items=6, features=40, per_visit=4)
    life, merged, counts = awake(world=lists, neocortex=cs.Mlp(hidden=[8]), consolidation=rule), None, []
    for visit, share in enumerate((1.0, 1.0, 0.5, 0.5, 0.5), 1):
        until(life, visit)
        own, now = rule.own["weight0"].clone(), rule.merged["weight0"].clone()
        if merged is not None:
            torch.testing.assert_close(now, torch.lerp(merged, own, share))
        merged = now
        counts.append(rule.precision["weight0"].unique().tolist())
    assert counts == [[1.0], [1.0], [2.0], [2.0], [2.0]]


def test_penalties_count_contexts_not_visits():
    """Four visits to one of two contexts protected it four times."""
    visits: dict[str, list[float]] = {"QuadraticPenalty": [], "ImportanceScaledRate": []}
    for name, found in visits.items():
        penalty = getattr(cs, name)(importance=cs.UniformImportance(), strength=1e-6)
        lists = cs.Associations(lists=2, visits=[0, 0, 1, 0, 1], items=6, features=40, per_visit=4)
        life = awake(world=lists, neocortex=cs.Mlp(hidden=[8]), consolidation=cs.Descent(penalty=penalty))
        for visit in range(1, 6):
            until(life, visit)
            total = penalty.precision if name == "QuadraticPenalty" else penalty.total
            found += total["weight0"].unique().tolist()
    assert visits == {name: [1.0, 1.0, 2.0, 2.0, 2.0] for name in visits}
