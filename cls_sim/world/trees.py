"""Items on the branches of a tree, for models of semantic development and of new, consistent knowledge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if, suggest, whole
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

    derived = frozenset({"tree"})

    levels: int = setting(3, 1, 8)

    def setup(self, spec: Spec) -> Spec:
        items = np.arange(2**self.levels)
        branches = [items >> (self.levels - level) for level in range(self.levels + 1)]
        y = np.hstack([np.eye(2**level, dtype=np.float32)[branch] for level, branch in enumerate(branches)])
        self.tree = torch.from_numpy(np.stack(branches[1:], 1)).to(spec.device)
        return self._keep(spec, torch.eye(len(y))[None], torch.from_numpy(y)[None], outputs=y.shape[1])


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
        rows = np.array([batch.rows - 1, 1, 0])[np.minimum(clock.experience, 2)]
        return batch.weighted((batch.context == batch.born).float(), rows)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The rows of each subject's most recently ended context."""
        late = (clock.experience > 1).astype(np.int64)
        return self._again(late, late, late, size)


RELATIONS = ("isa", "is", "can", "has")
ATTRIBUTES = (
    *("living_thing", "plant", "animal", "tree", "flower", "bird", "fish"),
    *("pine", "oak", "rose", "daisy", "robin", "canary", "sunfish", "salmon"),
    *("pretty", "big", "living", "green", "red", "yellow"),
    *("grow", "move", "swim", "fly", "sing"),
    *("skin", "roots", "leaves", "bark", "branches", "petals", "wings", "feathers", "gills", "scales"),
)
KNOWN = {
    "pine": ("living_thing plant tree pine", "green big living", "grow", "bark branches roots"),
    "oak": ("living_thing plant tree oak", "big living", "grow", "bark branches leaves roots"),
    "rose": ("living_thing plant flower rose", "red pretty living", "grow", "petals leaves roots"),
    "daisy": ("living_thing plant flower daisy", "yellow pretty living", "grow", "petals leaves roots"),
    "robin": ("living_thing animal bird robin", "red living", "grow move fly", "skin wings feathers"),
    "canary": ("living_thing animal bird canary", "yellow living", "grow move fly sing", "skin wings feathers"),
    "sunfish": ("living_thing animal fish sunfish", "yellow living", "grow move swim", "skin scales gills"),
    "salmon": ("living_thing animal fish salmon", "red living", "grow move swim", "skin scales gills"),
}
NEW = {
    "penguin": ("living_thing animal bird", "living", "grow move swim", "skin wings feathers"),
    "sparrow": ("living_thing animal bird", "living", "grow move fly", "skin wings feathers"),
}
TREE = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, 3], [1, 2, 4], [1, 2, 5], [1, 3, 6], [1, 3, 7]])


class Semantic(Settings, Listed):
    """Eight plants and animals are learned, then a ninth item, alone or interleaved with the eight.

    new            the ninth item: `penguin`, a bird that swims and does not fly, or `sparrow`, a typical bird
    schedule       `interleaved`: the ninth together with the eight; `focused`: the ninth alone
    epochs_before  epochs of the eight items
    epochs_with    epochs with the ninth item

    A row has an item and a relation as input, x one-hot [9 + 4], and all 36 attributes as targets, y 0 or 1
    (regression).  An experience is an epoch: 32 rows for the eight items, 36 with the ninth, 4 for the ninth alone;
    other rows have weight 0.  Context 0 is the eight items, context 1 the ninth; evaluations use the same rows.  The
    world is the same for all subjects.

    Source: Rumelhart & Todd (1993); the penguin, McClelland, McNaughton & O'Reilly (1995).

    >>> world = Semantic()
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).rows, world.question("robin", "can", "fly")
    ((13,), 36, 32, (18, 24))
    """

    new: str = setting("penguin", NEW)
    schedule: str = setting("interleaved", ("interleaved", "focused"))
    epochs_before: int = setting(4000)
    epochs_with: int = setting(1000, 0)

    def setup(self, spec: Spec) -> Spec:
        items = {**KNOWN, self.new: NEW[self.new]}
        x = np.zeros((len(items), len(RELATIONS), len(items) + len(RELATIONS)), np.float32)
        y = np.zeros((len(items), len(RELATIONS), len(ATTRIBUTES)), np.float32)
        for i, truths in enumerate(items.values()):
            for r, attributes in enumerate(truths):
                x[i, r, i] = x[i, r, len(items) + r] = 1.0
                y[i, r, [ATTRIBUTES.index(a) for a in attributes.split()]] = 1.0
        rows, old = len(items) * len(RELATIONS), len(KNOWN) * len(RELATIONS)
        # [2, rows]: the rows presented before, and with the ninth item
        taught = np.stack([np.arange(rows) < old, (np.arange(rows) >= old) | (self.schedule == "interleaved")])
        self._taught = torch.from_numpy(taught.astype(np.float32)).to(spec.device)
        self._rows_taught = taught.sum(1)
        self.ends = (self.epochs_before, self.epochs_before + self.epochs_with)
        self.length = self.ends[-1]
        inputs, targets = (torch.from_numpy(part.reshape(1, rows, -1)) for part in (x, y))
        context = (torch.arange(rows) >= old).long()
        outputs = len(ATTRIBUTES)
        return self._keep(spec, inputs, targets, context, outputs=outputs, contexts=2, ends=self.ends)

    def next(self, clock: Clock) -> Batch:
        late = (clock.experience >= self.epochs_before).astype(np.int64)
        weight = self._taught[torch.from_numpy(late).to(self._taught.device)]
        return self._presented(born=clock.experience).weighted(weight, self._rows_taught[late])

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The rows of each subject's most recently ended context."""
        late = (clock.experience > self.epochs_before).astype(np.int64)
        return self._again(late, late, clock.experience - 1, size)

    def question(self, item: str, relation: str, attribute: str) -> tuple[int, int]:
        """The row of `next` with this item and relation, and the output of this attribute."""

        def place(key: str, word: str, known: Sequence[str]) -> int:
            refuse_if(word not in known, key, f"{word!r} is not in this world", suggest(word, known))
            return known.index(word)

        row = place("item", item, [*KNOWN, self.new]) * len(RELATIONS) + place("relation", relation, RELATIONS)
        return row, place("attribute", attribute, ATTRIBUTES)

    @property
    def tree(self) -> Tensor:
        """The branch of each item of context 0 at each level, coarsest level first: int64 [items, levels]."""
        return torch.from_numpy(TREE).to(self._taught.device)
