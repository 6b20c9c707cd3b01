"""Order in a memory: each trace leads to the one that was stored after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus

INTERACTIONS = ("linear", "quadratic", "exponential")


@dataclass(frozen=True)
class Chain:
    """The stored patterns of each subject in the order in which they were stored.

    x      [s, n, N]  the patterns; those from `count` on are empty
    count  [s]        int64, their number
    slot   [s, n]     int64, their slots
    """

    x: Tensor
    count: Tensor
    slot: Tensor

    def first(self, count: Tensor) -> Chain:
        """This chain as if only the first so many patterns [s] had been stored."""
        return Chain(self.x, torch.minimum(self.count, count), self.slot)


class Follows(Settings, Wrap, Hippocampus):
    """A memory of order around another one: asymmetric synapses lead from each pattern to the next.

        z ← sign(Σ_p f(ξ_p · z / N) ξ_{p+1}),      in reverse  z ← sign(Σ_p f(ξ_{p+1} · z / N) ξ_p)

    Patterns ξ are the inputs of the stored episodes, N numbers ±1, in the order of their experiences (of one
    experience: in the order of their slots).  What the memory inside does is not changed.

    hippocampus  the memory inside, which keeps the episodes
    interaction  f(o): linear (o), quadratic (o²) or exponential (e^((N-1)(o-1)))
    symmetric    a control: synapses also lead from each pattern to the one before, and neither direction is favoured

    Source: Sompolinsky & Kanter 1986 (linear); Chaudhry, Zavatone-Veth, Krotov & Pehlevan 2023.

    >>> from cls_sim.hippocampus.store import Store
    >>> Follows(Store(capacity=5, eviction="ring"), interaction="quadratic").interaction
    'quadratic'
    """

    inside, null = "hippocampus", {}
    hippocampus: Hippocampus = part(Hippocampus, kw_only=False)
    interaction: str = setting("exponential", INTERACTIONS)
    symmetric: bool = setting(False)

    def chain(self) -> Chain:
        """The patterns in the order in which they were stored."""
        traces = self.hippocampus.traces()
        late = torch.where(traces.alive, traces.born.long(), torch.iinfo(torch.int64).max)
        slot = late.argsort(dim=1, stable=True)
        return Chain(self.hippocampus.fetch(slot).x.flatten(2), traces.alive.sum(1), slot)

    def follow(self, z: Tensor, chain: Chain, *, reverse: bool = False) -> Tensor:
        """What follows the state z [s, N] (in reverse: what came before it): [s, N], numbers ±1."""
        onward = self._led(z, chain, reverse)
        if self.symmetric:
            onward = onward + self._led(z, chain, not reverse)
        return torch.where(onward >= 0, 1.0, -1.0)

    def _led(self, z: Tensor, chain: Chain, reverse: bool) -> Tensor:
        here, there = (chain.x[:, 1:], chain.x[:, :-1]) if reverse else (chain.x[:, :-1], chain.x[:, 1:])
        size = z.shape[1]
        overlap = (here @ z[..., None])[..., 0] / size  # [s, n - 1]
        if self.interaction == "quadratic":
            overlap = overlap.square()
        elif self.interaction == "exponential":
            overlap = ((size - 1.0) * (overlap - 1.0)).exp()
        pairs = torch.arange(overlap.shape[1], device=z.device) < (chain.count - 1)[:, None]
        return ((overlap * pairs)[:, None] @ there)[:, 0]
