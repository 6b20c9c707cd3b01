"""What size costs: memories of up to a million slots, their checkpoints, and steps of convolutional networks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import cls_sim as cs
from benchmarks.steps import Figure, _figure, _in_turns
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.storage import checkpoint

ROWS, SMALL, LARGE, SLOTS = 10, 1_000, 1_000_000, 100_000


def size_figures(repetitions: int = 5) -> list[Figure]:
    """Storing ten rows in large and small memories; a checkpoint after a day; a step of two networks for images."""
    stored = [_stored(rule, repetitions) for rule in ("reservoir", "ring", "balanced")]
    return [*stored, _repeats(repetitions), _written(), *(_step(name, repetitions) for name in NETS)]


def _stored(rule: str, repetitions: int) -> Figure:
    """The same experiences in memories of a million and of a thousand slots, both full."""
    large, small = (_storing(cs.Store(capacity=n, eviction=rule), 64) for n in (LARGE, SMALL))
    times = _in_turns({"ours": large, "limit": small}, 128, repetitions, warm=66)
    name = f"storing 10 rows, {rule}, {LARGE:,} slots / {SMALL:,}"
    return _figure(name, times["ours"], times["limit"], 2.0, f"store_{rule}")


def _repeats(repetitions: int) -> Figure:
    """The same for a sparse memory that looks for repeats of 784 numbers, at 100,000 and 10,000 slots."""
    large, small = (_storing(cs.Sparse(capacity=n), 784) for n in (SLOTS, SLOTS // 10))
    times = _in_turns({"ours": large, "limit": small}, 10, repetitions, warm=3)
    name = f"finding repeats of 10 rows, {SLOTS:,} slots / {SLOTS // 10:,}"
    return _figure(name, times["ours"], times["limit"], 2.0, "repeats")


def _storing(memory: cs.Store | cs.Sparse, width: int) -> Callable[[], None]:
    """A function that stores ten rows in this memory, which is full of random rows."""
    memory.setup(Spec(inputs=(width,), outputs=10, batch=ROWS, per_day=100, quantum=1 / 255))
    source, n = torch.Generator().manual_seed(0), memory.capacity
    memory.mark[:, :n, :2] = 0
    key = torch.randint(0, 2**31 - 1, (n,), generator=source)
    memory.mark[0, :n, 2] = (-torch.arange(1, n + 1) if memory.eviction == "ring" else key).int()
    memory.what[0, :n, 0] = torch.randint(0, 10, (n,), generator=source).short()
    if isinstance(memory, cs.Sparse):
        for start in range(0, n, 1000):
            x = torch.randint(0, 256, (1, 1000, width), generator=source)
            memory.content[:, start : start + 1000] = x.byte()
            memory.code[:, start : start + 1000] = memory._code(x / 255).short()
        memory.strength[:, :n] = 1.0
    clock, view = Clock(1, 100), View(*[None] * 5)  # pyright: ignore[reportArgumentType]
    clock.experience += n // ROWS // 64 * 64
    rows = [torch.randint(0, 256, (1, ROWS, width), generator=source) / 255 for _ in range(32)]
    y = torch.arange(ROWS)[None] % 10

    def store() -> None:
        memory.encode(Batch.lived(rows[int(clock.experience[0]) % 32], y), view, clock)
        clock.experience += 1

    return store


def _written() -> Figure:
    """Megabytes that a checkpoint writes after a day of 1,000 images, and those of a whole one."""
    content = torch.zeros(1, SLOTS, 3072, dtype=torch.uint8)
    mark, sizes = torch.zeros(1, SLOTS, 4, dtype=torch.int32), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        for tick in (1, 2):
            tree = {"clock": {"tick": np.array(tick)}, "content": content, "mark": mark}
            checkpoint.save(folder, tree, {})
            sizes.append(sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6)
            content[0, torch.randperm(SLOTS)[:1000]] += 1
    later = sizes[1] - sizes[0]
    name = f"a checkpoint after 1,000 images, {SLOTS:,} slots / a whole one"
    return Figure(name, "MB", later, sizes[0], later / sizes[0], 10 / sizes[0], "checkpoint_day")


NETS = {"slim ResNet-18": cs.SlimResNet18, "four convolutions": cs.Cnn4}


def _step(name: str, repetitions: int) -> Figure:
    """A step on 10 new and 10 replayed images of 3 × 32 × 32, against a plain loop with the same network."""
    source = np.random.default_rng(0)
    x, y = source.integers(0, 256, (500, 3, 32, 32), np.uint8), np.arange(500) % 10
    life = cs.Life(
        world=cs.Arrays(x=x, y=y, contexts=1, per_context=10_000, batch=ROWS),
        neocortex=NETS[name](),
        hippocampus=cs.Store(capacity=200),
        rhythm=cs.Sleepless(),
        plasticity=0.001,
        replay=cs.Interleaved(cs.Uniform(batch=ROWS), share=0.5, only_old=False),
    )
    net = life.neocortex.to_module().train()
    learner = torch.optim.Adam(net.parameters(), 0.001)
    images, labels = torch.from_numpy(x[:20]) / 255, torch.from_numpy(y[:20])

    def loop() -> None:
        learner.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        learner.step()

    times = _in_turns({"ours": life.step, "limit": loop}, 3, repetitions, warm=3)
    return _figure(f"a step of {name}, 10 + 10 images / a loop", times["ours"], times["limit"], 1.3, f"step_{name[:4]}")
