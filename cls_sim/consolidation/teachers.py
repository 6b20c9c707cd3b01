"""Distillation objectives whose teacher is the cortex at the end of the last context."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from cls_sim.consolidation.copies import copied, empty
from cls_sim.consolidation.objectives import LABEL, LabelObjective, share_of
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import updated
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View, stretch, stretches
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among
from cls_sim.neocortex.base import Neocortex


class TeacherObjective(Settings, LabelObjective):
    """An objective with a teacher: a copy of the cortex at the last context's end.

    Before the first context has ended, the loss is the label loss.  Raises ConfigError if context boundaries are
    unknown.
    """

    regression: ClassVar[str | None] = None  # the objective to use in regression instead, if this one has classes

    def setup(self, spec: Spec) -> Spec:
        reason = "needs class labels, and this is regression"
        refuse_if(spec.regression and self.regression is not None, "objective", reason, f"use {self.regression}")
        reason = "needs known context boundaries: it keeps the weights at the end of each context"
        refuse_if(not spec.ends, "objective", reason, "give a world with order=sharp and boundaries_known=true")
        self.spec = spec
        self.teacher = empty(spec)
        self.ended = np.zeros(spec.subjects, np.int64)
        return spec

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        self.teacher = copied(view.neocortex, who, self.teacher)
        self.ended = self.ended + who

    def losses(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        if not self.ended.any():
            return super().losses(neocortex, batch, context)
        rows, has_teacher = self.teacher_loss(neocortex, batch, context), self.ended > 0
        if has_teacher.all():
            return rows
        return updated(has_teacher, rows, super().losses(neocortex, batch, context))

    @abstractmethod
    def teacher_loss(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        """The loss of each row [s, b] for subjects that have a teacher."""


class Lwf(TeacherObjective):
    """Learning without forgetting: new inputs are also trained towards the answers of the teacher.

        L = (1 - share) · label + share · T² · H(softmax(z/T), softmax(ŷ/T)),  z: the teacher's scores of the same input

    If the task identity is known, the second term is the mean over the heads of the contexts that have ended.

    temperature  T, above 0
    share        contexts: 1 - 1/k with k different contexts met so far, the present one included; or a number in [0, 1]
    scaled       whether the second term has the factor T² (Hinton, Vinyals & Dean 2015)

    Raises ConfigError in regression and if context boundaries are unknown.

    Source: Li & Hoiem (2018); in the three scenarios, van de Ven et al. (2022), whose code leaves out the T².

    >>> Lwf(share=0.5).temperature
    2.0
    """

    regression = "FeatureDistillation"

    temperature: float = setting(2.0, 0.0, open_low=True)
    share: str | float = setting("contexts", check=share_of)
    scaled: bool = setting(True)

    def setup(self, spec: Spec) -> Spec:
        self.contexts = np.ones(spec.subjects, np.int64)  # k
        return super().setup(spec)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        super().context_end(view, clock, who)
        self.contexts = np.where(who, stretches(self.spec)[1][stretch(self.spec, clock)], self.contexts)

    def teacher_loss(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        raw = neocortex.answer(neocortex.features(batch.x, context))
        with torch.no_grad():
            old = neocortex.answer(neocortex.features(batch.x, context, self.teacher), self.teacher)
        label = LABEL.row_losses(neocortex.mask_logits(raw, context), batch)
        share = np.full(len(self.contexts), self.share) if isinstance(self.share, float) else 1 - 1 / self.contexts
        if context is None or neocortex.heads is None:
            soft = self._soft(old, raw)
        else:
            others = (~neocortex.heads[:, : int(self.ended.max()), None]).unbind(1)
            each = [self._soft(old.masked_fill(other, -1e9), raw.masked_fill(other, -1e9)) for other in others]
            soft = self._mean_of_ended(torch.stack(each))
        mine, its = (torch.from_numpy(part).to(label)[:, None] for part in (1 - share, share))
        return mine * label + its * soft

    def _mean_of_ended(self, losses: Tensor) -> Tensor:
        """The mean [s, b] of losses [k, s, b] over the contexts that have ended for each subject."""
        ended = torch.from_numpy(np.maximum(self.ended, 1)).to(losses.device)
        there = torch.arange(len(losses), device=losses.device)[:, None] < ended
        return torch.where(there[..., None], losses, 0.0).sum(0) / ended.clamp(max=len(losses))[:, None]

    def _soft(self, old: Tensor, raw: Tensor) -> Tensor:
        t = self.temperature
        return -(t**2 if self.scaled else 1.0) * ((old / t).softmax(2) * (raw / t).log_softmax(2)).sum(2)


class FeatureDistillation(TeacherObjective):
    """Less-forgetting learning: the features of new inputs are kept near those of the teacher.

        L = label + strength/2 · ‖f(x) - f_teacher(x)‖²

    strength  from 0

    Source: Jung, Ju, Jung & Kim (2016), Less-forgetting learning in deep neural networks.

    >>> FeatureDistillation(strength=0.1).strength
    0.1
    """

    strength: float = setting(0.1, 0.0)

    def teacher_loss(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        features = neocortex.features(batch.x, context)
        with torch.no_grad():
            old = neocortex.features(batch.x, context, self.teacher)
        label = LABEL.row_losses(neocortex.mask_logits(neocortex.answer(features), context), batch)
        return label + 0.5 * self.strength * (features - old).square().sum(2)


class BinaryDistillation(TeacherObjective):
    """Binary cross-entropy per output (iCaRL): the target is the teacher's answer for old classes, else the label.

        L = Σ_o BCE(σ(ŷ_o), t_o),  t_o = σ(z_o / T) for classes met before this context, else 1[y = o]

    temperature  T, above 0

    Raises ConfigError in regression and if context boundaries are unknown.

    Source: Rebuffi, Kolesnikov, Sperl & Lampert (2017), iCaRL.

    >>> BinaryDistillation().temperature
    2.0
    """

    regression = "SupervisedLoss"

    temperature: float = setting(2.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self.met = torch.zeros(spec.subjects, spec.outputs, dtype=torch.bool, device=spec.device)
        self.known = self.met.clone()
        return super().setup(spec)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        super().context_end(view, clock, who)
        self.known = updated(who, self.met, self.known)

    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        there = batch.present() & torch.from_numpy(active).to(batch.y.device)[:, None] & (batch.y >= 0)
        self.met = self.met | among(batch.y, there, self.met.shape[1])

    def row_losses(self, scores: Tensor, batch: Batch) -> Tensor:
        return self._rows(scores, self._truth(scores, batch), batch)

    def teacher_loss(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        scores = neocortex.scores(batch.x, context)
        with torch.no_grad():
            old = (neocortex.scores(batch.x, context, self.teacher) / self.temperature).sigmoid()
        return self._rows(scores, torch.where(self.known[:, None], old, self._truth(scores, batch)), batch)

    @staticmethod
    def _truth(scores: Tensor, batch: Batch) -> Tensor:
        return one_hot(batch.y.clamp(min=0), scores.shape[2]).to(scores.dtype)

    @staticmethod
    def _rows(scores: Tensor, target: Tensor, batch: Batch) -> Tensor:
        loss = binary_cross_entropy_with_logits(scores.clamp(min=-1e4), target, reduction="none").sum(2)
        return torch.where(batch.y >= 0, loss, 0.0)
