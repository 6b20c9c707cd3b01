"""A sorting line: images of candies, classified by colour."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from cls_sim.core.draws import generator
from cls_sim.core.settings import fixed, setting
from cls_sim.world.protocol import SCENARIOS
from cls_sim.world.stream import Grouped
from cls_sim.world.table import Data

HUES = {"red": 0.0, "blue": 0.61, "green": 0.36, "yellow": 0.15, "violet": 0.79, "orange": 0.07}
COLOURS = tuple(HUES)


class Candies(Grouped):
    """Synthetic images of candies on a belt: red and blue in the first context, one new colour in each later context.

    colours    number of colours, 2 to 6: red, blue, green, yellow, violet, orange, with labels 0, 1, …
    candies    images of each colour, from 10; every subject (line) has different ones
    side       side of an image in pixels, from 8
    variation  variation of colour, light, pose, blur and noise, from 0 (only position and orientation vary)

    An image is side x side pixels of red, green and blue, multiples of 1/255 in [0, 1].  A candy is a domed ellipse
    with a highlight, of varying size, position, orientation, hue, saturation and brightness.  It lies on a grey belt
    under a lamp of varying strength, direction and tint; the camera adds defocus, motion blur and noise.  Everything is
    drawn from the subject's seed, without files.  Further settings as in Stream (`test` is .15 of every colour).

    >>> from cls_sim.core.part import Spec
    >>> spec = Candies(candies=20).setup(Spec(seeds=(0, 1)))
    >>> spec.inputs, spec.outputs, spec.contexts
    ((20, 20, 3), 3, 2)
    """

    colours: int = setting(3, 2, len(COLOURS))
    candies: int = setting(400, 10)
    side: int = setting(20, 8)
    variation: float = setting(1.0, 0.0)
    scenario: str = setting("class", SCENARIOS)
    contexts: int = fixed(0)
    batch: int = setting(20)

    def _ready(self) -> None:
        self.contexts = self.colours - 1
        super()._ready()

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        y = np.repeat(np.arange(self.colours), self.candies)
        hues = np.array(list(HUES.values()))[y]
        x = np.stack([pictures(generator(seed, "candies"), hues, self.side, self.variation) for seed in seeds])
        return Data(x=x, y=y, context=np.maximum(y - 1, 0), quantum=1 / 255, own=True)


def pictures(source: Generator, hues: np.ndarray, side: int, variation: float = 1.0) -> np.ndarray:
    """Random images of candies with these hues [n]: uint8 [n, side, side, 3].

    >>> pictures(np.random.default_rng(0), np.array([0.0, 0.61]), 20)[:, 10, 10].argmax(1).tolist()
    [0, 2]
    """
    n, v = len(hues), variation

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        """Uniform draws [n, *shape], in a range around the middle that shrinks with `variation`."""
        middle = (low + high) / 2
        return (middle + v * (source.random((n, *shape)) - 0.5) * (high - low)).astype(np.float32)

    at = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    rows, columns = (grid[None] for grid in np.meshgrid(at, at, indexing="ij"))
    angle = (np.pi * source.random((n, 1, 1))).astype(np.float32)
    down, right = rows - between(-0.3, 0.3, 1, 1), columns - between(-0.3, 0.3, 1, 1)
    length = between(0.4, 0.65, 1, 1)
    p = (np.cos(angle) * right + np.sin(angle) * down) / length  # along the candy
    q = (np.cos(angle) * down - np.sin(angle) * right) / (length * between(0.55, 0.95, 1, 1))  # across
    inside = 1 / (1 + np.exp(-np.clip((1 - p**2 - q**2) * 6, -30, 30)))  # with a soft edge

    lamp, height = 2 * np.pi * source.random((n, 1, 1)).astype(np.float32), between(0.4, 0.9, 1, 1)
    dome = np.sqrt(np.maximum(1 - p**2 - q**2, 0))
    shade = 0.45 + 0.4 * height * dome + 0.3 * (1 - height) * (np.cos(lamp) * p + np.sin(lamp) * q)
    gleam = between(0.0, 0.8, 1, 1) * np.exp(-((p + 0.4 * np.cos(lamp)) ** 2 + (q + 0.4 * np.sin(lamp)) ** 2) / 0.06)
    hue = hues + v * 0.03 * source.standard_normal(n)
    body = _rgb(hue, np.clip(between(0.45, 1.0), 0, 1), np.clip(between(0.45, 1.0), 0, 1))[:, None, None]
    belt = between(0.15, 0.55, 1, 1, 1) * (1 + 0.15 * v * source.standard_normal((n, 1, side, 1)).astype(np.float32))
    candy = body * shade[..., None] + gleam[..., None]
    image = belt + inside[..., None] * (candy - belt)

    image *= between(0.5, 1.3, 1, 1, 1) * (1 + 0.12 * v * source.standard_normal((n, 1, 1, 3)).astype(np.float32))
    image *= 1 + between(-0.3, 0.3, 1, 1, 1) * columns[..., None]
    focus, smear = np.clip(between(0.0, 1.0, 1, 1, 1), 0, 1), np.clip(between(-1.0, 1.0, 1, 1, 1), 0, 1)
    image += focus * (_blurred(_blurred(image, 1), 2) - image)
    image += smear * (_blurred(_blurred(image, 1), 1) - image)
    image += 0.04 * v * source.standard_normal(image.shape, np.float32)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colours [n, 3] from hue, saturation and value [n], the hue in turns.

    >>> _rgb(np.array([0.0, 1 / 3]), np.ones(2), np.ones(2)).round(6).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    k = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    down = np.clip(np.minimum(k, 4 - k), 0, 1)
    return (value[:, None] * (1 - saturation[:, None] * down)).astype(np.float32)


def _blurred(image: np.ndarray, axis: int) -> np.ndarray:
    """Images [n, side, side, 3] smoothed along one axis, (1, 2, 4, 2, 1) / 10; edges are repeated."""
    width = [(2, 2) if i == axis else (0, 0) for i in range(4)]
    wide, side = np.pad(image, width, mode="edge"), image.shape[axis]
    parts = [np.take(wide, range(i, i + side), axis) for i in range(5)]
    return sum(w * part for w, part in zip((0.1, 0.2, 0.4, 0.2, 0.1), parts, strict=True)).astype(np.float32)  # pyright: ignore
