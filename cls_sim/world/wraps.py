"""Worlds seen through worse senses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from cls_sim.batch import Batch
from cls_sim.clock import Clock, Span
from cls_sim.errors import reals
from cls_sim.part import Spec, Wrap, per_subject
from cls_sim.subjects import Draws
from cls_sim.world.base import World


class Seen(Wrap, World):
    """A world of which only what is lived looks different; its exams, and what is revisited, stay as they are."""

    inside = "world"
    world: World

    @property
    def ends(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.world.ends

    @property
    def length(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.world.length

    def exam(self, context: int) -> Batch:
        return self.world.exam(context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        return self.world.revisit(clock, size)


class NoisyWorld(Seen):
    """A world whose experience is noisy from now on, x + sd · ε with ε ~ N(0, 1); its exams stay as they were.

    world  the one that is lived in
    sd     from 0, in units of the inputs; one number, or one a subject
    until  age in days at which the noise ends; None: never

    Where inputs are whole multiples of a quantum, so are the noisy ones, within the same range.

    >>> from cls_sim.world.teacher import Teacher
    >>> world = NoisyWorld(Teacher(items=4, features=3), sd=0.5)
    >>> _ = world.begin(Spec(seeds=(0, 1)))
    >>> lived = world.next(Clock(2, 1)).x
    >>> lived.shape, bool((lived == world.train().x).any())
    (torch.Size([2, 4, 3]), False)
    """

    derived = frozenset({"_sd", "_draws", "_step"})

    def __init__(self, world: World, *, sd: float | list[float] = 0.1, until: float | None = None):
        self.world, self.sd, self.span = world, reals("sd", sd, 0.0), Span(until)

    def _settle(self, spec: Spec) -> None:
        self._sd, self._step = per_subject("sd", self.sd, spec), spec.quantum
        self._draws = Draws(spec.seeds, "world.noise", (spec.batch, *spec.inputs), "normal", spec.device)

    def next(self, clock: Clock) -> Batch:
        batch = self.world.next(clock)
        sd = self._sd * self.span.lasts(clock)
        if not sd.any():
            return batch
        noise = self._draws.at(clock.experience)[:, : batch.rows]
        x = batch.x + noise * _column(sd, noise)
        if self._step is not None:
            x = torch.where(_column(sd, x) > 0, (x / self._step).round().clamp(0, 255) * self._step, batch.x)
        return batch.with_(x=x)


def _column(numbers: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Numbers [s] as a tensor that broadcasts over [s, …]."""
    return torch.from_numpy(numbers).to(like.dtype).to(like.device).reshape(-1, *[1] * (like.dim() - 1))
