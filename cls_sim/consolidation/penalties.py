"""Penalties protect weights that are important for earlier contexts: a quadratic penalty or a smaller learning rate.

A penalty is a part inside a rule such as Descent; an Importance measures how important each weight is.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.copies import kept
from cls_sim.consolidation.importance import Fisher, Importance, Named
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over, updated
from cls_sim.core.part import Part, Spec, View, per_subject, zeros
from cls_sim.core.settings import Settings, part, setting


class Penalty(Part):
    """Changes the gradients or the weights in every step of a rule."""

    watches: bool = False
    """Whether `after_step` is called after each step."""

    def adjust_gradients(self, weights: Named, gradients: Named) -> None:
        """Add the gradient of the penalty to these gradients [s, …], in place."""

    @abstractmethod
    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        """Called after the weights have moved from `before`, if `watches`; may change the weights in place."""


class QuadraticPenalty(Settings, Penalty):
    """Quadratic penalty on moving weights away from their values at the end of earlier contexts.

        L ← L + strength/2 · Σ_j Ω_j (θ_j - θ*_j)²

    importance    Ω: Fisher (elastic weight consolidation), PathIntegral (synaptic intelligence), OutputSensitivity
                  (memory aware synapses) or UniformImportance (L2)
    strength      from 0; one number, or one per subject
    accumulation  separate: the sum of one penalty for each context that has ended (one that comes again takes the place
                  of an equal part of the sum); online: Ω ← decay · Ω + Ω_new, and θ* are the weights at the last
                  context's end
    decay         γ of the online form, in [0, 1]

    There is no penalty before the first context has ended.  The sum of separate penalties is itself quadratic, with
    precision P = Σ_k Ω_k and centre Σ_k Ω_k θ_k / P, so memory does not grow with contexts (2 numbers per weight).

    Source: Kirkpatrick et al. (2017); online form, Schwarz et al. (2018); Zenke, Poole & Ganguli (2017); Aljundi et
    al. (2018).

    >>> QuadraticPenalty(strength=100.0).accumulation
    'separate'
    """

    importance: Importance = part(Importance, default_factory=Fisher)
    strength: float | list[float] = setting(1.0, 0.0)
    accumulation: str = setting("separate", ("separate", "online"))
    decay: float = setting(1.0, 0.0, 1.0)

    def _ready(self) -> None:
        self.watches = self.importance.watches

    def setup(self, spec: Spec) -> Spec:
        self.setup_inside("importance", spec)
        self._strength = torch.from_numpy(per_subject("strength", self.strength, spec)).float().to(spec.device)
        self.precision, self.centre = zeros(spec), zeros(spec)
        self.ended = np.zeros(spec.subjects, np.int64)
        return super().setup(spec)

    @torch.no_grad()
    def adjust_gradients(self, weights: Named, gradients: Named) -> None:
        if not self.ended.any():
            return
        for name, w in weights.items():
            strength = over(self._strength, w)
            away = torch.sub(w.detach(), self.centre[name]).mul_(self.precision[name])
            gradients[name] = away.mul_(strength).add_(gradients[name])

    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        self.importance.after_step(weights, before, gradients, active)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        measured = self.importance.measure(view, who)
        stays = torch.from_numpy(kept(self.spec, clock)).float().to(self.spec.device)
        for name, w in view.neocortex.weights.items():
            old, new, here, centre = self.precision[name], measured[name], w.detach(), self.centre[name]
            total, moved = self.decay * old + new, here
            if self.accumulation == "separate":
                total = over(stays, old) * old + new
                share = torch.where(total != 0, new / torch.where(total != 0, total, 1.0), 0.0)
                moved = torch.lerp(centre, here, share)
            self.precision[name], self.centre[name] = updated(who, total, old), updated(who, moved, centre)
        self.ended = self.ended + who


class ImportanceScaledRate(Settings, Penalty):
    """Metaplasticity: the learning rate of a weight decreases with its importance.

        Δθ_j ← Δθ_j / (1 + strength · Ω_j / mean Ω),   Ω summed over the contexts that have ended

    importance  Ω, as in QuadraticPenalty
    strength    from 0; one number, or one per subject

    A context that comes again takes the place of an equal part of the sum.

    Source: metaplasticity, important synapses become less plastic (Fusi, Drew & Abbott 2005); a learning rate for each
    weight by its certainty (Ebrahimi et al. 2020).

    >>> ImportanceScaledRate(strength=10.0).watches
    True
    """

    watches = True

    importance: Importance = part(Importance, default_factory=Fisher)
    strength: float | list[float] = setting(10.0, 0.0)

    def setup(self, spec: Spec) -> Spec:
        self.setup_inside("importance", spec)
        self._strength = torch.from_numpy(per_subject("strength", self.strength, spec)).float().to(spec.device)
        self.pace = {name: torch.ones_like(zero) for name, zero in zeros(spec).items()}
        self.total = zeros(spec)
        return super().setup(spec)

    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        hold(weights, before, self.pace)
        self.importance.after_step(weights, before, gradients, active)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        stays = torch.from_numpy(kept(self.spec, clock)).float().to(self.spec.device)
        for name, new in self.importance.measure(view, who).items():
            old = self.total[name]
            self.total[name] = updated(who, over(stays, old) * old + new.clamp(min=0), old)
        size = sum(t[0].numel() for t in self.total.values())
        mean = sum(t.flatten(1).sum(1) for t in self.total.values()) / size  # [s]
        assert isinstance(mean, Tensor)
        for name, total in self.total.items():
            relative = total / over(mean.clamp(min=torch.finfo(torch.float32).tiny), total)
            self.pace[name] = updated(who, 1 / (1 + over(self._strength, total) * relative), self.pace[name])


@torch.no_grad()
def hold(weights: Named, before: Named, plastic: Named) -> None:
    """Scale the change of weights since `before` by their plasticity in [0, 1]; weights not named keep their change.

    At plasticity 0 a weight stays bit for bit, even if the step was NaN.
    """
    for name, free in plastic.items():
        w, old = weights[name], before[name]
        w.copy_(torch.where(free == 1, w, torch.where(free == 0, old, torch.lerp(old, w.detach(), free.float()))))
