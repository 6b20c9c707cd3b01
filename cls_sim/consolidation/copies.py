"""Copies of what a cortex has learnt, and the subjects for which a rule makes or uses them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import updated
from cls_sim.core.part import Spec, ended, stretches
from cls_sim.neocortex.base import Neocortex

Named = dict[str, Tensor]


def empty(spec: Spec) -> Named:
    """Zeros for a copy of the weights and of the running statistics, name → [s, …]."""
    shapes = {**spec.weights, **spec.running}
    return {name: torch.zeros(shape, device=spec.device) for name, shape in shapes.items()}


def copied(neocortex: Neocortex, who: Flags, old: Named) -> Named:
    """A copy of what the subjects in `who` (bool [s]) have learnt; of the others, the old copy."""
    return {name: updated(who, t.to(old[name].dtype), old[name]) for name, t in neocortex.learned().items()}


def write(neocortex: Neocortex, copy: Named, who: Flags) -> None:
    """Write a copy back for the subjects in `who` (bool [s])."""
    for name, t in neocortex.learned().items():
        t.copy_(updated(who, copy[name].to(t.dtype), t))


def learners(batch: Batch, rate: Numbers) -> Flags:
    """The subjects that learn in this step: their rate is above 0, and a row of weight above 0 is there."""
    active = rate > 0
    return active if batch.weight is None else active & (batch.count() > 0)


def kept(spec: Spec, clock: Clock) -> Numbers:
    """The share [s] of a sum over contexts that stays when the context that has just ended is added to it.

    1 for a new context.  The parts of a sum are not stored, so a context that comes again takes the place of an equal
    part of it: (k - 1)/k, with k different contexts met so far.

    >>> clock = Clock(1, 1)
    >>> clock.experience[:] = 15
    >>> [kept(Spec(contexts=2, ends=(5, 10, 15), visits=v), clock).item() for v in ((0, 0, 1), (0, 1, 0))]
    [1.0, 0.5]
    """
    if not spec.ends:
        return np.ones(spec.subjects)
    met, last = stretches(spec)[1], ended(spec, clock)
    again = (last > 0) & (met[last] == met[last - 1])
    return np.where(again, 1 - 1 / met[last], 1.0)
