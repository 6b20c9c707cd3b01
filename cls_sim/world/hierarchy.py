"""Items on the leaves of a binary tree, for models of semantic development."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed


class Hierarchy(Settings, Listed):
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

    derived = Listed.derived | {"tree"}

    levels: int = setting(3, 1, 8)

    def setup(self, spec: Spec) -> Spec:
        items = np.arange(2**self.levels)
        branches = [items >> (self.levels - level) for level in range(self.levels + 1)]
        y = np.hstack([np.eye(2**level, dtype=np.float32)[branch] for level, branch in enumerate(branches)])
        self.tree = torch.from_numpy(np.stack(branches[1:], 1)).to(spec.device)
        return self._keep(spec, torch.eye(len(y))[None], torch.from_numpy(y)[None], outputs=y.shape[1])
