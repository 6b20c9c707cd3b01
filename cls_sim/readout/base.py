"""The room of readout: who answers the exam?"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.part import Part

CORTEX, HIPPOCAMPUS = 0, 1


@dataclass(frozen=True)
class Answer:
    """scores [s, b, o]; source [s, b] (CORTEX or HIPPOCAMPUS answered); novelty [s, b] in [0, 1]."""

    scores: Tensor
    source: Tensor
    novelty: Tensor


class Readout(Part):
    """Answers questions with one system or both."""

    @abstractmethod
    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        """Answers to x [s, b, …]; `context` [s, b] only where it is told."""
