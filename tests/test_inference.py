"""Overlapping pairs: what is met, what follows, and where the inference lives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small

import cls_sim as cs
from cls_sim.core.batch import DREAMED
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec


def chains(subjects: int = 3, **changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Chains(chains=5, batch=5),
        "hippocampus": cs.Remerge(capacity=40),
        "plasticity": cs.WakeNight(wake_rate=0.0, night_rate=0.01),
        "rhythm": cs.Nights(experiences_per_day=4, steps_per_night=150),
        "replay": cs.Inferred(cs.Uniform(batch=16)),
        "consolidation": cs.Descent(objective=cs.DistillationLoss(temperature=1.0)),
        "readout": cs.HippocampusReadout(),
    }
    return small(subjects, **parts | changes)


def test_ends_of_a_chain_are_never_met_together():
    world = cs.Chains(chains=4, links=3, epochs=2, batch=6)
    world.setup(Spec(seeds=(0, 1)))
    clock, met = Clock(2, 1), set()
    for _ in range(world.length or 0):
        batch = world.next(clock)
        met |= {(int(x), int(y)) for x, y in zip(batch.x[1].argmax(1), batch.y[1], strict=True)}
        clock.advance(np.ones(2, bool), np.zeros(2, bool))
    assert len(met) == 4 * 3 * 2, "every pair, both ways"
    far = world.evaluation(1)
    asked = {(int(x), int(y)) for x, y in zip(far.x[1].argmax(1), far.y[1], strict=True)}
    near = world.evaluation(0)
    assert not asked & met
    assert {(int(x), int(y)) for x, y in zip(near.x[1].argmax(1), near.y[1], strict=True)} <= met


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_one_more_step_of_recall_reaches_one_pair_further(depth: int):
    life = live(chains(world=cs.Chains(chains=5, links=3, batch=5), hippocampus=cs.Remerge(depth=depth)))
    right = cs.Accuracy().measure(life)
    assert (right[:, 0] == 1).all()
    assert (right[:, 1] > 0.9).all() if depth == 3 else (right[:, 1] < 0.7).all()


def test_only_an_inference_that_was_replayed_survives_the_lesion():
    inferring, rote = live(chains()), live(chains(replay=cs.Uniform(batch=16)))
    for life, survives in ((inferring, True), (rote, False)):
        cortex = cs.Accuracy(readout=cs.CortexReadout()).measure(life)
        assert cortex[:, 0].mean() > 0.8
        assert (cortex[:, 1].mean() > 0.8) == survives


def test_what_is_replayed_is_what_is_recalled():
    life = live(chains())
    batch = life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)
    said = life.hippocampus.recall(batch.x).scores
    assert batch.scores is not None
    assert torch.allclose(batch.scores.exp(), said / said.sum(2, keepdim=True), atol=1e-5)
    assert torch.equal(batch.scores.argmax(2), said.argmax(2))


def test_an_empty_memory_says_nothing_and_numbers_are_refused():
    memory = cs.Remerge(capacity=4)
    memory.setup(Spec(seeds=(0,), inputs=(3,), outputs=3))
    recall = memory.recall(torch.eye(3)[None])
    assert (recall.scores == 0).all() and (recall.slot == -1).all() and (recall.match == 0).all()
    with pytest.raises(ConfigError, match="this world is a regression"):
        memory.setup(Spec(inputs=(3,), outputs=1, regression=True))


# -- a cortex left to itself ----------------------------------------------------------------------------------


def alone(**changes: Any) -> cs.Life:
    """A cortex that has slept for a night on two lists' pairs, and then a hippocampus that holds nothing."""
    parts: dict[str, Any] = {
        "world": cs.Associations(lists=2, items=6, features=24, per_visit=2),
        "hippocampus": cs.Store(capacity=6, eviction="ring"),
        "plasticity": cs.WakeNight(wake_rate=0.0, night_rate=0.01),
        "rhythm": cs.Nights(experiences_per_day=1, steps_per_night=60),
        "replay": cs.Pseudorehearsal(batch=16),
        "consolidation": cs.Descent(objective=cs.DistillationLoss(temperature=1.0)),
    }
    return small(2, **parts | changes)


def test_pseudorehearsal_teaches_what_the_cortex_said_at_nightfall():
    life = alone()
    while not life.clock.asleep.any():
        life.step()
    before = {name: w.detach().clone() for name, w in life.neocortex.weights.items()}
    for _ in range(3):
        batch = life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)
        assert torch.equal(batch.scores, life.neocortex.scores(batch.x, weights=before).detach())
        assert (batch.source == DREAMED).all() and set(batch.x.unique().tolist()) == {0.0, 1.0}
        with torch.no_grad():
            life.neocortex.weights["weight0"].add_(0.1)  # the cortex changes in the night
        life.step()


@pytest.mark.parametrize("copied, follow", [("night", 0.0), ("rem", 0.0), ("rem", 1.0)])
def test_what_rem_rehearses_is_the_cortex_of_nightfall_or_that_of_its_first_rem_sleep(copied: str, follow: float):
    """Version 0.1 promised the cortex of nightfall, and copied it only after the first NREM sleep."""
    rem = cs.Pseudorehearsal(batch=16, copied=copied, follow=follow)
    life = alone(
        rhythm=cs.NremRem(experiences_per_day=1, cycles=2, nrem=5, rem=5), replay=cs.Staged(cs.Uniform(batch=16), rem)
    )
    while not life.clock.asleep.any():
        life.step()
    for step in range(20):
        now = {name: w.detach().clone() for name, w in life.neocortex.weights.items()}
        if step == {"night": 0, "rem": 5}[copied] or (follow and step % 10 >= 5):
            teacher = now
        if step % 10 >= 5:
            batch = copy.deepcopy(life.replay).draw(life.hippocampus, life.neocortex, life.view, life.clock)
            assert torch.equal(batch.scores, life.neocortex.scores(batch.x, weights=teacher).detach()), step
        life.step()
        assert not torch.equal(now["weight0"], life.neocortex.weights["weight0"]) or (follow and step >= 5)


def test_pseudorehearsal_is_the_same_alone_and_after_a_stop():
    whole, other = alone(), alone()
    for life in (whole, other):
        for _ in range(40):
            life.step()
    copy_ = alone()
    copy_.load(other.state())
    batches = [x.replay.draw(x.hippocampus, x.neocortex, x.view, x.clock) for x in (whole, copy_)]
    assert torch.equal(batches[0].x, batches[1].x) and torch.equal(batches[0].scores, batches[1].scores)
