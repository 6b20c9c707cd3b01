"""Noisy linear teachers: one, or several side by side with different predictability."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, generator
from cls_sim.core.errors import ConfigError, real, several, whole
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.theory.go_cls import variances
from cls_sim.world.listed import Listed

TEACHERS = ("linear", "sine", "partial")


class Teacher(Settings, Listed):
    """Training pairs from a noisy linear teacher: regression with one output of variance 1; the world never ends.

        y = x·w + ε,  x ~ N(0, I/N),  w ~ N(0, σ_w² I),  ε ~ N(0, σ_ε²),  σ_w² = SNR/(1+SNR),  σ_ε² = 1/(1+SNR)

    items     P, number of training pairs, which are presented again and again
    features  N, number of inputs
    snr       SNR from 0, `inf` for no noise; one number, or one per subject
    test      number of test pairs, the evaluation [s, test, N]; their targets are also noisy
    batch     rows in each experience, up to P; None: all P
    teacher   the part of the target, besides noise, that a linear student cannot predict (scaled so that Var(y) = 1):
              linear   nothing
              sine     y ∝ sin(x·w), w ~ N(0, I): the linear part has an SNR of 5.71
              partial  the teacher has `unseen` further inputs that are not presented: SNR = N / unseen
    unseen    number of inputs that the student does not receive, from 0 (teacher=partial)

    Teachers, pairs and noise are drawn for each subject; except for scale they do not depend on the SNR.
    After `setup`: `weights` [s, N], the teachers, and `ratio` [s], the SNR of their noise.

    Source: Sun, Advani, Spruston, Saxe & Fitzgerald (2023), Organizing memories for generalization.

    >>> world = Teacher(items=4, features=3)
    >>> world.setup(Spec(seeds=(0, 1))).inputs
    (3,)
    >>> world.evaluation(0).y.shape
    torch.Size([2, 1000, 1])
    """

    derived = frozenset({"weights", "ratio"})

    items: int = setting(100)
    features: int = setting(100)
    snr: float | list[float] = setting(4.0, 0.0, endless=True)
    test: int = setting(1000)
    batch: int | None = setting(None)
    teacher: str = setting("linear", TEACHERS)
    unseen: int = setting(0, 0)

    def _ready(self) -> None:
        self._batch = self.items if self.batch is None else whole("batch", self.batch, 1, self.items)
        if self.unseen and self.teacher != "partial":
            raise ConfigError("unseen", f"has no effect for teacher={self.teacher}", "give teacher=partial")

    def setup(self, spec: Spec) -> Spec:
        self.ratio = snr = per_subject("snr", self.snr, spec)
        signal = np.where(np.isinf(snr), 1.0, snr / (1 + np.where(np.isinf(snr), 0.0, snr)))
        draws = each(spec.seeds, "teacher.weights", lambda g: g.standard_normal(self.features))
        weights = np.sqrt(signal)[:, None] * draws.numpy()
        pairs = self._pairs(spec, "train", self.items, weights, signal)
        x, y = self._pairs(spec, "test", self.test, weights, signal)
        self._exams = [Batch.lived(x, y, context=torch.zeros(x.shape[:2], dtype=torch.int64, device=spec.device))]
        self.weights = torch.from_numpy(weights.astype(np.float32)).to(spec.device)
        return self._keep(spec, *pairs, outputs=1, batch=self._batch)

    def _pairs(
        self, spec: Spec, part: str, count: int, weights: np.ndarray, signal: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Inputs [s, count, N] and noisy targets [s, count, 1] from each subject's teacher."""
        size, spread = np.sqrt(signal), np.sqrt(1 - signal)
        x = np.empty((spec.subjects, count, self.features), np.float32)
        y = np.empty((spec.subjects, count, 1), np.float32)
        for i, seed in enumerate(spec.seeds):
            x[i] = generator(seed, f"teacher.{part}.x").standard_normal((count, self.features), np.float32)
            x[i] /= math.sqrt(self.features)
            noise = generator(seed, f"teacher.{part}.noise").standard_normal(count)
            # a sum instead of a matmul: bits must not depend on the subject's place in the memory of the cohort
            y[i, :, 0] = self._said((x[i] * weights[i]).sum(1), size[i], seed, part) + spread[i] * noise
        return torch.from_numpy(x).to(spec.device), torch.from_numpy(y).to(spec.device)

    def _said(self, linear: np.ndarray, size: float, seed: int, part: str) -> np.ndarray:
        """The noise-free targets of a teacher of size σ_w from its linear answers [count] to the presented inputs."""
        if self.teacher == "linear":
            return linear
        if self.teacher == "sine":
            return size * np.sin(linear / max(size, 1e-9)) / math.sqrt((1.0 - math.exp(-2.0)) / 2.0)
        more = generator(seed, f"teacher.{part}.unseen").standard_normal((len(linear), self.unseen))
        hidden = generator(seed, "teacher.unseen").standard_normal(self.unseen) * size / math.sqrt(self.features)
        return (linear + (more * hidden).sum(1)) / math.sqrt(1.0 + self.unseen / self.features)

    def next(self, clock: Clock) -> Batch:
        """Pairs experience · batch … of each subject's list, in a cycle."""
        return self._in_turn(clock, self._batch)


class Sources(Settings, Listed):
    """Several noisy linear teachers, each with inputs of its own: regression with one output; the world never ends.

        y = x_k·w_k + ε,  x_k ~ N(0, I/N),  w_k ~ N(0, σ_w² I),  ε ~ N(0, σ_e²),  σ_w² = SNR_k/(1+SNR_k) = 1 - σ_e²

    In a row of source k the inputs of all other sources are 0, so that what a linear cortex learns about one source
    does not change its answers about another.  Each experience consists of all pairs of all sources; the context of a
    row is its source.

    snr       SNR of each source, from 0, `inf` for no noise: a list, one number for each source
    items     P, number of training pairs of each source
    features  N, number of inputs of each source
    test      number of test pairs of each source, its evaluation [s, test, K N]; their targets are also noisy

    Source: the teacher of Sun, Advani, Spruston, Saxe & Fitzgerald (2023), Organizing memories for generalization.

    >>> from cls_sim.core.clock import Clock
    >>> world = Sources(snr=[0.1, 8.0], items=4, features=3)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.next(Clock(2, 1)).rows, world.evaluation(1).y.shape
    ((6,), 8, torch.Size([2, 1000, 1]))
    """

    snr: Any = setting(
        (0.1, 8.0), "numbers", "[0.1, 8], one for each source", real, 0.0, check=several, least=1, endless=True
    )
    items: int = setting(100)
    features: int = setting(100)
    test: int = setting(1000)

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
