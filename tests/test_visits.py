"""Contexts that come again: contexts are counted, not visits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.batch import LIVED
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, ended, stretch, stretches
from tests.lives import live, small

RNG = np.random.default_rng(0)
X, Y = RNG.random((400, 12)), np.arange(400) % 4


def world(contexts: int = 2, **changes: Any) -> cs.Arrays:
    return cs.Arrays(x=X, y=Y, contexts=contexts, **({"per_context": 24, "batch": 8} | changes))


def life(one: cs.World, **changes: Any) -> cs.Life:
    parts = {
        "rhythm": cs.Sleepless(experiences_per_day=12),
        "plasticity": cs.Constant(rate=0.01),
        "replay": cs.Uniform(batch=8),
        "hippocampus": cs.NoHippocampus(),
    }
    return small(world=one, **(parts | changes))


# -- who announces them ------------------------------------------------------------------------------------


def test_streams_announce_the_context_of_each_stretch():
    spec = Spec()
    assert world(order="recurring", cycles=3).setup(spec).visits == (0, 1, 0, 1, 0, 1)
    assert world(order="cumulative").setup(spec).visits == world().setup(spec).visits == (0, 1)
    for hidden in ({"order": "iid"}, {"order": "fuzzy"}, {"boundaries_known": False}):
        told = world(**hidden).setup(spec)
        assert told.visits == told.ends == ()
    lists = cs.Associations(lists=3, visits=[2, 0, 2], per_visit=5)
    assert lists.setup(spec).visits == (2, 0, 2)


def test_stretches_and_contexts_are_numbered_by_the_clock():
    spec = Spec(seeds=(0, 1, 2, 3), contexts=2, ends=(5, 10, 15), visits=(1, 0, 1))
    clock = Clock(4, 1)
    clock.experience[:] = 0, 5, 14, 15
    assert ended(spec, clock).tolist() == [-1, 0, 1, 2] and stretch(spec, clock).tolist() == [0, 1, 2, 3]
    assert [numbers.tolist() for numbers in stretches(spec)] == [[1, 0, 1, 1], [1, 2, 2, 2]]
    unsaid = Spec(contexts=3, ends=(5, 10))  # a world that goes on after the last end
    assert [numbers.tolist() for numbers in stretches(unsaid)] == [[0, 1, 2], [1, 2, 3]]


# -- who counts them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("choose", ["herding", "random", "informative"])
@pytest.mark.parametrize(
    ("capacity", "order", "cycles", "scenario"),
    [
        (20, "sharp", 1, "class"),
        (20, "recurring", 2, "class"),
        (20, "recurring", 4, "class"),
        (40, "cumulative", 1, "class"),
        (20, "recurring", 4, "domain"),
        (40, "cumulative", 1, "domain"),
    ],
)
def test_exemplars_of_a_context_met_again_are_chosen_anew_not_added(capacity, order, cycles, scenario, choose):
    """Version 0.1 counted visits: of 20 slots 16 were used by 15 episodes, 9 after four cycles, of 40 slots 29."""
    hippocampus = cs.Exemplars(capacity=capacity, selection=choose)
    one = live(life(world(order=order, cycles=cycles, scenario=scenario), hippocampus=hippocampus))
    stored = one.view.stored()
    for i in range(2):
        there = stored.present()[i]
        kept = sorted(zip(stored.context[i, there].tolist(), stored.y[i, there].tolist(), strict=True))
        assert stored.item[i, there].unique().numel() == there.sum() == capacity
        assert len(set(kept)) == 4 and all(kept.count(group) == capacity // 4 for group in kept)


def lived_share(batch: cs.Batch) -> torch.Tensor:
    weights = batch.weights()
    return (weights * (batch.source == LIVED)).sum(1) / weights.sum(1)


def shares(replay: cs.Replay, one: cs.World) -> list[float]:
    """The share of what is lived in the loss, in the first experience of every stretch."""
    found = life(one, replay=replay, hippocampus=cs.Store(capacity=100))
    seen = []
    for end in (0, *found.world.ends[:-1]):
        while found.clock.experience[0] < end:
            found.step()
        parts = (found.hippocampus, found.neocortex, found.view, found.clock)
        seen.append(float(lived_share(found.replay.training_batch(found.world.next(found.clock), *parts))[0]))
    return seen


def test_a_second_visit_does_not_lower_the_share_of_what_is_lived():
    """Version 0.1 counted visits: 1/8 in the eighth, of two contexts."""
    replay = cs.Interleaved(cs.Uniform(batch=8))
    assert shares(replay, world(order="recurring", cycles=4)) == pytest.approx([1] + 7 * [0.5])
    replay = cs.Interleaved(cs.Uniform(batch=8))
    lists = cs.Associations(lists=3, visits=[2, 2, 0, 2, 1], items=6, per_visit=10)
    assert shares(replay, lists) == pytest.approx([1, 1, 1 / 2, 1 / 2, 1 / 3])
    replay = cs.Interleaved(cs.Uniform(batch=8))
    assert shares(replay, world(contexts=4)) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_the_share_of_items_counts_what_a_stretch_shows():
    for order, items in (("recurring", (170, 170, 170)), ("cumulative", (170, 340))):
        one = world(order=order, cycles=2, per_context=96)
        found = shares(cs.Interleaved(cs.Uniform(batch=8), share="items"), one)
        assert found[1:] == pytest.approx([n / (n + 100) for n in items[1:]] + [170 / 270] * (len(found) - len(items)))


def test_learning_without_forgetting_counts_contexts():
    """Version 0.1: 1 - 1/8 in the eighth visit to one of two contexts."""
    found = life(world(order="recurring", cycles=4), consolidation=cs.Descent(objective=cs.Lwf()))
    objective, seen = found.consolidation.objective, []
    for end in found.world.ends[:-1]:
        while found.clock.experience[0] < end:
            found.step()
        seen.append((1 - 1 / objective.contexts).tolist())
    assert seen == 7 * [[0.5, 0.5]]


def test_a_gate_belongs_to_the_context_not_to_the_visit():
    """Version 0.1 took the second of two lists, studied first, for the first."""
    lists = cs.Associations(lists=2, visits=[1, 1, 0], items=6, features=40, per_visit=10)
    found = life(lists, neocortex=cs.Columns(hidden=[8]), readout=cs.ExpertGate(components=2))
    for end, known in zip((10, 20, 30), ([False, True], [False, True], [True, True]), strict=True):
        while found.clock.experience[0] < end:
            found.step()
        assert found.readout.known.tolist() == [known] * len(found.readout.known)
    for k in (0, 1):
        assert torch.allclose(found.readout.centre[:, k], found.world.evaluation(k).x.mean(1), atol=1e-6)


def test_memorable_inputs_are_chosen_of_every_context_once():
    """Version 0.1 chose them of the first two visits, both to one context."""
    lists = cs.Associations(lists=2, visits=[1, 1, 0], items=6, features=40, per_visit=4)
    found = live(life(lists, consolidation=cs.Descent(objective=cs.Fromp(points=4))))
    objective = found.consolidation.objective
    of = [[{*map(tuple, found.world.evaluation(k).x[i].tolist())} for k in (0, 1)] for i in (0, 1)]
    for i in (0, 1):
        for place, context in ((0, 1), (1, 0)):  # in the order in which they were met
            assert {*map(tuple, objective.x[i, place].tolist())} <= of[i][context]
