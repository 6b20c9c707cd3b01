"""The perceptron rule as an objective."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import Batch


class PerceptronLoss(Objective):
    """The perceptron rule: only a wrong answer changes the weights, by a step whose size does not depend on the error.

        L = max(0, max_{o ≠ y} ŷ_o - ŷ_y)        in regression  L = Σ_o max(0, -y_o ŷ_o), which learns the sign of y

    A tie is a wrong answer.  A row with label -1 (unknown) has loss 0.  In a linear cortex that starts from 0, a step
    adds η x to the weights of the right label and takes it from those of the best wrong one; with two labels this is
    the perceptron of a single unit, w ← w ± η x.

    Source: Rosenblatt 1962; for several labels, Crammer & Singer 2003.

    >>> batch = Batch.lived(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    >>> PerceptronLoss().row_losses(torch.tensor([[[1.0, 3.0], [1.0, 3.0]]]), batch).tolist()
    [[2.0, 0.0]]
    """

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        if batch.y.is_floating_point():
            return _wrong(-batch.y * scores).sum(-1)
        label = batch.y.clamp(min=0)[..., None]
        best = scores.scatter(-1, label, -torch.inf).max(-1).values
        return _wrong(best - scores.gather(-1, label)[..., 0]) * (batch.y >= 0)

    @torch.no_grad()
    def slopes(self, scores: Tensor, batch: Batch, share: Tensor) -> Tensor | None:
        """For labels: -share at the right label and share at the best wrong one, if the answer is wrong; else 0."""
        if batch.y.is_floating_point():
            return None
        label = batch.y.clamp(min=0)[..., None]
        best = scores.scatter(-1, label, -torch.inf).max(-1, keepdim=True)
        wrong = (best.values >= scores.gather(-1, label)) & (batch.y >= 0)[..., None]
        step = share[..., None] * wrong
        return scores.new_zeros(scores.shape).scatter_(-1, best.indices, step).scatter_(-1, label, -step)


def _wrong(margin: Tensor) -> Tensor:
    """max(0, margin), with the gradient 1 at 0."""
    return torch.where(margin >= 0, margin, 0.0)
