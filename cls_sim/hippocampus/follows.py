"""Order in a memory: each trace leads to the one that was stored after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec
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
    after  [s, n, N]  what followed each pattern, if pairs are steps; None: the next pattern did
    leads  bool [s, n], whether a pattern leads to what followed it, if pairs are steps
    """

    x: Tensor
    count: Tensor
    slot: Tensor
    after: Tensor | None = None
    leads: Tensor | None = None

    def first(self, count: Tensor) -> Chain:
        """This chain as if only the first so many patterns [s] had been stored."""
        return Chain(self.x, torch.minimum(self.count, count), self.slot, self.after, self.leads)


class Follows(Settings, Wrap, Hippocampus):
    """A memory of order around another one: asymmetric synapses lead from each pattern to the next.

        z ← sign(Σ_p f(ξ_p · z / N) ξ_{p+1}),      in reverse  z ← sign(Σ_p f(ξ_{p+1} · z / N) ξ_p)

    Patterns ξ are the inputs of the stored episodes, N numbers ±1, in the order of their experiences (of one
    experience: in the order of their slots).  What the memory inside does is not changed.

    hippocampus  the memory inside, which keeps the episodes
    interaction  f(o): linear (o), quadratic (o²) or exponential (e^((N-1)(o-1)))
    symmetric    a control: synapses also lead from each pattern to the one before, and neither direction is favoured
    steps        in a world that asks for actions: pairs are the steps from x to what followed (`Batch.after`), and the
                 last step away from a place replaces earlier ones, so that a path is followed without its loops
    close        overlap ξ · z / N from which a state z is a stored pattern, in (0, 1]

    Source: Sompolinsky & Kanter 1986 (linear); Chaudhry, Zavatone-Veth, Krotov & Pehlevan 2023.

    >>> from cls_sim.hippocampus.store import Store
    >>> Follows(Store(capacity=5, eviction="ring"), interaction="quadratic").interaction
    'quadratic'
    """

    inside, null = "hippocampus", {}
    hippocampus: Hippocampus = part(Hippocampus, kw_only=False)
    interaction: str = setting("exponential", INTERACTIONS)
    symmetric: bool = setting(False)
    steps: bool = setting(False)
    close: float = setting(0.6, 0.0, 1.0, open_low=True)

    _known: tuple[Follows, int, Chain] | None = None

    def _settle(self, spec: Spec) -> None:
        reason = "are those of actions, and in this world nobody acts"
        refuse_if(self.steps and not spec.actions, "steps", reason, "give false, or use world=track")

    def chain(self) -> Chain:
        """The patterns in the order in which they were stored; computed again only after a change."""
        changed = self.hippocampus.changed
        if self._known is None or self._known[0] is not self or self._known[1] != changed:
            self._known = self, changed, self._chain()
        return self._known[2]

    def _chain(self) -> Chain:
        traces = self.hippocampus.traces()
        late = torch.where(traces.alive, traces.born.long(), torch.iinfo(torch.int64).max)
        slot = late.argsort(dim=1, stable=True)
        stored, count = self.hippocampus.fetch(slot), traces.alive.sum(1)
        x = stored.x.flatten(2)
        if not self.steps or stored.after is None:
            return Chain(x, count, slot)
        after, place = stored.after.flatten(2), torch.arange(x.shape[1], device=x.device)
        away = (place < count[:, None]) & (after != x).any(2)
        same = (x @ x.mT) > x.shape[2] - 0.5  # patterns of ±1
        again = (same & away[:, None] & (place > place[:, None])).any(2)
        return Chain(x, count, slot, after, away & ~again)

    def unfold(self, z: Tensor, onward: Tensor) -> tuple[Tensor, Tensor]:
        chain = self.chain()
        there = torch.arange(chain.x.shape[1], device=z.device) < chain.count[:, None]
        known = _overlap(chain.x, z, there).amax(1)
        for moves, reverse in ((onward > 0, False), (onward < 0, True)):
            here, _, pairs = _pairs(chain, reverse)
            leads = _overlap(here, z, pairs).amax(1) > known - 0.5 / z.shape[1]  # else the nearest pattern is an end
            z = torch.where((moves & leads)[:, None], self.follow(z, chain, reverse=reverse), z)
            there = there & (leads | ~moves)[:, None]
        like = _overlap(chain.x, z, there)
        best = like.amax(1, keepdim=True)
        newest = (like.flip(1) == best).int().argmax(1, keepdim=True)
        slot = chain.slot.gather(1, like.shape[1] - 1 - newest)
        return z, torch.where(best >= self.close, slot, -1)[:, 0]

    def follow(self, z: Tensor, chain: Chain, *, reverse: bool = False) -> Tensor:
        """What follows the state z [s, N] (in reverse: what came before it): [s, N], numbers ±1."""
        onward = self._led(z, chain, reverse)
        if self.symmetric:
            onward = onward + self._led(z, chain, not reverse)
        return torch.where(onward >= 0, 1.0, -1.0)

    def _led(self, z: Tensor, chain: Chain, reverse: bool) -> Tensor:
        (here, there, pairs), size = _pairs(chain, reverse), z.shape[1]
        overlap = (here @ z[..., None])[..., 0] / size  # [s, pairs]
        if self.interaction == "quadratic":
            overlap = overlap.square()
        elif self.interaction == "exponential":
            most = (chain.x @ z[..., None])[..., 0].amax(1, keepdim=True) / size  # no sign depends on this factor
            overlap = ((size - 1.0) * (overlap - most)).exp()
        return ((overlap * pairs)[:, None] @ there)[:, 0]


def _pairs(chain: Chain, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The patterns that lead to others, the patterns where they lead [s, p, N], and which pairs there are: bool [s, p].

    In reverse the two change places.
    """
    if chain.after is None or chain.leads is None:
        one, other = chain.x[:, :-1], chain.x[:, 1:]
        pairs = torch.arange(one.shape[1], device=one.device) < (chain.count - 1)[:, None]
    else:
        one, other = chain.x, chain.after
        pairs = chain.leads & (torch.arange(one.shape[1], device=one.device) < chain.count[:, None])
    return (other, one, pairs) if reverse else (one, other, pairs)


def _overlap(patterns: Tensor, z: Tensor, there: Tensor) -> Tensor:
    """ξ · z / N for patterns [s, n, N]; -2 for those that are not there: [s, n]."""
    return ((patterns @ z[..., None])[..., 0] / z.shape[1]).masked_fill(~there, -2.0)
