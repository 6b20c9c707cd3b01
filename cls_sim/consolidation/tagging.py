"""Synaptic tagging and capture: labile changes become stable if a strong event comes in time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.errors import flag, real
from cls_sim.core.part import Spec, View
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Tagging(Wrap, Consolidation):
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

    State: `stable` l, `tags` h and `last` w, name → [s, …]; `proteins` [s]; and what `Energy` reads: `first`, and in
    float64 [s] `learned` Σ|Δw|, `consolidated` Σ|Δl| and `held` Σ_t |s|.

    Source: Frey & Morris 1997; as synaptic caching, Li & van Rossum 2020.

    >>> Tagging(fade=0.0).tag
    12.0
    """

    inside, null = "consolidation", {"fade": 0.0}

    def __init__(
        self,
        consolidation: Consolidation | None = None,
        *,
        change: float = 0.5,
        strong: float = 0.5,
        tag: float = 12.0,
        protein: float = 9.0,
        fade: float = 0.06,
        blocked: bool = False,
    ):
        super().__init__(Descent() if consolidation is None else consolidation)
        self.change, self.strong = real("change", change, 0.0), real("strong", strong, 0.0)
        self.tag, self.protein = real("tag", tag, 0.0, open_low=True), real("protein", protein, 0.0, open_low=True)
        self.fade, self.blocked = real("fade", fade, 0.0, 1.0), flag("blocked", blocked)

    def _fresh(self, spec: Spec) -> None:
        none = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.first, self.stable, self.last, self.tags = none, dict(none), dict(none), dict(none)
        self.met = torch.zeros(1, dtype=torch.bool)  # one flag: all subjects meet the cortex at the first tick
        self.proteins = torch.zeros(spec.subjects, device=spec.device)
        self.learned = torch.zeros(spec.subjects, dtype=torch.float64, device=spec.device)
        self.consolidated, self.held = self.learned, self.learned

    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        self._meet(neocortex)
        self.consolidation.step(neocortex, batch, rate, view)

    def _meet(self, neocortex: Neocortex) -> None:
        """Keep the weights as they are before the first change."""
        if not self.met:
            self.first = {name: w.detach().clone() for name, w in neocortex.weights.items()}
            self.stable, self.last = dict(self.first), dict(self.first)
            self.met = torch.ones(1, dtype=torch.bool)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self._meet(neocortex)
        self.consolidation.elapse(neocortex, clock)
        moved = {name: (w - self.last[name]).abs() for name, w in neocortex.weights.items()}
        total = torch.stack([_sum(size) for size in moved.values()]).sum(0)
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
            self.consolidated = self.consolidated + _sum(captured.abs())
            self.held = self.held + _sum((w - self.stable[name]).abs())


def _sum(size: Tensor) -> Tensor:
    """The sum over all weights of a size [s, …]: float64 [s]."""
    return size.flatten(1).sum(1).double()
