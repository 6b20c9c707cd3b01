"""Noisy linear teachers side by side: one life with sources of different predictability."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.draws import generator
from cls_sim.core.errors import real, refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.theory.go_cls import variances
from cls_sim.world.listed import Listed


class Sources(Listed):
    """Several noisy linear teachers, each with inputs of its own: regression with one output; the world never ends.

        y = x_k·w_k + ε,  x_k ~ N(0, I/N),  w_k ~ N(0, σ_w² I),  ε ~ N(0, σ_e²),  σ_w² = SNR_k/(1+SNR_k) = 1 - σ_e²

    In a row of source k the inputs of all other sources are 0, so that what a linear cortex learns about one source
    does not change its answers about another.  Each experience consists of all pairs of all sources; the context of a
    row is its source.

    snr       SNR of each source, from 0, `inf` for no noise: a list, one number for each source
    items     P, number of training pairs of each source
    features  N, number of inputs of each source
    test      number of test pairs of each source; their targets are also noisy

    Source: the teacher of Sun, Advani, Spruston, Saxe & Fitzgerald (2023), Organizing memories for generalization.

    >>> from cls_sim.core.clock import Clock
    >>> world = Sources(snr=[0.1, 8.0], items=4, features=3)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.next(Clock(2, 1)).rows, world.evaluation(1).y.shape
    ((6,), 8, torch.Size([2, 1000, 1]))
    """

    derived = Listed.derived | {"_exams"}

    def __init__(self, *, snr: Any = (0.1, 8.0), items: int = 100, features: int = 100, test: int = 1000):
        several = isinstance(snr, Iterable) and not isinstance(snr, str)
        given: list[Any] = list(snr) if several else []
        refuse_if(not given, "snr", f"{snr!r} is not a list of numbers", "give one for each source, such as [0.1, 8]")
        self.snr = tuple(one if one == math.inf else real(f"snr[{k}]", one, 0.0) for k, one in enumerate(given))
        self.items, self.features, self.test = whole("items", items), whole("features", features), whole("test", test)

    def setup(self, spec: Spec) -> Spec:
        lists = [self._pairs(spec, k, "train", self.items) for k in range(len(self.snr))]
        exams = [self._pairs(spec, k, "test", self.test) for k in range(len(self.snr))]
        self._exams = [
            Batch.lived(x, y, context=torch.full(x.shape[:2], k, device=spec.device)) for k, (x, y) in enumerate(exams)
        ]
        x, y = (torch.cat(column, 1) for column in zip(*lists, strict=True))
        source = torch.arange(len(self.snr)).repeat_interleave(self.items)
        return self._keep(spec, x, y, source, outputs=1, contexts=len(self.snr))

    def _pairs(self, spec: Spec, k: int, part: str, count: int) -> tuple[Tensor, Tensor]:
        """Inputs [s, count, K N] and noisy targets [s, count, 1] of source k."""
        size, spread = map(math.sqrt, variances(self.snr[k]))
        x = np.zeros((spec.subjects, count, len(self.snr) * self.features), np.float32)
        y = np.empty((spec.subjects, count, 1), np.float32)
        for i, seed in enumerate(spec.seeds):
            weights = size * generator(seed, f"sources.{k}.weights").standard_normal(self.features)
            own = generator(seed, f"sources.{k}.{part}.x").standard_normal((count, self.features), np.float32)
            own /= math.sqrt(self.features)
            noise = generator(seed, f"sources.{k}.{part}.noise").standard_normal(count)
            x[i, :, k * self.features : (k + 1) * self.features] = own
            y[i, :, 0] = (own * weights).sum(1) + spread * noise
        return torch.from_numpy(x).to(spec.device), torch.from_numpy(y).to(spec.device)

    def evaluation(self, context: int = 0) -> Batch:
        """The test pairs of a source: [s, test, K N]."""
        return self._exams[whole("context", context, 0, len(self.snr) - 1)]
