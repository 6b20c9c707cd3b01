"""Synaptic noise: weights that change without learning."""

from __future__ import annotations

import math

import torch

from cls_sim.consolidation.base import Consolidation
from cls_sim.core.clock import Clock, Span
from cls_sim.core.draws import Draws, over
from cls_sim.core.errors import reals
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Drift(Wrap, Consolidation):
    """Synaptic noise: every weight of the cortex makes a random walk while the subject is awake.

        W ← W + sd · ε / √(experiences per day),  ε ~ N(0, 1)

    consolidation  the inner rule, which learns as before
    sd             standard deviation of the walk after one day, from 0, in units of the weights; one number, or one
                   per subject
    until          age in days at which the noise ends; None: it never ends

    Source: the cortical change under which an index must be kept valid, Kali & Dayan 2004.

    >>> from cls_sim.consolidation.descent import Descent
    >>> Drift(Descent(), sd=0.1).setup(Spec()).subjects
    1
    """

    inside, null = "consolidation", {"sd": 0.0}
    derived = frozenset({"_sd", "_draws"})

    def __init__(self, consolidation: Consolidation, *, sd: float | list[float] = 0.1, until: float | None = None):
        super().__init__(consolidation)
        self.sd, self.span = reals("sd", sd, 0.0), Span(until)

    def _settle(self, spec: Spec) -> None:
        self._sd = per_subject("sd", self.sd, spec)
        self._draws = {
            name: Draws(spec.seeds, f"consolidation.drift.{name}", shape[1:], "normal", spec.device)
            for name, shape in spec.weights.items()
        }

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self.consolidation.elapse(neocortex, clock)
        sd = self._sd * (self.span.lasts(clock) & ~clock.asleep) / math.sqrt(clock.per_day)
        if not sd.any():
            return
        for name, weight in neocortex.weights.items():
            weight.add_(self._draws[name].at(clock.experience) * over(torch.from_numpy(sd).to(weight), weight))
