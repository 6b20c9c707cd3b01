"""Sleep by spontaneous spiking: what it changes, what it leaves, and the patches it is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cls
from tests.lives import live


def life(overlap: int = 18, subjects: int = 4, seed: int = 0, night: int = 40, **sleep: Any) -> cls.Life:
    day = cls.Descent(rule=cls.Momentum(momentum=0.5))
    return cls.Life(
        subjects=subjects,
        seed=seed,
        world=cls.Patches(overlap=overlap, per_context=60),
        neocortex=cls.Linear(init=0.0058),
        hippocampus=cls.NoHippocampus(),
        plasticity=cls.WakeNight(wake=0.05, night=0.0),
        rhythm=cls.Nights(wake=120, night=night),
        replay=cls.Uniform(batch=1),
        consolidation=cls.SpikingSleep(day, **sleep),
    )


def test_a_night_gives_the_forgotten_task_back_and_keeps_the_new_one():
    before, after = live(life(night=0)), live(life())
    assert cls.Accuracy().measure(before).tolist() == [[0.0, 1.0]] * 4
    assert cls.Accuracy().measure(after).tolist() == [[1.0, 1.0]] * 4


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
    deep = cls.Life(
        subjects=2,
        world=cls.Patches(),
        neocortex=cls.Mlp(hidden=[20]),
        hippocampus=cls.NoHippocampus(),
        plasticity=cls.WakeNight(wake=0.05, night=0.0),
        rhythm=cls.Nights(wake=120, night=5),
        replay=cls.Uniform(batch=1),
        consolidation=part.consolidation,
    )
    live(deep, 120)
    before = {name: w.detach().clone() for name, w in deep.neocortex.weights.items()}
    live(deep)
    for name, w in deep.neocortex.weights.items():
        assert torch.equal(w, before[name]) == name.startswith("bias"), name


@pytest.mark.parametrize("overlap", [0, 7, 25])
def test_patches_share_what_they_say(overlap: int):
    world = cls.Patches(overlap=overlap)
    world.begin(cls.Spec(seeds=(3, 4)))
    x = torch.cat([world.exam(k).x for k in (0, 1)], 1)
    assert (x.sum(2) == 25).all()
    like = x @ x.mT
    assert (like.masked_fill(torch.eye(4, dtype=torch.bool), overlap) == overlap).all()
    assert not np.array_equal(x[0], x[1])


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cls.Patches(overlap=26), "overlap"),
        (lambda: cls.Patches(overlap=0, images=3), "pixels"),
        (lambda: cls.SpikingSleep(thresholds=[]), "thresholds"),
        (lambda: cls.SpikingSleep(inc=-1.0), "inc"),
        (lambda: cls.SpikingSleep().begin(cls.Spec(weights={"up0.weight": (1, 2, 3)})), ""),
        (lambda: cls.SpikingSleep(thresholds=[1.0]).begin(cls.Mlp(hidden=[3]).begin(SPEC)), "thresholds"),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cls.Refused) as refused:
        make()
    assert refused.value.key == key


SPEC = cls.Spec(inputs=(4,), outputs=2)
