"""A hippocampus with two paths: a fast, sparse one and a slower, overlapping one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import choice, reals, refuse_if, whole
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus, Recall

PATHS = ("monosynaptic", "trisynaptic")
WEAK = 0.02  # standard deviation of the first weights


class TwoPaths(Wrap, Hippocampus):
    """A trisynaptic path that stores episodes, and a monosynaptic path that slowly learns what episodes have in common.

    The monosynaptic path predicts the answer y of an experience x through a small layer of overlapping codes h, and
    learns from its errors; if y is the next item of a stream, it needs no teacher:

        h = tanh(U x),   p = softmax(V h),   e = y - p
        V ← V + rate · e hᵀ,   U ← U + rate · (Vᵀ e ∘ (1 - h²)) xᵀ     at every experience, summed over its rows

    Both paths project to CA1, which weights them by the match of the best trace: the more familiar the cue, the more
    the trace counts.

        scores = match · scores of the trisynaptic path + (1 - match) · p

    hippocampus  the trisynaptic path: a hippocampus that stores episodes
    hidden       number of hidden cells of the monosynaptic path, from 1
    rate         learning rate of the monosynaptic path, from 0; one number, or one per subject

    A lesion of a stage (`monosynaptic`: a fraction of its input fibres; `trisynaptic`: a fraction of its traces) spares
    the other path.  Without any fibre, p is the same for all answers.  Classification only: raises ConfigError in
    regression.

    Source: Schapiro, Turk-Browne, Botvinick & Norman (2017), Complementary learning systems within the hippocampus;
    reduced: gradients in the place of contrastive Hebbian learning, which approximates them (O'Reilly 1996).

    >>> from cls_sim.hippocampus.store import Store
    >>> memory = TwoPaths(Store(capacity=5))
    >>> _ = memory.setup(Spec(seeds=(0,), inputs=(4,), outputs=3))
    >>> [round(p, 2) for p in memory.recall(torch.ones(1, 1, 4)).scores[0, 0].tolist()]
    [0.33, 0.33, 0.33]
    """

    inside, null = "hippocampus", None

    def __init__(self, hippocampus: Hippocampus, *, hidden: int = 10, rate: float | list[float] = 0.01):
        super().__init__(hippocampus)
        self.hidden, self.rate = whole("hidden", hidden), reals("rate", rate, 0.0)

    def _settle(self, spec: Spec) -> None:
        refuse_if(spec.regression, "", "learns labels, and this world is a regression", "use Sparse alone")
        self._rate = torch.from_numpy(per_subject("rate", self.rate, spec)).float().to(spec.device)

    def _fresh(self, spec: Spec) -> None:
        width = int(torch.Size(spec.inputs).numel())

        def drawn(name: str, rows: int, columns: int) -> Tensor:
            normal = each(spec.seeds, f"two_paths.{name}", lambda g: g.standard_normal((rows, columns), np.float32))
            return WEAK * normal.to(spec.device)

        self.inward = drawn("inward", self.hidden, width)  # U [s, h, x]
        self.outward = drawn("outward", spec.outputs, self.hidden)  # V [s, o, h]
        self._fibres = torch.ones(spec.subjects, width, device=spec.device)
        self._lost: Tensor | None = None

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.encode(batch, view, clock, who)
        x = self._input(batch.x)
        hidden = self._hidden(x)
        known = batch.present() & (batch.y >= 0)
        wanted = torch.nn.functional.one_hot(batch.y.clamp(min=0), self.spec.outputs).float()
        wrong = (wanted - self._said(hidden)) * known[..., None]  # [s, b, o]
        step = wrong * (self._rate if who is None else self._rate * who)[:, None, None]
        inner = step @ self.outward * (1 - hidden.square())
        self.outward = torch.baddbmm(self.outward, step.mT, hidden)
        self.inward = torch.baddbmm(self.inward, inner.mT, x)

    def recall(self, x: Tensor) -> Recall:
        found = self.hippocampus.recall(x)
        match = found.match[..., None]
        scores = match * found.scores + (1 - match) * self._said(self._hidden(self._input(x)))
        return Recall(scores, found.x, found.match, found.slot)

    def _input(self, x: Tensor) -> Tensor:
        """The activity of the input fibres: [s, b, x]."""
        return x.flatten(2) * self._fibres[:, None]

    def _hidden(self, x: Tensor) -> Tensor:
        return (x @ self.inward.mT).tanh()

    def _said(self, hidden: Tensor) -> Tensor:
        return (hidden @ self.outward.mT).softmax(2)

    def impair(self, stage: str, fraction: np.ndarray) -> None:
        if stage not in PATHS:
            self.hippocampus.impair(stage, fraction)
            return
        n = self._fibres.shape[1] if choice("stage", stage, PATHS) == PATHS[0] else self.traces().alive.shape[1]
        order = each(self.spec.seeds, f"hippocampus.lesion.{stage}", lambda g: g.permutation(n))
        lost = (order < torch.from_numpy(np.round(fraction * n))[:, None]).to(self.spec.device)
        if stage == PATHS[0]:
            self._fibres = (~lost).float()
            return
        if self._lost is not None:
            self.hippocampus.revive(self._lost & ~lost)
        self.hippocampus.silence(lost)
        self._lost = lost

    def stored_bytes(self) -> Tensor:
        return self.hippocampus.stored_bytes() + self.inward[0].nbytes + self.outward[0].nbytes
