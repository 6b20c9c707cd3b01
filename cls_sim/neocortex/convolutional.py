"""Convolutional neocortices for images: a slim ResNet-18 and a network of four convolutions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cls_sim.core.errors import ConfigError, several, whole
from cls_sim.core.part import Spec, image_shape
from cls_sim.core.settings import Settings, setting
from cls_sim.neocortex.module import Module

NORMS = ("batch", "group", "none")


class Convolutional(Settings, Module):
    """A network for images [c, h, w], [h, w], or flat and square, [h · h]; each subject has its own weights.

    With `apart`, a learning step normalises the rows of experience by their own statistics and then the replayed rows
    by theirs, as two forward passes would; without, all rows by the statistics of all.
    """

    norm: str = setting("batch", NORMS)
    mean: float | list[float] = setting(0.5)
    std: float | list[float] = setting(0.25, 0.0, open_low=True)
    apart: bool = setting(False)

    def setup(self, spec: Spec) -> Spec:
        shape = image_shape(spec.inputs)
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if isinstance(numbers, list) and len(numbers) != shape[0]:
                raise ConfigError(name, f"has {len(numbers)} numbers for {shape[0]} channels", "give one for each")
        self.module = lambda: nn.Sequential(_Scaled(shape, self.mean, self.std), *self._layers(shape, spec.outputs))
        return super().setup(spec)

    @abstractmethod
    def _layers(self, inputs: tuple[int, ...], outputs: int) -> list[nn.Module]:
        """The layers of one network after the scaling of its inputs."""

    def _normed(self, channels: int) -> list[nn.Module]:
        groups = next((n for n in (8, 5, 4, 3, 2) if channels % n == 0 and channels > n), 1)  # of two maps at least
        made = {"batch": lambda: nn.BatchNorm2d(channels), "group": lambda: nn.GroupNorm(groups, channels)}
        return [made[self.norm]()] if self.norm in made else []


class SlimResNet18(Convolutional):
    """ResNet-18 with few feature maps: the network of GEM, MIR and ER-ACE, about 1.09 million weights at width 20.

    width  feature maps of the first stage, from 1; the later stages have 2, 4 and 8 times as many
    norm   batch, group or none: the normalisation after each convolution
    mean   mean of the inputs, subtracted first: a number, or one per channel
    std    standard deviation of the inputs, above 0, by which they are then divided: a number, or one per channel
    apart  whether batch normalisation treats rows of experience and replayed rows apart, as two forward passes do

    x ← (x - mean) / std; a 3 x 3 convolution; four stages of two residual blocks, h ← relu(h + f(h)), the last three of
    which halve height and width; the mean over all pixels (the features, [s, b, 8 · width]); a linear readout.

    Raises ConfigError for settings out of range, and in `setup` for inputs that are not images.

    Source: He, Zhang, Ren & Sun 2016; Lopez-Paz & Ranzato 2017 (the slim version).

    >>> cortex = SlimResNet18(width=2)
    >>> cortex.setup(Spec(seeds=(0, 1), inputs=(3, 32, 32), outputs=10)).features
    16
    """

    width: int = setting(20)

    def _layers(self, inputs: tuple[int, ...], outputs: int) -> list[nn.Module]:
        w = self.width
        layers: list[nn.Module] = [nn.Conv2d(inputs[0], w, 3, padding=1, bias=False), *self._normed(w), nn.ReLU()]
        before = w
        for stage in range(4):
            maps = w * 2**stage
            for stride in (2 if stage else 1, 1):
                layers.append(_Block(self._normed, before, maps, stride))
                before = maps
        return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, outputs)]


class Cnn4(Convolutional):
    """Four 3 x 3 convolutions, each followed by normalisation, relu and a 2 x 2 maximum (while pixels are left).

    channels  feature maps of the convolutions, from 1 each
    norm      batch, group or none: the normalisation after each convolution
    mean      mean of the inputs, subtracted first: a number, or one per channel
    std       standard deviation of the inputs, above 0, by which they are then divided: a number, or one per channel
    apart     whether batch normalisation treats rows of experience and replayed rows apart, as two forward passes do

    The features are the last maps, flattened.  Raises ConfigError for settings out of range, and in `setup` for inputs
    that are not images.

    Source: Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016 (four equal blocks of 64 maps).

    >>> cortex = Cnn4(channels=[4, 4, 4, 4])
    >>> cortex.setup(Spec(seeds=(0, 1), inputs=(3, 32, 32), outputs=10)).features
    16
    """

    channels: Sequence[int] = setting(
        (32, 64, 64, 128), "four numbers", "[32, 64, 64, 128]", whole, check=several, least=4
    )

    def _layers(self, inputs: tuple[int, ...], outputs: int) -> list[nn.Module]:
        layers, (before, height, breadth) = list[nn.Module](), inputs
        for maps in self.channels:
            convolution = nn.Conv2d(before, maps, 3, padding=1, bias=self.norm == "none")
            layers += [convolution, *self._normed(maps), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            before, height, breadth = maps, -(-height // 2), -(-breadth // 2)
        return [*layers, nn.Flatten(), nn.Linear(before * height * breadth, outputs)]


class _Block(nn.Module):
    """relu(g(x) + f(x)): f two convolutions, g the identity, or a 1 x 1 convolution where the size changes."""

    def __init__(self, normed: Callable[[int], list[nn.Module]], before: int, maps: int, stride: int):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(before, maps, 3, stride, 1, bias=False),
            *normed(maps),
            nn.ReLU(),
            nn.Conv2d(maps, maps, 3, padding=1, bias=False),
            *normed(maps),
        )
        same = stride == 1 and before == maps
        self.g = nn.Sequential(*([] if same else [nn.Conv2d(before, maps, 1, stride, bias=False), *normed(maps)]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.f(x) + self.g(x))


class _Scaled(nn.Module):
    """(x - mean) / std of images [b, c, h, w], [b, h, w] or [b, h · w]: [b, c, h, w]."""

    def __init__(self, shape: tuple[int, ...], mean: float | list[float], std: float | list[float]):
        super().__init__()
        self.shape = shape
        self.mean: Tensor
        self.std: Tensor
        for name, numbers in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(numbers).expand(shape[0]).reshape(-1, 1, 1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return (x.reshape(-1, *self.shape) - self.mean) / self.std
