"""The readout: who answers the exam?"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex

CORTEX, HIPPOCAMPUS = 0, 1


@dataclass(frozen=True)
class Answer:
    """scores [s, b, o]; source [s, b] (CORTEX or HIPPOCAMPUS answered); novelty [s, b] in [0, 1]."""

    scores: Tensor
    source: Tensor
    novelty: Tensor


class Readout(Part):
    """Answers questions with one system or both."""

    guesses: bool = False
    """Whether it finds the context of a question by itself, for a cortex that answers by it."""

    def setup(self, spec: Spec) -> Spec:
        if spec.routed and not spec.task_id_known and not self.guesses:
            reason = "the cortex answers by the context (columns, gates, masks) and needs the task at test"
            raise ConfigError("", reason, "give scenario=task, or readout=expert_gate")
        return spec

    @abstractmethod
    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        """Answers to x [s, b, …]; `context` [s, b] only where it is told."""
