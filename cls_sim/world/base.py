"""The base class of worlds: they send experience and hold the evaluations."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, Spec


class World(Part):
    """The source of experience: a function of the clock without a cursor, so that a life can resume at any tick.

    After `setup`:
    ends    experiences (counts) at which contexts end, rising, whether or not subjects know the boundaries
    length  number of experiences until the world ends; None: it never ends
    """

    ends: tuple[int, ...] = ()
    length: int | None = None
    _visits: Any = None  # int [stretches], the context of each stretch; None: 0, 1, 2, …

    @abstractmethod
    def setup(self, spec: Spec) -> Spec:
        """Draw the data and order of each subject from its seed; return the spec with the fields that describe them."""

    @abstractmethod
    def next(self, clock: Clock) -> Batch:
        """The experience of each subject at its `clock.experience`: [s, b, …].

        A world that asks for actions (see world.acting.Acting) also takes them: `next(clock, actions)`.
        """

    def observe(self, clock: Clock) -> Tensor | None:
        """What each subject sees before it acts: [s, 1, *inputs].  None: this world asks for no actions."""
        return None

    def contexts_at(self, clock: Clock) -> Tensor:
        """The contexts [s, b] of each subject's experience at `clock.experience`; -1: unknown, or an absent row."""
        batch = self.next(clock)
        return torch.where(batch.present(), batch.context, -1)

    @abstractmethod
    def evaluation(self, context: int) -> Batch:
        """The held-out questions of a context: [s, n, …], weight 0 where a subject has fewer than n."""

    def true_labels(self) -> Tensor | None:
        """The label of each row of training data without label noise: int64 [s, items].  None: there is no noise."""
        return None

    @abstractmethod
    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """Each subject's training data of the most recently ended context, each row once, in batches of `size` rows.

        The order is drawn from the subject's seed (see plan.mixed), so that the first rows are a random sample.
        """

    def ended(self, clock: Clock) -> np.ndarray:
        """The context of each subject's most recently ended stretch: int64 [s], -1 before any."""
        stretch = np.searchsorted(np.asarray(self.ends, np.int64), clock.experience, side="right") - 1
        return stretch if self._visits is None else np.where(stretch < 0, -1, self._visits[stretch])


class Endless(World):
    """A world in which no context ever ends, unless a subclass says otherwise: nothing is revisited."""

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        return iter(())


def latest(world: World, clock: Clock) -> Batch:
    """The most recent experience of each subject (before any: its first)."""
    before = copy.copy(clock)
    before.experience = np.maximum(clock.experience - 1, 0)
    return world.next(before)
