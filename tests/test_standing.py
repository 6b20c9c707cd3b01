"""The index of a large memory gives the slots that a look at all slots would give, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.trees import leaves as tree_leaves
from cls_sim.hippocampus import episodes
from cls_sim.hippocampus.slots import Slots
from cls_sim.hippocampus.standing import Ranks


def lived(monkeypatch: pytest.MonkeyPatch, indexed: bool, make: Any, rhythm: Any = None) -> list[cs.Life]:
    """A life, its twin and one that has loaded its state, each a day further."""
    for name in ("LABELLED", "UNLABELLED"):
        monkeypatch.setattr(episodes, name, 1 if indexed else 2**30)
    lives = [
        cs.Life(
            world=cs.Digits(per_context=20, batch=6),
            neocortex=cs.Mlp(hidden=[8]),
            hippocampus=make(),
            rhythm=rhythm() if rhythm else cs.Nights(experiences_per_day=15, steps_per_night=6),
            plasticity=0.01,
            replay=cs.Interleaved(cs.Uniform(batch=6), share=0.5, only_old=False),
            subjects=3,
        )
        for _ in range(2)
    ]
    list(lives[0].live(days=3))
    twin = lives[0].twin()
    lives[1].load(lives[0].state())
    for life in (lives[0], twin, lives[1]):
        list(life.live(days=1))
    return [lives[0], twin, lives[1]]


def state(life: cs.Life) -> dict[tuple[Any, ...], torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in tree_leaves(life.state()) if not isinstance(value, dict)}


MEMORIES = {
    "balanced": lambda: cs.Store(capacity=50, eviction="balanced"),
    "reservoir": lambda: cs.Store(capacity=50),
    "ring": lambda: cs.Store(capacity=50, eviction="ring"),
    "small": lambda: cs.Store(capacity=4, eviction="balanced"),  # smaller than a batch
    "indexed": lambda: cs.Indexed(capacity=40),
    "repeats": lambda: cs.Sparse(capacity=40, units=200, winners=10, merge=0.6),
    "forgetting": lambda: cs.Sparse(capacity=40, units=200, winners=10, merge=0.6, fade=0.1),
    "blends": lambda: cs.Sparse(capacity=40, units=200, winners=10, merge=0.6, learning_rate=0.5),
    "compact": lambda: cs.Compact(bytes=1000),
    "near": lambda: cs.Compact(bytes=1000, repeats="sparse", units=200, winners=20, merge=0.7, eviction="reservoir"),
    "trisynaptic": lambda: cs.Trisynaptic(capacity=40, eviction="balanced", fade=0.1),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_life_with_the_index_is_the_life_without(monkeypatch, name):
    rhythm = (lambda: cs.Pressure(experiences_per_day=15)) if name in ("balanced", "ring") else None
    lives = lived(monkeypatch, True, MEMORIES[name], rhythm) + lived(monkeypatch, False, MEMORIES[name], rhythm)
    first, *others = [state(life) for life in lives]
    for other in others:
        assert first.keys() == other.keys() and all(torch.equal(first[key], other[key]) for key in first)
    memory: Any = lives[0].hippocampus
    assert memory._standing is not None and memory._standing.ranks is not None  # it was in use


def test_choices_are_those_of_a_look_at_all_slots():
    draw = np.random.default_rng(0)
    for trial in range(60):
        n, rows, classes = int(draw.integers(1, 40)), int(draw.integers(1, 9)), int(draw.integers(1, 6))
        rule = ("balanced", "reservoir", "ring")[trial % 3]
        slots = Slots(n, rule)
        slots.setup(Spec(seeds=(trial,), batch=rows, outputs=classes))
        alive = torch.from_numpy(draw.random((1, n)) < draw.choice([0.3, 0.9, 1.0]))
        key = torch.from_numpy(draw.permutation(2 * n)[None, :n]) * (-1 if rule == "ring" else 2**24)
        label = torch.from_numpy(draw.integers(0, classes, (1, n)))
        ranks = Ranks(*(one[0].numpy() for one in (key, label if rule == "balanced" else label * 0, alive)))
        clock = Clock(1, 100)
        for _ in range(20):
            y = torch.from_numpy(draw.integers(0, classes, (1, rows)))
            fresh = torch.from_numpy(draw.random((1, rows)) < 0.8)
            slot, new = slots.choose(y, fresh, label, alive, key, clock)
            c = (y if rule == "balanced" else y * 0)[0].tolist()
            placed = ranks.choose([(i, int(new[0, i]), c[i]) for i in np.flatnonzero(fresh[0].numpy()).tolist()])
            assert [placed.get(i, n) for i in range(rows)] == slot[0].tolist()
            assert ranks.newest == min(0, int(key[alive].min() if alive.any() else 0))
            skipped = set(draw.permutation(list(placed))[: draw.integers(0, 2)].tolist())  # not written after all
            kept = [i for i in placed if i not in skipped]
            at = torch.tensor([placed[i] for i in kept], dtype=torch.int64)
            before = [(int(i), 0, 0) for i in at]
            assert ranks.wrote(at.tolist(), [int(new[0, i]) for i in kept], [c[i] for i in kept], before)
            key[0, at], label[0, at], alive[0, at] = new[0, kept], y[0, kept], True
            assert ranks.count == int(alive.sum())
            clock.experience += 1


def test_the_index_notices_what_others_write(monkeypatch):
    monkeypatch.setattr(episodes, "LABELLED", 1)
    memory = cs.Store(capacity=6, eviction="balanced")
    memory.setup(Spec(seeds=(0,), inputs=(2,), outputs=2, batch=2))
    clock, view = Clock(1, 100), View(*[None] * 5)  # pyright: ignore[reportArgumentType]
    for step in range(6):
        memory.encode(Batch.lived(torch.rand(1, 2, 2), torch.tensor([[0, 1]])), view, clock)
        clock.experience += 1
        if step == 4:
            assert memory.filled() is not None and memory.filled().tolist() == [6]
            memory.mark[:, 2, 0] = -1  # somebody frees a slot
            assert memory.filled() is None
    assert memory.mark[0, 2, 0] == 5  # it was the first to be used


def test_a_large_memory_is_not_looked_through(monkeypatch):
    """Once the index is there, an experience and a uniform draw read no column as a whole."""
    memory, replay = cs.Store(capacity=5000, eviction="balanced"), cs.Uniform(batch=4)
    spec = memory.setup(Spec(seeds=(0, 1), inputs=(2,), outputs=3, batch=4))
    replay.setup(spec)
    clock, view = Clock(2, 100), View(*[None] * 5)  # pyright: ignore[reportArgumentType]
    for step in range(6):
        if step == 3:
            for name in ("_alive", "traces", "_heard"):
                monkeypatch.setattr(memory, name, lambda: pytest.fail("looked through the memory"))
        memory.encode(Batch.lived(torch.rand(2, 4, 2), torch.randint(0, 3, (2, 4))), view, clock)
        clock.experience += 1
        if step > 2:
            assert replay.awake(memory, view, clock, None).rows == 4
            assert replay.draw(memory, None, view, clock).rows == 4  # pyright: ignore[reportArgumentType]


def test_an_index_of_episodes_computes_the_patterns_of_new_rows_only():
    asked = list[int]()
    memory = cs.Indexed(capacity=300)
    memory.setup(Spec(seeds=(0,), inputs=(2,), outputs=2, batch=4, features=3))
    view: Any = View(None, lambda x: asked.append(x.shape[1]) or torch.zeros(*x.shape[:2], 3), None, None, None)  # pyright: ignore
    clock = Clock(1, 100)
    for _ in range(100):
        memory.encode(Batch.lived(torch.rand(1, 4, 2), torch.zeros(1, 4, dtype=torch.int64)), view, clock)
        clock.experience += 1
    assert asked == [4] * 100
