"""A readout that asks the hippocampus first and the cortex otherwise, and that combines their novelty."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, HIPPOCAMPUS, Answer, Readout


class RecallFirst(Settings, Readout):
    """The hippocampus answers questions that match a stored episode closely; the cortex answers all others.

        the hippocampus answers if  match ≥ threshold
        novelty = (1 - match) · (1 - max softmax(cortical scores))

    threshold  in [0, 1]

    A question is novel only if it is novel to both systems.  Raises ConfigError in regression, where the cortex has no
    confidence.

    Source: as MostConfident; two independent sources, a noisy OR (Pearl 1988).

    >>> RecallFirst(threshold=0.8).threshold
    0.8
    """

    threshold: float = setting(0.9, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.regression:
            reason = "needs the confidence of the cortex, which regression does not have"
            raise ConfigError("", reason, "use readout=most_confident")
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context).detach()
        remembered = (recall.match >= self.threshold) & (recall.slot >= 0)
        scores = torch.where(remembered[..., None], neocortex.mask_logits(recall.scores, context), cortical)
        source = torch.where(remembered, HIPPOCAMPUS, CORTEX)
        return Answer(scores, source, (1 - recall.match) * (1 - cortical.softmax(2).amax(2)))
