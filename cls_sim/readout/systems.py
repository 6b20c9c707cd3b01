"""Readouts that choose between the answers of both systems."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, HIPPOCAMPUS, Answer, Readout, by


class _Cortical(Readout):
    """The cortex answers all questions, with these weights; novelty = 1 - max softmax(scores), 0 in regression."""

    def setup(self, spec: Spec) -> Spec:
        self._regression = spec.regression
        return super().setup(spec)

    def _weights(self, neocortex: Neocortex) -> dict[str, Tensor] | None:
        return None

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        scores = neocortex.scores(x, context, self._weights(neocortex))
        novelty = torch.zeros(x.shape[:2], device=x.device) if self._regression else 1 - _confidence(scores)
        return Answer(scores, by(CORTEX, x), novelty)


class CortexReadout(_Cortical):
    """The cortex answers all questions.

    novelty = 1 - max softmax(scores); 0 in regression.

    >>> CortexReadout().setup(Spec()).subjects
    1
    """


class SlowCopyReadout(_Cortical):
    """The slow averaged copy of the cortex answers all questions (see Averaged).

    novelty = 1 - max softmax(scores); 0 in regression.  Raises ConfigError for a cortex without averaged copies.

    Source: Arani, Sarfraz & Zonooz 2022.

    >>> SlowCopyReadout().setup(Spec(averages=("slow", "fast"))).subjects
    1
    """

    def setup(self, spec: Spec) -> Spec:
        refuse_if("slow" not in spec.averages, "", "needs a cortex with averaged copies", "use neocortex=averaged")
        return super().setup(spec)

    def _weights(self, neocortex: Neocortex) -> dict[str, Tensor] | None:
        return neocortex.averages["slow"]


class HippocampusReadout(Readout):
    """The hippocampus answers all questions: the question is the cue, the recalled answer is the answer.

    novelty = 1 - match.  Raises ConfigError for a hippocampus that recalls inputs without answers (an autoencoder).

    >>> HippocampusReadout().setup(Spec()).subjects
    1
    """

    def setup(self, spec: Spec) -> Spec:
        _named(spec)
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall = hippocampus.recall(x)
        return Answer(neocortex.mask_logits(recall.scores, context), by(HIPPOCAMPUS, x), 1 - recall.match)


class MostConfident(Settings, Readout):
    """Each question is answered by the more confident system.  The hippocampus answers if

        match ≥ threshold,   or, without a threshold,   match > max softmax(cortical scores).

    threshold  in [0, 1]; None: compare the two confidences (not in regression, where the cortex has no confidence)

    novelty = 1 - match.  Scores of the two systems have different scales: compare them within a question only.

    Source: competition of the two systems, McClelland, McNaughton & O'Reilly 1995; selection by novelty,
    Kemker & Kanan 2018.

    >>> MostConfident(threshold=0.8)
    MostConfident(threshold=0.8)
    """

    threshold: float | None = setting(None, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.regression and self.threshold is None:
            raise ConfigError("threshold", "is null, and in regression the cortex has no confidence", "give a number")
        _named(spec)
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context)
        if self.threshold is None:
            remembered = recall.match > _confidence(cortical)
        else:
            remembered = (recall.match >= self.threshold) & (recall.slot >= 0)
        scores = torch.where(remembered[..., None], neocortex.mask_logits(recall.scores, context), cortical)
        source = torch.where(remembered, HIPPOCAMPUS, CORTEX)
        return Answer(scores, source, 1 - recall.match)


class LogitSum(Settings, Readout):
    """The recalled answer of the hippocampus is added to the log probabilities of the cortex.

        scores = log softmax(cortical scores) + weight · match · recalled scores

    weight  weight of a perfect match, from 0; 0: the cortex alone

    novelty = 1 - match.  Raises ConfigError in regression, where the cortex has no probabilities.

    Source: independent sources of evidence add up in log-odds; as a memory beside a network, Grave et al. 2017.

    >>> LogitSum(weight=1.0).weight
    1.0
    """

    weight: float = setting(1.0, 0.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.regression:
            raise ConfigError("", "needs class probabilities, and this is regression", "use readout=most_confident")
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context).log_softmax(2)
        remembered = neocortex.mask_logits(recall.scores, context).clamp(min=0.0)
        scores = cortical + self.weight * recall.match[..., None] * remembered
        return Answer(scores, by(CORTEX, x), 1 - recall.match)


def _named(spec: Spec) -> None:
    refuse_if(not spec.recall_answers, "", "needs a hippocampus that recalls answers", "use readout=cortex")


def _confidence(scores: Tensor) -> Tensor:
    """The largest softmax probability [s, b]."""
    return scores.softmax(2).amax(2)


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
        reason = "needs the confidence of the cortex, which regression does not have"
        refuse_if(spec.regression, "", reason, "use readout=most_confident")
        return super().setup(spec)

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context).detach()
        remembered = (recall.match >= self.threshold) & (recall.slot >= 0)
        scores = torch.where(remembered[..., None], neocortex.mask_logits(recall.scores, context), cortical)
        source = torch.where(remembered, HIPPOCAMPUS, CORTEX)
        return Answer(scores, source, (1 - recall.match) * (1 - cortical.softmax(2).amax(2)))
