"""Objectives that treat replayed rows differently from rows of experience."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.objectives import LABEL, Objective
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting


class AsymmetricLoss(Settings, Objective):
    """Asymmetric cross-entropy (ER-ACE): new rows compete among the present classes, replayed rows among all classes.

    New classes then do not suppress old ones at once.  The loss of a row is the cross-entropy of its label.

    smoothing  label smoothing, from 0 to 0.99: the share of a label that is spread evenly over the competing outputs

    Raises ConfigError in regression.

    Source: Caccia et al. (2022), New insights on reducing abrupt representation change in online continual learning.

    >>> AsymmetricLoss().setup(Spec(outputs=2)).outputs
    2
    """

    smoothing: float = setting(0.0, 0.0, 0.99)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "objective", "needs class labels, and this is regression", "use SupervisedLoss")
        return spec

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        lived = (batch.source == LIVED) & batch.present()
        now = torch.zeros(scores.shape[0], scores.shape[2], device=scores.device)
        now = now.scatter_add(1, batch.y.clamp(min=0), lived.float()) > 0  # [s, o]
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
