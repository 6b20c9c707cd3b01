"""Synaptic homeostasis: what the night takes away, and from whom; and the probe and the claims that see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import cls_sim as cs
from cls_sim.claims import KINDS
from cls_sim.core.batch import STORED
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace

HEBB = {"optimizer": cs.Sgd(), "objective": cs.Hebb(), "reduction": "sum"}


def born(subjects: int = 2, outputs: int = 40, **settings: Any) -> tuple[cs.Linear, cs.Homeostasis]:
    cortex, rule = cs.Linear(init=0.3), cs.Homeostasis(cs.Descent(**HEBB), **settings)
    sizes: dict[str, Any] = {"inputs": (1,), "outputs": outputs, "regression": True}
    rule.setup(cortex.setup(cs.Spec(seeds=tuple(range(subjects)), **sizes)))
    return cortex, rule


def rows(cortex: cs.Linear, strong: int, source: int = 0, **others: Tensor) -> cs.Batch:
    """One row that teaches +1 to the first synapses and nothing to the others."""
    subjects, outputs = cortex.weights["weight0"].shape[:2]
    y = (torch.arange(outputs) < strong).float().expand(subjects, 1, outputs)
    batch = cs.Batch.lived(torch.ones(subjects, 1, 1), y, **others)
    return batch.with_(source=torch.full_like(batch.source, source))


def lie(rule: cs.Homeostasis, cortex: cs.Linear, batch: cs.Batch, steps: int, rate: Any = 0.1) -> Tensor:
    for _ in range(steps):
        rule.step(cortex, batch, np.broadcast_to(rate, (batch.subjects,)), None)  # pyright: ignore[reportArgumentType]
    return weights(cortex)


def weights(cortex: cs.Linear) -> Tensor:
    return cortex.weights["weight0"].detach()[:, :, 0].clone()


@settings(max_examples=15, deadline=None)
@given(
    share=st.floats(0.01, 1.0),
    protection=st.one_of(st.just(float("inf")), st.floats(20.0, 1e4)),
    lived=st.integers(0, 20),
)
def test_the_night_ends_at_baseline_and_no_synapse_grows_or_turns(share: float, protection: float, lived: int):
    cortex, rule = born(share=share, protection=protection)
    first = weights(cortex).abs().sum(1)
    day = lie(rule, cortex, rows(cortex, 30), lived)
    night = lie(rule, cortex, rows(cortex, 30, STORED), 1)
    assert (night.abs() <= day.abs() * 1.000001).all() and (night * day >= 0).all()
    assert (night.abs().sum(1) >= torch.minimum(first, day.abs().sum(1)) * 0.99999).all()
    night = lie(rule, cortex, rows(cortex, 0, STORED), int(min(600, 20 / share)))
    expected = torch.minimum(first, day.abs().sum(1))
    assert torch.allclose(night.abs().sum(1), expected, rtol=2e-3 if protection < 100 else 1e-4)


def test_all_shrink_alike_unless_replay_protects():
    kept = []
    for protection in (float("inf"), 5.0):
        cortex, rule = born(share=0.05, protection=protection)
        day = lie(rule, cortex, rows(cortex, 20), 10)
        night = lie(rule, cortex, rows(cortex, 10, STORED), 15)
        kept.append(night / day)
    alike, protected = kept
    assert torch.allclose(alike, alike[:, :1].expand_as(alike), rtol=1e-4) and (alike < 0.95).all()
    assert (protected[:, :10].min(1).values > protected[:, 10:].max(1).values + 0.1).all()


def test_use_is_counted_by_the_night():
    cortex, rule = born(protection=5.0)
    lie(rule, cortex, rows(cortex, 10), 3)
    lie(rule, cortex, rows(cortex, 10, STORED), 4)
    assert rule.used["weight0"][:, :10].eq(4).all() and rule.used["weight0"][:, 10:].eq(0).all()
    lie(rule, cortex, rows(cortex, 10, STORED), 1, np.array([0.1, 0.0]))
    assert rule.used["weight0"][0, :10].eq(5).all() and rule.used["weight0"][1, :10].eq(4).all()
    lie(rule, cortex, rows(cortex, 10), 1, np.array([0.1, 0.0]))
    assert rule.used["weight0"][0].eq(0).all() and rule.used["weight0"][1, :10].eq(4).all()


def test_who_does_not_sleep_does_not_shrink():
    cortex, rule = born(share=0.1)
    day = lie(rule, cortex, rows(cortex, 20), 5)
    assert torch.equal(lie(rule, cortex, rows(cortex, 20, STORED), 3, 0.0), day)
    assert torch.equal(lie(rule, cortex, rows(cortex, 20, STORED, weight=torch.zeros(2, 1)), 3), day)
    one = lie(rule, cortex, rows(cortex, 20, STORED), 3, np.array([0.1, 0.0]))
    assert (one[0].abs().sum() < day[0].abs().sum()) and torch.equal(one[1], day[1])


def test_settings_are_checked():
    for wrong in ({"share": 1.5}, {"protection": 0.0}, {"protection": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            cs.Homeostasis(**wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="Descent"):
        cs.Homeostasis(cs.Downscaled())  # pyright: ignore[reportArgumentType]


def life(times: list, strength: float = 1.0) -> cs.Life:
    """A life whose synapses are noise, and what was learned on top of it."""
    there = cs.Life(
        world=cs.Cohorts(times=times, items=4000),
        neocortex=cs.Linear(init=1.0),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=1),
        plasticity=cs.Constant(rate=strength),
        replay=cs.Uniform(),
        consolidation=cs.Descent(**HEBB),
        subjects=2,
    )
    list(there.live(3))
    return there


def test_d_prime_is_that_of_normal_distributions():
    """Learned once and twice on noise of variance 1: d' is 1 and 2, and no factor changes it."""
    there = life([0, [0, 1], []])
    found = cs.Discriminability().measure(there)
    assert torch.allclose(found, torch.tensor([[1.0, 2.0]] * 2, dtype=torch.float64), atol=0.1)
    with torch.no_grad():
        there.neocortex.weights["weight0"].mul_(0.25)
    assert torch.allclose(cs.Discriminability().measure(there), found, rtol=1e-5)
    with pytest.raises(ConfigError, match="never learned"):
        cs.Discriminability().measure(life([0, 1]))


def test_the_size_of_weights_is_their_mean_absolute_value():
    there = life([[]])
    assert torch.allclose(cs.PlasticityState(of="size").measure(there), torch.tensor(0.7979).double(), atol=0.03)


def told(before: list, after: list) -> dict[str, Trace]:
    trace, clock = Trace(), Clock(2, 1)
    for name, values in (("day.end", before), ("life.end", after)):
        trace.append(Moment(name, np.ones(2, bool)), clock, {"strength": np.array(values, float)})
    return {"arm": trace}


def test_claims_of_what_a_night_keeps():
    before = [[5, 4, 3, 2, 1], [1, 2, 3, 4, 5]]
    weak, strong = [[5, 4, 3, 1, 2], [2, 1, 3, 4, 5]], [[3, 4, 5, 2, 1], [1, 2, 5, 4, 3]]
    ask: dict[str, Any] = {"arms": ["arm"], "reading": "strength", "at_least": 0.95, "share": 0.6}
    assert KINDS["order_preserved"](Case(told(before, weak), {}), **ask).passed
    assert not KINDS["order_preserved"](Case(told(before, strong), {}), **ask).passed
    with pytest.raises(ConfigError, match="share"):
        KINDS["order_preserved"](Case(told(before, weak), {}), **ask | {"share": 0.2})
    ask = {"arms": ["arm"], "reading": "strength", "tolerance": 0.01, "moment": "day.end"}
    assert KINDS["preserved"](Case(told(before, [[5.02, 4, 3, 2, 1], before[1]]), {}), **ask).passed
    assert not KINDS["preserved"](Case(told(before, [before[0], [1, 2, 3, 4.1, 5]]), {}), **ask).passed
