"""Items on the leaves of a binary tree, for models of semantic development."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World


class Hierarchy(World):
    """The 2^levels leaves of a binary tree: x one-hot, y the nodes on the path from root to leaf (regression).

    levels  levels of branching, from 1: 2^levels items and 2^(levels+1) - 1 features, each 0 or 1

    Every experience contains all items; the world never ends and is the same for all subjects.  After `setup`: `tree`
    [items, levels], the branch of each item at each level, coarsest level first.  The singular values of the mean
    correlation of y and x are √(15, 7, 3, 3, 1, 1, 1, 1) / 8 for three levels.

    Source: Saxe, McClelland & Ganguli 2013, 2019.

    >>> world = Hierarchy(levels=3)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).y[0].sum(1).tolist()
    ((8,), 15, [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    """

    derived = frozenset({"tree", "_y", "_subjects"})

    def __init__(self, *, levels: int = 3):
        self.levels = whole("levels", levels, 1, 8)

    def setup(self, spec: Spec) -> Spec:
        items = np.arange(2**self.levels)
        branches = [items >> (self.levels - level) for level in range(self.levels + 1)]
        y = np.hstack([np.eye(2**level, dtype=np.float32)[branch] for level, branch in enumerate(branches)])
        self._y, self._subjects = torch.from_numpy(y).to(spec.device), spec.subjects
        self.tree = torch.from_numpy(np.stack(branches[1:], 1)).to(spec.device)
        return replace(
            spec,
            inputs=(len(y),),
            outputs=y.shape[1],
            regression=True,
            batch=len(y),
            contexts=1,
            items=len(y),
            ends=(),
            task_id_known=False,
            heads=None,
            quantum=None,
        )

    def next(self, clock: Clock) -> Batch:
        return self._batch(torch.from_numpy(clock.experience.copy()).to(self._y.device)[:, None])

    def evaluation(self, context: int = 0) -> Batch:
        """All items, as in experience."""
        whole("context", context, 0, 0)
        return self._batch(torch.full((1, 1), -1, dtype=torch.int64, device=self._y.device))

    def train(self, context: int = 0) -> Batch:
        """The same."""
        return self.evaluation(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """Nothing: no context ever ends."""
        return iter(())

    def _batch(self, born: Tensor) -> Batch:
        shape = (self._subjects, len(self._y))
        item = torch.arange(len(self._y), device=self._y.device)
        x = torch.eye(len(self._y), device=self._y.device).expand(*shape, -1)
        y = self._y.expand(*shape, -1)
        return Batch.lived(x, y, item=item.expand(shape), born=born.expand(shape), context=(0 * item).expand(shape))
