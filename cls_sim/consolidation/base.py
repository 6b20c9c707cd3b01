"""Consolidation: the base class of the rules that change the weights of the cortex."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, View
from cls_sim.neocortex.base import Neocortex


class Consolidation(Part):
    """A rule that changes the weights of the cortex."""

    @abstractmethod
    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        """One step on this batch with each subject's learning rate [s].

        A subject with rate 0, or without a row of weight above 0, does not change.
        """

    @abstractmethod
    def loss(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        """The error of the cortex on each row: [s, b], without gradient."""

    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        """Called after every tick: changes that do not depend on learning (synapses with inner variables)."""


class Synapses(Consolidation):
    """A rule whose synapses have inner variables behind each weight.

    inner  name of a weight → [s, …, m], the m inner variables of each weight (empty if there are none)
    """

    inner: dict[str, Tensor]
