"""A readout that acts."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import Readout
from cls_sim.readout.systems import CortexReadout


class Softmax(Settings, Wrap, Readout):
    """A readout that also acts: the scores Q of the readout inside are the values of the actions.

        p(a) = exp(β Q_a) / Σ_a' exp(β Q_a')

    readout  the readout that answers; default CortexReadout()
    beta     inverse temperature β, from 0: at 0 all actions are equally likely

    A drawn action is a function of (seed, experience) and of the scores.  Questions are answered by the readout inside.

    Source: Luce 1959; Sutton & Barto 2018, section 2.8.

    >>> Softmax(beta=5.0).beta
    5.0
    """

    inside, null = "readout", {}
    derived = frozenset({"_lot"})
    readout: Readout = part(Readout, default_factory=CortexReadout, kw_only=False)
    beta: float = setting(5.0, 0.0)

    def _settle(self, spec: Spec) -> None:
        self._lot = Draws(spec.seeds, "readout.action", (1,), device=spec.device)

    @torch.no_grad()
    def act(self, x: Tensor, hippocampus: Hippocampus, neocortex: Neocortex, clock: Clock) -> Tensor:
        values = self.readout.answer(x, None, hippocampus, neocortex).scores[:, 0]
        chance = (self.beta * values.double()).softmax(1).cumsum(1)
        lot = self._lot.at(clock.experience) * chance[:, -1:]
        return (chance <= lot).sum(1).clamp(max=chance.shape[1] - 1)
