"""Synaptic tagging and capture: labile changes become stable if a strong event comes in time."""

from __future__ import annotations

import math

import torch

from cls_sim.consolidation.labile import Labile, length
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.part import Spec
from cls_sim.core.settings import setting
from cls_sim.neocortex.base import Neocortex


class Tagging(Labile):
    """Learning changes labile weights s and sets tags h; proteins p, made by a strong event, capture tagged changes.

        w = l + s,      h ← 1 where |Δw| ≥ change,  else  h ← e^(-1/tag) h
                        p ← 1 if the mean |Δw| of a subject ≥ strong,  else  p ← e^(-1/protein) p
        l ← l + p h s,    s ← (1 - fade) (1 - p h) s        in every tick

    So a weak memory lasts if a strong event comes within the life of its tags, or shortly before, wherever in the
    cortex the strong event changes weights.

    consolidation  the inner rule, which changes w; default Descent()
    change         the change of a weight that sets its tag, from 0
    strong         the mean change of all weights of a subject that makes proteins, from 0
    tag            life of a tag in ticks, above 0
    protein        life of proteins in ticks, above 0
    fade           share of the labile weights lost in a tick, in [0, 1]
    blocked        a control: no proteins are made

    State: `stable` l, `tags` h and `last` w, name → [s, …]; `proteins` [s]; and what `Energy` reads: `birth`, and in
    float64 [s] `learned` Σ|Δw|, `consolidated` Σ|Δl| and `held` Σ_t |s|.

    Source: Frey & Morris 1997; as synaptic caching, Li & van Rossum 2020.

    >>> Tagging(fade=0.0).tag
    12.0
    """

    change: float = setting(0.5, 0.0)
    strong: float = setting(0.5, 0.0)
    tag: float = setting(12.0, 0.0, open_low=True)
    protein: float = setting(9.0, 0.0, open_low=True)
    fade: float = setting(0.06, 0.0, 1.0)
    blocked: bool = setting(False)

    def _fresh(self, spec: Spec) -> None:
        super()._fresh(spec)
        self.tags, self.proteins = dict(self.birth), torch.zeros(spec.subjects, device=spec.device)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        super().elapse(neocortex, clock)
        moved = {name: (w - self.last[name]).abs() for name, w in neocortex.weights.items()}
        total = torch.stack([length(size) for size in moved.values()]).sum(0)
        mean = total / sum(size[0].numel() for size in moved.values())
        self.learned = self.learned + total
        made = torch.zeros_like(mean, dtype=torch.bool) if self.blocked else (mean >= self.strong) & (mean > 0)
        self.proteins = torch.where(made, 1.0, math.exp(-1.0 / self.protein) * self.proteins)
        for name, w in neocortex.weights.items():
            set_now = (moved[name] >= self.change) & (moved[name] > 0)
            self.tags[name] = torch.where(set_now, 1.0, math.exp(-1.0 / self.tag) * self.tags[name])
            labile = w - self.stable[name]
            captured = over(self.proteins, w) * self.tags[name] * labile
            self.stable[name] = self.stable[name] + captured
            if self.fade:
                w.copy_(self.stable[name] + (1.0 - self.fade) * (labile - captured))
            self.last[name] = w.clone()
            self.consolidated = self.consolidated + length(captured)
            self.held = self.held + length(w - self.stable[name])
