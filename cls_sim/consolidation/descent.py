"""Gradient descent on what a batch teaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.batch import Batch
from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.objectives import Label, Objective
from cls_sim.errors import Refused, choice
from cls_sim.neocortex.base import Neocortex
from cls_sim.optimisers import Adam, Rule
from cls_sim.part import Spec, View


class Descent(Consolidation):
    """One gradient step a batch: W ← W - η · rule(∇ Σ_b w_b L_b / Σ_b w_b), each subject on its own rows.

    rule       how a gradient becomes a step: Sgd, Momentum or Adam (the default)
    objective  the loss L of a row: Label (the default) or Distil
    reduction  mean over the rows' weights w, or sum (Go-CLS counts its dose on the sum over patterns)

    A subject at rate 0, or without a row of weight above 0, does not move, nor does its rule's memory.

    >>> from cls_sim.neocortex.mlp import Linear
    >>> from cls_sim.optimisers import Sgd
    >>> cortex, descent = Linear(), Descent(rule=Sgd(), reduction="sum")
    >>> _ = descent.begin(cortex.begin(Spec(inputs=(1,), outputs=1, regression=True)))
    >>> batch = Batch.lived(torch.full((1, 2, 1), 2.0), torch.ones(1, 2, 1))
    >>> descent.step(cortex, batch, np.array([0.1]), None)
    >>> round(cortex.weights["weight0"].item(), 6)  # η Xᵀ(y - X w)
    0.4
    """

    derived = frozenset({"spec"})

    def __init__(self, *, rule: Rule | None = None, objective: Objective | None = None, reduction: str = "mean"):
        self.rule: Rule = _kind("rule", rule, Rule, Adam)
        self.objective: Objective = _kind("objective", objective, Objective, Label)
        self.reduction = choice("reduction", reduction, ("mean", "sum"))

    def begin(self, spec: Spec) -> Spec:
        self.spec = spec
        self.rule.begin(spec)
        self.objective.begin(spec)
        return spec

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View | None) -> None:
        active = rate > 0
        if batch.weight is not None:  # the one place that waits for the device
            active = active & (batch.weight > 0).any(1).cpu().numpy()
        if active.any():
            self.rule.update(neocortex.weights, self.gradient(neocortex, batch), rate, active)
            neocortex.learnt(batch, active)

    def gradient(self, neocortex: Neocortex, batch: Batch) -> dict[str, Tensor]:
        """The gradient of each subject's loss in its own weights, name → [s, …]."""
        names, weights = zip(*neocortex.weights.items(), strict=True)
        rows = self._rows(neocortex, batch)
        found = torch.autograd.grad(rows, weights, self._share(rows, batch), materialize_grads=True)
        return dict(zip(names, found, strict=True))

    @torch.no_grad()
    def loss(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        return self._rows(neocortex, batch)

    def _rows(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        """The loss of each row [s, b]."""
        scores, own = neocortex.taught(batch, batch.context if self.spec.context_told else None)
        rows = self.objective.rows(scores, batch)
        return rows if own is None else rows + own

    def _share(self, rows: Tensor, batch: Batch) -> Tensor:
        """What each row counts in its subject's loss: [s, b]; the reduction's derivative, told to autograd at once."""
        if batch.weight is None:
            return torch.full_like(rows, 1.0 if self.reduction == "sum" else 1 / batch.rows)
        if self.reduction == "sum":
            return batch.weight
        return batch.weight / batch.weight.sum(1, keepdim=True).clamp_min_(torch.finfo(batch.weight.dtype).tiny)


def _kind(key: str, given: Any, kind: type, default: type) -> Any:
    """The part given, or a default one."""
    if given is not None and not isinstance(given, kind):
        raise Refused(key, f"{given!r} is no {kind.__name__}", f"give a {kind.__name__}, such as {default.__name__}()")
    return default() if given is None else given
