"""Replay that goes through today's cortex."""

from __future__ import annotations

from dataclasses import replace

from cls_sim.batch import Batch
from cls_sim.clock import Clock
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.part import Spec, View
from cls_sim.replay.base import Replay


class Settled(Replay):
    """The same rows, with the patterns that the cortex has for them today, for whoever stores them (Indexed).

    policy  which rows

    Source: off-line replay that keeps the hippocampal index valid, Káli & Dayan 2004.

    >>> from cls_sim.replay.stored import Uniform
    >>> Settled(Uniform(batch=8)).begin(Spec()).subjects
    1
    """

    def __init__(self, policy: Replay):
        self.policy = policy

    def begin(self, spec: Spec) -> Spec:
        return self.policy.begin(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        return replace(batch, features=view.features(batch.x))

    def lesson(self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        return self.policy.lesson(lived, hippocampus, neocortex, view, clock)

    def context_end(self, view: View, clock: Clock) -> None:
        self.policy.context_end(view, clock)
