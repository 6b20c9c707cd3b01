"""Concepts and their examples: dense patterns that resemble one another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cls_sim.core.draws import generator
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed


class Concepts(Settings, Listed):
    """Examples of concepts, each met once: x = ψ with some signs changed, ψ the pattern of its concept, y its concept.

    concepts  k, number of concepts, from 2
    examples  e, number of examples of each concept
    features  entries ±1 of a pattern
    likeness  correlation c of an example with its concept, in [0, 1]; that of two examples is c²
    batch     examples in an experience, up to k · e

    Concepts, examples and their order are drawn for each subject.  The evaluation has all examples, x [s, k · e, N].

    Source: Kang & Toyoizumi 2024.

    >>> world = Concepts(concepts=3, examples=4, features=50, batch=2)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.outputs, world.length, world.evaluation(0).x.shape
    (3, 6, torch.Size([2, 12, 50]))
    """

    concepts: int = setting(10, 2)
    examples: int = setting(10)
    features: int = setting(1000, 2)
    likeness: float = setting(0.5, 0.0, 1.0)
    batch: int = setting(10)

    def _ready(self) -> None:
        whole("batch", self.batch, 1, self.concepts * self.examples)

    def setup(self, spec: Spec) -> Spec:
        drawn = [self._drawn(generator(seed, "concepts")) for seed in spec.seeds]
        self._concepts, x, order = (torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True))
        self._concepts, count = self._concepts.to(spec.device), self.concepts * self.examples
        self.length = -(-count // self.batch)
        self.ends = (self.length,)
        y = torch.arange(self.concepts).repeat_interleave(self.examples)[None]
        spec = self._keep(spec, x, y, outputs=self.concepts, batch=self.batch)
        rows = torch.arange(self.length * self.batch) % count  # the last experience begins again
        self._plan = order[:, rows].view(-1, self.length, self.batch).to(spec.device)
        return spec

    def _drawn(self, source: Generator) -> tuple[np.ndarray, ...]:
        """One subject's concepts [k, N], examples [k · e, N] and the order in which they come [k · e]."""
        k, e, n = self.concepts, self.examples, self.features
        concepts = 2 * source.integers(0, 2, (k, n)).astype(np.float32) - 1
        changed = source.random((k, e, n), np.float32) < (1 - self.likeness) / 2
        examples = np.where(changed, -1, 1).astype(np.float32).reshape(k * e, n) * concepts.repeat(e, 0)
        return concepts, examples, source.permutation(k * e)

    def prototypes(self) -> Tensor:
        """The patterns of the concepts: [s, k, N]."""
        return self._concepts
