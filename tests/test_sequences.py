"""A memory of order follows what it stored, forward and in reverse; a gate learns what the hippocampus recalls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from tests.lives import live


def ordered(subjects: int = 3, items: int = 20, features: int = 60, seed: int = 0, **settings: Any) -> cs.Life:
    memory = cs.Follows(cs.Store(capacity=items, eviction="ring"), **settings)
    life = cs.Life(
        world=cs.Dichotomy(items=items, features=features),
        neocortex=cs.Linear(),
        hippocampus=memory,
        rhythm=cs.Sleepless(experiences_per_day=items),
        plasticity=0.0,
        replay=cs.Uniform(batch=1),
        subjects=subjects,
        seed=seed,
    )
    return live(life, items)


@pytest.mark.parametrize("interaction", ["linear", "quadratic", "exponential"])
def test_each_pattern_leads_to_the_next_and_back(interaction: str):
    life = ordered(items=5, features=200, interaction=interaction)
    chain = life.hippocampus.chain()
    lived = life.world.evaluation(0).x
    assert torch.equal(chain.x, lived)  # in the order of the experiences
    for place in range(4):
        assert torch.equal(life.hippocampus.follow(chain.x[:, place], chain), chain.x[:, place + 1])
        assert torch.equal(life.hippocampus.follow(chain.x[:, place + 1], chain, reverse=True), chain.x[:, place])
    assert (cs.SequenceLength().measure(life) == 5).all() and (cs.SequenceLength(reverse=True).measure(life) == 5).all()


def test_symmetric_synapses_do_not_move():
    life = ordered(interaction="quadratic", symmetric=True)
    assert (cs.SequenceLength().measure(life) <= 2).all()


def test_sharper_interactions_follow_longer_sequences():
    lengths = [
        cs.SequenceLength().measure(ordered(items=60, features=30, interaction=f)).mean()
        for f in ("linear", "quadratic", "exponential")
    ]
    assert lengths[0] < lengths[1] / 3 and lengths[1] < lengths[2]


def test_length_of_one_subject_does_not_depend_on_others():
    together = cs.SequenceLength().measure(ordered(3, interaction="linear"))
    for i in range(3):
        assert cs.SequenceLength().measure(ordered(1, seed=i, interaction="linear"))[0] == together[i]


def test_a_memory_without_order_is_refused():
    life = ordered()
    with pytest.raises(ConfigError, match="needs a memory of order"):
        cs.SequenceLength().measure(life.twin(hippocampus=cs.Store(capacity=5)))


def gating(**settings: Any) -> cs.Life:
    inner = cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum")
    life = cs.Life(
        world=cs.Bursts(features=200, rate=0.02, experiences=150),
        neocortex=cs.Linear(),
        hippocampus=cs.FastWeights(),
        rhythm=cs.Sleepless(experiences_per_day=50),
        plasticity=1.0,
        replay=cs.Uniform(batch=1),
        consolidation=cs.RecallGated(inner, **settings),
        subjects=4,
    )
    return live(life)


def test_a_gate_lets_the_cortex_learn_only_what_recurs():
    gated, opened, lot = gating(threshold=0.35), gating(threshold=0.0), gating(chance=0.1)
    snr = [cs.Selectivity().measure(life).mean() for life in (gated, opened, lot)]
    assert snr[0] > snr[1] > snr[2]
    assert (cs.GateShare().measure(gated) < 0.3).all()
    assert cs.GateShare().measure(opened).isnan().all()  # no gate counts nothing


def test_fast_weights_fade_and_know_the_latest():
    memory = cs.FastWeights(fade=0.5)
    spec = memory.setup(cs.Spec(seeds=(0, 1), inputs=(100,), outputs=1, regression=True))
    x = torch.where(torch.arange(100) % 2 == 0, 1.0, -1.0).expand(2, 1, 100)
    batch = cs.Batch.lived(x, torch.ones(2, 1, 1))
    memory.encode(batch, None, None)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(memory.recall(x).match, torch.ones(2, 1))
    other = torch.where(torch.arange(100) % 4 < 2, 1.0, -1.0).expand(2, 1, 100)
    memory.encode(cs.Batch.lived(other, torch.ones(2, 1, 1)), None, None)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(memory.recall(x).match, torch.full((2, 1), 0.5 / 1.25**0.5)) and spec.outputs == 1


def test_bursts_come_as_often_as_they_should_and_alone_as_in_company():
    world = cs.Bursts(features=5, rate=0.1, burst=3, experiences=2000)
    world.setup(cs.Spec(seeds=tuple(range(8))))
    share = world._plan.float().mean()
    assert abs(float(share) - 3 * 0.1 / (1 + 3 * 0.1 - 0.1)) < 0.03
    alone = cs.Bursts(features=5, rate=0.1, burst=3, experiences=2000)
    alone.setup(cs.Spec(seeds=(5,)))
    assert torch.equal(alone._plan[0], world._plan[5])


def tagged(strong: int | None, weak: int = 10, **settings: Any) -> torch.Tensor:
    """Strength of a weak memory, sixty experiences after it was learnt."""
    others = [] if strong is None else strong
    life = cs.Life(
        world=cs.Cohorts(times=[weak, others, others, others], items=30),
        neocortex=cs.Linear(),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=10),
        plasticity=1.0,
        replay=cs.Uniform(batch=1),
        consolidation=cs.Tagging(
            cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum"), fade=0.2, **settings
        ),
        subjects=2,
    )
    return cs.MemoryStrength().measure(live(life, weak + 60))


def test_a_strong_event_captures_what_is_tagged():
    assert (tagged(None)[:, 0] < 0.01).all() and (tagged(40)[:, 0] < 0.05).all()
    assert (tagged(11)[:, 0] > 0.6).all() and (tagged(9)[:, 0] > 0.6).all()
    assert (tagged(11)[:, 1:] > 0.9).all(), "the strong memory itself lasts"
    assert (tagged(11, blocked=True) < 0.01).all() and (tagged(11, change=5.0) < 0.01).all()


def test_capture_by_hand():
    """One weak memory, captured once: l = p h s two ticks after it was learnt, with proteins of a single tick."""
    found = tagged(12, protein=1e-3, tag=4.0)[0, 0]
    assert abs(float(found) - float(torch.exp(torch.tensor(-0.5)) * 0.8**2)) < 1e-5
