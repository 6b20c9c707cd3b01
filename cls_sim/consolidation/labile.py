"""Weights in two parts: labile changes beside stable weights."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.around import FromBirth
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec
from cls_sim.neocortex.base import Neocortex


class Labile(FromBirth):
    """The base class of rules around another one, in which a weight w = l + s is the sum of a stable and a labile one.

    consolidation  the inner rule, which changes w; default Descent()

    State: `birth` (initial weights), `stable` l and `last` w, name → [s, …]; and in float64 [s] `learned` Σ|Δw|,
    `consolidated` Σ|Δl| and `held` Σ_t |s|, which the probe `Energy` reads.
    """

    inside, null = "consolidation", {"fade": 0.0}

    def _fresh(self, spec: Spec) -> None:
        super()._fresh(spec)
        self.stable, self.last = dict(self.birth), dict(self.birth)
        self.learned = torch.zeros(spec.subjects, dtype=torch.float64, device=spec.device)
        self.consolidated, self.held = self.learned, self.learned

    def _begin(self, weights: dict[str, Tensor]) -> None:
        super()._begin(weights)
        self.stable, self.last = dict(weights), dict(weights)

    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self._meet(neocortex)
        self.consolidation.elapse(neocortex, clock)


def length(change: Tensor) -> Tensor:
    """Σ|Δ| over all weights of a change [s, …]: float64 [s].

    >>> length(torch.tensor([[1.0, -2.0]])).tolist()
    [3.0]
    """
    return change.abs().flatten(1).sum(1).double()
