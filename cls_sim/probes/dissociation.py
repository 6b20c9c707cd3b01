"""A double dissociation: two lesions, two tasks."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import choice, whole
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import CORTEX, above_chance, answered, exams, grade, questions, shared


class DoubleDissociation(Probe):
    """Double dissociation [s]: the interaction of two lesions and two tasks, with R = performance above chance.

        R(episodes | slow lost) - R(episodes | fast lost) + R(regularities | fast lost) - R(regularities | slow lost)

    Above 0: the fast pathway supports episodes and the slow one regularities; the maximum is 2; 0 if both lesions have
    the same effect.  A lesion removes a stage of the hippocampus, or one of the two systems.

    fast, slow              the lesions: stages (of TwoPaths: trisynaptic, monosynaptic), hippocampus or cortex
    episodes, regularities  contexts whose evaluations are the two tasks
    of                      interaction, or one of its two terms: episodes or regularities

    Source: Schapiro et al. 2017.

    >>> DoubleDissociation().fast
    'trisynaptic'
    """

    moments = ("life.end",)

    def __init__(
        self,
        *,
        fast: str = "trisynaptic",
        slow: str = "monosynaptic",
        episodes: int = 0,
        regularities: int = 1,
        of: str = "interaction",
    ):
        self.fast, self.slow = fast, slow
        self.episodes, self.regularities = whole("episodes", episodes, 0), whole("regularities", regularities, 0)
        self.of = choice("of", of, ("interaction", "episodes", "regularities"))

    def measure(self, life: Measured) -> Tensor:
        without_fast, without_slow = (above_chance(life, _without(life, part)) for part in (self.fast, self.slow))
        episodes = (without_slow - without_fast)[:, self.episodes]
        regularities = (without_fast - without_slow)[:, self.regularities]
        return {"episodes": episodes, "regularities": regularities}.get(self.of, episodes + regularities)


@shared
def _without(life: Measured, part: str) -> Tensor:
    """The accuracy or R² in the evaluation of each context after the loss of a part: float64 [s, k]."""
    if part == "hippocampus":
        return exams(life, CORTEX)
    damaged = life.hippocampus if part == "cortex" else copy.deepcopy(life.hippocampus)
    if part != "cortex":
        damaged.impair(part, np.ones(life.spec.subjects))

    def answer(x: Tensor, context: Tensor | None) -> Tensor:
        if part == "cortex":
            return life.neocortex.mask_logits(damaged.recall(x).scores, context)
        return life.readout.answer(x, context, damaged, life.neocortex).scores

    grades: list[Tensor] = []
    for batch in (questions(life, "evaluation", context) for context in range(life.spec.contexts)):
        grades.append(grade(answered(life, batch, answer), batch.y, batch.weights(), life.spec.regression))
    return torch.stack(grades, 1)
