"""Synapses with several time constants: the weight is the first of several coupled variables."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.around import FromBirth
from cls_sim.consolidation.base import Consolidation, Synapses
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import fixed, part, setting
from cls_sim.neocortex.base import Neocortex
from cls_sim.theory.synapses import chain


class _Drawn(FromBirth, Synapses):
    """Weights that another rule changes, and that time draws back to their initial values."""

    inner: dict[str, Tensor] = fixed({})
    consolidation: Consolidation = part(Consolidation, default_factory=Descent)

    def _fresh(self, spec: Spec) -> None:
        super()._fresh(spec)
        self.inner = {}


class BennaFusi(_Drawn):
    """Benna-Fusi synapses: a chain of m bidirectionally coupled variables for each weight, each slower than the last.

        C_k du_k/dt = g_(k-1) (u_(k-1) - u_k) + g_k (u_(k+1) - u_k),   C_k = 2^(k-1),   g_k = 2^-(k-1) / 4

    u_1 is the difference of the weight from its initial value.  Learning changes u_1 only; time changes all variables,
    in every tick, with or without learning.  There is no g_0, and the last variable leaks (u_(m+1) = 0).  Time
    constants grow as 4^k, so a memory decays as t^(-1/2) up to about 4^m ticks.

    consolidation  the inner rule, which changes u_1; default Descent()
    variables      m, from 1 to 30
    pace           time of the chain that passes per tick, in (0, 1]; one number, or one per subject
    bound          upper limit of |u_1| after a step, above 0, infinity allowed (without a limit the chain is linear)

    `inner` holds the chain, name → [s, …, m].

    Source: Benna & Fusi (2016), Computational principles of synaptic memory consolidation.

    >>> from cls_sim.neocortex.mlp import Linear
    >>> cortex, synapses = Linear(init=1.0), BennaFusi(variables=3)
    >>> _ = synapses.setup(cortex.setup(Spec(inputs=(2,), outputs=1, regression=True)))
    >>> synapses.inner["weight0"].shape
    torch.Size([1, 1, 2, 3])
    """

    variables: int = setting(8, 1, 30)
    pace: float | list[float] = setting(1.0, 0.0, 1.0, open_low=True)
    bound: float = setting(float("inf"), 0.0, open_low=True, endless=True)

    def _settle(self, spec: Spec) -> None:
        pace = torch.from_numpy(per_subject("pace", self.pace, spec))[:, None, None]
        identity = torch.eye(self.variables, dtype=torch.float64)
        self._flow = (identity + pace * torch.from_numpy(chain(self.variables)).mT).float().to(spec.device)  # [s, m, m]

    def _fresh(self, spec: Spec) -> None:
        super()._fresh(spec)
        self.inner = {n: torch.zeros(*w, self.variables, device=spec.device) for n, w in spec.weights.items()}

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        super().step(neocortex, batch, rate, view)
        if self.bound < float("inf"):
            with torch.no_grad():
                for name, w in neocortex.weights.items():
                    w.sub_(self.birth[name]).clamp_(-self.bound, self.bound).add_(self.birth[name])

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self._meet(neocortex)
        for name, w in neocortex.weights.items():
            inner = self.inner[name]
            inner[..., 0] = w - self.birth[name]
            flat = torch.bmm(inner.flatten(1, -2), self._flow)
            self.inner[name] = flat.view_as(inner)
            w.copy_(self.birth[name] + self.inner[name][..., 0])
        self.consolidation.elapse(neocortex, clock)


class Fading(_Drawn):
    """Exponential decay of weights to their initial values: w - w_0 ← (1 - q) (w - w_0) in every tick.

    consolidation  the inner rule; default Descent()
    fade           q, the share lost per tick, in [0, 1]; one number, or one per subject

    Source: the neocortical decay of two-compartment models, McClelland, McNaughton & O'Reilly 1995; also the synapse
    with a single time constant that other synapses are compared with.

    >>> Fading(fade=0.1).fade
    0.1
    """

    inside, null = "consolidation", {"fade": 0.0}

    fade: float | list[float] = setting(0.01, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self._stay = torch.from_numpy(1.0 - per_subject("fade", self.fade, spec)).float().to(spec.device)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self._meet(neocortex)
        for name, w in neocortex.weights.items():
            stay = over(self._stay, w)
            w.copy_(torch.where(stay == 1, w, self.birth[name] + stay * (w - self.birth[name])))
        self.consolidation.elapse(neocortex, clock)
