"""A cortex that keeps averages of itself: slower and faster copies of its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.neocortex.base import Neocortex
from cls_sim.neocortex.mlp import Mlp


class Averaged(Neocortex):
    """A cortex with two averaged copies of its weights, `slow` and `fast`, that start as it does.

    The consolidation rule `Averaging` moves them, the readout `Slow` answers with the slow one; else everything is
    as in the cortex inside.

    cortex  the one that learns; an Mlp if none is given

    Source: semantic memories as averages of the working model, Arani, Sarfraz & Zonooz 2022; mean teachers, Tarvainen
    & Valpola 2017.

    >>> import torch
    >>> cortex = Averaged(Mlp(hidden=[8]))
    >>> _ = cortex.begin(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> cortex.scores(torch.ones(2, 5, 4), weights=cortex.averages["slow"]).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, cortex: Neocortex | None = None):
        self.cortex = Mlp() if cortex is None else cortex
        self.averages: dict[str, dict[str, Tensor]] = {}

    @property
    def weights(self) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.cortex.weights

    @property
    def heads(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.cortex.heads

    def begin(self, spec: Spec) -> Spec:
        spec = self.begin_inside("cortex", spec)
        self.averages = {
            name: {weight: w.detach().clone() for weight, w in self.weights.items()} for name in ("slow", "fast")
        }
        return replace(spec, averages=tuple(self.averages))

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self.cortex.features(x, context, weights)

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self.cortex.answer(features, weights)

    def scores(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self.cortex.scores(x, context, weights)

    def taught(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.cortex.taught(batch, context)

    def learnt(self, batch: Batch, active: np.ndarray) -> None:
        self.cortex.learnt(batch, active)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        return self.cortex.dream(n, clock, view)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        self.cortex.context_end(view, clock, who)
