"""Plasticity over a life: a deficit of the senses, and probes of how plastic a cortex still is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small

import cls_sim as cs
from cls_sim.claims import lives as claims
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace


def at(*experience: int) -> Clock:
    clock = Clock(len(experience), 10)
    clock.experience = np.array(experience)
    return clock


def deficit(**settings: Any) -> cs.Deficit:
    world = cs.Deficit(cs.Digits(per_context=20, batch=8), **settings)
    world.setup(Spec(seeds=(0, 1), per_day=10))
    return world


def state(of: str, life: cs.Life) -> torch.Tensor:
    with torch.no_grad():
        return cs.PlasticityState(of=of).measure(life)


# -- a deficit ------------------------------------------------------------------------------------------------


def test_a_blur_keeps_the_mean_of_every_block_and_nothing_else():
    world = deficit(until=1.0)
    seen, clear = world.next(at(3, 3)).x, world.world.next(at(3, 3)).x
    blocks = [x.reshape(2, 8, 2, 4, 2, 4) for x in (seen, clear)]
    assert (blocks[0].amax((3, 5)) == blocks[0].amin((3, 5))).all()
    assert ((blocks[0].mean((3, 5)) - blocks[1].mean((3, 5))).abs() <= 0.5 / 16 + 1e-6).all(), "to a level of the input"


def test_a_flip_loses_nothing():
    world = deficit(kind="flip", until=1.0)
    seen, clear = world.next(at(3, 3)).x, world.world.next(at(3, 3)).x
    assert torch.equal(seen.view(2, 8, 8, 8).flip(2).reshape(clear.shape), clear) and not torch.equal(seen, clear)


def test_a_deficit_is_of_its_days_its_subjects_and_of_no_exam():
    world = deficit(since=1.0, until=[2.0, 3.0])
    changed = [
        (world.next(at(e, e)).x != world.world.next(at(e, e)).x).flatten(1).any(1).tolist() for e in (5, 15, 25, 35)
    ]
    assert changed == [[False, False], [True, True], [False, True], [False, False]]
    assert torch.equal(world.evaluation(2).x, world.world.evaluation(2).x)
    assert world.length == world.world.length and world.train(1).rows > 0


def test_what_is_no_image_cannot_be_blurred():
    with pytest.raises(ConfigError, match="not images"):
        cs.Deficit(cs.Teacher(features=10)).setup(Spec())
    with pytest.raises(ConfigError, match="divide"):
        cs.Deficit(cs.Digits(), blocks=3).setup(Spec())


# -- the state of plasticity ----------------------------------------------------------------------------------


def test_units_that_never_answer_are_dormant():
    life = small(neocortex=cs.Mlp(hidden=[10]))
    life.clock.experience += 1
    with torch.no_grad():
        life.neocortex.weights["bias0"].fill_(1.0)
        life.neocortex.weights["bias0"][:, :3] = -1e3
    assert torch.allclose(state("dormant", life), torch.tensor(0.3, dtype=torch.float64))
    assert (state("rank", life) <= 7).all()


def test_a_layer_of_copies_has_rank_one():
    life = small(neocortex=cs.Mlp(hidden=[6]))
    with torch.no_grad():
        for name in ("weight0", "bias0"):
            w = life.neocortex.weights[name]
            w.copy_(w.abs()[:, :1].expand_as(w))
    assert torch.allclose(state("rank", life), torch.ones(2, dtype=torch.float64), atol=1e-4)


def test_the_effective_rate_is_the_step_that_the_next_lesson_makes():
    life = small(plasticity=cs.Constant(rate=0.1), consolidation=cs.Descent(optimizer=cs.Sgd()))
    half = small(plasticity=cs.Constant(rate=0.05), consolidation=cs.Descent(optimizer=cs.Sgd()))
    assert torch.allclose(state("rate", life), 2 * state("rate", half), rtol=1e-3)
    assert (state("rate", small(plasticity=cs.Constant(rate=0.0))) == 0).all()


def test_a_settled_cortex_has_less_fisher_information_than_a_learning_one():
    """A cortex that is sure of its answers, against one that is not; a linear one by hand."""
    life = small(neocortex=cs.Linear())
    x = life.world.next(life.clock).x
    with torch.no_grad():
        fisher = state("fisher", life)
    expected = 0.9 * x.double().square().sum(2).mean(1)  # p = 1/10 each: |p - onehot|² = 0.9
    assert torch.allclose(fisher, expected, rtol=1e-5)
    with torch.no_grad():
        life.neocortex.weights["weight0"][:, 0] = 50.0  # always sure of class 0
    assert (state("fisher", life) < 1e-6).all()


def test_norm_and_spread_of_weights():
    life = small(neocortex=cs.Linear())
    with torch.no_grad():
        life.neocortex.weights["weight0"].fill_(-0.5)
    assert torch.allclose(state("norm", life), torch.tensor(0.5, dtype=torch.float64))
    assert torch.allclose(state("spread", life), torch.tensor(0.0, dtype=torch.float64), atol=1e-7)


def test_the_current_error_is_that_of_what_is_lived_now():
    life = small(world=cs.Digits(per_context=60, batch=8), plasticity=cs.Constant(rate=0.01))
    live(life, 60)
    now = cs.CurrentAccuracy().measure(life)
    everything = cs.Accuracy().measure(life)
    assert torch.allclose(now, everything[:, 0]) and (now > 0.8).all()
    assert torch.allclose(cs.CurrentAccuracy(error=True).measure(life), 1 - now)


# -- claims on lives ------------------------------------------------------------------------------------------


def told(values: np.ndarray) -> dict[str, Trace]:
    trace, clock = Trace(), Clock(values.shape[1], 1)
    for row in values:
        clock.experience += 1
        trace.append(Moment("day.end", np.ones(values.shape[1], bool)), clock, {"error": row})
    return {"old": trace}


def test_what_worsens_and_what_peaks_is_told_from_what_does_not():
    noise = 0.01 * np.random.default_rng(0).standard_normal((50, 8))
    time = np.linspace(0, 1, 50)[:, None]
    rising, flat, hump = 0.2 + time + noise, 0.2 + 0 * time + noise, 1 - (2 * time - 1) ** 2 + noise
    assert claims.worsens(Case(told(rising), {}), "old", "error").passed
    assert not claims.worsens(Case(told(flat), {}), "old", "error").passed
    assert claims.rises_then_falls(Case(told(hump), {}), "old", "error").passed
    assert not claims.rises_then_falls(Case(told(rising), {}), "old", "error").passed


def test_a_skewed_reading_rises_and_falls_in_its_geometric_mean():
    """One subject in ten ends high: the arithmetic mean hides the fall of the others."""
    found = np.exp(np.random.default_rng(0).normal(0, 0.1, (3, 20))) * np.array([[1.0], [10.0], [2.0]])
    found[-1, :2] *= 100
    case = Case(told(found), {})
    assert not claims.rises_then_falls(case, "old", "error").passed
    verdict = claims.rises_then_falls(case, "old", "error", geometric=True)
    assert verdict.passed and verdict.value == 1
    assert verdict.more["interval"][0] == pytest.approx(np.log(10), abs=0.15)


def test_stages_must_come_one_after_another():
    time = np.arange(20.0)[:, None, None]
    late = np.array([4.0, 8.0, 12.0]) + np.random.default_rng(1).integers(0, 2, (8, 1))
    values = (time > late).astype(float)
    assert claims.stages(Case(told(values), {}), "old", "error").passed
    assert not claims.stages(Case(told(values[..., ::-1]), {}), "old", "error").passed
