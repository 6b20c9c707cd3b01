"""Gradient descent on the loss of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.copies import learners
from cls_sim.consolidation.objectives import Objective, SupervisedLoss
from cls_sim.consolidation.penalties import Penalty, hold
from cls_sim.core.arrays import every, some
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.contract import of_kind
from cls_sim.core.draws import updated
from cls_sim.core.optimizers import Adam, Optimizer
from cls_sim.core.part import Spec, View, known_contexts
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.tensors import gradients, without_gradient
from cls_sim.neocortex.base import Neocortex, has_closed_form

# Slopes below it are taken as 0.  They move no weight, and the subnormal numbers among them, which a softmax makes of
# classes that are out of the question, make products several times slower.
TINY = 1e-30


class Descent(Settings, Consolidation):
    """Gradient descent, one step per batch, each subject on its own rows.

        W ← W - η · optimizer(∇ Σ_b w_b L_b / Σ_b w_b)

    optimizer  turns a gradient into a step: Sgd, Momentum or Adam (the default)
    objective  the loss L of a row: SupervisedLoss (the default), DistillationLoss or another Objective
    penalty    protects weights that are important for earlier contexts: QuadraticPenalty or ImportanceScaledRate;
               None: no protection
    reduction  mean: divide by the sum of the row weights w; sum: do not (Go-CLS defines its dose on the sum)

    Weights that the cortex marks as not plastic (`plastic_mask`: masks, columns) stay unchanged, bit for bit.  For a
    subject with rate 0, or without a row of weight above 0, neither the weights nor the optimizer state change.

    >>> from cls_sim.neocortex.mlp import Linear
    >>> from cls_sim.core.optimizers import Sgd
    >>> cortex, descent = Linear(), Descent(optimizer=Sgd(), reduction="sum")
    >>> _ = descent.setup(cortex.setup(Spec(inputs=(1,), outputs=1, regression=True)))
    >>> batch = Batch.lived(torch.full((1, 2, 1), 2.0), torch.ones(1, 2, 1))
    >>> descent.step(cortex, batch, np.array([0.1]), None)
    >>> round(cortex.weights["weight0"].item(), 6)  # η Xᵀ(y - X w)
    0.4
    """

    optimizer: Optimizer = part(Optimizer, "give an Optimizer, such as Adam()", default_factory=Adam)
    objective: Objective = part(
        Objective, "give an Objective, such as SupervisedLoss()", default_factory=SupervisedLoss
    )
    penalty: Penalty | None = setting(None, Penalty, "give a Penalty, such as QuadraticPenalty()", check=of_kind)
    reduction: str = setting("mean", ("mean", "sum"))

    def setup(self, spec: Spec) -> Spec:
        self.spec = spec
        self.setup_parts(spec)
        return spec

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        for _, one in self.parts():
            one.context_end(view, clock, who)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View | None) -> None:
        if some(active := learners(batch, rate)):
            neocortex.before_step(batch, active)
            self.move(neocortex, batch, self.gradient(neocortex, batch), rate, active)

    def move(
        self, neocortex: Neocortex, batch: Batch, gradients: dict[str, Tensor], rate: np.ndarray, active: np.ndarray
    ) -> None:
        """One optimizer step along these gradients, with the penalty and the plasticity mask applied."""
        weights, penalty = neocortex.weights, self.penalty
        masks = type(neocortex).plastic_mask is not Neocortex.plastic_mask  # else the contexts are not needed
        held = neocortex.plastic_mask(batch.context) if masks and (self.spec.ends or self.spec.task_id_known) else None
        watched = held is not None or (penalty is not None and penalty.watches)
        before = {name: w.detach().clone() for name, w in weights.items()} if watched else {}
        if penalty is not None:
            penalty.adjust_gradients(weights, gradients)
        still = {name for name, who in neocortex.frozen().items() if every(who)}
        if learning := {name: w for name, w in weights.items() if name not in still} if still else weights:
            self.optimizer.update(learning, gradients, rate, active)
        if held is not None:
            hold(weights, before, held)
        if penalty is not None and penalty.watches:
            penalty.after_step(weights, before, gradients, active)
        self.objective.after_step(batch, active)
        neocortex.after_step(batch, active)

    def gradient(self, neocortex: Neocortex, batch: Batch) -> dict[str, Tensor]:
        """The gradient of each subject's loss in its own weights, name → [s, …]; 0 for those that are frozen."""
        frozen = neocortex.frozen()
        if (found := self._closed_form(neocortex, batch)) is None:
            names = [name for name in neocortex.weights if name not in frozen or not every(frozen[name])]
            found = self._by_autograd(neocortex, batch, names) if names else {}
        for name, who in frozen.items():
            if every(who):
                found[name] = torch.zeros_like(neocortex.weights[name])
            else:
                found[name] = updated(who, torch.zeros_like(found[name]), found[name])
        return {name: found[name] for name in neocortex.weights} if frozen else found

    def _by_autograd(self, neocortex: Neocortex, batch: Batch, names: list[str]) -> dict[str, Tensor]:
        with neocortex.learning(batch):
            rows = self.objective.losses(neocortex, batch, known_contexts(self.spec, batch))
        found = gradients(rows, self._share(batch), [neocortex.weights[name] for name in names])
        return dict(zip(names, found, strict=True))

    @without_gradient
    def _closed_form(self, neocortex: Neocortex, batch: Batch) -> dict[str, Tensor] | None:
        """The gradient by the closed form of the cortex; None if it has none, or if the objective needs more of it."""
        if type(self.objective).losses is not Objective.losses or not has_closed_form(type(neocortex)):
            return None
        form = neocortex.closed_form(batch, known_contexts(self.spec, batch))
        if form is None:
            return None
        scores, share = form.scores(form.outputs), self._share(batch)
        slope = None
        if scores is form.outputs and type(self.objective).slopes is not Objective.slopes:
            slope = self.objective.slopes(scores, batch, share)
        if slope is None:
            outputs = form.outputs.requires_grad_()
            with torch.enable_grad():
                rows = self.objective.row_losses(form.scores(outputs), batch)
            (slope,) = gradients(rows, share, [outputs])
        return form.gradients(torch.hardshrink(slope, TINY))

    @torch.no_grad()
    def loss(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        return self.objective.error(neocortex, batch, known_contexts(self.spec, batch))

    def _share(self, batch: Batch) -> Tensor:
        """The weight of each row in its subject's loss, [s, b]: the derivative of the reduction, given to autograd."""
        if batch.weight is None:
            equal = 1.0 if self.reduction == "sum" else 1 / batch.rows
            return torch.full(batch.x.shape[:2], equal, device=batch.x.device)
        if self.reduction == "sum":
            return batch.weight
        return batch.weight / batch.weight.sum(1, keepdim=True).clamp_min_(torch.finfo(batch.weight.dtype).tiny)
