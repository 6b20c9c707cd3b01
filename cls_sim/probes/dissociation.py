"""A double dissociation: two lesions, two tasks."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import choice, whole
from cls_sim.probes.accuracy import Answerer, above_chance, exams
from cls_sim.probes.base import Probe


class DoubleDissociation(Probe):
    """Whether two lesions spare different tasks [s]: the interaction of 2 x 2 lesions and exams, each R above chance.

        R(episodes | slow lost) - R(episodes | fast lost) + R(regularities | fast lost) - R(regularities | slow lost)

    Above 0: fast is for episodes and slow for regularities; 2 at most; 0 where the lesions do the same.  A lesion is
    that of a stage of the hippocampus, or `cortex` or `hippocampus`: one of the two systems answers alone.

    fast, slow              stages (of TwoPaths: trisynaptic, monosynaptic), or hippocampus, cortex
    episodes, regularities  contexts whose exams are the tasks
    of                      `interaction`, or one of its two terms alone: `episodes`, `regularities`
    at                      moments

    Source: Schapiro et al. 2017.

    >>> DoubleDissociation().fast
    'trisynaptic'
    """

    def __init__(
        self,
        *,
        fast: str = "trisynaptic",
        slow: str = "monosynaptic",
        episodes: int = 0,
        regularities: int = 1,
        of: str = "interaction",
        at: str | list[str] | tuple[str, ...] = "life.end",
    ):
        super().__init__(at=at)
        self.fast, self.slow = fast, slow
        self.episodes, self.regularities = whole("episodes", episodes, 0), whole("regularities", regularities, 0)
        self.of = choice("of", of, ("interaction", "episodes", "regularities"))

    def measure(self, life: Any) -> Tensor:
        without_fast, without_slow = (
            above_chance(life, exams(life, _without(life, part))) for part in (self.fast, self.slow)
        )
        episodes = (without_slow - without_fast)[:, self.episodes]
        regularities = (without_fast - without_slow)[:, self.regularities]
        return {"episodes": episodes, "regularities": regularities}.get(self.of, episodes + regularities)


def _without(life: Any, part: str) -> Answerer:
    """The answers when a part is lost."""
    if part == "hippocampus":
        return life.neocortex.scores
    if part == "cortex":

        def remembered(x: Tensor, context: Tensor | None) -> Tensor:
            scores = life.hippocampus.recall(x).scores
            heads = life.neocortex.heads
            if context is None or heads is None:
                return scores
            rows = torch.arange(len(context), device=context.device)[:, None]
            return scores.masked_fill(~heads[rows, context.clamp(min=0)], -1e9)

        return remembered
    damaged = copy.deepcopy(life.hippocampus)
    damaged.impair(part, np.ones(life.spec.subjects))
    return lambda x, context: life.readout.answer(x, context, damaged, life.neocortex).scores
