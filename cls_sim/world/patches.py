"""Binary images that share pixels, in a few tasks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed


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
