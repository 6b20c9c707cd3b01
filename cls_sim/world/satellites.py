"""Items of a few classes, with shared and unique features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import real, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World
from cls_sim.world.plan import epochs

NAMES, CLASSES = 0, 1


class Satellites(World):
    """Items with an arbitrary name (an episode) and a class (a regularity); subjects learn both.

    classes   c, number of classes of satellites
    members   n, items in each class
    names     m, number of names, assigned evenly and at random: the features of an item do not predict its name
    features  bits of an item; each class has a prototype of random bits
    shared    0 to 1, probability that a bit of an item equals that of its prototype; else the bit is random
    epochs    how often each item is presented
    batch     items in each experience, up to c · n
    test      new items of each class, for questions about regularities

    An experience has two rows for each item: x and its name (context 0), x and its class (context 1).  Subjects know
    which one is asked, so that names compete with names and classes with classes.  Evaluation 0 asks the names of
    presented items, evaluation 1 the classes of new items.  Chance is 1 / m and 1 / c.  x [s, b, features] is 0 or 1.

    Source: the satellites of Schapiro et al. (2017, 2018); episodes and regularities, Schapiro et al. (2017).

    >>> world = Satellites(classes=3, members=5)
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.outputs, world.evaluation(0).rows, world.evaluation(1).rows
    (8, 15, 30)
    """

    derived = frozenset({"_x", "_y", "_new", "_names", "_kind", "_plan", "_rows"})

    def __init__(
        self,
        *,
        classes: int = 3,
        members: int = 5,
        names: int = 5,
        features: int = 80,
        shared: float = 0.4,
        epochs: int = 2,
        batch: int = 5,
        test: int = 10,
    ):
        self.classes, self.members = whole("classes", classes, 2), whole("members", members)
        self.names = whole("names", names, 2)
        self.features, self.shared = whole("features", features, 2), real("shared", shared, 0.0, 1.0)
        self.epochs, self.test = whole("epochs", epochs), whole("test", test)
        self.batch = whole("batch", batch, 1, self.items)

    @property
    def items(self) -> int:
        return self.classes * self.members

    def setup(self, spec: Spec) -> Spec:
        drawn = [self._drawn(generator(seed, "satellites")) for seed in spec.seeds]
        old, new, names = (torch.from_numpy(np.stack(column)).to(spec.device) for column in zip(*drawn, strict=True))
        length = -(-self.items * self.epochs // self.batch)
        plan = [
            epochs(generator(seed, "satellites.order"), np.arange(self.items), length * self.batch)
            for seed in spec.seeds
        ]
        self._x, self._new, self._names = old, new, names
        self._kind = torch.arange(self.classes, device=spec.device)
        self._plan = torch.from_numpy(np.stack(plan)).view(spec.subjects, length, self.batch).to(spec.device)
        self._rows = torch.arange(spec.subjects, device=spec.device)[:, None]
        self.length, self.ends = length, (length,)
        outputs = self.names + self.classes
        heads = torch.arange(outputs, device=spec.device) < self.names
        return replace(
            spec,
            inputs=(self.features,),
            outputs=outputs,
            regression=False,
            batch=2 * self.batch,
            contexts=2,
            items=2 * self.items,  # each with its name, and with its class
            ends=(),
            task_id_known=True,
            heads=torch.stack((heads, ~heads)).expand(spec.subjects, -1, -1),
            quantum=1.0,
        )

    def _drawn(self, source: Generator) -> tuple[np.ndarray, ...]:
        """Presented items [c · n, x] and new items [c · test, x], class by class, and names of the former [c · n]."""
        prototypes = source.random((self.classes, 1, self.features)) < 0.5
        found = []
        for count in (self.members, self.test):
            kept = source.random((self.classes, count, self.features)) < self.shared
            own = source.random((self.classes, count, self.features)) < 0.5
            found.append(np.where(kept, prototypes, own).reshape(-1, self.features).astype(np.float32))
        return found[0], found[1], source.permutation(np.arange(self.items) % self.names)

    def next(self, clock: Clock) -> Batch:
        """The items of each subject at its `clock.experience`: first their names, then their classes."""
        now = torch.from_numpy(np.minimum(clock.experience, self._plan.shape[1] - 1)).to(self._rows.device)
        items = self._plan[self._rows[:, 0], now]
        return self._taught(items, NAMES, now[:, None]).join(self._taught(items, CLASSES, now[:, None]))

    def _taught(self, items: Tensor, what: int, born: Tensor) -> Batch:
        """Items [s, b] with their names or their classes."""
        kind = items.div(self.members, rounding_mode="floor")
        y = self._names.gather(1, items) if what == NAMES else self.names + kind
        context = torch.full_like(items, what)
        item = items + what * self.items
        return Batch.lived(self._x[self._rows, items], y, context=context, born=born.expand(items.shape), item=item)

    def evaluation(self, context: int) -> Batch:
        """The names of presented items (0), or the classes of new items (1)."""
        if whole("context", context, 0, 1) == NAMES:
            return self.train(NAMES)
        y = (self.names + self._kind.repeat_interleave(self.test)).expand(len(self._rows), -1)
        return Batch.lived(self._new, y, context=torch.full_like(y, CLASSES))

    def train(self, context: int = 0) -> Batch:
        """All presented items, with their names or their classes."""
        items = torch.arange(self.items, device=self._rows.device).expand(len(self._rows), -1)
        return self._taught(items, whole("context", context, 0, 1), torch.full((1, 1), -1, device=items.device))

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """Nothing: names and classes are presented together, and no context ends."""
        return iter(())
