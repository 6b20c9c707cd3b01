"""A readout whose weight of the memory is fitted on memories that the cortex has not been taught by replay."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, State, held_out, known_contexts
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import without_gradient
from cls_sim.hippocampus.base import Hippocampus, Recall
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, Answer, Readout, by

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class FittedSum(Settings, Readout):
    """The recalled answer is added to the log probabilities of the cortex, with a weight that each subject fits itself.

        scores = log softmax(cortical scores) + w · match · recalled scores        (LogitSum with weight w)
        w = argmin over {0, 1/4, 1/2, 1, 2, 4, 8, 16} of the mean loss -log softmax(scores)_y of held-out memories

    Held-out memories are in the slots that replay never draws (`held_out` of the rhythms ProportionalNights and
    Validated).  Each is asked like a question, and is itself, as all others that are asked, left out of the recall.  A
    subject without held-out memories has w = 0.  w is a function of the present cortex and memory and no state; it is
    computed again when they have changed.

    asked  from 1, held-out memories that are asked at most

    novelty = 1 - match.  Raises ConfigError in regression, for a memory that recalls no answers, and (with held-out
    slots) for one that cannot leave out single traces.

    Source: as LogitSum; a weight fitted on held-out data, stacking, Wolpert 1992.

    >>> FittedSum(asked=200).asked
    200
    """

    asked: int = setting(500)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "needs class probabilities, and this is regression", "use most_confident")
        refuse_if(not spec.recall_answers, "", "needs a hippocampus that recalls answers", "use readout=cortex")
        self._spec = spec
        self._fit: tuple[tuple[object, ...], Tensor] | None = None
        return super().setup(spec)

    def attach(self, spec: Spec, clock: Clock) -> None:
        self._fit = None

    def load(self, tree: State) -> None:
        super().load(tree)
        self._fit = None

    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        recall, cortical = hippocampus.recall(x), neocortex.scores(x, context).log_softmax(2)
        weight = self.weight(hippocampus, neocortex)[:, None, None]
        scores = cortical + weight * _evidence(recall, context, neocortex)
        return Answer(scores, by(CORTEX, x), 1 - recall.match)

    @without_gradient
    def weight(self, hippocampus: Hippocampus, neocortex: Neocortex) -> Tensor:
        """The weight w of each subject: [s]."""
        if not self._spec.held_out:
            return torch.zeros(self._spec.subjects, device=self._spec.device)
        sums = [(w.double().sum(), w.double().square().sum()) for w in neocortex.weights.values()]
        now = (hippocampus.changed, *(float(number) for pair in sums for number in pair))
        if self._fit is None or self._fit[0] != now:
            self._fit = now, self._fitted(hippocampus, neocortex)
        return self._fit[1]

    def _fitted(self, hippocampus: Hippocampus, neocortex: Neocortex) -> Tensor:
        alive = hippocampus.traces().alive
        slots = held_out(torch.arange(alive.shape[1], device=alive.device), self._spec.held_out).nonzero()[:, 0]
        slots = slots[:: -(-len(slots) // self.asked) or 1]  # evenly spread
        slot = slots.expand(len(alive), -1).contiguous()
        there = alive.gather(1, slot)
        if not bool(there.any()):
            return torch.zeros(len(alive), device=alive.device)
        rows = hippocampus.fetch(slot)
        context = known_contexts(self._spec, rows)
        with hippocampus.without(torch.zeros_like(alive).scatter_(1, slot, there)):
            recall = hippocampus.recall(rows.x)
        cortical = neocortex.scores(rows.x, context).log_softmax(2)
        evidence, label = _evidence(recall, context, neocortex), torch.where(there, rows.y, 0)[..., None]
        losses = [-(cortical + w * evidence).log_softmax(2).gather(2, label)[..., 0] for w in WEIGHTS]
        mean = torch.where(there[..., None], torch.stack(losses, 2), 0.0).sum(1)  # [s, w], times the memories asked
        return torch.tensor(WEIGHTS, device=alive.device)[mean.argmin(1)]


def _evidence(recall: Recall, context: Tensor | None, neocortex: Neocortex) -> Tensor:
    """The match times the recalled scores [s, b, o]; 0 outside the head of a known context."""
    return recall.match[..., None] * neocortex.mask_logits(recall.scores, context).clamp(min=0.0)
