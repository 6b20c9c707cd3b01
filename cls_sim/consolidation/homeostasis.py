"""Synaptic homeostasis: the day strengthens synapses, and the night takes them back to where they were in all."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.draws import over
from cls_sim.core.errors import ConfigError, real, reals
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Homeostasis(Wrap, Consolidation):
    """Awake the rule within learns; asleep it does not, and all weights shrink until their total is back at baseline.

        w_i ← w_i (1 - f d_i)        d_i = share · exp(-a_i / k)

    The baseline is Σ|w| before the first step; f, 1 for most of a night, is what is left to shrink in the step that
    would go below it, and 0 from there on.  a_i is how often tonight's replay has used the synapse: Σ |∂L/∂w_i| over
    the steps of sleep since the subject last learnt awake.  With k = inf all shrink alike and proportions are kept;
    with a finite k what is replayed is protected, and the others pay for it.  A step is one of sleep if none of the
    subject's rows was lived; at rate 0 nothing shrinks, and else the rate does not matter.

    consolidation  the rule of the day, a Descent
    share          d, from 0 to 1, a replay step; one number, or one a subject; 0: there is no homeostasis, and the
                   rule within learns by night, too
    protection     k, above 0, infinity allowed

    Source: Tononi & Cirelli (2006), Sleep function and synaptic homeostasis; protection by reactivation after Tononi &
    Cirelli (2014).

    >>> Homeostasis(share=0.02, protection=5.0).protection
    5.0
    """

    inside, null = "consolidation", {"share": 0.0}
    derived = frozenset({"_share", "_none"})
    consolidation: Descent

    def __init__(
        self,
        consolidation: Descent | None = None,
        *,
        share: float | list[float] = 0.02,
        protection: float = float("inf"),
    ):
        if consolidation is not None and not isinstance(consolidation, Descent):
            raise ConfigError(
                "consolidation", f"{consolidation!r} is no Descent", "give one: replay acts by its gradient"
            )
        super().__init__(Descent() if consolidation is None else consolidation)
        self.share = reals("share", share, 0.0, 1.0)
        endless = protection == float("inf")
        self.protection = protection if endless else real("protection", protection, 0.0, open_low=True)

    def _settle(self, spec: Spec) -> None:
        share = per_subject("share", self.share, spec)
        self._share, self._none = torch.from_numpy(share).float().to(spec.device), share == 0

    def _fresh(self, spec: Spec) -> None:
        self.baseline = torch.full((spec.subjects,), -1.0, dtype=torch.float64, device=spec.device)  # -1: not yet seen
        self.used = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.baseline = torch.where(self.baseline < 0, total(neocortex), self.baseline)
        there = batch.present()
        lived, learns = ((batch.source == LIVED) & there).any(1), there.any(1)
        awake, asleep = lived.cpu().numpy() & (rate > 0), (learns & ~lived).cpu().numpy() & (rate > 0)
        awake, asleep = awake | self._none, asleep & ~self._none
        if awake.any():
            woken = torch.from_numpy(awake).to(there.device)
            self.used = {name: used.masked_fill(over(woken, used), 0.0) for name, used in self.used.items()}
            self.consolidation.step(neocortex, batch, rate * awake, view)
        if asleep.any():
            self._shrink(neocortex, batch, torch.from_numpy(asleep).to(there.device))

    def _shrink(self, neocortex: Neocortex, batch: Batch, asleep: torch.Tensor) -> None:
        shares = {name: over(self._share, w).expand_as(w) for name, w in neocortex.weights.items()}
        if self.protection < float("inf"):
            for name, g in self.consolidation.gradient(neocortex, batch).items():
                self.used[name] = self.used[name] + g.abs() * over(asleep, g)
                shares[name] = shares[name] * torch.exp(-self.used[name] / self.protection)
        with torch.no_grad():
            cut = sum((shares[name] * w.abs()).flatten(1).double().sum(1) for name, w in neocortex.weights.items())
            left = ((total(neocortex) - self.baseline) / cut).nan_to_num(0.0).clamp(0.0, 1.0)
            left = torch.where(asleep, left, 0.0).float()
            for name, w in neocortex.weights.items():
                w.mul_(1 - over(left, w) * shares[name])


def total(neocortex: Neocortex) -> torch.Tensor:
    """Σ|w| of each subject: [s]."""
    return torch.stack([w.detach().abs().flatten(1).double().sum(1) for w in neocortex.weights.values()]).sum(0)
