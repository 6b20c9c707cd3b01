"""Weights that shrink by a fixed share in every step: weight decay, or synaptic downscaling."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.copies import learners
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import Batch
from cls_sim.core.draws import over
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


class Downscaled(Settings, Wrap, Consolidation):
    """Weight decay: after each step of another rule all weights shrink, w ← (1 - share) w.

    consolidation  the inner rule; default Descent()
    share          share of a weight that is lost per step, in [0, 1]; one number, or one per subject

    Only weights of subjects that learnt in this step shrink.  The ratios between weights stay the same.

    Source: multiplicative renormalisation, Tononi & Cirelli 2006; against overfitting, decoupled weight decay,
    Loshchilov & Hutter 2019.

    >>> Downscaled(share=0.001).share
    0.001
    """

    inside, null = "consolidation", {"share": 0.0}
    derived = frozenset({"_stay", "_device"})

    consolidation: Consolidation = part(Consolidation, default_factory=Descent, kw_only=False)
    share: float | list[float] = setting(1e-4, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._stay, self._device = 1 - per_subject("share", self.share, spec), spec.device

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch, rate, view)
        stay = torch.from_numpy(np.where(learners(batch, rate), self._stay, 1.0).astype(np.float32)).to(self._device)
        with torch.no_grad():
            for w in neocortex.weights.values():
                w.mul_(over(stay, w))
