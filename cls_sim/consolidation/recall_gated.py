"""Consolidation that depends on whether the hippocampus recalls."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.consolidation.around import Around
from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.draws import BatchDraws
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.neocortex.base import Neocortex


class RecallGated(Around):
    """Recall-gated consolidation: the cortex learns a row only if the hippocampus recalls it.

        weight of a row ← weight · [match ≥ threshold]

    The match is that of the hippocampus before it encodes the experience.

    consolidation  the inner rule; default Descent()
    threshold      of the match, in [0, 1]; 0: no gate
    chance         a control: rows pass by lot with this chance, whatever the hippocampus recalls; None: no control

    State: `passed` and `met` [s], the rows that have passed and all rows that came, float64.

    Source: Lindsey & Litwin-Kumar 2024.

    >>> RecallGated(threshold=0.2).threshold
    0.2
    """

    inside, null = "consolidation", {"threshold": 0.0}
    derived = frozenset({"_lot"})
    threshold: float = setting(0.18, 0.0, 1.0)
    chance: float | None = setting(None, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._lot = BatchDraws(spec.seeds, "consolidation.gate", device=spec.device)

    def _fresh(self, spec: Spec) -> None:
        self.passed = torch.zeros(spec.subjects, dtype=torch.float64, device=spec.device)
        self.met = self.passed

    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        if self.chance is None and self.threshold <= 0.0:
            self.consolidation.step(neocortex, batch, rate, view)
            return
        active = torch.as_tensor(rate > 0, device=batch.x.device)[:, None]
        opened, there = self._opened(batch, view), batch.present() & active
        self.passed = self.passed + (opened & there).sum(1)
        self.met = self.met + there.sum(1)
        self.consolidation.step(neocortex, batch.with_(weight=batch.weights() * opened), rate, view)

    def _opened(self, batch: Batch, view: View) -> Tensor:
        """The rows for which the gate is open: bool [s, b]."""
        if self.chance is None:
            return view.recall(batch.x).match >= self.threshold
        assert self.clock is not None
        ticks = self.clock.experience + self.clock.replay
        return self._lot.at(ticks, (batch.rows,), sizes=batch.sizes) < self.chance
