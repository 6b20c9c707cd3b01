"""Codes: the formats in which the content of episodes is stored."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

from cls_sim.core.arrays import Counts
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if, whole
from cls_sim.core.part import Part, Spec


class Code(Part):
    """Encodes inputs as the content of a slot, and decodes them, exactly or approximately.

    kind    dtype of the content
    width   number of elements for each episode
    learns  whether what it writes depends on the rows that a subject has stored (`meet`)
    """

    kind: torch.dtype
    width: int
    learns: bool = False

    def meet(self, x: Tensor, stored: Tensor) -> None:
        """Learn from the inputs [s, b, x] of the rows that are about to be stored (bool [s, b])."""

    @abstractmethod
    def write(self, x: Tensor) -> Tensor:
        """Inputs [s, b, x] as contents [s, b, width]."""

    @abstractmethod
    def read(self, content: Tensor) -> Tensor:
        """Contents [s, b, width] as inputs [s, b, x], float32."""

    def through(self, x: Tensor) -> Tensor:
        """Inputs [s, b, x] as they come back from this memory."""
        return self.read(self.write(x))

    def episode_bytes(self) -> int | Counts:
        """Bytes of the content of an episode: one number, or one for each subject [s]."""
        return self.width * self.kind.itemsize

    def common_bytes(self) -> int | Counts:
        """Bytes of a subject that all of its episodes share: one number, or one for each subject [s]."""
        return 0


class Plain(Code):
    """All numbers as float32."""

    kind = torch.float32

    def setup(self, spec: Spec) -> Spec:
        self.width = int(torch.Size(spec.inputs).numel())
        return super().setup(spec)

    def write(self, x: Tensor) -> Tensor:
        return x

    def read(self, content: Tensor) -> Tensor:
        return content


class Levels(Plain):
    """Multiples of the world's quantum, one byte a number: exact."""

    kind = torch.uint8

    def write(self, x: Tensor) -> Tensor:
        return (x * (1 / (self.spec.quantum or 1))).round_().to(torch.uint8)

    def read(self, content: Tensor) -> Tensor:
        return content * float(self.spec.quantum or 1)  # bytes times a number: float32


class Coarse(Code):
    """Store images at a lower resolution with few grey levels: coarse copies.

        z = round((2^bits - 1) · mean of x over each scale × scale field),    x' = bilinear interpolation of z

    scale  side of a field in pixels, from 1; the image is cut into ⌈side / scale⌉ fields along each side
    bits   1, 2, 4 or 8 for each field: 2^bits grey levels from 0 to 1

    A 28 × 28 image at scale 2 and 1 bit takes 25 bytes instead of 784.  Inputs are clipped to 0 … 1.  Raises
    ConfigError for inputs that are not images with one channel (a square image may be flat).

    A coarse copy has content.  It is not an index, which has none and points to a cortical pattern (Teyler & DiScenna
    1986; see Indexed, and Index for the codes of CA3).

    >>> code = Coarse(scale=2, bits=1)
    >>> _ = code.setup(Spec(inputs=(4, 4)))
    >>> x = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]).view(1, 1, 16)
    >>> code.width, code.write(x).tolist()
    (1, [[[9]]])
    """

    kind = torch.uint8

    def __init__(self, *, scale: int = 2, bits: int = 1):
        self.scale, self.bits = whole("scale", scale), whole("bits", bits, 1, 8)
        refuse_if(8 % self.bits, "bits", f"{bits} does not divide 8", "give 1, 2, 4 or 8")

    def setup(self, spec: Spec) -> Spec:
        sides = [side for side in spec.inputs if side > 1]
        if len(sides) == 1 and math.isqrt(sides[0]) ** 2 == sides[0]:
            sides = [math.isqrt(sides[0])] * 2  # a flat square image
        refuse_if(len(sides) != 2, "code", f"is for images, and inputs are {list(spec.inputs)}", "use another code")
        self._image = (sides[0], sides[1])
        self._fields = (-(-sides[0] // self.scale), -(-sides[1] // self.scale))
        self.width = -(-self._fields[0] * self._fields[1] * self.bits // 8)
        self._shifts = torch.arange(0, 8, self.bits, device=spec.device)
        return super().setup(spec)

    def write(self, x: Tensor) -> Tensor:
        s, b = x.shape[:2]
        fields = adaptive_avg_pool2d(x.reshape(s * b, 1, *self._image), self._fields).view(s, b, -1)
        level = fields.clamp_(0, 1).mul_(2**self.bits - 1).round_().long()
        spare = self.width * 8 // self.bits - level.shape[2]
        level = torch.cat((level, level.new_zeros(s, b, spare)), 2).view(s, b, self.width, -1)
        return (level << self._shifts).sum(3).to(torch.uint8)

    def read(self, content: Tensor) -> Tensor:
        s, b = content.shape[:2]
        level = (content.long()[..., None] >> self._shifts) & (2**self.bits - 1)
        count = self._fields[0] * self._fields[1]
        fields = level.view(s, b, -1)[..., :count].float().div_(2**self.bits - 1)
        image = interpolate(fields.reshape(s * b, 1, *self._fields), self._image, mode="bilinear", align_corners=False)
        return image.view(s, b, -1).clamp_(0, 1)  # because interpolation rounds beyond 0 and 1


class NGrams(Code):
    """Store which n-grams an input holds, one bit each; reading applies the weights of the current time.

        read(content)_j = content_j w_j(t) / ‖ content · w(t) ‖,    w [s, x] the weights that the world gives at time t

    A text is stored as the n-grams that it holds (width / 8 bytes) and encoded again at every recall.  Raises
    ConfigError if the world does not weight its inputs (see Texts).

    >>> code = NGrams()
    >>> _ = code.setup(Spec(inputs=(8,), input_weights=lambda clock: torch.tensor([[3.0, 4, 1, 1, 1, 1, 1, 1]])))
    >>> code.attach(code.spec, Clock(1, 1))
    >>> code.read(code.write(torch.tensor([[[0.7, 0.7, 0, 0, 0, 0, 0, 0]]])))[0, 0, :3].tolist()
    [0.6000000238418579, 0.800000011920929, 0.0]
    """

    kind = torch.uint8

    def setup(self, spec: Spec) -> Spec:
        size = int(torch.Size(spec.inputs).numel())
        if spec.input_weights is None or size % 8:
            raise ConfigError("code", "needs a world of texts with weighted n-grams", "give null")
        self.width = size // 8
        self._places = 2 ** torch.arange(8, device=spec.device, dtype=torch.uint8)
        byte = torch.arange(256, device=spec.device)
        self._bits = ((byte[:, None] >> torch.arange(8, device=spec.device)) & 1).float()  # [256, 8]
        return super().setup(spec)

    def attach(self, spec: Spec, clock: Clock) -> None:
        self._clock = clock

    def write(self, x: Tensor) -> Tensor:
        held = (x > 0).view(*x.shape[:2], self.width, 8)
        return (held * self._places).sum(3, dtype=torch.uint8)

    def read(self, content: Tensor) -> Tensor:
        return self.weighed(content, slice(None))

    def weighed(self, content: Tensor, who: Any) -> Tensor:
        """The inputs of some subjects, an index of the first axis: contents [g, b, width] as [g, b, x]."""
        assert self.spec.input_weights is not None
        held = self._bits.index_select(0, content.flatten().int()).unflatten(0, content.shape).flatten(2)
        return normalize(held.mul_(self.spec.input_weights(self._clock)[who][:, None]), dim=2)
