"""Satellites, two paths through the hippocampus, and the probe of double dissociation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec


def satellites(subjects: int = 4, seed: int = 0, **changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Satellites(classes=4, members=30, names=8, features=40, batch=8),
        "hippocampus": cs.TwoPaths(cs.Sparse(capacity=300, units=500, winners=10, sharpness=80.0), rate=0.005),
        "neocortex": cs.Linear(),
        "plasticity": cs.Constant(rate=0.0),
        "rhythm": cs.Sleepless(experiences_per_day=4),
        "readout": cs.HippocampusReadout(),
    }
    return small(subjects, seed, **parts | changes)


def test_names_are_arbitrary_and_classes_are_not():
    world = cs.Satellites(classes=3, members=8, names=6, features=200, shared=0.6, batch=4)
    world.setup(Spec(seeds=(0, 1)))
    names, new = world.evaluation(0), world.evaluation(1)
    assert (names.y[0].bincount() == 4).all(), "dealt out evenly"
    assert not torch.equal(names.y[0], names.y[1])
    met = world.train(1)
    like = torch.corrcoef(torch.cat((met.x[0], new.x[0])))[: met.rows, met.rows :]
    same = met.y[0][:, None] == new.y[0]
    assert like[same].mean() > 0.25 and like[~same].mean().abs() < 0.1


def test_every_item_is_met_with_its_name_and_its_class():
    world = cs.Satellites(classes=3, members=4, names=4, epochs=2, batch=6)
    world.setup(Spec(seeds=(3,)))
    clock, seen = Clock(1, 1), []
    for _ in range(world.length or 0):
        batch = world.next(clock)
        assert torch.equal(batch.x[:, :6], batch.x[:, 6:])
        assert (batch.context[:, :6] == 0).all() and (batch.context[:, 6:] == 1).all()
        seen += batch.item[0].tolist()
        clock.advance(np.ones(1, bool), np.zeros(1, bool))
    assert sorted(seen) == sorted([*range(24)] * 2)


def test_lesions_of_the_two_paths_dissociate():
    life = live(satellites())
    episodes, regularities = (cs.DoubleDissociation(of=of).measure(life) for of in ("episodes", "regularities"))
    assert (episodes > 0.3).all() and regularities.mean() > 0.05
    both = cs.DoubleDissociation().measure(life)
    assert torch.allclose(both, episodes + regularities)
    same = cs.DoubleDissociation(fast="monosynaptic", slow="monosynaptic").measure(life)
    assert (same == 0).all(), "one lesion dissociates nothing"


def test_a_lesion_of_a_path_is_that_of_a_twin_and_can_end():
    life = live(satellites())
    patient = life.twin(hippocampus=lambda part: cs.Lesion(part, stage="trisynaptic"))
    with torch.no_grad():
        assert cs.Accuracy().measure(patient)[:, 0].mean() < 0.6 < cs.Accuracy().measure(life)[:, 0].mean()
        damaged = copy.deepcopy(life.hippocampus)
        damaged.impair("trisynaptic", np.ones(4))
        x = life.world.evaluation(0).x
        assert (damaged.recall(x).match == 0).all()
        damaged.impair("trisynaptic", np.zeros(4))
        assert torch.equal(damaged.recall(x).scores, life.hippocampus.recall(x).scores)
    with pytest.raises(ConfigError, match="stage"):
        life.hippocampus.impair("dentist", np.ones(4))


def test_a_monosynaptic_path_learns_the_rule_by_hand():
    memory = cs.TwoPaths(cs.Store(capacity=4), rate=[0.1, 0.0])
    memory.setup(Spec(seeds=(0, 1), inputs=(2,), outputs=2))
    x = torch.tensor([[[1.0, 0.0]]]).expand(2, -1, -1)
    memory.encode(cs.Batch.lived(x, torch.ones(2, 1, dtype=torch.int64)), None, Clock(2, 1))  # type: ignore[arg-type]
    expected = torch.tensor([[-0.05, 0.0, -0.05], [0.05, 0.0, 0.05]])
    assert torch.allclose(memory.path[0], expected) and (memory.path[1] == 0).all()
