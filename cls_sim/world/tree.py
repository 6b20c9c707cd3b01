"""Items on the branches of a tree, and a new item that is consistent with them, for deep linear networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, whole
from cls_sim.core.part import Spec
from cls_sim.world.listed import Listed


class Tree(Listed):
    """One experience with all items of a tree, one with a new item on its last branch, then empty experiences.

    features           number of features of each node, by level from the root; an item has the features of all nodes
                       above it and its own
    empty_experiences  experiences without rows after the new item

    x one-hot [items + 1], y the features, 0 or 1 (regression).  With (3, 2, 2) there are eight items: four plants, two
    fish, two birds.  The new item has the features that its siblings share, one feature of each sibling, and one new
    feature, so that .866 of it lies in the space of the known items.  Context 0 is the items, context 1 the new item;
    evaluations use the same rows.  The world is the same for all subjects.

    Source: McClelland, McNaughton & Lampinen 2020; trees of Saxe, McClelland & Ganguli 2019.

    >>> world = Tree()
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).y[0].sum(1).tolist(), world.evaluation(1).y.sum().item()
    ((9,), 31, [7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0], 8.0)
    """

    def __init__(self, *, features: Sequence[int] = (3, 2, 2), empty_experiences: int = 400):
        if isinstance(features, (str, int)) or not hasattr(features, "__len__") or not 1 <= len(features) <= 8:
            raise ConfigError("features", f"{features!r} is not a list of one to eight levels", "write [3, 2, 2]")
        self.features = tuple(whole(f"features[{i}]", count) for i, count in enumerate(features))
        self.empty_experiences = whole("empty_experiences", empty_experiences, 0)

    def setup(self, spec: Spec) -> Spec:
        known = self._known()
        siblings = known[-2:]
        new = np.zeros(known.shape[1] + 1, np.float32)
        new[:-1] = siblings.min(0)
        for sibling, other in (siblings, siblings[::-1]):
            new[np.flatnonzero(sibling > other)[0]] = 1.0
        new[-1] = 1.0
        y = np.vstack((np.pad(known, ((0, 0), (0, 1))), new))
        items = len(known)
        context = (torch.arange(items + 1) >= items).long()
        self.ends, self.length = (1, 2), 2 + self.empty_experiences
        x, outputs = torch.eye(items + 1)[None], y.shape[1]
        return self._keep(spec, x, torch.from_numpy(y)[None], context, outputs=outputs, contexts=2, ends=self.ends)

    def _known(self) -> np.ndarray:
        """The features of the items: [2^levels, f]."""
        levels = len(self.features)
        columns = []
        for level, count in enumerate(self.features):
            nodes = np.repeat(np.eye(2 ** (level + 1), dtype=np.float32), 2 ** (levels - level - 1), 0)
            columns.append(np.repeat(nodes, count, 1))
        return np.hstack(columns)

    def next(self, clock: Clock) -> Batch:
        """The items in experience 0, the new item in experience 1, no rows later."""
        batch = self._presented(born=clock.experience)
        return batch.with_(weight=(batch.context == batch.born).float())

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The rows of each subject's most recently ended context."""
        late = (clock.experience > 1).astype(np.int64)
        return self._again(late, late, late, size)
