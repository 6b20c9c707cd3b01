"""Neocortices of columns: a block of hidden units for each context, from the start or when needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.errors import several, whole
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.neocortex.routed import Named, Routed


class _Columned(Routed):
    """A block of hidden units for each context; output weights without biases."""

    hidden: Sequence[int] = setting((100, 100), "widths", "[400, 400]", whole, check=several)

    def setup(self, spec: Spec) -> Spec:
        contexts = torch.arange(spec.contexts, device=spec.device)
        self._column = [contexts.repeat_interleave(width) for width in self.hidden]  # the context of each unit
        return super().setup(spec)

    def _own(self, layer: int, context: Tensor) -> Tensor:
        """The units in the columns of these contexts [s, b]: bool [s, units, b]."""
        return self._column[layer][:, None] == context[:, None]

    def sizes(self, spec: Spec) -> tuple[int, ...]:
        return math.prod(spec.inputs), *(width * spec.contexts for width in self.hidden), spec.outputs

    def fan_in(self, layer: int, inputs: int) -> int:
        return inputs if layer == 0 else self.hidden[layer - 1]

    def biased(self, layer: int) -> bool:
        return layer < len(self.hidden)


class Columns(_Columned):
    """A column of hidden units for every context, with separate output weights; columns of other contexts are frozen.

    hidden   widths of the layers of one column
    lateral  True: a column also receives the hidden layers of earlier columns (progressive networks); False: separate
             networks

    The output layer has no biases.  The context must be known at test, or inferred by the readout (ExpertGate).

    Source: Rusu et al. (2016), Progressive neural networks; separate networks: van de Ven et al. (2022).

    >>> Columns(hidden=[10], lateral=False).lateral
    False
    """

    heads_needed = False

    lateral: bool = setting(True)

    def setup(self, spec: Spec) -> Spec:
        spec = super().setup(spec)
        heard = torch.le if self.lateral else torch.eq
        pairs = pairwise(self._column)
        self._shown = [None, *(heard(source, column[:, None]).float() for source, column in pairs)]
        return spec

    def seen(self, layer: int, weights: Named, context: Tensor) -> Named:
        shown, name = self._shown[layer], f"weight{layer}"
        return weights if shown is None else weights | {name: weights[name] * shown}

    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        own = self._own(layer, context)
        if layer < len(self.hidden) - 1:
            return torch.where(own, h, h.detach())  # other columns are heard, and do not learn
        return h * own  # a context answers with its own column only

    def plastic_mask(self, context: Tensor) -> Named:
        learnt, free = self._learnt(context), {}
        for layer, column in enumerate(self._column):
            free[f"weight{layer}"] = free[f"bias{layer}"] = learnt[:, column, None].float()
        mine = learnt[:, None, self._column[-1]]
        if self.heads is not None:
            mine = mine & self.heads[:, self._column[-1]].mT
        free[f"weight{len(self.hidden)}"] = mine.float().expand(-1, self.spec.outputs, -1)
        return free


class Growing(_Columned):
    """A network that grows a column of hidden units when its loss on a context remains large.

    A context first learns a head on the existing columns.  If its loss is above `loss_threshold` when it ends, it gets
    a new column, which receives all earlier ones, and learns again.

    hidden          widths of the layers of one column; the first context has a column from the start
    loss_threshold  the largest mean loss over the context's rows without a new column, from 0

    Earlier columns and heads are frozen.  Put the consolidation rule in a Retrain, so that a new column is trained.
    `grown` (bool [s, k]) marks the contexts that have a column.

    Source: growing when the loss asks for it, Yoon, Yang, Lee & Hwang (2018); columns of Rusu et al. (2016).

    >>> Growing(hidden=[10]).loss_threshold
    0.05
    """

    loss_threshold: float = setting(0.05, 0.0)

    def setup(self, spec: Spec) -> Spec:
        self.grown = torch.zeros(spec.subjects, spec.contexts, dtype=torch.bool, device=spec.device)
        self.grown[:, 0] = True
        return super().setup(spec)

    def seen(self, layer: int, weights: Named, context: Tensor) -> Named:
        if layer == 0:
            return weights
        name, heard = f"weight{layer}", self._column[layer - 1] <= self._column[layer][:, None]
        return weights | {name: weights[name] * (heard * self.grown[:, self._column[layer - 1]][:, None])}

    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        column = self._column[layer]
        there = self.grown[:, column][..., None] & (column[:, None] <= context[:, None])
        return torch.where(self._own(layer, context), h, h.detach()) * there

    def plastic_mask(self, context: Tensor) -> Named:
        learnt, free = self._learnt(context), {}
        for layer, column in enumerate(self._column):
            mine = (learnt & self.grown)[:, column]
            free[f"weight{layer}"] = free[f"bias{layer}"] = mine.float()[..., None]
        free[f"weight{len(self.hidden)}"] = self._head(learnt)
        return free

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        total, rows = torch.zeros(self.spec.subjects, device=self.spec.device), 1e-12
        for batch in view.revisit(500):
            total, rows = total + (view.loss(batch) * batch.weights()).sum(1), rows + batch.weights().sum(1)
        assert view.ended is not None
        now = torch.arange(self.spec.contexts) == torch.from_numpy(view.ended())[:, None]
        grows = (total / rows > self.loss_threshold) & torch.from_numpy(who).to(self.grown.device)
        self.grown = self.grown | now.to(self.grown.device) & grows[:, None]
