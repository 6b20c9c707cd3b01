"""Items on the branches of a tree, and a new item that is consistent with them, for deep linear networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World
from cls_sim.world.plan import mixed, padded


class Tree(World):
    """All items of a binary tree in one experience, then a new item on its last branch in one, then empty ones.

    features           number of features of each node, by level from the root; an item has the features of all nodes
                       above it and its own
    empty_experiences  experiences without rows after the new item

    x one-hot [items + 1], y the features, 0 or 1 (regression).  With (3, 2, 2) there are eight items: four plants, two
    fish, two birds.  The new item has the features that its siblings share, one feature of each sibling, and one new
    feature, so that .866 of it lies in the space of the known items.  Context 0 is the items, context 1 the new item;
    evaluations ask the same rows.  The world is the same for all subjects.

    Source: McClelland, McNaughton & Lampinen 2020; trees of Saxe, McClelland & Ganguli 2019.

    >>> world = Tree()
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).y[0].sum(1).tolist(), world.evaluation(1).y.sum().item()
    ((9,), 31, [7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0], 8.0)
    """

    derived = frozenset({"_x", "_y", "_context", "_seeds", "_subjects"})

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
        self._seeds, self._subjects = spec.seeds, spec.subjects
        self._x = torch.eye(items + 1, device=spec.device)
        self._y = torch.from_numpy(y).to(spec.device)
        self._context = (torch.arange(items + 1) >= items).long().to(spec.device)
        self.ends, self.length = (1, 2), 2 + self.empty_experiences
        return replace(
            spec,
            inputs=(items + 1,),
            outputs=y.shape[1],
            regression=True,
            batch=items + 1,
            contexts=2,
            items=items + 1,
            ends=self.ends,
            task_id_known=False,
            heads=None,
            quantum=None,
        )

    def _known(self) -> np.ndarray:
        """The features of the items: [2^levels, f]."""
        levels = len(self.features)
        columns = []
        for level, count in enumerate(self.features):
            nodes = np.repeat(np.eye(2 ** (level + 1), dtype=np.float32), 2 ** (levels - level - 1), 0)
            columns.append(np.repeat(nodes, count, 1))
        return np.hstack(columns)

    def next(self, clock: Clock) -> Batch:
        now = torch.from_numpy(clock.experience.copy()).to(self._x.device)[:, None]
        seen = (self._context == now).float()  # the items at experience 0, the new item at 1, nothing later
        return self._batch(slice(None), now).with_(weight=seen)

    def _batch(self, rows: slice, born: Tensor) -> Batch:
        shape = (self._subjects, len(self._x[rows]))
        item = torch.arange(len(self._x), device=self._x.device)[rows]
        return Batch.lived(
            self._x[rows].expand(*shape, -1),
            self._y[rows].expand(*shape, -1),
            context=self._context[rows].expand(shape),
            born=born.expand(shape),
            item=item.expand(shape),
        )

    def evaluation(self, context: int) -> Batch:
        items, never = len(self._x) - 1, torch.full((1, 1), -1, device=self._x.device)
        return self._batch(slice(items, None) if whole("context", context, 0, 1) else slice(0, items), never)

    def train(self, context: int = 0) -> Batch:
        """The same rows: evaluations ask what was presented."""
        return self.evaluation(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The rows of each subject's most recently ended context."""
        size, context = whole("size", size), self._context.cpu().numpy()
        late = clock.experience > 1
        rows, weight = padded(mixed(self._seeds, late.astype(int), [np.flatnonzero(context == mine) for mine in late]))
        items = torch.from_numpy(np.broadcast_to(rows, (len(late), rows.shape[1])).copy()).to(self._x.device)
        there = None if weight is None else torch.from_numpy(weight).to(self._x.device)
        born = torch.from_numpy(late.astype(np.int64)).to(self._x.device)[:, None]
        batch = self._batch(slice(None), born)
        for start in range(0, items.shape[1], size):
            part = slice(start, start + size)
            yield batch.at(items[:, part]).with_(weight=None if there is None else there[:, part])
