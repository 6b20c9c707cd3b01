"""Streaming discriminants: equal to the closed form of all rows, in any order and any batches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.config import experiments
from cls_sim.core.clock import Clock
from cls_sim.hippocampus.discriminant import RIDGES
from tests.lives import live


def taught(part: Any, x: np.ndarray, y: np.ndarray, sizes: list[int], classes: int) -> Any:
    """A memory of one subject after rows x [n, f] of classes y [n], in batches of these sizes."""
    part.setup(cs.Spec(seeds=(3,), inputs=x.shape[1:], outputs=classes))
    clock, start = Clock(1, 10), 0
    for i, size in enumerate(sizes):
        clock.experience[:] = i
        rows = slice(start, start := start + size)
        part.encode(cs.Batch.lived(torch.from_numpy(x[rows])[None], torch.from_numpy(y[rows])[None]), None, clock)
    assert start == len(x)
    return part


def lda(x: np.ndarray, y: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and offsets of the linear discriminant of all rows, in float64."""
    x = x.astype(float)
    means = np.stack([x[y == c].mean(0) for c in np.unique(y)])
    off = x - means[y]
    precision = np.linalg.inv((1 - shrinkage) * off.T @ off / len(x) + shrinkage * np.eye(x.shape[1]))
    w = means @ precision
    return w, -0.5 * (w * means).sum(1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shift=st.sampled_from([0.0, 50.0]),
    shrinkage=st.sampled_from([1e-4, 1e-2, 0.5, 1.0]),
    cuts=st.lists(st.integers(1, 119), max_size=20),
)
@example(seed=13844, shift=50.0, shrinkage=1e-4, cuts=[])  # the first rows of a class were taken against a mean of 0
def test_the_stream_gives_the_discriminant_of_all_rows(seed: int, shift: float, shrinkage: float, cuts: list[int]):
    g = np.random.default_rng(seed)
    y = g.permutation(np.arange(120) % 4)
    x = (shift + g.standard_normal((4, 5))[y] + g.standard_normal((120, 5)) @ g.standard_normal((5, 5))).astype(
        "float32"
    )
    ends = [0, *sorted(set(cuts)), 120]
    sizes = [b - a for a, b in pairwise(ends)]
    memory = taught(cs.Discriminant(shrinkage=shrinkage), x, y, sizes, 4)
    w, b = lda(x, y, shrinkage)
    exact = x @ w.T + b
    exact -= np.logaddexp.reduce(exact, 1, keepdims=True)
    found = memory.recall(torch.from_numpy(x)[None])
    assert np.allclose(found.scores[0], np.exp(exact), atol=2e-3)
    assert ((found.match >= 0) & (found.match <= 1)).all()


def test_shrunk_to_the_identity_the_nearest_mean_answers():
    g = np.random.default_rng(0)
    y, x = np.arange(60) % 3, g.standard_normal((60, 4)).astype("float32")
    memory = taught(cs.Discriminant(shrinkage=1.0), x, y, [7] * 8 + [4], 3)
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    nearest = ((x[:, None] - means) ** 2).sum(2).argmin(1)
    assert (memory.recall(torch.from_numpy(x)[None]).scores[0].argmax(1).numpy() == nearest).all()
    assert not hasattr(memory, "scatter") and memory.stored_bytes().tolist() == [4 * (3 + 12)]


@pytest.mark.parametrize("ridge", [None, 0.3])
def test_the_ridge_is_that_of_all_rows(ridge: float | None):
    g = np.random.default_rng(1)
    y, x = np.arange(200) % 3, g.standard_normal((200, 6)).astype("float32")
    x += 2 * np.eye(3, 6, dtype="float32")[y]
    memory = taught(cs.RandomRidge(units=40, ridge=ridge), x, y, [20] * 10, 3)
    h = np.maximum(x @ memory._wiring[0].numpy(), 0).astype(float)
    found = memory.chosen().item()
    assert found == (ridge or found) and (ridge is not None or found in RIDGES)
    exact = h @ np.linalg.solve(h.T @ h + found * np.eye(40), h.T @ np.eye(3)[y])
    assert np.allclose(memory.recall(torch.from_numpy(x)[None]).scores[0], exact, atol=1e-3)
    if ridge is None:  # about a fifth of the rows chose it
        assert 20 <= memory.count[0, 1].sum() <= 60 and memory.count.sum() == 200


def test_the_held_out_rows_choose_a_large_ridge_if_labels_are_noise():
    g = np.random.default_rng(2)
    x = g.standard_normal((60, 6)).astype("float32")
    noise = taught(cs.RandomRidge(units=50), x, g.integers(0, 2, 60), [20] * 3, 2)
    clear = taught(cs.RandomRidge(units=50), x, (x[:, 0] > 0).astype(int), [20] * 3, 2)
    assert noise.chosen().item() > clear.chosen().item()


@pytest.mark.parametrize("part", [cs.Discriminant(), cs.RandomRidge(units=30)])
def test_before_any_row_nothing_is_recalled(part: Any):
    part.setup(cs.Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    found = part.recall(torch.ones(2, 5, 4))
    assert (found.scores == 0).all() and (found.match == 0).all() and (found.slot == -1).all()


@pytest.mark.parametrize("method", ["slda", "ncm", "ranpac"])
def test_the_methods_make_no_passes_and_count_their_bytes(method: str):
    given = ["world=digits", "subjects=1", f"method={method}", "world.per_context=20", "rhythm.experiences_per_day=10"]
    if method == "ranpac":
        given.append("hippocampus.units=100")
    cfg = next(iter(experiments.read(["experiment=split_mnist", "size=small", *given]).arms.values())).cfg
    life = live(experiments.make_life(cfg))
    assert life.ledger.totals()["passes"].tolist() == [0.0]
    kept = sum(value.nbytes for value in life.hippocampus.state().values())
    assert kept / 2.1 < life.hippocampus.stored_bytes().item() <= kept  # symmetric matrices count as triangles


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Discriminant(shrinkage=1.5), "shrinkage"),
        (lambda: cs.RandomRidge(ridge=0.0), "ridge"),
        (lambda: cs.RandomRidge(held_out=1.0), "held_out"),
        (lambda: cs.RandomRidge(units=0), "units"),
        (lambda: cs.Discriminant().setup(cs.Spec(regression=True)), "regression"),
    ],
)
def test_bad_settings_are_named(make: Any, key: str):
    with pytest.raises(cs.ConfigError, match=key):
        make()
