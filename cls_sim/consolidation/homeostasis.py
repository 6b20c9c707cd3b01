"""Changes of all weights: synaptic homeostasis in sleep, weight decay, synaptic noise."""

from __future__ import annotations

import math

import numpy as np
import torch

from cls_sim.consolidation.around import Around
from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.copies import learners
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import named, over
from cls_sim.core.part import Spec, View, per_subject, zeros
from cls_sim.core.settings import part, setting
from cls_sim.core.wrap import Temporary
from cls_sim.neocortex.base import Neocortex


class Homeostasis(Around):
    """Synaptic homeostasis: awake, the inner rule learns; asleep, all weights shrink to their total at baseline.

        w_i ← w_i (1 - f d_i)        d_i = share · exp(-a_i / k)

    The baseline is Σ|w| before the first step.  f is 1 until the total reaches the baseline, a fraction in the step
    that would cross it, and 0 afterwards.  a_i is the use of the synapse by tonight's replay: Σ |∂L/∂w_i| over the
    steps of sleep since the subject last learnt awake.  A step belongs to sleep if none of the subject's rows is
    experience.  At learning rate 0 nothing shrinks; otherwise the rate has no effect asleep.

    consolidation  the rule of the day, a Descent; default Descent()
    share          d, share lost per replay step, in [0, 1]; one number, or one per subject.  0: no homeostasis, the
                   inner rule learns asleep, too
    protection     k, above 0, infinity allowed

    Source: Tononi & Cirelli (2006), Sleep function and synaptic homeostasis; protection by reactivation after Tononi &
    Cirelli (2014).

    >>> Homeostasis(share=0.02, protection=5.0).protection
    5.0
    """

    inside, null = "consolidation", {"share": 0.0}

    consolidation: Descent = part(
        Descent, "give a Descent: its gradient is needed", default_factory=Descent, kw_only=False
    )
    share: float | list[float] = setting(0.02, 0.0, 1.0)
    protection: float = setting(float("inf"), 0.0, open_low=True, endless=True)

    def _settle(self, spec: Spec) -> None:
        share = per_subject("share", self.share, spec)
        self._share, self._none = torch.from_numpy(share).float().to(spec.device), share == 0

    def _fresh(self, spec: Spec) -> None:
        self.baseline = torch.full((spec.subjects,), -1.0, dtype=torch.float64, device=spec.device)  # -1: not yet seen
        self.used = zeros(spec)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.baseline = torch.where(self.baseline < 0, total(neocortex), self.baseline)
        there, learns = batch.present(), learners(batch, rate)
        lived = ((batch.source == LIVED) & there).any(1).cpu().numpy()
        awake, asleep = lived & (rate > 0), learns & ~lived
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


class Downscaled(Around):
    """Weight decay: after each step of another rule all weights shrink, w ← (1 - share) w.

    consolidation  the inner rule; default Descent()
    share          share of a weight that is lost per step, in [0, 1]; one number, or one per subject

    Only weights of subjects that learnt in this step shrink.  The ratios between weights stay the same.

    Source: multiplicative renormalisation, Tononi & Cirelli 2006; against overfitting, decoupled weight decay,
    Loshchilov & Hutter 2019.

    >>> Downscaled(share=0.001).share
    0.001
    """

    inside, null = "consolidation", {"share": 0.0}

    share: float | list[float] = setting(1e-4, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._stay, self._device = 1 - per_subject("share", self.share, spec), spec.device

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch, rate, view)
        stay = torch.from_numpy(np.where(learners(batch, rate), self._stay, 1.0).astype(np.float32)).to(self._device)
        with torch.no_grad():
            for w in neocortex.weights.values():
                w.mul_(over(stay, w))


class Drift(Temporary, Around):
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

    consolidation: Consolidation = part(Consolidation, kw_only=False)
    sd: float | list[float] = setting(0.1, 0.0)

    def _settle(self, spec: Spec) -> None:
        self._sd = per_subject("sd", self.sd, spec)
        self._draws = named(spec.seeds, "consolidation.drift", spec.weights, "normal", spec.device)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self.consolidation.elapse(neocortex, clock)
        sd = self._sd * (self.span.lasts(clock) & ~clock.asleep) / math.sqrt(clock.per_day)
        if not sd.any():
            return
        for name, weight in neocortex.weights.items():
            weight.add_(self._draws[name].at(clock.experience) * over(torch.from_numpy(sd).to(weight), weight))
