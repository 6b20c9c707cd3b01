"""Rules that wrap another rule: merging of weights, retraining, and training from scratch."""

from __future__ import annotations

import copy

import numpy as np
import torch

from cls_sim.consolidation.around import Around
from cls_sim.consolidation.copies import copied, empty, kept, learners, write
from cls_sim.consolidation.importance import Fisher, Importance
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over, updated
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import part, setting
from cls_sim.core.trees import mixed
from cls_sim.neocortex.base import Neocortex


class Imm(Around):
    """Incremental moment matching: at the end of a context the weights learnt in all contexts are merged.

        mean: θ = Σ_k θ_k / K        mode: θ = Σ_k F_k θ_k / Σ_k F_k

    From the end of a context on, the merged weights answer questions.  Learning in the next context starts from the
    weights learnt last, unmerged (weight transfer).  For L2 transfer, give the inner rule the penalty
    `QuadraticPenalty(importance=UniformImportance(), accumulation="online")`.  K counts different contexts: one that
    comes again takes the place of an equal part 1/K of the sums.  Running statistics of layers are merged by the mean.

    consolidation  the inner rule; default Descent()
    merge          mean or mode
    importance     F of the mode; default Fisher()

    Source: Lee, Kim, Jun, Ha & Zhang (2017), Overcoming catastrophic forgetting by incremental moment matching.

    >>> Imm(merge="mode").merge
    'mode'
    """

    merge: str = setting("mean", ("mean", "mode"))
    importance: Importance = part(Importance, default_factory=Fisher)

    def _settle(self, spec: Spec) -> None:
        self.spec = spec

    def _fresh(self, spec: Spec) -> None:
        self.setup_inside("importance", spec)
        self.precision, self.merged, self.own = empty(spec), empty(spec), empty(spec)
        self.away = np.zeros(spec.subjects, bool)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        if (self.away & (rate > 0)).any() and (back := self.away & learners(batch, rate)).any():
            write(neocortex, self.own, back)
            self.away = self.away & ~back
        self.consolidation.step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        super().context_end(view, clock, who)
        self.own = copied(view.neocortex, who, self.own)
        new = {name: torch.ones_like(w) for name, w in self.own.items()}
        if self.merge == "mode":
            new |= {name: f + 1e-8 for name, f in self.importance.measure(view, who).items()}
        share = torch.from_numpy(kept(self.spec, clock)).float().to(self.spec.device)
        for name, w in self.own.items():
            old, merged = self.precision[name], self.merged[name]
            precision = old * over(share, old) + new[name]
            self.precision[name] = updated(who, precision, old)
            self.merged[name] = updated(who, torch.lerp(merged, w, new[name] / precision), merged)
        self.away = self.away | who
        write(view.neocortex, self.merged, who)


class Retrain(Around):
    """Retrains the context that has ended, after the cortex has changed its structure (pruned or grown).

    consolidation  the inner rule; default Descent()
    passes         passes over the context's data, from 1; the ledger counts them as revisits
    batch          rows per step, from 1

    Source: pruning and retraining, Mallya & Lazebnik (2018); growing and retraining, Yoon et al. (2018).

    >>> Retrain(passes=2).passes
    2
    """

    passes: int = setting(1)
    batch: int = setting(128)

    def _fresh(self, spec: Spec) -> None:
        self.rate = np.zeros(spec.subjects)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.rate = np.where(rate > 0, rate, self.rate)
        self.consolidation.step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        if (rate := self.rate * who).any():
            for _ in range(self.passes):
                for batch in view.revisit(self.batch):
                    self.consolidation.step(view.neocortex, batch, rate, view)
        super().context_end(view, clock, who)


class FromScratch(Around):
    """Training from scratch: the first step after the end of a context starts from the initial weights.

    The state of the inner rule (momenta) is reset as well.  Until that step the old weights answer questions.  If
    subjects do not know the boundaries, the first step of each night takes the place of the first step of a context.
    The initial weights are drawn again from the subject's seed, so no copy of them is kept.

    consolidation  the inner rule; default Descent()

    Source: the reference without transfer; with a cumulative world, training anew on all data so far; at night on a
    stored sample, GDumb (Prabhu, Torr & Dokania 2020).

    >>> FromScratch().consolidation.reduction
    'mean'
    """

    def _settle(self, spec: Spec) -> None:
        self.spec = spec

    def _fresh(self, spec: Spec) -> None:
        self.phase = np.zeros(spec.subjects, np.int64)  # 0: no step yet; 1: in a context; 2: a context has ended
        self.night = np.zeros(spec.subjects, np.int64)  # the night of the last step asleep, if boundaries are unknown

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        if not self.spec.ends and self.clock is not None:
            begins = self.clock.asleep & (self.clock.night != self.night) & learners(batch, rate)
            self.phase = np.where(begins & (self.phase == 1), 2, self.phase)
            self.night = np.where(begins, self.clock.night, self.night)
        if ((rate > 0) & (self.phase != 1)).any():
            learns = learners(batch, rate)
            if (again := learns & (self.phase == 2)).any():
                fresh = copy.deepcopy(neocortex)
                fresh.setup(self.spec)
                write(neocortex, fresh.learned(), again)
                self._forget(again)
            self.phase = np.where(learns, 1, self.phase)
        self.consolidation.step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        super().context_end(view, clock, who)
        self.phase = np.where(who & (self.phase == 1), 2, self.phase)

    def _forget(self, who: np.ndarray) -> None:
        """Reset the state of the inner rule for the subjects in `who`; keep it for the others."""
        before = self.consolidation.state()
        self.setup_inside("consolidation", self.spec)
        if not who.all():
            self.consolidation.load(mixed(who, self.consolidation.state(), before))
