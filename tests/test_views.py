"""Streams in which every context shows all classes in its own way: permuted, turned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from tests.lives import live, small


def begun(views: str, *seeds: int, **changes) -> cs.Digits:
    sizes = {"scenario": "domain", "contexts": 3, "per_context": 4, "batch": 8}
    world = cs.Digits(views=views, **sizes | changes)
    world.setup(cs.Spec(seeds=seeds or (0, 1)))
    return world


def lived(world: cs.Digits, subjects: int, experience: int) -> cs.Batch:
    clock = Clock(subjects, 1)
    clock.experience[:] = experience
    return world.next(clock)


@pytest.mark.parametrize("views", ["permuted", "rotated"])
def test_a_context_shows_what_the_first_shows_in_its_own_way(views: str):
    world, plain = begun(views), begun("plain", contexts=2)
    n = len(plain.data().x)
    first, later = world.evaluation(0), world.evaluation(2)
    assert torch.equal(first.item % n, later.item % n) and torch.equal(first.y, later.y)
    raw = torch.from_numpy(plain.data().x)[first.item[0] % n].float() / 16
    assert torch.equal(first.x[0], raw)
    assert not torch.equal(first.x, later.x) and not torch.equal(later.x[0], later.x[1])
    if views == "permuted":
        assert torch.equal(first.x.sort(2).values, later.x.sort(2).values)
    assert torch.equal((later.x * 16).round(), later.x * 16) and later.x.min() >= 0 and later.x.max() <= 1


@pytest.mark.parametrize("views", ["permuted", "rotated"])
def test_a_subject_s_world_does_not_depend_on_company(views: str):
    together, alone = begun(views, 0, 1), begun(views, 1)
    for experience in (0, 5, 11):
        assert torch.equal(lived(together, 2, experience).x[1], lived(alone, 1, experience).x[0])


def test_what_is_asked_is_never_learnt_in_any_context():
    world = begun("permuted", 0)
    n = len(world.data().x)
    learnt = {int(i) % n for k in range(3) for i in world.train(k).item[0]}
    assert learnt.isdisjoint({int(i) % n for k in range(3) for i in world.evaluation(k).item[0]})


@pytest.mark.parametrize("scenario, outputs", [("domain", 10), ("class", 30), ("task", 30)])
def test_labels_by_scenario(scenario: str, outputs: int):
    world = cs.Digits(contexts=3, per_context=4, batch=8, views="permuted", scenario=scenario)
    spec = world.setup(cs.Spec(seeds=(0,)))
    assert spec.outputs == outputs
    y = world.evaluation(2).y
    assert (y // 10 == (0 if scenario == "domain" else 2)).all()
    if scenario == "task":
        assert spec.heads is not None and spec.heads[0, 2].nonzero()[:, 0].tolist() == list(range(20, 30))


def test_a_life_on_permuted_digits_learns_and_says_so():
    world = cs.Digits(contexts=2, per_context=40, batch=16, views="permuted", scenario="domain")
    life = live(small(1, world=world, plasticity=cs.Constant(rate=0.01), rhythm=cs.Sleepless(experiences_per_day=40)))
    assert "permuted" in world.describe()
    x = life.world.evaluation(1)
    assert (life.neocortex.scores(x.x).argmax(2) == x.y).float().mean() > 0.5


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="square"):
        cs.Arrays(x=np.zeros((20, 5)), y=np.arange(20) % 2, contexts=2, views="rotated").setup(cs.Spec())
    with pytest.raises(ConfigError, match="views"):
        cs.Digits(views="upside_down")
