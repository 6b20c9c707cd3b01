"""Repeats are found by an index of codes as by a look at all codes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.trees import fingerprint
from cls_sim.hippocampus import sparse
from cls_sim.hippocampus.repeats import Repeats


def codes(draw: np.random.Generator, n: int, units: int, k: int) -> Tensor:
    return torch.from_numpy(np.stack([draw.choice(units, k, replace=False) for _ in range(n)])).to(torch.int16)


def alike(draw: np.random.Generator, code: Tensor, units: int, changed: int) -> Tensor:
    """Codes of which so many cells are others."""
    kept = code.clone()
    for one in kept:
        others = np.setdiff1d(np.arange(units), one.numpy())
        fresh = draw.choice(others, changed, replace=False)
        some = int(draw.integers(0, changed + 1))
        one[:some] = torch.from_numpy(fresh[:some]).to(torch.int16)
    return kept


@pytest.mark.parametrize(("units", "k", "merge"), [(1000, 50, 0.9), (200, 20, 0.8), (60, 4, 1.0), (300, 30, 0.5)])
def test_no_code_is_missed_and_none_is_invented(units, k, merge):
    draw = np.random.default_rng(k)
    least = int(np.ceil(merge * k))
    index, n = Repeats(units, k, least), 400
    stored = torch.stack([codes(draw, n, units, k) for _ in range(2)])
    hits = 0
    for turn in range(12):
        if turn == 6:
            index = copy.deepcopy(index)
        if turn == 8:
            stored[1, 3] = stored[1, 4]  # somebody else writes
        far = max(1, 2 * (k - least))
        wanted = torch.stack([alike(draw, mine[draw.integers(0, n, 12)], units, min(far, k)) for mine in stored])
        found = index.find(stored, wanted.long())
        for mine, its, (row, slot) in zip(stored, wanted, found, strict=True):
            here = torch.zeros(len(its), units).scatter_(1, its.long(), 1.0)
            there = torch.zeros(n, units).scatter_(1, mine.long(), 1.0)
            right = np.stack(np.nonzero((here @ there.T >= least).numpy()))
            assert np.array_equal(np.stack((row, slot)), right)
            hits += right.shape[1]
        place = torch.from_numpy(draw.integers(0, n, (2, 5)))
        stored[torch.arange(2)[:, None], place] = wanted[:, :5]
        index.wrote(stored, place)
    assert hits > 40


def test_the_index_is_sorted_again_when_much_is_new(monkeypatch):
    draw, index = np.random.default_rng(0), Repeats(100, 10, 9)
    stored = codes(draw, 1300, 100, 10)[None]
    index.find(stored, stored[:, :1].long())
    stored[0, torch.arange(1200)[None]] = codes(draw, 1200, 100, 10)[None]
    index.wrote(stored, torch.arange(1200)[None])
    assert not index._new[0]
    row, slot = index.find(stored, stored[:, 1100:1101].long())[0]
    assert 1100 in slot and (row == 0).all()


@pytest.mark.parametrize("kind", ["labels", "targets"])
def test_a_life_with_the_index_is_the_life_without(monkeypatch, kind):
    """Images come again and again: most are found, and where all traces are looked at, the same are found."""
    prints, known = set(), 0
    for large in (1, 2**30):
        monkeypatch.setattr(sparse, "LARGE", large)
        source = np.random.default_rng(0)
        x, y = source.random((60, 12), np.float32), np.arange(60) % 3
        life = cs.Life(
            world=cs.Arrays(x=x, y=y if kind == "labels" else y / 3.0, contexts=1, per_context=60, batch=5),
            neocortex=cs.Mlp(hidden=[8]),
            hippocampus=cs.Sparse(capacity=40, units=300, winners=30, merge=0.9, fade=0.01, eviction="ring"),
            rhythm=cs.Nights(experiences_per_day=15, steps_per_night=5),
            plasticity=0.01,
            replay=cs.Uniform(batch=6),
            subjects=2,
        )
        memory = life.hippocampus
        assert isinstance(memory, cs.Sparse) and (memory._repeats is not None) == (large == 1)
        list(life.live(days=2))
        twin = life.twin()
        for one in (life, twin):
            list(one.live(days=2))
        assert fingerprint(life.state()) == fingerprint(twin.state())
        prints.add(fingerprint(life.state()))
        known += int((memory.traces().born[memory.traces().alive] >= 45).sum())
    assert len(prints) == 1 and known > 0


def test_a_lesioned_trace_is_not_repeated(monkeypatch):
    monkeypatch.setattr(sparse, "LARGE", 1)
    memory = cs.Sparse(capacity=6, units=100, winners=10)
    memory.setup(Spec(seeds=(0,), inputs=(5,), outputs=2, batch=1))
    view, clock = View(*[None] * 5), Clock(1, 100)  # pyright: ignore[reportArgumentType]
    batch = Batch.lived(torch.rand(1, 1, 5), torch.zeros(1, 1, dtype=torch.int64))
    for lesioned, stored in ((False, 1), (False, 1), (True, 2)):
        if lesioned:
            memory.silence(memory.traces().alive)
        memory.encode(batch, view, clock)
        clock.experience += 1
        assert int((memory.strength[:, :6] > 0).sum()) == stored
