"""A readout in which both systems answer, and only what neither knows is new."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, real
from cls_sim.core.part import Spec
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, HIPPOCAMPUS, Answer, Readout


class RecallFirst(Readout):
    """The hippocampus answers what it has met almost word for word, the cortex the rest; both say how new it is.

        the hippocampus answers where  match ≥ threshold
        novelty = (1 - match) · (1 - max softmax(cortical scores)):  the doubt that is left when each has been asked

    threshold  in [0, 1]

    So what was stored a moment ago is not new any more, although the cortex has not learnt it yet.  Refused in
    regression, where the cortex states no confidence.

    Source: as Both; two independent witnesses, a noisy OR (Pearl 1988).

    >>> RecallFirst(threshold=0.8).threshold
    0.8
    """

    def __init__(self, *, threshold: float = 0.9):
        self.threshold = real("threshold", threshold, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.regression:
            raise ConfigError(
                "", "asks the cortex how sure it is, and in regression it does not say", "use readout=most_confident"
            )
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context).detach()
        remembered = (recall.match >= self.threshold) & (recall.slot >= 0)
        scores = torch.where(remembered[..., None], neocortex.mask_logits(recall.scores, context), cortical)
        source = torch.where(remembered, HIPPOCAMPUS, CORTEX)
        return Answer(scores, source, (1 - recall.match) * (1 - cortical.softmax(2).amax(2)))
