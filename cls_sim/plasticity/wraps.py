"""Interventions on plasticity."""

from __future__ import annotations

import numpy as np

from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import part, setting
from cls_sim.core.wrap import Temporary, Wrap
from cls_sim.plasticity.base import Plasticity


class Modulated(Temporary, Wrap, Plasticity):
    """Multiply another schedule by a factor: η = factor · η₀ (a drug, a disease, an enriched environment).

    plasticity  η₀, the schedule that is changed
    factor      from 0, one number or one per subject; 0 stops all learning, 1 changes nothing
    until       age in days at which the change ends; None: never

    >>> from cls_sim.plasticity.by_age import Constant
    >>> schedule = Modulated(Constant(rate=0.1), factor=3.0, until=5.0)
    >>> _ = schedule.setup(Spec())
    >>> clock = Clock(1, 100)
    >>> early = schedule.rate(clock).round(6).tolist()
    >>> clock.experience += 500
    >>> early, schedule.rate(clock).tolist()
    ([0.3], [0.1])
    """

    inside, null = "plasticity", {"factor": 1.0}

    plasticity: Plasticity = part(Plasticity, kw_only=False)
    factor: float | list[float] = setting(0.0, 0.0)

    def _settle(self, spec: Spec) -> None:
        self._factor = per_subject("factor", self.factor, spec)

    def rate(self, clock: Clock) -> np.ndarray:
        return self.plasticity.rate(clock) * np.where(self.span.lasts(clock), self._factor, 1.0)
