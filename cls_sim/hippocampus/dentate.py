"""Dentate gyri: the sparse code under which an episode is laid down, and the one that a cue finds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.draws import each
from cls_sim.core.errors import real, whole
from cls_sim.core.part import Part, Spec


class Dentate(Part):
    """`units` cells of which `winners` are active in a code; activity a = winners / units."""

    derived: ClassVar[frozenset[str]] = frozenset({"_wiring", "_lost"})
    _lost: Tensor | None = None

    def __init__(self, *, units: int = 1000, activity: float = 0.05):
        self.units = whole("units", units, 2, 2**15)
        self.activity = real("activity", activity, 0.0, 1.0, open_low=True)
        self.winners = max(1, round(self.activity * self.units))

    @abstractmethod
    def wire(self, spec: Spec, capacity: int) -> None:
        """Draw what is fixed for life."""

    @abstractmethod
    def new(self, x: Tensor, slot: Tensor) -> Tensor:
        """The code of episodes x [s, b, x] that go to these slots [s, b]: cells, int64 [s, b, k]."""

    @abstractmethod
    def cue(self, x: Tensor, seed: Callable[[], Tensor]) -> Tensor:
        """The code of cues x [s, b, x]: cells, int64 [s, b, k].

        seed()  [s, b, m], what the stored inputs that resemble the cues drive:  Σ_p w_p (x·x_p) (ξ_p - a)
        """

    def lose(self, cells: Tensor | None) -> None:
        """A lesion: these cells (bool [s, m]) are not active any more (None: all work)."""
        self._lost = cells

    def _winners(self, drive: Tensor) -> Tensor:
        """The k cells of the largest drive [s, b, m]."""
        if self._lost is not None:
            drive = drive.masked_fill(self._lost[:, None], -torch.inf)
        return largest(drive, self.winners)


class KWinners(Dentate):
    """k winners take all: the code of an input is the set of the k cells with the largest drive h = x V.

        |c ∩ c'| / k = Φ₂(-θ, -θ; ρ) / a  for inputs of correlation ρ, θ = Φ⁻¹(1 - a), a = k / units

    units     cells, more than there are inputs: expansion
    activity  a in (0, 1], the share of them that is active; k is at least 1

    V [x, m] is drawn once for each subject from a normal distribution, and balanced: the weights of a cell sum to 0, so
    that an input's mean drives none.

    Source: O'Reilly & McClelland 1994; Treves & Rolls 1992.

    >>> KWinners(units=1000, activity=0.05).winners
    50
    """

    def wire(self, spec: Spec, capacity: int) -> None:
        width = int(torch.Size(spec.inputs).numel())
        shape = (width, self.units)
        drawn = each(spec.seeds, "dentate.winners", lambda g: _balanced(g.standard_normal(shape, np.float32)))
        self._wiring = drawn.to(spec.device)

    def new(self, x: Tensor, slot: Tensor) -> Tensor:
        return self._winners(x @ self._wiring)

    def cue(self, x: Tensor, seed: Callable[[], Tensor]) -> Tensor:
        return self._winners(x @ self._wiring)


class Index(Dentate):
    """Every slot has a code of its own, k of the cells drawn at random: an index, unrelated to what it points to.

    units     M, cells
    activity  a in (0, 1], the share of them that is active: exactly k = a M in every code

    A cue finds its code through what was stored with it:  h = Σ_p w_p (x·x_p) (ξ_p - a), and the k largest.

    Source: Teyler & DiScenna 1986; the notebook of Sun et al. 2023.

    >>> Index(units=2000, activity=0.05).winners
    100
    """

    def wire(self, spec: Spec, capacity: int) -> None:
        def draw(source: np.random.Generator) -> np.ndarray:
            some = source.random((capacity + 1, self.units), np.float32)
            return np.argpartition(some, self.winners - 1, axis=1)[:, : self.winners]

        self._wiring = each(spec.seeds, "dentate.index", draw).to(spec.device)

    def new(self, x: Tensor, slot: Tensor) -> Tensor:
        rows = torch.arange(len(slot), device=slot.device)[:, None]
        return self._wiring[rows, slot]

    def cue(self, x: Tensor, seed: Callable[[], Tensor]) -> Tensor:
        return self._winners(seed())


def _balanced(weights: np.ndarray) -> np.ndarray:
    """Weights [x, m] less each cell's mean (a single input keeps its own)."""
    return weights - weights.mean(0) if len(weights) > 1 else weights


def largest(drive: Tensor, k: int) -> Tensor:
    """The places of the k largest of the last axis, in any order."""
    if drive.device.type == "cpu":  # numpy selects four times faster
        return torch.from_numpy(np.argpartition(drive.numpy(), -k, axis=-1)[..., -k:])
    return drive.topk(k, sorted=False).indices


def active(code: Tensor, units: int) -> Tensor:
    """Codes [s, b, k] as cells, 1 where active: float [s, b, units].

    >>> active(torch.tensor([[[0, 2]]]), 3).tolist()
    [[[1.0, 0.0, 1.0]]]
    """
    silent = torch.zeros(*code.shape[:2], units, device=code.device)
    return silent.scatter_(2, code, 1.0)
