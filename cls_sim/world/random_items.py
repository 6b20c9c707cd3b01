"""Random patterns, for which theories of memory are exact."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core.draws import each
from cls_sim.core.errors import choice, whole
from cls_sim.core.part import Spec
from cls_sim.world.listed import Listed


class RandomItems(Listed):
    """The same random patterns in every experience; evaluations use the same patterns.

    items     P, number of patterns
    features  N, length of a pattern
    kind      signs: entries ±1 with equal probability; normal: entries from N(0, 1)

    Patterns are drawn for each subject; labels alternate between 0 and 1.

    Source: the random patterns of Hopfield 1982.

    >>> world = RandomItems(items=4, features=6)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.evaluation(0).x.abs().unique().tolist()
    ((6,), [1.0])
    """

    def __init__(self, *, items: int = 60, features: int = 200, kind: str = "signs"):
        self.items, self.features = whole("items", items), whole("features", features)
        self.kind = choice("kind", kind, ("signs", "normal"))

    def setup(self, spec: Spec) -> Spec:
        def draw(source: np.random.Generator) -> np.ndarray:
            drawn = source.standard_normal((self.items, self.features), np.float32)
            return np.where(drawn < 0, np.float32(-1), np.float32(1)) if self.kind == "signs" else drawn

        return self._keep(spec, each(spec.seeds, "random_items", draw), torch.arange(self.items)[None] % 2, outputs=2)
