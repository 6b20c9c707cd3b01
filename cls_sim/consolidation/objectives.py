"""Objectives: the loss of the cortex' answer to each row."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cls_sim.core.batch import Batch
from cls_sim.core.errors import ConfigError, real
from cls_sim.core.part import Part
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import without_gradient
from cls_sim.neocortex.base import Neocortex


class Objective(Part):
    """The loss of each row of a batch, computed from the answers of the cortex."""

    @abstractmethod
    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        """The loss of the scores [s, b, o] on each row: [s, b], differentiable."""

    def losses(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        """The loss of the cortex on each row: [s, b], differentiable.

        Override it for an objective that needs more of the cortex than its scores.
        """
        scores, own = neocortex.training_outputs(batch, context)
        rows = self.row_losses(scores, batch)
        return rows if own is None else rows + own

    def slopes(self, scores: Tensor, batch: Batch, share: Tensor) -> Tensor | None:
        """The gradient of Σ_b share_b L_b in the scores, [s, b, o]; None: autograd finds it from `row_losses`.

        A class that defines it gives what autograd gives, bit for bit; it spares small networks the recorded graph.
        """
        return None

    def error(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        """The error on each row [s, b], as read by replay and sleep pressure: the loss, unless that is not an error."""
        return self.losses(neocortex, batch, context)

    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        """Called after the active subjects (bool [s]) have made a step on this batch."""


class SupervisedLoss(Settings, Objective):
    """Cross-entropy of the row's label, L = -log softmax(ŷ)[y]; in regression the squared error, L = ½ Σ_o (y - ŷ)².

    smoothing  label smoothing, from 0 to 0.99: the share of a label that is spread evenly over all outputs (Szegedy et
               al. 2016); without effect in regression

    A row with label -1 (unknown) has loss 0.  The gradient of the squared error is -(y - ŷ), so a step on the sum over
    rows is w ← w + η Xᵀ(y - X w) (Sun et al. 2023).

    >>> batch = Batch.lived(torch.zeros(1, 1, 2), torch.tensor([[[3.0]]]))
    >>> SupervisedLoss().row_losses(torch.tensor([[[1.0]]]), batch).item()
    2.0
    """

    smoothing: float = setting(0.0, 0.0, 0.99)

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        if batch.y.is_floating_point():
            return _squared(batch.y, scores)
        # The class axis comes before the row axis: log-softmax over few classes is then four times faster.
        told = {"reduction": "none", "ignore_index": -1, "label_smoothing": self.smoothing}
        return cross_entropy(scores.mT.contiguous(), batch.y, **told)

    @without_gradient
    def slopes(self, scores: Tensor, batch: Batch, share: Tensor) -> Tensor | None:
        """For class labels without smoothing: share · (softmax(ŷ) - onehot(y)); 0 for rows without a label."""
        if batch.y.is_floating_point() or self.smoothing:
            return None
        log_p = scores.mT.contiguous().log_softmax(1)
        of_label = torch.ops.aten.nll_loss2d_backward.default(
            share[:, None], log_p[:, :, None], batch.y[:, None], None, 0, -1, share.new_empty(())
        )
        return torch.ops.aten._log_softmax_backward_data.default(of_label[:, :, 0], log_p, 1, log_p.dtype).mT


LABEL = SupervisedLoss()
"""The loss of labels, for objectives that add something to it; it has no state."""


class LabelObjective(Objective):
    """The loss of labels, to which a subclass adds something."""

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        return LABEL.row_losses(scores, batch)


class DistillationLoss(Settings, Objective):
    """Distillation: the loss of a row to its soft targets z and to its label.

        L = share · T² · H(softmax(z / T), softmax(ŷ / T)) + (1 - share) · SupervisedLoss

    H is the cross-entropy; in regression the first term is share · ½ Σ_o (z - ŷ)².  A row without soft targets (a batch
    without scores, or a row whose scores are NaN) has the SupervisedLoss of its label.

    temperature  T, above 0
    share        weight of the soft targets, in [0, 1]

    Source: Hinton, Vinyals & Dean 2015; Li & Hoiem 2018.

    >>> batch = Batch.lived(torch.zeros(1, 1, 2), torch.tensor([[0]]), scores=torch.zeros(1, 1, 2))
    >>> round(DistillationLoss(temperature=1.0).row_losses(torch.zeros(1, 1, 2), batch).item(), 4)
    0.6931
    """

    temperature: float = setting(2.0, 0.0, open_low=True)
    share: float = setting(1.0, 0.0, 1.0)

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        label = LABEL.row_losses(scores, batch)
        if batch.scores is None:
            return label
        taught = ~batch.scores.isnan().any(-1)
        soft = self._soft(batch.scores.nan_to_num(), scores, regression=batch.y.is_floating_point())
        return torch.where(taught, self.share * soft + (1 - self.share) * label, label)

    def _soft(self, given: Tensor, scores: Tensor, regression: bool) -> Tensor:
        if regression:
            return _squared(given, scores)
        t = self.temperature
        return t**2 * cross_entropy((scores / t).mT.contiguous(), (given / t).softmax(-1).mT, reduction="none")


def share_of(key: str, share: str | float) -> str | float:
    """The setting `share`, checked: `contexts`, or a number in [0, 1]."""
    if isinstance(share, str) and share != "contexts":
        raise ConfigError(key, f"cannot be {share!r}", "give contexts, or a number from 0 to 1")
    return share if isinstance(share, str) else real(key, share, 0.0, 1.0)


def _squared(target: Tensor, scores: Tensor) -> Tensor:
    return 0.5 * (target - scores).square().sum(-1)
