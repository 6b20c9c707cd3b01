"""The work that is timed: the data, the sizes of the network and of the batches, and the life that does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

import cls_sim as cs
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data

CONTEXTS = 5


@dataclass(frozen=True)
class Work:
    """Digits two by two, class-incremental, Adam .001: `new` lived and `old` replayed rows a step.

    steps   steps of one repetition
    target  ours / limit, at most
    key     the name of its figure in --json
    """

    name: str
    world: Callable[..., Stream]
    hidden: tuple[int, ...]
    new: int
    old: int
    subjects: int
    steps: int
    target: float
    key: str = ""
    capacity: int = 1000
    rate: float = 1e-3

    def data(self) -> Data:
        return self.world().data()

    def life(self, per_context: int, **others) -> cs.Life:
        """Experience replay while awake from a reservoir, half new and half old rows."""
        return cs.Life(
            subjects=self.subjects,
            world=self.world(per_context=per_context, batch=self.new),
            neocortex=cs.Mlp(hidden=self.hidden),
            hippocampus=cs.Store(capacity=self.capacity, eviction="reservoir"),
            rhythm=cs.Sleepless(experiences_per_day=100),
            plasticity=cs.Constant(rate=self.rate),
            replay=cs.Interleaved(cs.Uniform(batch=self.old), share=0.5, only_old=False),
            consolidation=cs.Descent(optimizer=cs.Adam()),
            readout=cs.CortexReadout(),
            **others,
        )


class Noise(Stream):
    """Random images of MNIST's shape, used if MNIST is not available: the same work, with nothing to learn."""

    def data(self) -> Data:
        draw = np.random.default_rng(0)

        def images(n: int, tests: Data | None) -> Data:
            x = draw.integers(0, 256, (n, 784), np.uint8) * (draw.random((n, 784)) < 0.2)
            return Data(x=x.astype(np.uint8), y=np.arange(n) % 10, tests=tests, quantum=1 / 255)

        return images(60000, images(10000, None))


def at_hand() -> bool:
    """Whether MNIST can be read without a download."""
    folder = Path(os.environ.get("CLS_SIM_DATA_DIR", "")) / "mnist"
    return "CLS_SIM_DATA_DIR" in os.environ and any(folder.glob("train-images*"))


@cache
def works() -> dict[str, Work]:
    """The works by name, on MNIST or on random images of its shape."""
    mnist = cs.Mnist if at_hand() else Noise
    small = Work("64-64-10, 16 + 16", cs.Digits, (64,), 16, 16, 32, steps=150, target=0.1, key="cohort_small")
    return {
        "w1": Work("784-400-400-10, 128 + 128", mnist, (400, 400), 128, 128, 1, steps=60, target=0.95, key="w1_step"),
        "narrow": Work("784-100-100-10, 10 + 10", mnist, (100, 100), 10, 10, 32, 60, target=0.34, key="cohort_wide"),
        "small": small,
        "solo": replace(small, subjects=1, steps=400, target=1.3, key="solo_small"),
    }
