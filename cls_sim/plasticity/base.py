"""The base class of plasticity schedules."""

from __future__ import annotations

from abc import abstractmethod

from cls_sim.core.arrays import Numbers
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part


class Plasticity(Part):
    """The learning rate as a function of the clock."""

    @abstractmethod
    def rate(self, clock: Clock) -> Numbers:
        """The learning rate of each subject at this tick: float64 [s], from 0."""
