"""Data augmentation of replayed rows, against overfitting to rehearsed memories."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, cosine_similarity, grid_sample

from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws
from cls_sim.core.errors import flag, real, refuse_if, whole
from cls_sim.core.part import Spec, View, image_shape
from cls_sim.core.settings import setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay, Within


class Altered(Within):
    """A policy whose replayed rows are altered, asleep and awake; rows of experience are unchanged."""

    stream: ClassVar[str]  # names the random numbers: never change it, or all lives with this policy change

    def _settle(self, spec: Spec) -> None:
        self.spec, self._draws = spec, {}

    @abstractmethod
    def alter(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        """The batch with all rows altered; random numbers are those of this part (night or day) and tick."""

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        return self.alter(self.policy.draw(hippocampus, neocortex, view, clock), "night", clock.replay)

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        batch = self.policy.training_batch(lived, hippocampus, neocortex, view, clock)
        if batch is lived:
            return batch
        altered = self.alter(batch, "day", clock.experience)
        here = batch.source == LIVED
        x = torch.where(here.view(*here.shape, *[1] * (batch.x.ndim - 2)), batch.x, altered.x)
        if altered.scores is None or altered.scores is batch.scores:
            return altered.with_(x=x)
        old = torch.full_like(altered.scores, torch.nan) if batch.scores is None else batch.scores
        return altered.with_(x=x, scores=torch.where(here[..., None], old, altered.scores))

    def _lots(
        self, name: str, part: str, ticks: np.ndarray, batch: Batch, shape: tuple[int, ...], kind: str = "uniform"
    ) -> Tensor:
        """Random numbers [s, b, *shape] for this purpose and the rows of this batch."""
        if (name, part) not in self._draws:
            purpose = f"replay.{self.stream}.{name}.{part}"
            self._draws[name, part] = BatchDraws(self.spec.seeds, purpose, kind, self.spec.device)
        return self._draws[name, part].at(ticks, (batch.rows, *shape), sizes=batch.sizes)


class Augmented(Altered):
    """Replayed images are randomly translated, rotated, scaled and made noisy.

    policy               the policy that chooses the rows
    translation          largest translation in pixels, in each direction, from 0
    rotation             largest rotation in degrees, in each direction, from 0 to 180
    scaling              from 0 to 0.99; the scale factor lies between 1 - scaling and 1 + scaling
    noise                standard deviation of Gaussian noise added to each input, from 0
    min_autocorrelation  from -1 to 1; only images whose autocorrelation is at least this large are moved (the mean of
                         Pearson's r with the image shifted by one pixel to the side and by one pixel down).  -1: all
                         images are moved

    The parameters of each row are drawn anew, uniformly.  Images are interpolated linearly and padded with 0.  Digits
    have an autocorrelation of .5 to .9; with permuted pixels it is within .1 of 0.

    Raises ConfigError in `setup` if images are to be moved and inputs are not square images (flat or not).

    Source: augmentation of rehearsed images, Buzzega et al. 2021.

    >>> from cls_sim.replay.stored import Uniform
    >>> Augmented(Uniform(batch=8), translation=1.0).setup(Spec(inputs=(64,))).subjects
    1
    """

    inside, null = "policy", {"translation": 0.0, "rotation": 0.0, "scaling": 0.0, "noise": 0.0}
    stream = "augmented"

    translation: float = setting(1.0, 0.0)
    rotation: float = setting(10.0, 0.0, 180.0)
    scaling: float = setting(0.1, 0.0, 0.99)
    noise: float = setting(0.0, 0.0)
    min_autocorrelation: float = setting(-1.0, -1.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        side, moves = _side(spec), self.translation or self.rotation or self.scaling
        reason = f"needs square images, and inputs are {spec.inputs}"
        refuse_if(moves and side is None, "translation", reason, "set translation, rotation and scaling to 0")
        self._side = side or 1

    def alter(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        x = batch.x
        if self.translation or self.rotation or self.scaling:
            lots = 2 * self._lots("move", part, ticks, batch, (4,)).to(x.dtype) - 1
            how = (self.translation, self.rotation, self.scaling, self.min_autocorrelation)
            x = _moved(x, lots, self._side, *how)
        if self.noise:
            x = x + self.noise * self._lots("noise", part, ticks, batch, tuple(x.shape[2:]), "normal")
        return batch.with_(x=x)


def _moved(
    x: Tensor, lots: Tensor, side: int, translation: float, rotation: float, scaling: float, least: float
) -> Tensor:
    """Images moved by random numbers [s, b, 4] in (-1, 1): translation (2), rotation and scaling (see Augmented)."""
    s, b = x.shape[:2]
    turn, size = lots[..., 2] * math.radians(rotation), 1 + lots[..., 3] * scaling
    cos, sin = turn.cos() / size, turn.sin() / size
    away = lots[..., :2] * (2 * translation / side)
    grid = torch.stack((cos, -sin, away[..., 0], sin, cos, away[..., 1]), -1).view(s * b, 2, 3)
    images = x.reshape(s * b, -1, side, side)
    moved = grid_sample(images, affine_grid(grid, list(images.shape), align_corners=False), align_corners=False)
    if least > -1:
        moved = torch.where((likeness(images) >= least)[:, None, None, None], moved, images)
    return moved.view_as(x)


class Jittered(Altered):
    """Replayed rows are shifted, rotated and scaled a little, if they are square images that tolerate it.

    policy               the policy that chooses the rows
    shift                largest translation as a share of the side of an image, in each direction, from 0
    rotation             largest rotation in degrees, in each direction, from 0 to 180
    scaling              from 0 to 0.99; the scale factor lies between 1 - scaling and 1 + scaling
    min_autocorrelation  from -1 to 1; an image tolerates it if its autocorrelation is at least this large (see
                         Augmented).  Handwritten digits of 28 × 28 pixels do, digits of 8 × 8 pixels mostly do not, and
                         images with permuted pixels never do

    The same as Augmented in settings that suit images of any size; rows of other inputs are unchanged, and no input is
    refused.

    Source: augmentation of rehearsed images, Buzzega et al. 2021; the test of each image is ours.

    >>> from cls_sim.replay.stored import Uniform
    >>> Jittered(Uniform(batch=8)).setup(Spec(inputs=(13,))).subjects
    1
    """

    inside, null = "policy", {"shift": 0.0, "rotation": 0.0, "scaling": 0.0}
    stream = "jittered"

    shift: float = setting(0.054, 0.0)
    rotation: float = setting(9.0, 0.0, 180.0)
    scaling: float = setting(0.09, 0.0, 0.99)
    min_autocorrelation: float = setting(0.6, -1.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        side = _side(spec)
        self._side = 0 if side is None or side < 2 or not (self.shift or self.rotation or self.scaling) else side

    def alter(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        if not self._side:
            return batch
        lots = 2 * self._lots("move", part, ticks, batch, (4,)).to(batch.x.dtype) - 1
        shift = self.shift * self._side
        moved = _moved(batch.x, lots, self._side, shift, self.rotation, self.scaling, self.min_autocorrelation)
        return batch.with_(x=moved)


def _side(spec: Spec) -> int | None:
    """The side of square images, flat or not; None: inputs are not square images."""
    pixels = math.prod(spec.inputs[-2:])
    side = math.isqrt(pixels)
    return side if side**2 == pixels and spec.inputs[-1] in (pixels, side) else None


def likeness(images: Tensor) -> Tensor:
    """Spatial autocorrelation [n] of images [n, c, h, w]: the mean of Pearson's r at a shift of one pixel, both ways.

    It is 0 for an image without contrast.

    >>> likeness(torch.tensor([[[[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]]])).item()
    0.75
    """
    beside = _pearson(images[..., 1:], images[..., :-1])
    return (beside + _pearson(images[..., 1:, :], images[..., :-1, :])) / 2


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r [n] of each image [n, ...] of a with the same image of b."""
    a, b = a.flatten(1), b.flatten(1)
    return cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1)


class CropFlip(Altered):
    """Photographs are shifted by whole pixels, mirrored and changed in colour, as replayed and as experienced.

    policy  the policy that chooses the rows
    crop    largest shift in pixels, in each direction, from 0: a random crop of the image padded with zeros
    flip    0 to 1, probability of a mirror image
    colour  0 to 1, largest change of brightness, contrast and saturation, as a share; values are not clipped
    lived   whether the cortex also sees the rows of experience altered (the hippocampus stores them unaltered)

    For each row, with u uniform in (-1, 1): shift = round(crop · u) in both directions; then, for grey g (the mean of
    the channels) and m (the mean of the image), x ← g + (1 + colour · u) (x - g), x ← m + (1 + colour · u) (x - m),
    x ← (1 + colour · u) x.  The draws depend on the subject's seed, the tick and the row.

    Raises ConfigError for settings out of range, and in `setup` for inputs that are not images [c, h, w], [h, w] or
    flat and square.

    Source: He, Zhang, Ren & Sun 2016 (crop and mirror); Caccia et al. 2022 (in online continual learning).

    >>> from cls_sim.replay.stored import Uniform
    >>> CropFlip(Uniform(batch=8), crop=4).setup(Spec(inputs=(3, 32, 32))).inputs
    (3, 32, 32)
    """

    inside, null = "policy", {"crop": 0, "flip": 0.0, "colour": 0.0}
    stream = "photographs"

    def __init__(self, policy: Replay, *, crop: int = 4, flip: float = 0.5, colour: float = 0.0, lived: bool = True):
        super().__init__(policy)
        self.crop, self.flip = whole("crop", crop, 0), real("flip", flip, 0.0, 1.0)
        self.colour, self.lived = real("colour", colour, 0.0, 1.0), flag("lived", lived)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        if self.crop or self.flip or self.colour:
            self._shape = image_shape(spec.inputs)

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        if not self.lived:
            return super().training_batch(lived, hippocampus, neocortex, view, clock)
        batch = self.policy.training_batch(lived, hippocampus, neocortex, view, clock)
        return self.alter(batch, "day", clock.experience)

    def alter(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        if not (self.crop or self.flip or self.colour):
            return batch
        lots = self._lots("photograph", part, ticks, batch, (6,)).to(batch.x.dtype).flatten(0, 1)
        x = self._shifted(batch.x.reshape(-1, *self._shape), lots)
        if self.colour:
            share = (1 + self.colour * (2 * lots[:, 3:] - 1)).view(-1, 3, 1, 1, 1).unbind(1)
            x = torch.lerp(x.mean(1, keepdim=True), x, share[0])
            x = share[2] * torch.lerp(x.mean((1, 2, 3), keepdim=True), x, share[1])
        return batch.with_(x=x.view(batch.x.shape))

    def _shifted(self, images: Tensor, lots: Tensor) -> Tensor:
        """Images [n, c, h, w], shifted and mirrored by random numbers [n, 3 and more] in [0, 1)."""
        (n, c, h, w), device = images.shape, images.device
        shift = (lots[:, :2] * (2 * self.crop + 1)).floor().long() - self.crop
        row = torch.arange(h, device=device) + shift[:, :1]
        column = torch.arange(w, device=device) + shift[:, 1:]
        column = torch.where(lots[:, 2:3] < self.flip, column.flip(1), column)
        inside = ((row >= 0) & (row < h))[:, :, None] & ((column >= 0) & (column < w))[:, None]
        at = row.clamp(0, h - 1)[:, :, None] * w + column.clamp(0, w - 1)[:, None]
        taken = images.reshape(n, c, h * w).gather(2, at.view(n, 1, -1).expand(-1, c, -1)).view(n, c, h, w)
        return taken * inside[:, None]


class Mixup(Altered):
    """Mixup of replayed rows: x ← λ x + (1 - λ) x', and their answers in the same proportions.

    policy     the policy that chooses the rows
    max_share  in (0, 0.5]; λ is uniform between 1 - max_share and 1

    The partner x' is a random other row of the same step.  The mixed labels are soft targets log(λ y + (1 - λ) y'), for
    the objective DistillationLoss(temperature=1); in regression the targets themselves are mixed.

    Source: Zhang, Cisse, Dauphin & Lopez-Paz 2018 (there λ comes from a beta distribution).

    >>> from cls_sim.replay.stored import Uniform
    >>> Mixup(Uniform(batch=8), max_share=0.3).max_share
    0.3
    """

    null, stream = None, "blended"

    max_share: float = setting(0.5, 0.0, 0.5, open_low=True)

    def alter(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        lots = self._lots("pair", part, ticks, batch, (2,))
        there = batch.present() & (batch.source != LIVED)
        order = torch.where(there, lots[..., 0], 2.0).argsort(1)  # rows that are present, in random order
        sizes = np.full(len(order), batch.rows) if batch.sizes is None else np.maximum(batch.sizes, 1)
        before = torch.from_numpy((np.arange(batch.rows) - 1) % sizes[:, None]).to(order.device)
        partner = torch.empty_like(order).scatter_(1, order, order.gather(1, before))
        rows = torch.arange(len(order), device=order.device)[:, None]
        share = torch.where(there & there[rows, partner], self.max_share * lots[..., 1], 0.0).to(batch.x.dtype)
        x = torch.lerp(batch.x, batch.x[rows, partner], share.view(*share.shape, *[1] * (batch.x.ndim - 2)))
        if self.spec.regression:
            return batch.with_(x=x, y=torch.lerp(batch.y, batch.y[rows, partner], share[..., None].to(batch.y.dtype)))
        label = (batch.y[..., None] == torch.arange(self.spec.outputs, device=x.device)).to(x.dtype)
        mixed = torch.lerp(label, label[rows, partner], share[..., None])
        return batch.with_(x=x, scores=mixed.clamp(min=1e-9).log())
