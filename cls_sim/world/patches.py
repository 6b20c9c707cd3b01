"""Binary images that share pixels, in a few tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World
from cls_sim.world.plan import mixed


class Patches(World):
    """Binary images of a few active pixels, each image a class; `overlap` pixels are active in all images.

    overlap      active pixels that all images share, from 0
    size         active pixels of an image, from `overlap`; the others belong to one image only
    pixels       pixels of the field; overlap + (all images) · (size - overlap) of them are used
    contexts     number of tasks, from 1
    images       images (classes) in each task, from 1
    per_context  experiences in each task; each shows all images of the task

    Pixels are drawn for each subject.  An evaluation asks the images of one task.  With more overlap, tasks interfere
    more.

    Source: the Patches of Tadros, Krishnan, Ramyaa & Bazhenov 2022 (with a number of pixels that does not change).

    >>> world = Patches(overlap=18)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.outputs, world.evaluation(0).x.sum(2)[0].tolist(), int((world.evaluation(1).x[0].sum(0) == 2).sum())
    (4, [25.0, 25.0], 18)
    """

    derived = frozenset({"_x", "_seeds"})
    length: int  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        overlap: int = 18,
        size: int = 25,
        pixels: int = 100,
        contexts: int = 2,
        images: int = 2,
        per_context: int = 60,
    ):
        self.overlap, self.size = whole("overlap", overlap, 0), whole("size", size)
        self.contexts, self.images = whole("contexts", contexts), whole("images", images)
        self.pixels, self.per_context = whole("pixels", pixels), whole("per_context", per_context)
        if self.overlap > self.size:
            raise ConfigError("overlap", f"{self.overlap} is more than the {self.size} pixels of an image", "give less")
        used = self.overlap + self.contexts * self.images * (self.size - self.overlap)
        if used > self.pixels:
            raise ConfigError("pixels", f"{self.pixels} are too few for these images", f"give {used} or more")

    def setup(self, spec: Spec) -> Spec:
        classes, ends = self.contexts * self.images, np.arange(1, self.contexts + 1) * self.per_context
        self.ends, self.length = tuple(ends.tolist()), int(ends[-1])
        self._seeds = spec.seeds
        self._x = each(spec.seeds, "patches.pixels", self._drawn).to(spec.device)  # [s, classes, pixels]
        return replace(
            spec,
            inputs=(self.pixels,),
            outputs=classes,
            regression=False,
            batch=self.images,
            contexts=self.contexts,
            items=classes,
            ends=self.ends,
            task_id_known=False,
            heads=None,
            quantum=1.0,
        )

    def _drawn(self, source: np.random.Generator) -> np.ndarray:
        order, own = source.permutation(self.pixels), self.size - self.overlap
        x = np.zeros((self.contexts * self.images, self.pixels), np.float32)
        x[:, order[: self.overlap]] = 1
        for i, mine in enumerate(x):
            mine[order[self.overlap + i * own : self.overlap + (i + 1) * own]] = 1
        return x

    def next(self, clock: Clock) -> Batch:
        return self._batch(np.minimum(clock.experience, self.length - 1) // self.per_context, clock.experience)

    def evaluation(self, context: int) -> Batch:
        """The images of a task."""
        which = np.full(len(self._x), whole("context", context, 0, self.contexts - 1))
        return self._batch(which, np.full(len(self._x), -1))

    def train(self, context: int = 0) -> Batch:
        """The same images: evaluations ask what was presented."""
        return self.evaluation(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The images of the most recently ended task, each once, in batches of `size`, in an order drawn by subject."""
        size = whole("size", size)
        ended = np.maximum(np.minimum(clock.experience, self.length) // self.per_context - 1, 0)
        order = np.stack(mixed(self._seeds, ended, [np.arange(self.images)] * len(ended)))
        for first in range(0, self.images, size):
            yield self._batch(ended, clock.experience, order[:, first : first + size])

    def _batch(self, context: np.ndarray, born: np.ndarray, images: np.ndarray | None = None) -> Batch:
        """These images [s, b] of one task for each subject (None: all images, in order)."""
        which = torch.from_numpy(context.astype(np.int64)).to(self._x.device)[:, None]
        y = which * self.images + torch.from_numpy(np.arange(self.images) if images is None else images).to(which)
        rows = torch.arange(len(y), device=y.device)[:, None]
        when = torch.from_numpy(born.astype(np.int64)).to(y.device)[:, None].expand_as(y)
        return Batch.lived(self._x[rows, y], y, context=which.expand_as(y), item=y, born=when)
