"""The base classes of rules around another rule."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.part import Spec, View, zeros
from cls_sim.core.settings import Settings, part
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Around(Settings, Wrap, Consolidation):
    """A rule that wraps another one; Descent() by default.  What it does not override is forwarded to that one."""

    inside = "consolidation"
    null = None
    consolidation: Consolidation = part(Consolidation, default_factory=Descent, kw_only=False)


class FromBirth(Around):
    """A rule that keeps the weights `birth`, name → [s, …], as they are before the first change.

    born is one flag for the whole cohort: all subjects meet the cortex at the first tick.
    """

    def _fresh(self, spec: Spec) -> None:
        self.birth = zeros(spec)
        self.born = torch.zeros(1, dtype=torch.bool)

    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        self._meet(neocortex)
        self.consolidation.step(neocortex, batch, rate, view)

    def _meet(self, neocortex: Neocortex) -> None:
        if not self.born:
            self._begin({name: w.detach().clone() for name, w in neocortex.weights.items()})
            self.born = torch.ones(1, dtype=torch.bool)

    def _begin(self, weights: dict[str, Tensor]) -> None:
        """Keep the initial weights, before the first change."""
        self.birth = weights
