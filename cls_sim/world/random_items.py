"""Random patterns, for which theories of memory are exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import choice, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World


class RandomItems(World):
    """The same random patterns in every experience; evaluations ask the same patterns.

    items     P, number of patterns
    features  N, length of a pattern
    kind      signs: entries ±1 with equal probability; normal: entries from N(0, 1)

    Patterns are drawn for each subject; labels alternate between 0 and 1.

    Source: the random patterns of Hopfield 1982.

    >>> world = RandomItems(items=4, features=6)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.next(Clock(2, 1)).x.abs().unique().tolist()
    ((6,), [1.0])
    """

    derived = frozenset({"_x", "_item"})

    def __init__(self, *, items: int = 60, features: int = 200, kind: str = "signs"):
        self.items, self.features = whole("items", items), whole("features", features)
        self.kind = choice("kind", kind, ("signs", "normal"))

    def setup(self, spec: Spec) -> Spec:
        def draw(source: np.random.Generator) -> np.ndarray:
            drawn = source.standard_normal((self.items, self.features), np.float32)
            return np.where(drawn < 0, np.float32(-1), np.float32(1)) if self.kind == "signs" else drawn

        self._x = each(spec.seeds, "random_items", draw).to(spec.device)
        self._item = torch.arange(self.items, device=spec.device).expand(spec.subjects, -1)
        sent = {"inputs": (self.features,), "outputs": 2, "regression": False, "batch": self.items, "contexts": 1}
        return replace(spec, **sent, items=self.items, ends=(), task_id_known=False, heads=None, quantum=None)

    def next(self, clock: Clock) -> Batch:
        return self._batch(torch.from_numpy(clock.experience.copy()).to(self._item.device)[:, None])

    def evaluation(self, context: int = 0) -> Batch:
        """The patterns: [s, P, N]."""
        whole("context", context, 0, 0)
        return self._batch(torch.full((1, 1), -1, dtype=torch.int64, device=self._item.device))

    def train(self, context: int = 0) -> Batch:
        """All patterns, to measure memorisation: [s, P, N]."""
        return self.evaluation(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """Nothing: no context ever ends."""
        return iter(())

    def _batch(self, born: torch.Tensor) -> Batch:
        item = self._item
        born = born.expand_as(item)
        return Batch.lived(self._x, item % 2, item=item, born=born, context=torch.zeros_like(item))
