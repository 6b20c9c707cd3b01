"""Readout: the base class of the rules that answer questions with the neocortex, the hippocampus or both."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.arrays import Flags
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.world.base import World

CORTEX, HIPPOCAMPUS = 0, 1
ACTS = "use readout=softmax, or define act in your class"


@dataclass(frozen=True)
class Answer:
    """The answers to a batch of questions.

    scores   [s, b, o]
    source   the system that answered, CORTEX or HIPPOCAMPUS, [s, b]
    novelty  [s, b] in [0, 1]
    """

    scores: Tensor
    source: Tensor
    novelty: Tensor


class Readout(Part):
    """Answers questions with one system or both."""

    guesses: bool = False
    """Whether it infers the context of a question, for a cortex whose answer depends on the context."""

    def setup(self, spec: Spec) -> Spec:
        if spec.routed and not spec.task_id_known and not self.guesses:
            reason = "the cortex needs the task identity at test (its columns, gates or masks depend on the context)"
            raise ConfigError("", reason, "give scenario=task, or readout=expert_gate")
        return spec

    @abstractmethod
    def answer(self, x: Tensor, context: Tensor | None, hippocampus: Hippocampus, neocortex: Neocortex) -> Answer:
        """The answers to x [s, b, …]; `context` [s, b] is None if the task identity is unknown."""

    def act(self, x: Tensor, hippocampus: Hippocampus, neocortex: Neocortex, clock: Clock) -> Tensor:
        """The action of each subject that sees x [s, 1, …]: int64 [s].  ConfigError if this readout does not act."""
        raise ConfigError("readout", f"{type(self).__name__} does not act, and this world asks for actions", ACTS)


def chosen(
    world: World, readout: Readout, hippocampus: Hippocampus, neocortex: Neocortex, clock: Clock, awake: Flags
) -> tuple[Tensor, ...]:
    """The actions that `world.next` takes: int64 [s], -1 for subjects not awake; none if the world asks for none."""
    seen = world.observe(clock)
    if seen is None:
        return ()
    action = readout.act(seen, hippocampus, neocortex, clock)
    return (torch.where(from_numpy(awake).to(action.device), action, -1),)


def by(system: int, x: Tensor) -> Tensor:
    """The source of answers to x [s, b, …] that one system gives: int64 [s, b]."""
    return torch.full(x.shape[:2], system, dtype=torch.int64, device=x.device)
