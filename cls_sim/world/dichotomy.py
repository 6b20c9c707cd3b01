"""Random patterns with random labels, the task of a perceptron."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.core.tensors import from_numpy
from cls_sim.world.listed import Listed


class Dichotomy(Listed):
    """Random patterns of ±1, each with a random label 0 or 1, presented one at a time, again and again in one order.

    items     P, number of patterns, from 1
    features  N, length of a pattern, from 1

    Patterns and labels are drawn for each subject.  An experience is one pattern: x [s, 1, N], y [s, 1]; an evaluation
    has all of them.  The load P/N at which a linear cortex can no longer learn them all is 2.  The world never ends.

    Source: Cover (1965), Geometrical and statistical properties of systems of linear inequalities.

    >>> world, clock = Dichotomy(items=3, features=8), Clock(subjects=2, per_day=3)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.evaluation(0).x.shape
    ((8,), torch.Size([2, 3, 8]))
    >>> clock.experience += 4
    >>> world.next(clock).item.tolist()
    [[1], [1]]
    """

    def __init__(self, *, items: int = 250, features: int = 250):
        self.items, self.features = whole("items", items), whole("features", features)

    def setup(self, spec: Spec) -> Spec:
        def signs(source: Generator) -> np.ndarray:
            return 2 * source.integers(0, 2, (self.items, self.features)).astype(np.float32) - 1

        def labels(source: Generator) -> np.ndarray:
            return source.integers(0, 2, self.items)

        x, y = each(spec.seeds, "dichotomy.patterns", signs), each(spec.seeds, "dichotomy.labels", labels)
        return self._keep(spec, x, y, outputs=2, batch=1)

    def next(self, clock: Clock) -> Batch:
        """The next pattern of the cycle."""
        now = clock.experience % self.items
        first = int(now[0])
        if (now == first).all():
            return self._presented(slice(first, first + 1), clock.experience)
        return self._presented(from_numpy(now).to(self._rows.x.device)[:, None], clock.experience)
