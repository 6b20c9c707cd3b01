"""A neocortex that assigns its strongest weights to one context after another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View, stretches
from cls_sim.core.settings import setting
from cls_sim.neocortex.routed import Named, Routed


class Packed(Routed):
    """Iterative pruning: every context keeps the strongest of the free weights, which are then frozen (PackNet).

    hidden  widths of the hidden layers
    share   0 to 1, share of the free weights that a context keeps; None: an equal number for each remaining context

    When a context ends, the weakest free weights of each hidden layer are set to 0 and left to later contexts.  A
    context is answered with its own weights and those of contexts that came before it, and keeps its weights when it
    comes again.  Biases learn in the first context only; every head has separate output weights.  Put the
    consolidation rule in a Retrain, to train again after pruning.

    Source: Mallya & Lazebnik (2018), PackNet: adding multiple tasks to a single network by iterative pruning.

    >>> Packed(hidden=[8]).share is None
    True
    """

    derived = Routed.derived | {"_order", "_place"}

    share: float | None = setting(None, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        reason = "prunes at the ends of contexts, which subjects do not know"
        refuse_if(not spec.ends, "", reason, "give order=sharp, boundaries_known=true")
        spec = super().setup(spec)
        free = -torch.ones((), dtype=torch.int8, device=spec.device)
        self.owner = [free.expand(spec.weights[f"weight{i}"]).clone() for i in range(len(self.hidden))]
        self.ended = np.zeros(spec.subjects, np.int64)  # contexts, not stretches
        order = dict.fromkeys([*stretches(spec)[0].tolist(), *range(spec.contexts)])
        self._order = torch.tensor(list(order), device=spec.device)  # the contexts as they come
        self._place = self._order.argsort()  # of each context
        return spec

    def seen(self, layer: int, weights: Named, context: Tensor) -> Named:
        now, owner, name = self._place[context[:, :1, None]], self.owner[layer], f"weight{layer}"
        mine = (owner == now) | (owner < 0) & (now >= self._count(owner))
        used, w, bias = mine | (owner >= 0) & (owner < now), weights[name], weights[f"bias{layer}"]
        first = torch.where(now == 0, bias, bias.detach())  # others use these weights, and do not change them
        return weights | {name: torch.where(mine, w, w.detach()) * used, f"bias{layer}": first}

    def features(self, x: Tensor, context: Tensor | None = None, weights: Named | None = None) -> Tensor:
        if context is None or bool((context == context[:, :1]).all()):
            return super().features(x, context, weights)
        parts = torch.zeros(*x.shape[:2], self.hidden[-1], device=x.device)  # rows of several contexts
        for k in range(self.spec.contexts):
            one = super().features(x, torch.full_like(context, k), weights)
            parts = torch.where((context == k)[..., None], one, parts)
        return parts

    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        return h

    def plastic_mask(self, context: Tensor) -> Named:
        learnt, free = self._learnt(context)[:, self._order], {}
        fresh = (learnt & (torch.arange(self.spec.contexts, device=learnt.device) >= self._count(learnt)[:, 0])).any(1)
        for layer, owner in enumerate(self.owner):
            mine = learnt.gather(1, owner.clamp(min=0).long().flatten(1)).view_as(owner)
            free[f"weight{layer}"] = torch.where(owner < 0, fresh[:, None, None], mine).float()
            free[f"bias{layer}"] = learnt[:, :1, None].float().expand(-1, self.hidden[layer], 1)
        last = len(self.hidden)
        free[f"weight{last}"] = free[f"bias{last}"] = self._head(learnt[:, self._place])
        return free

    @torch.no_grad()
    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        assert view.ended is not None
        here = self._place.cpu().numpy()[view.ended()]
        who = who & (here == self.ended)  # a context that comes again keeps its weights
        left = np.maximum(self.spec.contexts - self.ended, 1)
        share = torch.from_numpy(1 / left if self.share is None else np.full(len(who), self.share)).float()
        mine = torch.from_numpy(who).to(self.spec.device)[:, None, None]
        for layer, owner in enumerate(self.owner):
            w = self.weights[f"weight{layer}"]
            free, strength = (owner < 0) & mine, w.detach().abs()
            rank = torch.where(free, strength, -1.0).flatten(1).argsort(1, descending=True).argsort(1).view_as(w)
            keep = free & (rank < (free.flatten(1).sum(1) * share.to(w)).round().long().view(-1, 1, 1))
            self.owner[layer] = torch.where(keep, self._count(owner).to(owner.dtype), owner)
            w.masked_fill_(free & ~keep, 0.0)
        self.ended = self.ended + who

    def _count(self, owner: Tensor) -> Tensor:
        """The number of contexts that have ended for each subject: [s, 1, 1]."""
        return torch.from_numpy(self.ended).to(owner.device)[:, None, None]
