"""Plants and animals and their attributes: the data of Rumelhart & Todd, with a new item such as the penguin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, choice, suggest, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World
from cls_sim.world.plan import mixed, padded

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


class Semantic(World):
    """Eight plants and animals are learned, then a ninth item, alone or interleaved with the eight.

    new            the ninth item: `penguin`, a bird that swims and does not fly, or `sparrow`, a typical bird
    schedule       `interleaved`: the ninth together with the eight; `focused`: the ninth alone
    epochs_before  epochs of the eight items
    epochs_with    epochs with the ninth item

    A row has an item and a relation as input, x one-hot [9 + 4], and all 36 attributes as targets, y 0 or 1
    (regression).  An experience is an epoch: 32 rows for the eight items, 36 with the ninth, 4 for the ninth alone;
    other rows have weight 0.  Context 0 is the eight items, context 1 the ninth; evaluations ask the same rows.  The
    world is the same for all subjects.

    Source: Rumelhart & Todd (1993); the penguin, McClelland, McNaughton & O'Reilly (1995).

    >>> world = Semantic()
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).rows, world.question("robin", "can", "fly")
    ((13,), 36, 32, (18, 24))
    """

    derived = frozenset({"_x", "_y", "_context", "_taught", "_subjects"})

    def __init__(
        self, *, new: str = "penguin", schedule: str = "interleaved", epochs_before: int = 4000, epochs_with: int = 1000
    ):
        self.new = choice("new", new, NEW)
        self.schedule = choice("schedule", schedule, ("interleaved", "focused"))
        self.epochs_before, self.epochs_with = (
            whole("epochs_before", epochs_before),
            whole("epochs_with", epochs_with, 0),
        )

    def setup(self, spec: Spec) -> Spec:
        items = {**KNOWN, self.new: NEW[self.new]}
        x = np.zeros((len(items), len(RELATIONS), len(items) + len(RELATIONS)), np.float32)
        y = np.zeros((len(items), len(RELATIONS), len(ATTRIBUTES)), np.float32)
        for i, truths in enumerate(items.values()):
            for r, attributes in enumerate(truths):
                x[i, r, i] = x[i, r, len(items) + r] = 1.0
                y[i, r, [ATTRIBUTES.index(a) for a in attributes.split()]] = 1.0
        rows, old = len(items) * len(RELATIONS), len(KNOWN) * len(RELATIONS)
        self._seeds, self._subjects = spec.seeds, spec.subjects
        self._x = torch.from_numpy(x.reshape(rows, -1)).to(spec.device)
        self._y = torch.from_numpy(y.reshape(rows, -1)).to(spec.device)
        self._context = (torch.arange(rows) >= old).long().to(spec.device)
        # [2, rows]: the rows presented before, and with the ninth item
        taught = np.stack([np.arange(rows) < old, (np.arange(rows) >= old) | (self.schedule == "interleaved")])
        self._taught = torch.from_numpy(taught.astype(np.float32)).to(spec.device)
        self.ends, self.length = (
            (self.epochs_before, self.epochs_before + self.epochs_with),
            self.epochs_before + self.epochs_with,
        )
        return replace(
            spec,
            inputs=(x.shape[-1],),
            outputs=len(ATTRIBUTES),
            regression=True,
            batch=rows,
            contexts=2,
            items=rows,
            ends=self.ends,
            task_id_known=False,
            heads=None,
            quantum=None,
        )

    def next(self, clock: Clock) -> Batch:
        now = torch.from_numpy(clock.experience.copy()).to(self._x.device)
        return self._batch(slice(None), now[:, None], self._taught[(now >= self.epochs_before).long()])

    def _batch(self, rows: slice, born: Tensor, weight: Tensor | None = None) -> Batch:
        s, x = self._subjects, self._x[rows]
        context, item = self._context[rows], torch.arange(len(self._x), device=x.device)[rows]
        shape = (s, len(x))
        return Batch.lived(
            x.expand(*shape, -1),
            self._y[rows].expand(*shape, -1),
            context=context.expand(shape),
            born=born.expand(shape),
            item=item.expand(shape),
        ).with_(weight=weight)

    def evaluation(self, context: int) -> Batch:
        old, never = len(KNOWN) * len(RELATIONS), torch.full((1, 1), -1, device=self._x.device)
        return self._batch(slice(old, None) if whole("context", context, 0, 1) else slice(0, old), never)

    def train(self, context: int = 0) -> Batch:
        """The same rows: evaluations ask what was presented."""
        return self.evaluation(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The rows of each subject's most recently ended context."""
        size, context = whole("size", size), self._context.cpu().numpy()
        late = clock.experience > self.epochs_before
        rows, weight = padded(mixed(self._seeds, late.astype(int), [np.flatnonzero(context == mine) for mine in late]))
        items = torch.from_numpy(np.broadcast_to(rows, (len(late), rows.shape[1])).copy()).to(self._x.device)
        there = None if weight is None else torch.from_numpy(weight).to(self._x.device)
        born = torch.from_numpy(clock.experience - 1).to(self._x.device)[:, None]
        batch = self._batch(slice(None), born)
        for start in range(0, items.shape[1], size):
            part = slice(start, start + size)
            yield batch.at(items[:, part]).with_(weight=None if there is None else there[:, part])

    def question(self, item: str, relation: str, attribute: str) -> tuple[int, int]:
        """The row of `next` with this item and relation, and the output of this attribute."""
        items = [*KNOWN, self.new]
        for key, word, known in (
            ("item", item, items),
            ("relation", relation, RELATIONS),
            ("attribute", attribute, ATTRIBUTES),
        ):
            if word not in known:
                raise ConfigError(key, f"{word!r} is not in this world", suggest(word, known))
        return items.index(item) * len(RELATIONS) + RELATIONS.index(relation), ATTRIBUTES.index(attribute)

    @property
    def tree(self) -> Tensor:
        """The branch of each item of context 0 at each level, coarsest level first: int64 [items, levels]."""
        return torch.from_numpy(TREE).to(self._x.device)
