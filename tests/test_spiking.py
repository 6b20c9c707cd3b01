"""Sleep by spontaneous spiking: what it changes, what it leaves, and the patches it is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from tests.lives import live


def life(overlap: int = 18, subjects: int = 4, seed: int = 0, night: int = 40, **sleep: Any) -> cs.Life:
    day = cs.Descent(optimizer=cs.Momentum(momentum=0.5))
    return cs.Life(
        subjects=subjects,
        seed=seed,
        world=cs.Patches(overlap=overlap, per_context=60),
        neocortex=cs.Linear(init=0.0058),
        hippocampus=cs.NoHippocampus(),
        plasticity=cs.WakeNight(wake_rate=0.05, night_rate=0.0),
        rhythm=cs.Nights(experiences_per_day=120, steps_per_night=night),
        replay=cs.Uniform(batch=1),
        consolidation=cs.SpikingSleep(day, **sleep),
    )


def test_a_night_gives_the_forgotten_task_back_and_keeps_the_new_one():
    before, after = live(life(night=0)), live(life())
    assert cs.Accuracy().measure(before).tolist() == [[0.0, 1.0]] * 4
    assert cs.Accuracy().measure(after).tolist() == [[1.0, 1.0]] * 4


def test_nothing_is_wired_without_hebb():
    still, before = live(life(inc=0.0, dec=0.0)), live(life(night=0))
    assert torch.equal(still.neocortex.weights["weight0"], before.neocortex.weights["weight0"])


def test_positive_weights_stay_and_negative_ones_rise():
    before, after = live(life(night=0)), live(life(dec=0.0))
    was, now = before.neocortex.weights["weight0"].detach(), after.neocortex.weights["weight0"].detach()
    assert torch.allclose(was[was > 0.02], now[was > 0.02], atol=1e-4)
    assert (now - was).min() >= 0 and (now - was)[was < -0.01].max() > 0.05


def test_subjects_sleep_alone_as_in_company_and_go_on_where_they_were():
    together, alone = live(life(subjects=3), 140), live(life(subjects=1, seed=2), 140)
    mine, own = together.neocortex.weights["weight0"][2], alone.neocortex.weights["weight0"][0]
    assert torch.allclose(mine, own, atol=1e-5)
    other = life(subjects=3)
    other.load(together.state())
    a, b = live(together, 150), live(other, 150)
    assert torch.equal(a.neocortex.weights["weight0"], b.neocortex.weights["weight0"])


def test_hidden_layers_spike_too():
    part = life(steps=20, thresholds=[0.5, 0.5])
    deep = cs.Life(
        subjects=2,
        world=cs.Patches(),
        neocortex=cs.Mlp(hidden=[20]),
        hippocampus=cs.NoHippocampus(),
        plasticity=cs.WakeNight(wake_rate=0.05, night_rate=0.0),
        rhythm=cs.Nights(experiences_per_day=120, steps_per_night=5),
        replay=cs.Uniform(batch=1),
        consolidation=part.consolidation,
    )
    live(deep, 120)
    before = {name: w.detach().clone() for name, w in deep.neocortex.weights.items()}
    live(deep)
    for name, w in deep.neocortex.weights.items():
        assert torch.equal(w, before[name]) == name.startswith("bias"), name


@pytest.mark.parametrize("overlap", [0, 7, 25])
def test_patches_share_what_they_say(overlap: int):
    world = cs.Patches(overlap=overlap)
    world.setup(cs.Spec(seeds=(3, 4)))
    x = torch.cat([world.evaluation(k).x for k in (0, 1)], 1)
    assert (x.sum(2) == 25).all()
    like = x @ x.mT
    assert (like.masked_fill(torch.eye(4, dtype=torch.bool), overlap) == overlap).all()
    assert not np.array_equal(x[0], x[1])


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Patches(overlap=26), "overlap"),
        (lambda: cs.Patches(overlap=0, images=3), "pixels"),
        (lambda: cs.SpikingSleep(thresholds=[]), "thresholds"),
        (lambda: cs.SpikingSleep(inc=-1.0), "inc"),
        (lambda: cs.SpikingSleep().setup(cs.Spec(weights={"up0.weight": (1, 2, 3)})), ""),
        (lambda: cs.SpikingSleep(thresholds=[1.0]).setup(cs.Mlp(hidden=[3]).setup(SPEC)), "thresholds"),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key


SPEC = cs.Spec(inputs=(4,), outputs=2)
