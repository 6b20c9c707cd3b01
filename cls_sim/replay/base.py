"""The replay: which episodes tonight?  Stored, dreamed or mixed, in what proportion?"""

from __future__ import annotations

from abc import abstractmethod

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, View
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex


class Replay(Part):
    """Draws what sleep replays, and says whether the day's lesson is mixed with memories."""

    @abstractmethod
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        """One replay step for each subject: [s, b, …], weight 0 where it has nothing to replay."""

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        """What the cortex learns from awake: the lived batch, unless a policy interleaves memories."""
        return lived


class Within(Wrap, Replay):
    """A policy round another, which does everything but what this one changes."""

    inside = "policy"
    null = None
    policy: Replay

    def __init__(self, policy: Replay):
        super().__init__(policy)
