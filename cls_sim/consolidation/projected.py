"""Gradient projection: steps that do not increase the loss on replayed memories."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.draws import over
from cls_sim.core.errors import choice, real, whole
from cls_sim.core.optimizers import Optimizer
from cls_sim.core.part import Spec, View
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex

ABSENT = 255  # the source of a row that is not present


class Projected(Wrap, Consolidation):
    """Gradient projection (GEM, A-GEM): the gradient of new rows is projected so that no memory loss increases.

        g ← g + Gᵀ v,   v ≥ 0 the smallest with  G (g + Gᵀ v) ≥ 0     (rows of G: the gradients of the memories)

    optimizer, objective  as in Descent
    constraints           all: one memory gradient, of all replayed rows (A-GEM; v = max(0, -ḡ·g / ḡ·ḡ));
                          contexts: one for each past context (GEM), and one for rows whose context is unknown
    margin                added to v (γ of GEM), from 0
    max_iterations        of the coordinate descent for v with several constraints, from 1

    Rows of experience are learnt; all other rows are memories.  The loss on memories does not increase to first order.
    A subject without memories learns as with Descent.  A subject without rows of experience (at night) learns from all
    replayed rows as with Descent.

    Source: Lopez-Paz & Ranzato (2017), GEM; Chaudhry, Ranzato, Rohrbach & Elhoseiny (2019), A-GEM.

    >>> Projected(constraints="contexts").margin
    0.0
    """

    inside, null = "descent", None
    descent: Descent

    def __init__(
        self,
        *,
        optimizer: Optimizer | None = None,
        objective: Objective | None = None,
        constraints: str = "all",
        margin: float = 0.0,
        max_iterations: int = 50,
    ):
        given: dict[str, Any] = {"optimizer": optimizer, "objective": objective}
        super().__init__(Descent(**given))
        self.constraints = choice("constraints", constraints, ("all", "contexts"))
        self.margin, self.max_iterations = real("margin", margin, 0.0), whole("max_iterations", max_iterations)

    def setup(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.descent.setup(spec)  # refusals name the keys of this rule, which are those of the descent

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View | None) -> None:
        source = torch.where(batch.present(), batch.source, ABSENT).cpu().numpy()  # the only wait for the device
        lived, old = source == LIVED, (source != LIVED) & (source != ABSENT)
        awake = lived.any(1, keepdims=True)
        learnt, remembered = np.where(awake, lived, old), old & awake
        new = _part(batch, learnt, source != ABSENT)
        if not remembered.any():
            self.descent.step(neocortex, new, rate, view)
            return
        active = (rate > 0) & learnt.any(1)
        if not active.any():
            return
        neocortex.before_step(batch, active)
        gradients = self.descent.gradient(neocortex, new)
        memories = self._memories(_part(batch, remembered, source != ABSENT))
        turned = self._turned(gradients, [self.descent.gradient(neocortex, memory) for memory in memories])
        self.descent.move(neocortex, new, turned, rate, active)

    def _memories(self, old: Batch) -> list[Batch]:
        if self.constraints == "all":
            return [old]
        weights = old.weights()
        there = [weights * (old.context == k) for k in range(-1, self.spec.contexts)]
        return [old.with_(weight=some) for some in there if bool((some > 0).any())]

    def _turned(self, gradients: dict[str, Tensor], memories: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        g = torch.cat([gradients[name].flatten(1) for name in gradients], 1)  # [s, p]
        past = torch.stack([torch.cat([m[name].flatten(1) for name in gradients], 1) for m in memories], 1)
        gram, slope = past @ past.mT, (past @ g[..., None])[..., 0]  # [s, k, k], [s, k]
        v = _multipliers(gram, slope, self.max_iterations if len(memories) > 1 else 1)
        harmed = (slope < 0).any(1, keepdim=True)
        v = torch.where(harmed, v + self.margin, 0.0)
        for name, one in gradients.items():
            for k, memory in enumerate(memories):
                one = torch.addcmul(one, memory[name], over(v[:, k], one))
            gradients[name] = one
        return gradients


def _multipliers(gram: Tensor, slope: Tensor, rounds: int) -> Tensor:
    """The v ≥ 0 [s, k] that minimises ½ vᵀ gram v + slopeᵀ v, by coordinate descent.

    >>> _multipliers(torch.tensor([[[2.0]]]), torch.tensor([[-1.0]]), 1).tolist()
    [[0.5]]
    """
    v = torch.zeros_like(slope)
    diagonal = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
    for _ in range(rounds):
        for k in range(v.shape[1]):
            rest = (gram[:, k] * v).sum(1) - gram[:, k, k] * v[:, k] + slope[:, k]
            v[:, k] = (-rest / diagonal[:, k]).clamp(min=0)
    return v


def _part(batch: Batch, rows: np.ndarray, there: np.ndarray) -> Batch:
    """The columns of a batch with at least one of these rows (bool [s, b]); other rows in them have weight 0."""
    columns = rows.any(0)
    if not columns.all():
        at = torch.from_numpy(np.flatnonzero(columns)).to(batch.x.device)
        batch = batch.part(at)
    rows = rows[:, columns]
    batch = batch.with_(sizes=None)
    if (rows == there[:, columns]).all():
        return batch
    return batch.with_(weight=batch.weights() * torch.from_numpy(rows).to(batch.x.device))
