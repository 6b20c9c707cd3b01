"""The worlds: what sends experience and sets exams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Part, Spec


class World(Part):
    """A world is a function of the clock: it keeps no cursor, so a life stops and resumes at any tick.

    After `setup`:
    ends    experiences (counts) at which a context ends, rising, told to the subject or not
    length  experiences until the world ends, or None if it never does
    """

    ends: tuple[int, ...] = ()
    length: int | None = None

    @abstractmethod
    def setup(self, spec: Spec) -> Spec:
        """Draw this cohort's worlds; return the spec with what the world sends."""

    @abstractmethod
    def next(self, clock: Clock) -> Batch:
        """The experience of each subject at its `clock.experience`: [s, b, …]."""

    def contexts_at(self, clock: Clock) -> Tensor:
        """The contexts [s, b] of each subject's experience at `clock.experience`; -1: not known, or no such row."""
        batch = self.next(clock)
        return torch.where(batch.present(), batch.context, -1)

    @abstractmethod
    def evaluation(self, context: int) -> Batch:
        """Questions of one context, never lived: [s, n, …], weight 0 where a subject has fewer."""

    @abstractmethod
    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """The training data of the context that ended last, each subject's own, each row once, in batches of `size`.

        The order is drawn from the subject's seed (see plan.mixed), so that the first rows stand for all of them.
        """

    def ended(self, clock: Clock) -> np.ndarray:
        """The number of the context whose stretch ended last, for each subject: int64 [s], -1 before any."""
        return np.searchsorted(np.asarray(self.ends, np.int64), clock.experience, side="right") - 1
