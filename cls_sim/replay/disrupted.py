"""Experimental manipulations of replay at night: disrupted replay and noisy replay."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock, Span
from cls_sim.core.draws import BatchDraws, over
from cls_sim.core.errors import reals
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay, Within


class _Night(Within):
    """Changes the nights of another policy up to the age `until`; training batches while awake are unchanged."""

    derived = frozenset({"_spec", "_draws"})

    def __init__(self, policy: Replay, until: float | None):
        super().__init__(policy)
        self.span = Span(until)

    def _settle(self, spec: Spec) -> None:
        self._spec, self._draws = spec, {}

    def _at(self, purpose: str, batch: Batch, shape: tuple[int, ...], kind: str, clock: Clock) -> Tensor:
        """This replay step's draws [s, b, *shape] for the rows of a batch."""
        if purpose not in self._draws:
            self._draws[purpose] = BatchDraws(self._spec.seeds, purpose, kind, self._spec.device)
        return self._draws[purpose].at(clock.replay, (batch.rows, *shape), sizes=batch.sizes)


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
    derived = _Night.derived | {"_fraction"}

    def __init__(self, policy: Replay, *, fraction: float | list[float] = 1.0, until: float | None = None):
        super().__init__(policy, until)
        self.fraction = reals("fraction", fraction, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        self._fraction = per_subject("fraction", self.fraction, spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        fraction = self._fraction * self.span.lasts(clock)
        if not fraction.any():
            return batch
        draws = self._at("replay.disrupted", batch, (), "uniform", clock)
        stays = draws >= torch.from_numpy(fraction).to(draws.device)[:, None]
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
    derived = _Night.derived | {"_sd"}

    def __init__(self, policy: Replay, *, sd: float | list[float] = 0.1, until: float | None = None):
        super().__init__(policy, until)
        self.sd = reals("sd", sd, 0.0)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        self._sd = per_subject("sd", self.sd, spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        sd = self._sd * self.span.lasts(clock)
        if not sd.any():
            return batch
        noise = self._at("replay.noise", batch, tuple(batch.x.shape[2:]), "normal", clock)
        return batch.with_(x=batch.x + noise * over(torch.from_numpy(sd).to(noise), noise))
