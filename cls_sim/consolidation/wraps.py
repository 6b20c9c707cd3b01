"""Rules round a rule: merging, learning once more, and beginning again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.consolidation.importance import Fisher, Importance, Named
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import Refused, choice, whole
from cls_sim.core.part import Spec, View
from cls_sim.neocortex.base import Neocortex


class Wrapped(Consolidation):
    """A rule round another, which does everything but what the wrap changes."""

    derived = frozenset({"spec"})

    def __init__(self, consolidation: Consolidation | None = None):
        self.consolidation = Descent() if consolidation is None else consolidation

    def begin(self, spec: Spec) -> Spec:
        self.spec = spec
        self.begin_inside("consolidation", spec)
        return spec

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch, rate, view)

    def loss(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        return self.consolidation.loss(neocortex, batch)

    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self.consolidation.elapse(neocortex, clock)

    def context_end(self, view: View, clock: Clock) -> None:
        self.consolidation.context_end(view, clock)


class Imm(Wrapped):
    """Incremental moment matching: at a context's end the weights learnt in all contexts are merged.

        mean: θ = Σ_k θ_k / K        mode: θ = Σ_k F_k θ_k / Σ_k F_k

    The merged weights answer from the end of a context on; the next context goes on from the ones learnt last, unmerged
    (weight transfer).  L2 transfer is a `Pull(importance=Alike(), keep=online)` inside the rule.  A context that comes
    again counts again in the mean.

    consolidation  the rule within
    merge          mean or mode
    importance     F of the mode, Fisher unless given

    Source: Lee, Kim, Jun, Ha & Zhang (2017), Overcoming catastrophic forgetting by incremental moment matching.

    >>> Imm(merge="mode").merge
    'mode'
    """

    def __init__(
        self, consolidation: Consolidation | None = None, *, merge: str = "mean", importance: Importance | None = None
    ):
        super().__init__(consolidation)
        self.merge = choice("merge", merge, ("mean", "mode"))
        self.importance = Fisher() if importance is None else importance

    def begin(self, spec: Spec) -> Spec:
        self.begin_inside("importance", spec)
        zeros = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.precision, self.merged = zeros, {name: z.clone() for name, z in zeros.items()}
        self.own = {name: z.clone() for name, z in zeros.items()}
        self.away = np.zeros(1, np.int64)
        return super().begin(spec)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        if self.away and (rate > 0).any():
            _write(neocortex, self.own)
            self.away = np.zeros(1, np.int64)
        super().step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock) -> None:
        super().context_end(view, clock)
        weights = {name: w.detach().clone() for name, w in view.neocortex.weights.items()}
        if self.merge == "mean":
            new = {name: torch.ones_like(w) for name, w in weights.items()}
        else:
            new = {name: f + 1e-8 for name, f in self.importance.measure(view).items()}
        for name, w in weights.items():
            self.precision[name] = self.precision[name] + new[name]
            self.merged[name] = torch.lerp(self.merged[name], w, new[name] / self.precision[name])
        self.own, self.away = weights, np.ones(1, np.int64)
        _write(view.neocortex, self.merged)


class Retrain(Wrapped):
    """After the cortex has changed itself at a context's end (pruned, grown), the context is learnt once more.

    consolidation  the rule within
    passes         over the context's data, from 1; counted in the ledger as revisits
    batch          rows at once

    Source: pruning and retraining, Mallya & Lazebnik (2018); growing and retraining, Yoon et al. (2018).

    >>> Retrain(passes=2).passes
    2
    """

    def __init__(self, consolidation: Consolidation | None = None, *, passes: int = 1, batch: int = 128):
        super().__init__(consolidation)
        self.passes, self.batch = whole("passes", passes), whole("batch", batch)

    def begin(self, spec: Spec) -> Spec:
        self.rate = np.zeros(spec.subjects)
        return super().begin(spec)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.rate = np.where(rate > 0, rate, self.rate)
        super().step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock) -> None:
        if (self.rate > 0).any():
            for _ in range(self.passes):
                for batch in view.revisit(self.batch):
                    self.consolidation.step(view.neocortex, batch, self.rate, view)
        super().context_end(view, clock)


class FromScratch(Wrapped):
    """With every context a new life begins: the first step after a context's end is made from the first weights.

    The rule within forgets its momenta, too.  Until that step the weights answer as they were.

    consolidation  the rule within

    Source: the reference that transfers nothing; with a cumulative world, training anew on all data so far; at night on
    a stored sample, GDumb (Prabhu, Torr & Dokania 2020).

    >>> FromScratch().consolidation.reduction
    'mean'
    """

    def begin(self, spec: Spec) -> Spec:
        if not spec.ends:
            raise Refused("", "begins again where contexts end, and is not told", "give a world that tells (told=true)")
        self.first = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.phase = np.zeros(1, np.int64)  # 0: not born yet; 1: in a context; 2: a context has ended
        return super().begin(spec)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        if (rate > 0).any() and self.phase != 1:
            if self.phase == 0:
                self.first = {name: w.detach().clone() for name, w in neocortex.weights.items()}
            else:
                _write(neocortex, self.first)
                self.begin_inside("consolidation", self.spec)
            self.phase = np.ones(1, np.int64)
        super().step(neocortex, batch, rate, view)

    def context_end(self, view: View, clock: Clock) -> None:
        super().context_end(view, clock)
        if self.phase == 1:
            self.phase = np.full(1, 2, np.int64)


@torch.no_grad()
def _write(neocortex: Neocortex, weights: Named) -> None:
    for name, w in neocortex.weights.items():
        w.copy_(weights[name])
