"""Prioritised replay: policies that draw stored traces by a priority which depends on the present cortex."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws, Draws
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.preferences import Preference, RecencyShare, Surprise
from cls_sim.replay.stored import Stored, falling


class Preferred(Settings, Stored):
    """Prioritised replay: draws traces with replacement by their present priority p.

        P(i) = p_i^α / Σ_j p_j^α,   weight of a drawn row: (N P(i))^-β, divided by its maximum in the batch

    preference  the priority p: Surprise (the default), Weakness, Novelty, Balanced, Similar, RecencyShare or
                MaximallyInterfered
    batch       rows per replay step, from 1
    power       α, from 0 (uniform replay)
    correction  importance-sampling correction β, from 0 (none) to 1 (the expected loss is that of uniform replay)
    candidates  number of traces, drawn uniformly in each step, for which p is computed; None: all stored traces
    first       True: nothing is drawn by p; the rows with the largest p are replayed, each once (fewer rows if there
                are fewer traces; candidates that were drawn twice count once)

    If all p are 0, all traces have the same probability.  The forward passes that compute p are not counted as sample
    passes.

    Source: Schaul, Quan, Antonoglou & Silver 2016; α = 0.6 and β = 0.4 there.

    >>> Preferred(batch=8, power=0.6, correction=0.4).batch
    8
    """

    preference: Preference = part(Preference, "give one, such as Surprise()", default_factory=Surprise, kw_only=False)
    batch: int = setting(32)
    power: float = setting(1.0, 0.0)
    correction: float = setting(0.0, 0.0, 1.0)
    candidates: int | None = setting(None)
    first: bool = setting(False)

    def setup(self, spec: Spec) -> Spec:
        reason = "is for rows that are drawn, and first draws none"
        refuse_if(self.first and self.correction, "correction", reason, "give correction=0")
        shape = (self.batch + (self.candidates or 0),)
        self._night = Draws(spec.seeds, "replay.preferred.night", shape, device=spec.device)
        self._day = Draws(spec.seeds, "replay.preferred.day", shape, device=spec.device)
        self.setup_inside("preference", spec)
        return super().setup(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self._drawn(hippocampus, view, clock, self._night.at(clock.replay), None)
        all_count = not self.correction and bool((batch.weights() == 1).all())
        return batch.with_(weight=None) if all_count else batch

    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        return self._drawn(hippocampus, view, clock, self._day.at(clock.experience), before)

    def _drawn(
        self, hippocampus: Hippocampus, view: View, clock: Clock, draws: Tensor, before: np.ndarray | None
    ) -> Batch:
        there = self._allowed(hippocampus.traces(), before)
        slots = torch.arange(there.shape[1], device=there.device).expand_as(there)
        if self.candidates is not None:
            slots = falling(there.cumsum(1, dtype=torch.float64), draws[:, self.batch :])
            there = there.gather(1, slots)
        if self.first:
            return self._largest(hippocampus, slots, there, view, clock)
        share = self.chances(hippocampus.fetch(slots), there, view, clock)
        chosen = falling(share.cumsum(1), draws[:, : self.batch])
        weight = there.any(1, keepdim=True).float().expand(-1, self.batch)
        if self.correction:
            fair = (there.sum(1, keepdim=True) * share.gather(1, chosen)).clamp(min=1e-300) ** -self.correction
            weight = weight * (fair / fair.amax(1, keepdim=True)).float()
        return hippocampus.fetch(slots.gather(1, chosen)).with_(weight=weight)

    def _largest(self, hippocampus: Hippocampus, slots: Tensor, there: Tensor, view: View, clock: Clock) -> Batch:
        """The rows with the largest p among these slots [s, n], of those in `there`."""
        if self.candidates is not None:  # they were drawn with replacement
            same = slots[:, :, None] == slots[:, None]
            there = there & ~(same & same.new_ones(same.shape[1:]).tril(-1)).any(2)
        want = self.preference.priority(hippocampus.fetch(slots).with_(weight=there.float()), view, clock)
        best = torch.where(there, want.double(), -torch.inf).topk(min(self.batch, slots.shape[1]), 1).indices
        weight = there.gather(1, best).float()
        return hippocampus.fetch(slots.gather(1, best)).with_(weight=weight)

    def chances(self, memories: Batch, there: Tensor, view: View, clock: Clock) -> Tensor:
        """P [s, n] of these memories, restricted to those in `there` (bool [s, n]); 0 for a subject that has none."""
        want = self.preference.priority(memories.with_(weight=there.float()), view, clock)
        wanted = torch.where(there, want, 0.0) ** self.power * there
        wanted = torch.where(wanted.sum(1, keepdim=True) > 0, wanted, there.double())
        return wanted / wanted.sum(1, keepdim=True).clamp(min=1e-300)


class Thinned(Settings, Stored):
    """In each step, replays every stored trace with probability p, its priority.

    preference  the priority p, in [0, 1]: RecencyShare (the default), Similar, Weakness or Novelty

    One step is an epoch in which a trace is presented p times on average.  Rows that are not replayed have weight 0.

    Source: epochs with a share of old items, McClelland, McNaughton & Lampinen 2020.

    >>> Thinned(RecencyShare(share=0.3)).preference.share
    0.3
    """

    preference: Preference = part(
        Preference, "give one, such as Surprise()", default_factory=RecencyShare, kw_only=False
    )

    def setup(self, spec: Spec) -> Spec:
        self._night = BatchDraws(spec.seeds, "replay.thinned.night", device=spec.device)
        self._day = BatchDraws(spec.seeds, "replay.thinned.day", device=spec.device)
        self.setup_inside("preference", spec)
        return super().setup(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        return self._come(hippocampus, view, clock, (self._night, clock.replay), None)

    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        return self._come(hippocampus, view, clock, (self._day, clock.experience), before)

    def _come(
        self, hippocampus: Hippocampus, view: View, clock: Clock, lots: tuple[BatchDraws, Counts], before: Counts | None
    ) -> Batch:
        there = self._allowed(hippocampus.traces(), before)
        batch = hippocampus.fetch(torch.arange(there.shape[1], device=there.device).expand_as(there).contiguous())
        want = self.preference.priority(batch.with_(weight=there.float()), view, clock)
        comes = (lots[0].at(lots[1], (batch.rows,)) < want) & there
        return batch.with_(weight=comes.float())
