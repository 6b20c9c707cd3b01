"""Hard attention to the task: the objective of a cortex with learnt gates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.objectives import LABEL, LabelObjective
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.neocortex.base import Neocortex


class Hat(Settings, LabelObjective):
    """Hard attention to the task (HAT): the label loss through learnt gates, plus a penalty on newly used units.

        L = label + c · Σ_i a_i (1 - a_i^<) / Σ_i (1 - a_i^<),   a = σ(s e),   s from 1/s_max to s_max over the context

    a^< are the gates that earlier contexts use.  The derivative of a gate is taken at slope 1 and scaled by s_max, so
    that it does not vanish as gates harden (embedding gradient compensation).

    sparsity  c, from 0

    Raises ConfigError in `setup` if the cortex has no learnt gates (use Attentive).

    Source: Serrà, Surís, Miron & Karatzoglou (2018).

    >>> Hat(sparsity=0.75).sparsity
    0.75
    """

    sparsity: float = setting(0.75, 0.0)

    def setup(self, spec: Spec) -> Spec:
        if "gate0" not in spec.weights:
            raise ConfigError("objective", "needs a cortex with learnt gates", "give neocortex=attentive")
        self._span = max(2, spec.ends[0])
        self.steps = np.zeros(spec.subjects, np.int64)
        return spec

    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        self.steps = self.steps + active

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        self.steps = np.where(who, 0, self.steps)

    def losses(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        if context is None or not torch.is_grad_enabled():
            return super().losses(neocortex, batch, context)
        cortex, cost = neocortex, torch.zeros(len(context), device=context.device)
        steepest: float = cortex.s_max  # pyright: ignore[reportAttributeAccessIssue]
        part = np.minimum(self.steps / (self._span - 1), 1.0)
        slope = torch.from_numpy(1 / steepest + (steepest - 1 / steepest) * part).float().to(context.device)
        used, room = cost[:, None], cost
        opened: dict[str, Tensor] = {}
        for layer, spent in enumerate(cortex.spent):  # pyright: ignore[reportAttributeAccessIssue]
            e = cortex.weights[f"gate{layer}"]
            hard, soft = (slope[:, None, None] * e.detach()).sigmoid(), e.sigmoid()
            gates = hard + steepest * (soft - soft.detach())
            opened[f"open{layer}"] = gates
            left = 1 - spent
            used, room = used + (gates * left[:, None]).sum(2), room + left.sum(1)  # [s, k], [s]
        cost = (self.sparsity * used / room.clamp(min=1e-6)[:, None]).gather(1, context.clamp(min=0))
        scores = cortex.scores(batch.x, context, cortex.weights | opened)
        return LABEL.row_losses(scores, batch) + cost
