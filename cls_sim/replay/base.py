"""Replay: the base class of all policies that choose what the cortex learns from at night, or beside experience."""

from __future__ import annotations

from abc import abstractmethod

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, View
from cls_sim.core.settings import Settings, part
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex


class Replay(Part):
    """Draws the rows that sleep replays, and may mix memories into the training batch of the day."""

    @abstractmethod
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        """The rows of one replay step for each subject: [s, b, …]; weight 0 where a subject has nothing to replay."""

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        """The rows that the awake cortex learns from: the batch of experience, unless a policy interleaves memories."""
        return lived


class Within(Settings, Wrap, Replay):
    """A replay policy that wraps another one.  Methods that it does not override are forwarded to the inner policy."""

    inside = "policy"
    null = None
    policy: Replay = part(Replay, kw_only=False)
