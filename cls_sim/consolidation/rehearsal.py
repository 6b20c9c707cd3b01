"""Other objectives: of rehearsed rows, of Hebbian plasticity, of perceptrons."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.objectives import LABEL, Objective, SupervisedLoss
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among
from cls_sim.neocortex.base import Neocortex


class AsymmetricLoss(Settings, Objective):
    """Asymmetric cross-entropy (ER-ACE): new rows compete among the present classes, replayed rows among all classes.

    New classes then do not suppress old ones at once.  The loss of a row is the cross-entropy of its label.

    smoothing  label smoothing, from 0 to 0.99: the share of a label that is spread evenly over the competing outputs

    In regression no answers compete, and this is the squared error of SupervisedLoss.

    Source: Caccia et al. (2022), New insights on reducing abrupt representation change in online continual learning.

    >>> batch = Batch.lived(torch.zeros(1, 2, 3), torch.tensor([[0, 0]]))  # one class: it has no rival
    >>> AsymmetricLoss().row_losses(torch.tensor([[[1.0, 5.0], [0.0, 0.0]]]), batch).abs().tolist()
    [[0.0, 0.0]]
    """

    smoothing: float = setting(0.0, 0.0, 0.99)

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        if batch.y.is_floating_point():
            return LABEL.row_losses(scores, batch)
        lived = (batch.source == LIVED) & batch.present()
        now = among(batch.y, lived, scores.shape[2])  # [s, o]
        away = lived[..., None] & ~now[:, None]
        competing = scores.masked_fill(away, -1e9)
        loss = LABEL.row_losses(competing, batch)
        if not self.smoothing:
            return loss
        even = -competing.log_softmax(-1).masked_fill(away, 0.0).sum(-1) / (~away).sum(-1)
        return torch.where(batch.y < 0, loss, torch.lerp(loss, even, self.smoothing))


class DarkExperienceLoss(Settings, Objective):
    """Dark experience replay: replayed rows keep the scores z that the cortex had when they were stored.

        L = label loss for new rows,   L = α · mean_o (ŷ_o - z_o)² + β · label loss for replayed rows

    alpha  α, from 0
    beta   β, from 0; β = 0 is DER, β > 0 is DER++

    Needs a hippocampus with keep_scores=true; a replayed row without scores has its label loss.

    Source: Buzzega, Boschini, Porrello, Abati & Calderara (2020), Dark experience for general continual learning.

    >>> DarkExperienceLoss(alpha=0.2, beta=1.0).beta
    1.0
    """

    alpha: float = setting(0.5, 0.0)
    beta: float = setting(0.0, 0.0)

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        label = LABEL.row_losses(scores, batch)
        if batch.scores is None:
            return label
        taught = (batch.source != LIVED) & ~batch.scores.isnan().any(-1)
        away = (scores - batch.scores.nan_to_num()).clamp(-1e4, 1e4).square()
        return torch.where(taught, self.alpha * away.mean(2) + self.beta * label, label)


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
