"""Averaged cortices: the copies follow as they should, and hold the working cortex to what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import LIVED, STORED
from cls_sim.core.errors import ConfigError


def begun(seeds=(0, 1), **settings):
    cortex = cs.Averaged(cs.Mlp(hidden=[5]))
    rule = cs.Averaging(cs.Descent(optimizer=cs.Sgd()), **settings)
    rule.setup(cortex.setup(cs.Spec(seeds=seeds, inputs=(6,), outputs=4)))
    return cortex, rule


def batch(step: int, subjects: int = 2, source: int = STORED) -> cs.Batch:
    g = torch.Generator().manual_seed(step)
    x, y = torch.randn(1, 8, 6, generator=g), torch.randint(4, (1, 8), generator=g)
    rows = cs.Batch.lived(x.expand(subjects, -1, -1), y.expand(subjects, -1))
    return rows.with_(source=rows.source * 0 + source)


def test_a_copy_that_never_misses_is_the_exponential_average():
    cortex, rule = begun(slow_decay=0.9, fast_decay=0.5, slow_probability=1.0)
    slow, fast = (cortex.weights["weight0"].detach().clone() for _ in range(2))
    for t in range(1, 30):
        rule.step(cortex, batch(t), np.full(2, 0.1), None)
        for copy, alpha in ((slow, 0.9), (fast, 0.5)):
            a = min(1 - 1 / (t + 1), alpha)
            copy.mul_(a).add_(cortex.weights["weight0"].detach(), alpha=1 - a)
    assert torch.allclose(cortex.averages["slow"]["weight0"], slow, atol=1e-6)
    assert torch.allclose(cortex.averages["fast"]["weight0"], fast, atol=1e-6)


def test_the_rare_follower_follows_as_often_as_it_should():
    cortex, rule = begun(slow_probability=0.3)
    moved = torch.zeros(2)
    for t in range(300):
        before = cortex.averages["slow"]["weight0"].clone()
        rule.step(cortex, batch(t), np.full(2, 0.1), None)
        moved = moved + (cortex.averages["slow"]["weight0"] != before).flatten(1).any(1).float()
    assert ((moved / 300 - 0.3).abs() < 0.09).all() and moved[0] != moved[1]


def test_what_the_copies_say_goes_with_replayed_rows_only():
    seen = []

    class Seen(Objective):
        def row_losses(self, scores, batch):
            seen.append(batch.scores)
            return cs.SupervisedLoss().row_losses(scores, batch)

    cortex = cs.Averaged(cs.Mlp(hidden=[5]))
    rule = cs.Averaging(cs.Descent(optimizer=cs.Sgd(), objective=Seen()))
    rule.setup(cortex.setup(cs.Spec(seeds=(0, 1), inputs=(6,), outputs=4)))
    cortex.averages["fast"]["bias1"][:, 2] += 5.0  # the fast copy believes in class 2
    rows = batch(0).join(batch(1, source=LIVED))
    rule.step(cortex, rows, np.full(2, 0.1), None)
    said = seen[0]
    assert said[:, 8:].isnan().all() and not said[:, :8].isnan().any()
    high = said[:, :8, 2] > 3
    assert torch.equal(high, rows.y[:, :8] == 2)


def test_a_cortex_held_to_its_averages_moves_less():
    moves = []
    for strength in (0.0, 5.0):
        cortex = cs.Averaged(cs.Mlp(hidden=[5]))
        rule = cs.Averaging(
            cs.Descent(optimizer=cs.Sgd(), objective=cs.DarkExperienceLoss(alpha=strength, beta=1.0)),
            slow_decay=1.0,
            fast_decay=1.0,
        )
        rule.setup(cortex.setup(cs.Spec(seeds=(0, 1), inputs=(6,), outputs=4)))
        rule.steps += 10**6  # copies that hardly follow any more
        before = cortex.scores(batch(0).x).detach()
        for _ in range(100):
            rule.step(cortex, batch(0), np.full(2, 0.05), None)
        moves.append((cortex.scores(batch(0).x) - before).abs().mean())
    assert moves[1] < 0.5 * moves[0]


def test_who_keeps_no_averages_is_told_so():
    for part in (cs.Averaging(), cs.SlowCopyReadout()):
        with pytest.raises(ConfigError, match="averaged"):
            part.setup(cs.Mlp(hidden=[5]).setup(cs.Spec(inputs=(6,), outputs=4)))
    with pytest.raises(ConfigError, match="slow_probability"):
        cs.Averaging(slow_probability=1.5)


def test_downscaling_keeps_proportions_and_only_of_those_who_learn():
    class Still(cs.Descent):
        def step(self, *_):
            pass

    cortex = cs.Mlp(hidden=[5])
    rule = cs.Downscaled(Still(), share=[0.1, 0.5])
    rule.setup(cortex.setup(cs.Spec(seeds=(0, 1), inputs=(6,), outputs=4)))
    before = cortex.weights["weight0"].detach().clone()
    rule.step(cortex, batch(0), np.array([0.1, 0.0]), None)
    assert torch.allclose(cortex.weights["weight0"][0], 0.9 * before[0])
    assert torch.equal(cortex.weights["weight0"][1], before[1])
    with pytest.raises(ConfigError, match="share"):
        cs.Downscaled(share=1.5)
