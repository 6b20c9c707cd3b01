"""Field CA3: recurrent synapses in which a part of a pattern brings back the whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cls_sim.core.part import Part, Spec
from cls_sim.hippocampus.search import Logits, Rows, weigh


@dataclass(frozen=True)
class Engrams:
    """What recurrent synapses have learnt, as the patterns ξ they learnt it from.

    keys     chunk of traces → ξ [s, c, m]
    n, units
    weight   [s, n]  strength of each trace, 0 where there is none
    winners  k, if patterns are sets of k active cells; 0 if they are vectors
    lost     bool [s, m] or None: cells that are no more
    """

    keys: Rows
    n: int
    units: int
    weight: Tensor
    winners: int
    lost: Tensor | None

    @property
    def activity(self) -> float:
        return self.winners / self.units

    def all(self) -> Tensor:
        """Every pattern [s, n, m]."""
        return self.keys(slice(0, self.n))

    def logits(self, z: Tensor) -> Logits:
        """How much every trace takes part in a state:  c_p = w_p Σ_i z_i (ξ_pi - a) / (M a (1 - a)).

        Of vectors w_p z·ξ_p / M.  A stored pattern of k cells addresses itself with exactly w_p.
        """
        a, m = self.activity, self.units
        scale = self.weight / (m * a * (1 - a) if self.winners else m)
        shift = a * z.sum(2, keepdim=True)

        def adjust(logits: Tensor, rows: Tensor, chunk: slice, cues: Any) -> None:
            logits.sub_(shift[:, cues]).mul_(scale[:, None, chunk])

        return Logits(z, self.keys, self.n, adjust)


class Ca3(Part):
    """Settles a state z [s, b, m], and says what the traces that take part in it stand for."""

    derived: ClassVar[frozenset[str]] = frozenset({"_known"})
    spells: bool = True
    """Whether the state itself is what the cortex hears, where no dentate gyrus gives patterns of its own."""
    unlearns: bool = False
    _known: tuple[Engrams, tuple] | None = None

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        """Refuse patterns that are not of its kind; take your sizes."""

    def prepare_cue(self, cue: Tensor, engrams: Engrams) -> Tensor:
        """The state that a cue [s, b, m] sets."""
        return cue

    @abstractmethod
    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        """A random state, from uniform draws [s, b, m]."""

    @abstractmethod
    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        """Where the state goes; `free`: in sleep, nothing holds the number of active cells."""

    def decode(
        self, z: Tensor, engrams: Engrams, values: Sequence[Rows], widths: Sequence[int]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """What CA1 makes of a state: Σ_p c_p v_p [s, b, v] of each of the values, the trace of the largest c [s, b]
        (-1: none), and how much of the state is its pattern, in [0, 1] [s, b]."""
        return linear(z, engrams, values, widths)

    def unlearn(self, z: Tensor, there: Tensor) -> None:
        """Weaken what a dream z [s, b, m] has shown (weights `there` [s, b])."""

    def _once(self, engrams: Engrams, make) -> tuple:
        """What `make` works out of these engrams, once."""
        if self._known is None or self._known[0] is not engrams:
            self._known = (engrams, make())
        return self._known[1]


def linear(
    z: Tensor, engrams: Engrams, values: Sequence[Rows], widths: Sequence[int]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Hebbian synapses of CA1: every trace speaks as far as it takes part in the state (Engrams.logits)."""
    sums, slot, most = weigh(engrams.logits(z), values, widths)
    weight = engrams.weight.gather(1, slot.clamp(min=0))
    return sums, slot.masked_fill(weight == 0, -1), (most / weight.clamp(min=1e-12)).clamp_(0, 1)


def settled(z: Tensor, update: Callable[[Tensor], Tensor], times: int) -> Tensor:
    """A state [s, b, m] after so many updates; rows that do not move any more are left out of the later ones.

    >>> settled(torch.tensor([[[3.0], [9.0]]]), lambda z: (z - 1).clamp(min=0), 5).flatten().tolist()
    [0.0, 4.0]
    """
    for done in range(1, times + 1):
        before, z = z, update(z)
        moved = (before != z).any(2)
        most = int(moved.sum(1).max())
        if most == 0:
            break
        if 2 * most <= z.shape[1]:
            place = torch.argsort(~moved, dim=1, stable=True)[:, :most, None].expand(-1, -1, z.shape[2])
            return z.scatter(1, place, settled(z.gather(1, place), update, times - done))
    return z


def without(z: Tensor, engrams: Engrams) -> Tensor:
    """The state without the cells that are lost."""
    return z if engrams.lost is None else z.masked_fill(engrams.lost[:, None], 0.0)
