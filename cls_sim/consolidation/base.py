"""The consolidation: in which direction do weights move, and which are held?"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, View
from cls_sim.neocortex.base import Neocortex


class Consolidation(Part):
    """Moves the cortex' weights."""

    @abstractmethod
    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        """One step on this batch at each subject's rate [s]; nothing of a subject moves at rate 0 or without rows."""

    @abstractmethod
    def loss(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        """How wrong the cortex is on each row: [s, b], without gradient."""

    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        """A tick has passed: what moves when nothing is learnt (synapses with inner variables)."""


class Synapses(Consolidation):
    """A rule whose synapses keep more than their weights show, in any cortex.

    inner  name of a weight → [s, …, m], the m inner variables behind each weight (empty where there are none)
    """

    inner: dict[str, Tensor]
