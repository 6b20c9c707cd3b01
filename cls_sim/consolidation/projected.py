"""Gradients that may not hurt what is remembered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import Batch
from cls_sim.core.draws import over
from cls_sim.core.errors import choice, real, whole
from cls_sim.core.optimisers import Rule
from cls_sim.core.part import Spec, View
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Projected(Wrap, Consolidation):
    """The gradient of what is lived now, turned so that the loss on memories does not rise to first order.

        g ← g + Gᵀ v,   v ≥ 0 the smallest with  G (g + Gᵀ v) ≥ 0     (rows of G: the gradients of the memories)

    rule, objective  as in Descent
    constraints      all: one memory gradient, of all remembered rows (A-GEM; v = max(0, -ḡ·g / ḡ·ḡ));
                     contexts: one for each past context (GEM)
    margin           added to v (GEM's γ), from 0
    rounds           of the search for v with several constraints, from 1

    A lesson's first rows are those lived, those that follow are remembered (as Interleaved joins them); without
    remembered rows this is Descent.

    Source: Lopez-Paz & Ranzato (2017), GEM; Chaudhry, Ranzato, Rohrbach & Elhoseiny (2019), A-GEM.

    >>> Projected(constraints="contexts").margin
    0.0
    """

    inside, null = "descent", None
    descent: Descent
    derived = frozenset({"spec"})

    def __init__(
        self,
        *,
        rule: Rule | None = None,
        objective: Objective | None = None,
        constraints: str = "all",
        margin: float = 0.0,
        rounds: int = 50,
    ):
        super().__init__(Descent(rule=rule, objective=objective))
        self.constraints = choice("constraints", constraints, ("all", "contexts"))
        self.margin, self.rounds = real("margin", margin, 0.0), whole("rounds", rounds)

    def begin(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.descent.begin(spec)  # its settings are those of this rule

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View | None) -> None:
        if batch.rows <= self.spec.batch:
            self.descent.step(neocortex, batch, rate, view)
            return
        lived, old = _part(batch, slice(None, self.spec.batch)), _part(batch, slice(self.spec.batch, None))
        active = (rate > 0) & (lived.weights() > 0).any(1).cpu().numpy()
        if not active.any():
            return
        neocortex.meet(batch, active)
        gradients = self.descent.gradient(neocortex, lived)
        memories = [self.descent.gradient(neocortex, part) for part in self._memories(old)]
        self.descent.move(neocortex, lived, self._turned(gradients, memories), rate, active)

    def _memories(self, old: Batch) -> list[Batch]:
        if self.constraints == "all":
            return [old]
        weights = old.weights()
        there = [weights * (old.context == k) for k in range(self.spec.contexts)]
        return [old.with_(weight=some) for some in there if bool((some > 0).any())]

    def _turned(self, gradients: dict[str, Tensor], memories: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        g = torch.cat([gradients[name].flatten(1) for name in gradients], 1)  # [s, p]
        past = torch.stack([torch.cat([m[name].flatten(1) for name in gradients], 1) for m in memories], 1)
        gram, slope = past @ past.mT, (past @ g[..., None])[..., 0]  # [s, k, k], [s, k]
        v = _multipliers(gram, slope, self.rounds if len(memories) > 1 else 1)
        harmed = (slope < 0).any(1, keepdim=True)
        v = torch.where(harmed, v + self.margin, 0.0)
        for name, one in gradients.items():
            for k, memory in enumerate(memories):
                one = torch.addcmul(one, memory[name], over(v[:, k], one))
            gradients[name] = one
        return gradients


def _multipliers(gram: Tensor, slope: Tensor, rounds: int) -> Tensor:
    """v ≥ 0 that minimises ½ vᵀ gram v + slopeᵀ v, coordinate by coordinate: [s, k].

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


def _part(batch: Batch, rows: slice) -> Batch:
    return batch.with_(**{name: value[:, rows] for name, value in vars(batch).items() if isinstance(value, Tensor)})
