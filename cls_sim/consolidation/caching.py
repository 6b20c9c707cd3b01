"""Synaptic caching: cheap labile weights beside stable ones, consolidated once a night."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Caching(Settings, Wrap, Consolidation):
    """Synaptic caching: learning changes labile weights s, which are added to the stable weights l once a night.

        w = l + s,    in a tick without consolidation  s ← (1 - q) s,    in a tick with it  l ← l + s,  s ← 0

    Energy is spent on changes of stable weights, Σ|Δl|, and on the upkeep of labile ones, in proportion to Σ_t |s|.
    The part counts both (the probe `Energy` reads them).  It does not change what the inner rule does to w, unless
    labile weights fade: then what was learnt since the last consolidation is partly forgotten.

    consolidation  the inner rule, which changes w; default Descent()
    when           night: in every tick asleep; tick: in every tick, so that each change is consolidated at once
    fade           q, the share of the labile weights lost in a tick without consolidation, in [0, 1]

    State, sums over all weights [s] in float64: `learned` Σ_t |Δw| of the inner rule, `consolidated` Σ_t |Δl|, `held`
    Σ_t |s| over the ticks without consolidation; and `first`, `stable`: the initial and the stable weights.

    Source: Li & van Rossum (2020), who consolidate when |s| exceeds a threshold; the clock in its place is ours.

    >>> Caching(when="tick").fade
    0.0
    """

    inside, null = "consolidation", {"fade": 0.0}

    consolidation: Consolidation = part(Consolidation, default_factory=Descent, kw_only=False)
    when: str = setting("night", ("night", "tick"))
    fade: float = setting(0.0, 0.0, 1.0)

    def _fresh(self, spec: Spec) -> None:
        none = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.first, self.stable, self.last = none, dict(none), dict(none)
        self.met = torch.zeros(1, dtype=torch.bool)  # one flag: all subjects meet the cortex at the first tick
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
        asleep = clock.asleep if self.when == "night" else np.ones(clock.subjects, bool)
        now = from_numpy(asleep).to(self.held.device)
        some = bool(asleep.any())
        for name, w in neocortex.weights.items():
            labile = w - self.stable[name]
            size = _length(labile)
            self.learned = self.learned + _length(w - self.last[name])
            self.held = self.held + (size * ~now if some else size)
            if self.fade:
                w.copy_(torch.where(over(now, w), w, self.stable[name] + (1.0 - self.fade) * labile))
            self.last[name] = w.clone()
            if some:
                self.consolidated = self.consolidated + size * now
                self.stable[name] = torch.where(over(now, w), self.last[name], self.stable[name])


def _length(change: Tensor) -> Tensor:
    """Σ|Δ| over all weights of a change [s, …]: float64 [s]."""
    return change.abs().flatten(1).sum(1).double()
