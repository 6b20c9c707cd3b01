"""Plants and animals and their attributes: the data of Rumelhart & Todd, with a new item such as the penguin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import refuse_if, suggest
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed

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

    derived = Listed.derived | {"_taught"}

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
        self.ends = (self.epochs_before, self.epochs_before + self.epochs_with)
        self.length = self.ends[-1]
        inputs, targets = (torch.from_numpy(part.reshape(1, rows, -1)) for part in (x, y))
        context = (torch.arange(rows) >= old).long()
        outputs = len(ATTRIBUTES)
        return self._keep(spec, inputs, targets, context, outputs=outputs, contexts=2, ends=self.ends)

    def next(self, clock: Clock) -> Batch:
        with_new = torch.from_numpy(clock.experience >= self.epochs_before).to(self._taught.device)
        return self._presented(born=clock.experience).with_(weight=self._taught[with_new.long()])

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
