"""A hippocampus with two paths: a fast, sparse one and a slower, overlapping one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, choice, real, reals
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus, Recall

PATHS = ("monosynaptic", "trisynaptic")


class TwoPaths(Wrap, Hippocampus):
    """A trisynaptic path that stores episodes, and a monosynaptic path that learns what episodes have in common.

        W ← W + rate · Σ_b (y_b - softmax(W x_b)) x_bᵀ     at every experience: overlapping codes, small steps

    The trisynaptic path answers a cue if its match reaches the threshold, or if the monosynaptic path has lost all its
    fibres.  Otherwise the monosynaptic path answers.

    hippocampus  the trisynaptic path: a hippocampus that stores episodes
    rate         learning rate of the monosynaptic path, from 0; one number, or one per subject
    threshold    0 to 1, the smallest match at which the trisynaptic path answers

    A lesion of a stage (`monosynaptic`: a fraction of its input fibres; `trisynaptic`: a fraction of its traces) spares
    the other path.  Classification only: raises ConfigError in regression.

    Source: Schapiro, Turk-Browne, Botvinick & Norman (2017), Complementary learning systems within the hippocampus.

    >>> from cls_sim.hippocampus.store import Store
    >>> memory = TwoPaths(Store(capacity=5))
    >>> _ = memory.setup(Spec(seeds=(0,), inputs=(4,), outputs=3))
    >>> [round(p, 3) for p in memory.recall(torch.ones(1, 1, 4)).scores[0, 0].tolist()]
    [0.333, 0.333, 0.333]
    """

    inside, null = "hippocampus", {"rate": 0.0, "threshold": 0.0}
    derived = frozenset({"_rate", "_fibres", "_lost"})

    def __init__(self, hippocampus: Hippocampus, *, rate: float | list[float] = 0.02, threshold: float = 0.8):
        super().__init__(hippocampus)
        self.rate = reals("rate", rate, 0.0)
        self.threshold = real("threshold", threshold, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        if spec.regression:
            raise ConfigError("", "learns classes, and this world is a regression", "use Sparse alone")
        self._rate = torch.from_numpy(per_subject("rate", self.rate, spec)).float().to(spec.device)

    def _fresh(self, spec: Spec) -> None:
        width = int(torch.Size(spec.inputs).numel())
        self.path = torch.zeros(spec.subjects, spec.outputs, width + 1, device=spec.device)  # the last fibre: a bias
        self._fibres = torch.ones(spec.subjects, width + 1, device=spec.device)
        self._lost: Tensor | None = None

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.encode(batch, view, clock, who)
        fibres = self._input(batch.x)
        known = batch.present() & (batch.y >= 0)
        wanted = torch.nn.functional.one_hot(batch.y.clamp(min=0), self.spec.outputs).float()
        wrong = (wanted - self._said(fibres)) * known[..., None]  # [s, b, o]
        rate = self._rate if who is None else self._rate * who
        self.path = torch.baddbmm(self.path, wrong.mT, fibres * rate[:, None, None])

    def recall(self, x: Tensor) -> Recall:
        found = self.hippocampus.recall(x)
        direct = self._fibres[:, :-1].any(1)[:, None]  # a path without any fibre gives no answer
        answers = (found.match < self.threshold) & direct
        scores = torch.where(answers[..., None], self._said(self._input(x)), found.scores)
        return Recall(scores, found.x, found.match, found.slot)

    def _input(self, x: Tensor) -> Tensor:
        """The activity of the input fibres: [s, b, x + 1]."""
        x = x.flatten(2)
        return torch.cat((x, torch.ones_like(x[..., :1])), 2) * self._fibres[:, None]

    def _said(self, fibres: Tensor) -> Tensor:
        return (fibres @ self.path.mT).softmax(2)

    def impair(self, stage: str, fraction: np.ndarray) -> None:
        if stage not in PATHS:
            self.hippocampus.impair(stage, fraction)
            return
        n = self._fibres.shape[1] - 1 if choice("stage", stage, PATHS) == PATHS[0] else self.traces().alive.shape[1]
        order = each(self.spec.seeds, f"hippocampus.lesion.{stage}", lambda g: g.permutation(n))
        lost = (order < torch.from_numpy(np.round(fraction * n))[:, None]).to(self.spec.device)
        if stage == PATHS[0]:
            left = (~lost).float()
            self._fibres = torch.cat((left, torch.ones_like(left[:, :1])), 1)
            return
        if self._lost is not None:
            self.hippocampus.revive(self._lost & ~lost)
        self.hippocampus.silence(lost)
        self._lost = lost

    def stored_bytes(self) -> Tensor:
        return self.hippocampus.stored_bytes() + self.path[0].nbytes
