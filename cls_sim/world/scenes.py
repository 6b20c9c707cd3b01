"""Scenes made of familiar parts: every scene is new, and its parts are not."""

from __future__ import annotations

import numpy as np

from cls_sim.core.draws import generator
from cls_sim.core.settings import setting
from cls_sim.world.stream import Grouped
from cls_sim.world.table import Data


class Scenes(Grouped):
    """Scenes with several areas, each of which shows one of a few prototypes; binary inputs.

        x = (p_1, …, p_A),  p_a one of the `prototypes` of area a, each unit flipped with probability `noise`

    areas       A, number of areas, from 2
    prototypes  K, number of prototypes of each area, from 2: K^A scenes are possible
    units       units of an area; a prototype is active in each with probability ½
    scenes      scenes of each context, from 2 K
    noise       0 to 1, probability that a unit is flipped
    contexts    number of contexts; each has other prototypes

    Inputs x [s, b, areas · units] are 0 or 1, and the label is the prototype in the first area, 0 to K - 1.  Prototypes
    and scenes are drawn for each subject.  Further settings as in Stream (`test` is .15 of each context).

    Source: the areas of the neocortex in Káli & Dayan 2004, Nature Neuroscience 7, 286 (our statistics).

    >>> from cls_sim.core.part import Spec
    >>> world = Scenes(contexts=2, areas=3, units=5)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.inputs, spec.outputs, world.evaluation(0).x.unique().tolist()
    ((15,), 6, [0.0, 1.0])
    """

    areas: int = setting(5, 2)
    prototypes: int = setting(6, 2)
    units: int = setting(12)
    scenes: int = setting(1000, lambda world: 2 * world.prototypes)
    noise: float = setting(0.0, 0.0, 1.0)

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        label = np.tile(np.arange(self.scenes) % self.prototypes, self.contexts)
        return Data(
            x=np.stack([self._drawn(seed, label) for seed in seeds]),
            y=label.astype(np.int64),
            context=np.repeat(np.arange(self.contexts), self.scenes),
            quantum=1.0,
            own=True,
        )

    def _drawn(self, seed: int, label: np.ndarray) -> np.ndarray:
        """The scenes of one subject, context by context: uint8 [n, areas · units]."""
        source, n = generator(seed, "scenes"), self.contexts * self.scenes
        known = source.random((self.contexts, self.areas, self.prototypes, self.units)) < 0.5
        which = source.integers(0, self.prototypes, (n, self.areas))
        which[:, 0] = label
        shown = known[np.repeat(np.arange(self.contexts), self.scenes)[:, None], np.arange(self.areas), which]
        return (shown ^ (source.random(shown.shape) < self.noise)).reshape(n, -1).astype(np.uint8)
