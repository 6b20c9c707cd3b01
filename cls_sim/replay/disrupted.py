"""Experimental manipulations of replay at night: disrupted replay and noisy replay."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws, over
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import setting
from cls_sim.core.wrap import Temporary
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Within


class _Night(Temporary, Within):
    """Changes the nights of another policy up to the age `until`; training batches while awake are unchanged."""

    size: ClassVar[str]  # the setting that is the size of the change
    draws: ClassVar[tuple[str, str]]  # their purpose and kind

    def _settle(self, spec: Spec) -> None:
        self._size = per_subject(self.size, getattr(self, self.size), spec)
        self._draws = BatchDraws(spec.seeds, *self.draws, spec.device)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        size = self._size * self.span.lasts(clock)
        return self.change(batch, size, clock) if size.any() else batch

    @abstractmethod
    def change(self, batch: Batch, size: Numbers, clock: Clock) -> Batch:
        """The batch of this replay step, changed by this much for each subject [s]."""


class Disrupted(_Night):
    """A lesion of replay: each replayed row is lost with probability `fraction`.

    policy    the policy whose replay is disrupted
    fraction  in [0, 1]; one number, or one per subject.  1: no replay at night.  The rows lost at a smaller fraction
              are also lost at a larger one
    until     age in days at which the disruption ends; None: it never ends

    Source: sharp-wave ripples interrupted during sleep, Girardeau et al. 2009; Ego-Stengel & Wilson 2010.

    >>> from cls_sim.replay.stored import Uniform
    >>> Disrupted(Uniform(batch=8), fraction=0.5).setup(Spec()).subjects
    1
    """

    inside, null = "policy", {"fraction": 0.0}
    size, draws = "fraction", ("replay.disrupted", "uniform")

    fraction: float | list[float] = setting(1.0, 0.0, 1.0)

    def change(self, batch: Batch, size: Numbers, clock: Clock) -> Batch:
        draws = self._draws.at(clock.replay, (batch.rows,), sizes=batch.sizes)
        stays = draws >= torch.from_numpy(size).to(draws.device)[:, None]
        return batch.with_(weight=batch.weights() * stays)


class NoisyReplay(_Night):
    """Noisy replay: x + sd · ε with ε ~ N(0, 1), a degraded copy of the stored input.

    policy  the policy whose replay is noisy
    sd      standard deviation of the noise, from 0, in units of the inputs; one number, or one per subject
    until   age in days at which the noise ends; None: it never ends

    >>> from cls_sim.replay.stored import Uniform
    >>> NoisyReplay(Uniform(batch=8), sd=0.2).setup(Spec()).subjects
    1
    """

    inside, null = "policy", {"sd": 0.0}
    size, draws = "sd", ("replay.noise", "normal")

    sd: float | list[float] = setting(0.1, 0.0)

    def change(self, batch: Batch, size: Numbers, clock: Clock) -> Batch:
        noise = self._draws.at(clock.replay, batch.x.shape[1:], sizes=batch.sizes)
        return batch.with_(x=batch.x + noise * over(torch.from_numpy(size).to(noise), noise))
