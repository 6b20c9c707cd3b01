"""CA3 as a sparse Hebbian attractor."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import real, refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.hippocampus.ca3 import Ca3, Engrams, settled, without
from cls_sim.hippocampus.dentate import active, largest


class Attractor(Ca3):
    """A sparse Hebbian attractor: binary cells, synapses learned in one exposure, global inhibition.

        W = Σ_p w_p (ξ_p - a)ᵀ(ξ_p - a) / (M a (1 - a)) - γ / (a M),  W_ii = 0

    gamma      γ from 0, inhibition
    cycles     number of synchronous cycles, from 1, in which the k cells with the largest h = z W become active
    threshold  U: in sleep, as many further cycles follow in which every cell with h > U is active.  A state can then
               fall silent, and stays silent because nothing drives it.  The value half way between the h of an active
               cell, 1 - a - γ, and of another cell, -a - γ, is 0.5 - a - γ

    It needs a dentate gyrus (patterns of k active cells).  The recall of a stored pattern has the error
    (P - 1) / (M - 1) of Var(y), for every a.  Cycles end early when the state no longer changes.

    Source: Tsodyks & Feigelman 1988; Buhmann et al. 1989; the notebook of Sun et al. 2023.

    >>> Attractor(gamma=0.6, cycles=9).threshold
    -0.15
    """

    def __init__(self, *, gamma: float = 0.6, cycles: int = 9, threshold: float = -0.15):
        self.gamma, self.cycles = real("gamma", gamma, 0.0), whole("cycles", cycles)
        self.threshold = real("threshold", threshold)

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        reason = "gives no sparse patterns, and an attractor needs them"
        refuse_if(not 0 < winners < units, "dentate", reason, "choose KWinners or Index")

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        return without((draws < engrams.activity).float(), engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        def held(z: Tensor) -> Tensor:
            drive = self._drive(z, engrams)
            if engrams.lost is not None:
                drive = drive.masked_fill(engrams.lost[:, None], -torch.inf)
            return without(active(largest(drive, engrams.winners), engrams.units), engrams)

        def free_to_fall(z: Tensor) -> Tensor:
            on = (self._drive(z, engrams) > self.threshold) & (z.amax(2, keepdim=True) > 0)
            return without(on.float(), engrams)

        z = settled(z, held, self.cycles)
        return settled(z, free_to_fall, self.cycles) if free else z

    def _drive(self, z: Tensor, engrams: Engrams) -> Tensor:
        """h = z W, through the patterns: [s, b, m]."""
        a, m, xi = engrams.activity, engrams.units, engrams.all()
        norm = 1 / (m * a * (1 - a))
        total = z.sum(2, keepdim=True)
        part = (z @ xi.mT - a * total).mul_(engrams.weight[:, None] * norm)  # c_p
        own = self._once(engrams, lambda: (self._diagonal(engrams, xi, norm),))[0]
        drive = torch.baddbmm(-a * part.sum(2, keepdim=True) - self.gamma / (a * m) * total, part, xi)
        return drive.sub_(z * own[:, None])

    def _diagonal(self, engrams: Engrams, xi: Tensor, norm: float) -> Tensor:
        a, m, w = engrams.activity, engrams.units, engrams.weight[:, None]
        return ((1 - 2 * a) * (w @ xi)[:, 0] + a * a * w.sum(2)) * norm - self.gamma / (a * m)  # ξ² = ξ
