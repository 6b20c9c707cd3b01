"""Interventions on the world: noisy experience, wrong labels, a sensory deficit."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, over, updated
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Temporary, Wrap
from cls_sim.world.base import World


class Seen(Settings, Wrap, World):
    """A wrap around a world; what it does not define, such as evaluations and revisited data, does not change."""

    inside = "world"
    null = None
    world: World = part(World, kw_only=False)


class NoisyWorld(Temporary, Seen):
    """Add noise to the inputs of experience, x + sd · ε with ε ~ N(0, 1); evaluations do not change.

    world  the world
    sd     standard deviation from 0, in units of the inputs; one number, or one per subject
    until  age in days at which the noise ends; None: never

    If inputs are multiples of a quantum, noisy ones are, too, within the same range.

    >>> from cls_sim.world.teacher import Teacher
    >>> world = NoisyWorld(Teacher(items=4, features=3), sd=0.5)
    >>> _ = world.setup(Spec(seeds=(0, 1)))
    >>> lived = world.next(Clock(2, 1)).x
    >>> lived.shape, bool((lived == world.train().x).any())
    (torch.Size([2, 4, 3]), False)
    """

    inside, null = "world", {"sd": 0.0}

    sd: float | list[float] = setting(0.1, 0.0)

    def _settle(self, spec: Spec) -> None:
        self._sd, self._step = per_subject("sd", self.sd, spec), spec.quantum
        self._draws = Draws(spec.seeds, "world.noise", (spec.batch, *spec.inputs), "normal", spec.device)

    def next(self, clock: Clock, *actions: Tensor) -> Batch:
        batch = self.world.next(clock, *actions)
        sd = self._sd * self.span.lasts(clock)
        if not sd.any():
            return batch
        noise = self._draws.at(clock.experience)[:, : batch.rows]
        strength = over(torch.from_numpy(sd).to(noise), noise)
        x = batch.x + noise * strength
        if self._step is not None:
            x = torch.where(strength > 0, (x / self._step).round().clamp(0, 255) * self._step, batch.x)
        return batch.with_(x=x)


class Mislabelled(Temporary, Seen):
    """Replace labels of experience by wrong ones, drawn for each row; evaluations do not change.

    world     the world
    fraction  0 to 1, share of the rows with a wrong label
    until     age in days at which the labels are right again; None: never

    Wrong labels are drawn from the subject's seed, uniformly from all other labels of the world.  Raises ConfigError in
    regression.

    >>> from cls_sim.world.digits import Digits
    >>> world = Mislabelled(Digits())
    >>> _ = world.setup(Spec(seeds=(0, 1)))
    >>> bool((world.next(Clock(2, 1)).y == world.world.next(Clock(2, 1)).y).any())
    False
    """

    inside, null = "world", {"fraction": 0.0}

    fraction: float = setting(1.0, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        if spec.regression or spec.outputs < 2:
            raise ConfigError("world", "has only one class", "use a world with two classes or more")
        self._outputs = spec.outputs
        self._draws = Draws(spec.seeds, "world.mislabelled", (2, spec.batch), "uniform", spec.device)

    def next(self, clock: Clock, *actions: Tensor) -> Batch:
        batch = self.world.next(clock, *actions)
        if not (now := self.span.lasts(clock)).any():
            return batch
        lasts = torch.from_numpy(now).to(batch.y.device)
        which, other = self._draws.at(clock.experience)[:, :, : batch.rows].unbind(1)
        wrong = (batch.y + 1 + (other * (self._outputs - 1)).long()) % self._outputs
        return batch.with_(y=torch.where(lasts[:, None] & (which < self.fraction), wrong, batch.y))


class Deficit(Seen):
    """A sensory deficit: for some days, the images of experience are degraded; evaluations are not.

    kind = "blur"  blocks of `blocks` x `blocks` pixels are replaced by their mean
    kind = "flip"  images are turned upside down: the same information in other places

    world   the world; images [height, width], or flat square images
    kind    blur or flip
    since   age in days at which the deficit begins, from 0; one number, or one per subject
    until   age in days at which the deficit ends; one number, or one per subject
    blocks  side of the blocks in pixels, from 1 (no blur)

    If inputs are multiples of a quantum, degraded ones are, too.

    Source: Achille, Rovere & Soatto (2019), Critical learning periods in deep networks.

    >>> from cls_sim.world.digits import Digits
    >>> world = Deficit(Digits(), until=1.0)
    >>> _ = world.setup(Spec(seeds=(0,)))
    >>> clear, blurred = world.evaluation(0).x, world.next(Clock(1, 10)).x
    >>> blurred.shape, int(blurred[0, 0].unique().numel()) <= 4
    (torch.Size([1, 32, 64]), True)
    """

    inside, null = "world", {"until": 0.0}

    kind: str = setting("blur", ("blur", "flip"))
    since: float | list[float] = setting(0.0, 0.0)
    until: float | list[float] = setting(0.0, 0.0)
    blocks: int = setting(4)

    def _settle(self, spec: Spec) -> None:
        self._since, self._until = per_subject("since", self.since, spec), per_subject("until", self.until, spec)
        self._step, self._sides = spec.quantum, _sides(spec.inputs)
        if self.kind == "blur" and any(side % self.blocks for side in self._sides):
            raise ConfigError("blocks", f"{self.blocks} does not divide images of {self._sides}", "give a divisor")

    def next(self, clock: Clock, *actions: Tensor) -> Batch:
        batch = self.world.next(clock, *actions)
        spoilt = (clock.day >= self._since) & (clock.day < self._until)
        if not spoilt.any():
            return batch
        return batch.with_(x=updated(spoilt, self._seen(batch.x), batch.x))

    def _seen(self, x: Tensor) -> Tensor:
        image = x.reshape(*x.shape[:2], -1, *self._sides)
        if self.kind == "flip":
            return image.flip(-2).reshape(x.shape)
        k = self.blocks
        small = image.unflatten(-2, (-1, k)).unflatten(-1, (-1, k)).mean((-3, -1))
        if self._step is not None:
            small = (small / self._step).round() * self._step
        return small.repeat_interleave(k, -2).repeat_interleave(k, -1).reshape(x.shape)


def _sides(inputs: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an image [..., height, width], or of a flat square image.

    >>> _sides((64,)), _sides((3, 32, 32))
    ((8, 8), (32, 32))
    """
    if len(inputs) > 1:
        return inputs[-2], inputs[-1]
    side = math.isqrt(int(np.prod(inputs)))
    if side**2 != int(np.prod(inputs)):
        raise ConfigError("world", f"sends inputs {inputs} that are not images", "use a world of images")
    return side, side
