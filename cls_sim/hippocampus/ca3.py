"""The base class of CA3 models: recurrent networks that complete patterns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cls_sim.core.part import Part, Spec
from cls_sim.hippocampus.search import Logits, Rows, weigh


@dataclass(frozen=True)
class Engrams:
    """The content of the recurrent synapses, as the patterns ξ from which they were learned.

    keys     chunk of traces → ξ [s, c, m]
    n, units
    weight   [s, n]  strength of each trace, 0 where there is none
    winners  k if patterns are sets of k active cells; 0 if they are vectors
    lost     bool [s, m], lesioned cells; or None
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
        """All patterns [s, n, m]."""
        return self.keys(slice(0, self.n))

    def logits(self, z: Tensor) -> Logits:
        """The overlap of a state with every trace:  c_p = w_p Σ_i z_i (ξ_pi - a) / (M a (1 - a)).

        For patterns that are vectors, c_p = w_p z·ξ_p / M.  The overlap of a stored pattern of k cells with itself is
        w_p.
        """
        a, m = self.activity, self.units
        scale = self.weight / (m * a * (1 - a) if self.winners else m)
        shift = a * z.sum(2, keepdim=True)

        def adjust(logits: Tensor, rows: Tensor, chunk: slice, cues: Any) -> None:
            logits.sub_(shift[:, cues]).mul_(scale[:, None, chunk])

        return Logits(z, self.keys, self.n, adjust)


class Ca3(Part):
    """Moves a state z [s, b, m] to an attractor, and decodes it into the contents of the traces in it."""

    spells: bool = True
    """Whether the state itself is the output to the neocortex if there is no dentate gyrus."""
    unlearns: bool = False
    _known: tuple[Engrams, tuple] | None = None

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        """Receive the sizes.  Raises ConfigError for patterns that this model cannot store."""

    def prepare_cue(self, cue: Tensor, engrams: Engrams) -> Tensor:
        """The initial state for a cue [s, b, m]."""
        return cue

    @abstractmethod
    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        """A random initial state from uniform draws [s, b, m]."""

    @abstractmethod
    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        """The state that the network converges to; `free`: in sleep, the number of active cells is not fixed."""

    def decode(
        self, z: Tensor, engrams: Engrams, values: Sequence[Rows], widths: Sequence[int]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """The output of CA1 for a state.

        Returns Σ_p c_p v_p [s, b, v] for each of the values, the trace with the largest c [s, b] (-1: none), and the
        share of the state that is its pattern, in [0, 1] [s, b].
        """
        return linear(z, engrams, values, widths)

    def unlearn(self, z: Tensor, there: Tensor) -> None:
        """Weaken the states z [s, b, m] of replayed dreams (weights `there` [s, b])."""

    def _once(self, engrams: Engrams, make) -> tuple:
        """The result of `make` for these engrams, computed once."""
        if self._known is None or self._known[0] is not engrams:
            self._known = (engrams, make())
        return self._known[1]


def linear(
    z: Tensor, engrams: Engrams, values: Sequence[Rows], widths: Sequence[int]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Decode by Hebbian synapses of CA1: every trace contributes by its overlap with the state (Engrams.logits)."""
    sums, slot, most = weigh(engrams.logits(z), values, widths)
    weight = engrams.weight.gather(1, slot.clamp(min=0))
    return sums, slot.masked_fill(weight == 0, -1), (most / weight.clamp(min=1e-12)).clamp_(0, 1)


def settled(z: Tensor, update: Callable[[Tensor], Tensor], times: int) -> Tensor:
    """A state [s, b, m] after `times` updates; rows that no longer change are skipped.

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
    """The state with lesioned cells set to 0."""
    return z if engrams.lost is None else z.masked_fill(engrams.lost[:, None], 0.0)
