"""Mixtures of each class: their sums are those of the past, and they answer and dream from every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.batch import DREAMED
from cls_sim.core.clock import Clock
from cls_sim.hippocampus.mixtures import waves_of
from tests.lives import live, small

NOBODY: Any = None


def taught(x: torch.Tensor, y: torch.Tensor, rows: int = 16, **settings_: Any) -> cs.Mixtures:
    """Mixtures of images x [n, …] of classes y [n], seen `rows` at a time by one subject."""
    part = cs.Mixtures(**settings_)
    part.setup(cs.Spec(seeds=(0,), inputs=tuple(x.shape[1:]), outputs=4))
    for some, of in zip(x.split(rows), y.split(rows), strict=True):
        part.encode(cs.Batch.lived(some[None], of[None]), NOBODY, Clock(1, 1))
    return part


def two_kinds(rows: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """2 x 2 images: class 0 lies about 0; class 1 about (3, 0, 0, 0) and about (-3, 0, 0, 0)."""
    x, y = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed)) * 0.5, torch.arange(rows) % 2
    x[1::4, 0] += 3
    x[3::4, 0] -= 3
    return x, y


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40), st.integers(0, 10**6))
def test_kinds_add_up_to_the_moments_of_the_past(kinds, rows, n, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 3, 3, generator=g) + 5, torch.randint(2, (n,), generator=g)
    part = taught(x, y, rows, components=kinds, frequencies=5)
    z = x.flatten(1) @ waves_of(3, 5)
    for c in range(2):
        mine, count, mean = z[y == c], part.count[0, c], part.mean[0, c]
        assert count.sum() == len(mine) and (count > 0).sum() == min(kinds, len(mine))
        if not len(mine):
            continue
        centre = mine.mean(0)
        assert torch.allclose((count[:, None] * mean).sum(0) / count.sum(), centre, atol=1e-4)
        between = torch.einsum("k,ki,kj->ij", count, mean - centre, mean - centre)
        whole = (mine - centre).T @ (mine - centre)
        assert torch.allclose(part.scatter[0, c].sum(0) + between, whole, atol=1e-3)


def test_one_kind_is_a_gaussian_and_waves_are_those_asked_for():
    x, y = two_kinds()
    part = taught(x, y, components=1, frequencies=4, prior=1e-3, spread=0.0)
    found = part._fitted().factor[0, 1, 0]
    mine = (x[y == 1] @ waves_of(2, 4)).double()
    assert torch.allclose((found @ found.T).double(), torch.cov(mine.T, correction=0), atol=1e-2)


def test_it_dreams_of_every_kind_and_of_nothing_between():
    x, y = two_kinds()
    part = taught(x, y, components=4, frequencies=4, spread=0.0)
    dream = part.dream(2000, Clock(1, 1), NOBODY)
    assert (dream.source == DREAMED).all() and set(dream.y[0].tolist()) == {0, 1}
    place = dream.x[0, dream.y[0] == 1, 0]
    assert ((place > 0).float().mean() - 0.5).abs() < 0.08
    assert (place.abs() < 1).float().mean() < 0.02
    blurred = taught(x, y, components=1, frequencies=4, spread=0.0).dream(2000, Clock(1, 1), NOBODY)
    assert (blurred.x[0, blurred.y[0] == 1, 0].abs() < 1).float().mean() > 0.15


def test_kinds_answer_what_one_gaussian_cannot():
    (x, y), (cue, truth) = two_kinds(), two_kinds(seed=1)
    part = taught(x, y, components=4, frequencies=4, spread=0.0)
    recall = part.recall(cue[None])
    assert (recall.scores[0].argmax(1) == truth).float().mean() > 0.97
    assert not recall.scores[..., 2:].any()
    assert part.recall(cue[None] + 50).match.max() < 0.01 < recall.match.max()


def test_nothing_lived_is_nothing_known():
    part = taught(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), components=2, frequencies=4)
    assert not part.dream(5, Clock(1, 1), NOBODY).present().any()
    recall = part.recall(torch.ones(1, 3, 4))
    assert not recall.scores.any() and not recall.match.any()


def test_a_cortex_learns_ten_digits_from_dreams_alone():
    """Digits in five contexts, one exposure each, and a cortex that never learns by day."""
    life = small(
        2,
        world=cs.Digits(per_context=60, batch=5),
        hippocampus=cs.Mixtures(components=3, frequencies=40),
        replay=cs.Augmented(cs.Dreamed(batch=32), translation=0.5, noise=0.1),
        rhythm=cs.Nights(experiences_per_day=60, steps_per_night=80),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=0.005),
    )
    live(life)
    assert cs.Accuracy(readout=cs.HippocampusReadout()).measure(life).mean() > 0.8
    assert cs.Accuracy().measure(life).mean() > 0.75


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Mixtures(components=0), "components"),
        (lambda: cs.Mixtures(prior=0.0), "prior"),
        (lambda: cs.Mixtures(frequencies=2).setup(cs.Spec(inputs=(3,), outputs=2)), "frequencies"),
        (lambda: cs.Mixtures(frequencies=5).setup(cs.Spec(inputs=(2, 2), outputs=2)), "frequencies"),
        (lambda: cs.Mixtures(frequencies=2).setup(cs.Spec(inputs=(4,), outputs=1, regression=True)), ""),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key
