"""Learning in phases of theta, and two codes in one CA3."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from tests.lives import live, small

SMALL: dict[str, Any] = {"units": [200, 120, 80], "winners": [4, 8, 8], "target": 16}


def awake(world: Any, hippocampus: Any, day: int, subjects: int, seed: int) -> cs.Life:
    """A whole life without sleep, in which the cortex learns nothing."""
    parts: dict[str, Any] = {"neocortex": cs.Linear(), "replay": cs.Uniform(batch=1)}
    parts["rhythm"] = cs.Sleepless(experiences_per_day=day)
    life = cs.Life(world=world, hippocampus=hippocampus, plasticity=0.0, subjects=subjects, seed=seed, **parts)
    return live(life)


def studied(subjects: int = 2, seed: int = 0, visits: tuple[int, ...] = (0, 1), **settings: Any) -> cs.Life:
    """Subjects who study A-B, then A-C; two lists are lures."""
    lists = {"lists": 4, "foils": 2, "items": 4, "features": 20, "place": 20, "same_cues": True}
    world = cs.Associations(**lists, visits=list(visits), per_visit=24, batch=1)
    return awake(world, cs.Theta(**SMALL | settings), 24, subjects, seed)


def test_a_list_is_learnt_and_lures_get_no_answer():
    life = studied(visits=(0,))
    right, any_ = cs.CuedRecall().measure(life), cs.CuedRecall(of="any").measure(life)
    assert (right[:, 0] >= 0.75).all() and (any_[:, 2:] <= 0.25).all()


def test_nothing_is_answered_before_anything_is_learnt():
    memory = cs.Theta(**SMALL)
    memory.setup(cs.Spec(seeds=(0,), inputs=(10,), outputs=3))
    assert memory.recall(torch.ones(1, 2, 10)).scores.eq(0).all()


def test_what_is_recalled_without_error_changes_nothing():
    life = studied(1, visits=(0,), criterion=0.0)
    memory, lived = life.hippocampus, life.world.evaluation(0)
    for _ in range(60):
        memory.encode(lived, life.view, life.clock)
    before = memory.recurrent.clone(), memory.schaffer.clone()
    memory.encode(lived, life.view, life.clock)
    assert torch.equal(before[0], memory.recurrent) and torch.equal(before[1], memory.schaffer)


def test_layers_keep_events_apart_step_by_step():
    life = studied(4, units=[400, 200, 100], winners=[3, 10, 12])
    overlap = cs.LayerOverlap().measure(life).mean(0)
    assert (overlap.diff() < 0).all(), overlap


def test_a_subject_learns_alone_as_in_company():
    together, alone = studied(2), studied(1, 1)
    for name, weights in alone.hippocampus.state().items():
        if isinstance(weights, torch.Tensor):
            assert torch.allclose(together.hippocampus.state()[name][1:], weights, atol=1e-5), name


def test_rules_are_different_and_refused_where_there_are_no_labels():
    one, other = studied(1), studied(1, learning="hebbian")
    assert not torch.equal(one.hippocampus.recurrent, other.hippocampus.recurrent)
    with pytest.raises(ConfigError, match="this world is a regression"):
        small(world=cs.Teacher(), hippocampus=cs.Theta())
    with pytest.raises(ConfigError, match="of dg are 300 of 200 cells"):
        cs.Theta(units=[200, 100, 100], winners=[300, 5, 5])
    with pytest.raises(ConfigError, match="needs a hippocampus with layers"):
        cs.LayerOverlap().measure(studied(1).twin(hippocampus=cs.Store(capacity=5)))


def test_lures_have_cues_of_their_own_and_the_places_of_the_lists():
    world = cs.Associations(lists=4, foils=2, items=3, features=20, place=10, same_cues=True, visits=[0, 1])
    world.setup(cs.Spec(seeds=(0,)))
    x = torch.stack([world.evaluation(k).x[0] for k in range(4)])
    assert torch.equal(x[0, :, :20], x[1, :, :20]) and not torch.equal(x[0, :, :20], x[2, :, :20])
    assert torch.equal(x[:2, :, 20:], x[2:, :, 20:])
    with pytest.raises(ConfigError, match="foils"):
        cs.Associations(lists=2, foils=2)


def concepts(examples: int, subjects: int = 2, seed: int = 0, features: int = 600, **settings: Any) -> cs.Life:
    """Subjects who meet so many examples of each of three concepts."""
    dentate = cs.KWinners(units=features, activity=0.02)
    world = cs.Concepts(concepts=3, examples=examples, features=features, likeness=0.4, batch=3)
    return awake(world, cs.TwoCodes(capacity=3 * examples, dentate=dentate, **settings), 10, subjects, seed)


def overlap(life: cs.Life, of: str) -> torch.Tensor:
    return cs.ConceptOverlap(of=of).measure(life)


def test_dense_recall_passes_from_examples_to_concepts_and_sparse_recall_does_not():
    few, many = concepts(1), concepts(30)
    assert (overlap(few, "beyond") < -0.2).all() and (overlap(many, "beyond") > 0.2).all()
    assert (overlap(few, "sparse") > 0.95).all() and (overlap(few, "example") > 0.8).all()
    assert (overlap(concepts(4), "sparse") > 0.9).all()


def test_either_code_alone_does_half():
    dense, sparse = concepts(30, share=1.0), concepts(4, share=0.0)
    assert (overlap(dense, "concept") > 0.9).all() and (overlap(dense, "sparse") < 0.3).all()
    assert (overlap(sparse, "sparse") > 0.9).all() and (overlap(sparse, "concept").abs() < 0.3).all()


def test_two_codes_recall_the_very_trace():
    life = concepts(4)
    stored = life.view.stored()
    recall = life.hippocampus.recall(stored.x)
    assert (recall.slot == stored.slot).float().mean() > 0.9
    assert (recall.scores.argmax(2) == stored.y).float().mean() > 0.9


def test_a_concept_is_the_same_alone_and_in_company():
    assert torch.allclose(overlap(concepts(4), "concept")[1:], overlap(concepts(4, 1, 1), "concept"))


def test_two_codes_need_as_many_cells_as_inputs_and_concepts_a_world_of_them():
    with pytest.raises(ConfigError, match="has 50 cells, and an input has 600 numbers"):
        concepts(1).twin(hippocampus=cs.TwoCodes(dentate=cs.KWinners(units=50)))
    with pytest.raises(ConfigError, match="needs a memory of two codes"):
        overlap(concepts(1).twin(hippocampus=cs.Store(capacity=5)), "concept")
    with pytest.raises(ConfigError, match="use world=concepts"):
        overlap(small(), "concept")
