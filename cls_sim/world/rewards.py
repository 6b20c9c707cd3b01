"""Rules of reward: what a subject finds at a goal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import ConfigError, real, reals, several
from cls_sim.core.part import Part, Spec
from cls_sim.core.settings import Settings, setting


class Rewards(Part):
    """A rule of reward in a `Maze`."""

    @abstractmethod
    def found(self, goal: Tensor, clock: Clock) -> Tensor:
        """The reward of each subject that reaches a goal with this number (int64 [s], from 0): float [s]."""


class ByLot(Settings, Rewards):
    """A reward of one of several mean sizes, drawn by lot each time, with noise: r = max(0, m + sd ε), ε ~ N(0, 1).

    means  the sizes m, from 0, equally likely
    sd     from 0

    >>> rule, clock = ByLot(means=[1.0, 4.0], sd=0.0), Clock(subjects=3, per_day=1)
    >>> _ = rule.setup(Spec(seeds=(0, 1, 2)))
    >>> set(rule.found(torch.zeros(3, dtype=torch.int64), clock).tolist()) <= {1.0, 4.0}
    True
    """

    derived = frozenset({"_lot", "_noise", "_means"})

    means: Sequence[float] = setting((1.0,), "sizes", "[1.0]", real, 0.0, check=several, least=1)
    sd: float = setting(0.1, 0.0)

    def setup(self, spec: Spec) -> Spec:
        self._lot = Draws(spec.seeds, "world.reward", (1,), device=spec.device)
        self._noise = Draws(spec.seeds, "world.reward.noise", (1,), "normal", spec.device)
        self._means = torch.tensor(self.means, device=spec.device)
        return spec

    def found(self, goal: Tensor, clock: Clock) -> Tensor:
        size = self._means[(self._lot.at(clock.experience)[:, 0] * len(self.means)).long()]
        return (size + self.sd * self._noise.at(clock.experience)[:, 0]).clamp(min=0.0)


class AtGoals(Rewards):
    """A fixed reward for each goal, which may change at an age: r = sizes[goal], from `change` days on later[goal].

    sizes   one number a goal, from 0, in the order of the goals' letters
    later   one number a goal; None: no change
    change  the age in days at which it changes

    >>> rule, clock = AtGoals(sizes=[1.0, 2.0], later=[0.0, 2.0], change=1.0), Clock(subjects=2, per_day=10)
    >>> _ = rule.setup(Spec(seeds=(0, 1)))
    >>> clock.experience += [9, 10]
    >>> rule.found(torch.tensor([0, 0]), clock).tolist()
    [1.0, 0.0]
    """

    derived = frozenset({"_sizes", "_later"})

    def __init__(self, *, sizes: Sequence[float] = (1.0,), later: Sequence[float] | None = None, change: float = 0.0):
        self.sizes = tuple(reals("sizes", list(sizes), 0.0))  # pyright: ignore[reportArgumentType]
        self.later = self.sizes if later is None else tuple(reals("later", list(later), 0.0))  # pyright: ignore[reportArgumentType]
        if len(self.later) != len(self.sizes):
            raise ConfigError("later", f"has {len(self.later)} sizes for {len(self.sizes)} goals", "give as many")
        self.change = real("change", change, 0.0)

    def setup(self, spec: Spec) -> Spec:
        self._sizes = torch.tensor([self.sizes, self.later], device=spec.device)
        return spec

    def found(self, goal: Tensor, clock: Clock) -> Tensor:
        changed = torch.as_tensor(clock.day >= self.change, device=goal.device).long()
        return self._sizes[changed, goal % len(self.sizes)]
