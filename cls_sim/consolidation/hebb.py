"""Hebbian learning as an objective."""

from __future__ import annotations

from torch import Tensor

from cls_sim.consolidation.objectives import Objective, SupervisedLoss
from cls_sim.core.batch import Batch
from cls_sim.neocortex.base import Neocortex


class Hebb(Objective):
    """Hebbian objective L = -Σ_o y ŷ: a gradient step adds y xᵀ to the weights of a linear layer.

    Labels are one-hot vectors y (0 for the label -1).  L has no lower bound and is not an error; `error` returns the
    SupervisedLoss instead.

    Source: Hebb 1949.

    >>> import torch
    >>> batch = Batch.lived(torch.zeros(1, 1, 2), torch.tensor([[[3.0]]]))
    >>> Hebb().row_losses(torch.tensor([[[1.0]]]), batch).item()
    -3.0
    """

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        if batch.y.is_floating_point():
            return -(batch.y * scores).sum(-1)
        return -scores.gather(-1, batch.y.clamp(min=0)[..., None])[..., 0] * (batch.y >= 0)

    def error(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        return SupervisedLoss().losses(neocortex, batch, context)
