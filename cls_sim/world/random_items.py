"""Random patterns and images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, choice, refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed


class RandomItems(Listed):
    """The same random patterns in every experience; evaluations use the same patterns.

    items     P, number of patterns
    features  N, length of a pattern
    kind      signs: entries ±1 with equal probability; normal: entries from N(0, 1)

    Patterns are drawn for each subject; labels alternate between 0 and 1.

    Source: the random patterns of Hopfield 1982.

    >>> world = RandomItems(items=4, features=6)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.evaluation(0).x.abs().unique().tolist()
    ((6,), [1.0])
    """

    def __init__(self, *, items: int = 60, features: int = 200, kind: str = "signs"):
        self.items, self.features = whole("items", items), whole("features", features)
        self.kind = choice("kind", kind, ("signs", "normal"))

    def setup(self, spec: Spec) -> Spec:
        def draw(source: np.random.Generator) -> np.ndarray:
            drawn = source.standard_normal((self.items, self.features), np.float32)
            return np.where(drawn < 0, np.float32(-1), np.float32(1)) if self.kind == "signs" else drawn

        return self._keep(spec, each(spec.seeds, "random_items", draw), torch.arange(self.items)[None] % 2, outputs=2)


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
        shape = self.items, self.features
        x = each(spec.seeds, "dichotomy.patterns", lambda g: 2 * g.integers(0, 2, shape).astype(np.float32) - 1)
        y = each(spec.seeds, "dichotomy.labels", lambda g: g.integers(0, 2, self.items))
        return self._keep(spec, x, y, outputs=2, batch=1)

    def next(self, clock: Clock) -> Batch:
        """The next pattern of the cycle."""
        return self._in_turn(clock, 1)


class Patches(Settings, Listed):
    """Binary images of a few active pixels, each image a class; `overlap` pixels are active in all images.

    overlap      active pixels that all images share, from 0
    size         active pixels of an image, from `overlap`; the others belong to one image only
    pixels       pixels of the field; overlap + (all images) · (size - overlap) of them are used
    contexts     number of tasks, from 1
    images       images (classes) in each task, from 1
    per_context  experiences in each task; each shows all images of the task

    Pixels are drawn for each subject.  An evaluation has the images of one task.  With more overlap, tasks interfere
    more.

    Source: the Patches of Tadros, Krishnan, Ramyaa & Bazhenov 2022 (with a number of pixels that does not change).

    >>> world = Patches(overlap=18)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.outputs, world.evaluation(0).x.sum(2)[0].tolist(), int((world.evaluation(1).x[0].sum(0) == 2).sum())
    (4, [25.0, 25.0], 18)
    """

    overlap: int = setting(18, 0)
    size: int = setting(25)
    pixels: int = setting(100)
    contexts: int = setting(2)
    images: int = setting(2)
    per_context: int = setting(60)

    def _ready(self) -> None:
        if self.overlap > self.size:
            raise ConfigError("overlap", f"{self.overlap} is more than the {self.size} pixels of an image", "give less")
        used = self.overlap + self.contexts * self.images * (self.size - self.overlap)
        refuse_if(used > self.pixels, "pixels", f"{self.pixels} are too few for these images", f"give {used} or more")

    def setup(self, spec: Spec) -> Spec:
        classes, ends = self.contexts * self.images, np.arange(1, self.contexts + 1) * self.per_context
        self.ends, self.length = tuple(ends.tolist()), int(ends[-1])
        x, y = each(spec.seeds, "patches.pixels", self._drawn), torch.arange(classes)
        self._plan = y.view(-1, self.images).repeat_interleave(self.per_context, 0).repeat(spec.subjects, 1, 1)
        self._plan = self._plan.to(spec.device)
        facts = {"outputs": classes, "contexts": self.contexts, "batch": self.images, "ends": self.ends}
        return self._keep(spec, x, y[None], y // self.images, **facts, quantum=1.0)

    def _drawn(self, source: np.random.Generator) -> np.ndarray:
        order, own = source.permutation(self.pixels), self.size - self.overlap
        x = np.zeros((self.contexts * self.images, self.pixels), np.float32)
        x[:, order[: self.overlap]] = 1
        for i, mine in enumerate(x):
            mine[order[self.overlap + i * own : self.overlap + (i + 1) * own]] = 1
        return x

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The images of the most recently ended task, each once, in batches of `size`, in an order drawn by subject."""
        ended = np.maximum(np.minimum(clock.experience, self.ends[-1]) // self.per_context - 1, 0)
        return self._again(ended, ended, clock.experience, size)
