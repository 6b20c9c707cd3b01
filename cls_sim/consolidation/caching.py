"""Synaptic caching: cheap labile weights beside stable ones, consolidated once a night."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.consolidation.labile import Labile, length
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.neocortex.base import Neocortex


class Caching(Labile):
    """Synaptic caching: learning changes labile weights s, which are added to the stable weights l once a night.

        w = l + s,    in a tick without consolidation  s ← (1 - q) s,    in a tick with it  l ← l + s,  s ← 0

    Energy is spent on changes of stable weights, Σ|Δl|, and on the upkeep of labile ones, in proportion to Σ_t |s|.
    The part counts both (the probe `Energy` reads them).  It does not change what the inner rule does to w, unless
    labile weights fade: then what was learnt since the last consolidation is partly forgotten.

    consolidation  the inner rule, which changes w; default Descent()
    when           night: in every tick asleep; tick: in every tick, so that each change is consolidated at once
    fade           q, the share of the labile weights lost in a tick without consolidation, in [0, 1]

    State, sums over all weights [s] in float64: `learned` Σ_t |Δw| of the inner rule, `consolidated` Σ_t |Δl|, `held`
    Σ_t |s| over the ticks without consolidation; and `birth`, `stable`: the initial and the stable weights.

    Source: Li & van Rossum (2020), who consolidate when |s| exceeds a threshold; the clock in its place is ours.

    >>> Caching(when="tick").fade
    0.0
    """

    when: str = setting("night", ("night", "tick"))
    fade: float = setting(0.0, 0.0, 1.0)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        super().elapse(neocortex, clock)
        asleep = clock.asleep if self.when == "night" else np.ones(clock.subjects, bool)
        now = from_numpy(asleep).to(self.held.device)
        some = bool(asleep.any())
        for name, w in neocortex.weights.items():
            labile = w - self.stable[name]
            size = length(labile)
            self.learned = self.learned + length(w - self.last[name])
            self.held = self.held + (size * ~now if some else size)
            if self.fade:
                w.copy_(torch.where(over(now, w), w, self.stable[name] + (1.0 - self.fade) * labile))
            self.last[name] = w.clone()
            if some:
                self.consolidated = self.consolidated + size * now
                self.stable[name] = torch.where(over(now, w), self.last[name], self.stable[name])
