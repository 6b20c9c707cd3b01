"""A temporary sensory deficit: images are blurred or flipped for some days."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, part, setting
from cls_sim.world.base import World
from cls_sim.world.wraps import Seen


class Deficit(Settings, Seen):
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
    derived = frozenset({"_since", "_until", "_step", "_sides"})

    world: World = part(World, kw_only=False)
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
        x = self._seen(batch.x)
        if not spoilt.all():
            who = torch.from_numpy(spoilt).to(x.device)
            x = torch.where(over(who, x), x, batch.x)
        return batch.with_(x=x)

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
