"""Weights that shrink a little in every step: weight decay, and the downscaling of synapses."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import Batch
from cls_sim.core.draws import over
from cls_sim.core.errors import reals
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Downscaled(Wrap, Consolidation):
    """Steps of another rule, after each of which all weights of those who learnt shrink: w ← (1 - share) w.

    consolidation  what moves the cortex; Descent if none is given
    share          from 0 to 1, a step; one number, or one a subject

    Proportions between weights are kept.  Source: the multiplicative renormalisation of Tononi & Cirelli 2006; as a
    remedy against overfitting, decoupled weight decay, Loshchilov & Hutter 2019.

    >>> Downscaled(share=0.001).share
    0.001
    """

    inside, null = "rule", {"share": 0.0}
    derived = frozenset({"_stay", "_device"})

    def __init__(self, consolidation: Consolidation | None = None, *, share: float | list[float] = 1e-4):
        super().__init__(Descent() if consolidation is None else consolidation)
        self.share = reals("share", share, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._stay, self._device = 1 - per_subject("share", self.share, spec), spec.device

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch, rate, view)
        active = rate > 0
        if batch.weight is not None:
            active = active & (batch.weight > 0).any(1).cpu().numpy()
        stay = torch.from_numpy(np.where(active, self._stay, 1.0).astype(np.float32)).to(self._device)
        with torch.no_grad():
            for w in neocortex.weights.values():
                w.mul_(over(stay, w))
