"""Items of a few classes, with shared and unique features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from cls_sim.core.batch import Batch
from cls_sim.core.draws import generator
from cls_sim.core.errors import real, whole
from cls_sim.core.part import Spec
from cls_sim.world.listed import Listed

NAMES, CLASSES = 0, 1


class Satellites(Listed):
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
    whether a question is about a name or a class: names compete with names only, classes with classes only.
    Evaluation 0 asks for the names of presented items, evaluation 1 for the classes of new items.  Chance is 1 / m and
    1 / c.  x [s, b, features] is 0 or 1.

    Source: the satellites of Schapiro et al. (2017, 2018); episodes and regularities, Schapiro et al. (2017).

    >>> world = Satellites(classes=3, members=5)
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.outputs, world.evaluation(0).rows, world.evaluation(1).rows
    (8, 15, 30)
    """

    derived = Listed.derived | {"_exam"}

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
        old, new, names = (torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True))
        kinds = self.names + torch.arange(self.classes).expand(spec.subjects, -1)
        kind, exam = kinds.repeat_interleave(self.members, 1), kinds.repeat_interleave(self.test, 1).to(spec.device)
        self._exam = Batch.lived(new.to(spec.device), exam, context=torch.full_like(exam, CLASSES))
        outputs = self.names + self.classes
        heads = torch.arange(outputs, device=spec.device) < self.names
        spec = self._keep(
            spec,
            torch.cat((old, old), 1),  # each item with its name, and with its class
            torch.cat((names, kind), 1),
            torch.arange(2).repeat_interleave(self.items),
            outputs=outputs,
            batch=2 * self.batch,
            contexts=2,
            task_id_known=True,
            heads=torch.stack((heads, ~heads)).expand(spec.subjects, -1, -1),
            quantum=1.0,
        )
        self._plan_pairs("satellites.order", self.items, self.epochs, self.batch)
        return spec

    def _drawn(self, source: Generator) -> tuple[np.ndarray, ...]:
        """Presented items [c · n, x] and new items [c · test, x], class by class, and names of the former [c · n]."""
        prototypes = source.random((self.classes, 1, self.features)) < 0.5
        found = []
        for count in (self.members, self.test):
            kept = source.random((self.classes, count, self.features)) < self.shared
            own = source.random((self.classes, count, self.features)) < 0.5
            found.append(np.where(kept, prototypes, own).reshape(-1, self.features).astype(np.float32))
        return found[0], found[1], source.permutation(np.arange(self.items) % self.names)

    def evaluation(self, context: int = 0) -> Batch:
        """The names of presented items (0), or the classes of new items (1)."""
        return self._exam if whole("context", context, 0, 1) == CLASSES else self.train(NAMES)
