"""Dentate gyri: sparse codes of episodes and of cues."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.draws import each
from cls_sim.core.errors import real, refuse_if, whole
from cls_sim.core.part import Part, Spec


class Dentate(Part):
    """`units` cells of which `winners` are active in a code; activity a = winners / units."""

    _lost: Tensor | None = None

    def __init__(self, *, units: int = 1000, activity: float = 0.05):
        self.units = whole("units", units, 2, 2**15)
        self.activity = real("activity", activity, 0.0, 1.0, open_low=True)
        self.winners = max(1, round(self.activity * self.units))

    @abstractmethod
    def wire(self, spec: Spec, capacity: int) -> None:
        """Draw the fixed wiring."""

    @abstractmethod
    def new(self, x: Tensor, slot: Tensor) -> Tensor:
        """The codes of episodes x [s, b, x] for these slots [s, b]: active cells, int64 [s, b, k]."""

    @abstractmethod
    def cue(self, x: Tensor, seed: Callable[[], Tensor]) -> Tensor:
        """The codes of cues x [s, b, x]: active cells, int64 [s, b, k].

        seed()  [s, b, m], the drive from stored inputs that resemble the cues:  Σ_p w_p (x·x_p) (ξ_p - a)
        """

    def lose(self, cells: Tensor | None) -> None:
        """Lesion these cells (bool [s, m]): they are never active (None: all cells work)."""
        self._lost = cells

    def _winners(self, drive: Tensor) -> Tensor:
        """The k cells with the largest drive [s, b, m]."""
        if self._lost is not None:
            drive = drive.masked_fill(self._lost[:, None], -torch.inf)
        return largest(drive, self.winners)


class KWinners(Dentate):
    """k-winners-take-all: the code of an input is the set of the k cells with the largest drive h = x V.

        |c ∩ c'| / k = Φ₂(-θ, -θ; ρ) / a  for inputs of correlation ρ, θ = Φ⁻¹(1 - a), a = k / units

    units     number of cells; more cells than inputs give an expansion
    activity  a in (0, 1], the share of active cells; k is at least 1

    V [x, m] is drawn once for each subject from a normal distribution and balanced: the weights of a cell sum to 0, so
    that the mean of an input drives no cell.

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
    """A random code of k cells for every slot: an index that does not depend on the content.

    units     M, number of cells
    activity  a in (0, 1], the share of active cells: exactly k = a M in every code

    The code of a cue comes from the stored inputs: the k cells with the largest  h = Σ_p w_p (x·x_p) (ξ_p - a).

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


class Relay(Dentate):
    """No separation: the cells repeat the input, and the k cells with the largest input are active.

    units     number of cells, that of the numbers of an input
    activity  a in (0, 1], the share of active cells.  An input of 0 and 1 with exactly a · units ones is its own code

    It stands for a CA3 without a dentate gyrus, which stores the code of the entorhinal cortex itself.  Raises
    ConfigError if there are more or fewer cells than numbers in an input.

    >>> relay = Relay(units=4, activity=0.5)
    >>> relay.wire(Spec(inputs=(4,)), 1)
    >>> relay.new(torch.tensor([[[1.0, 0.0, 0.0, 1.0]]]), torch.zeros(1, 1)).sort().values.tolist()
    [[[0, 3]]]
    """

    def wire(self, spec: Spec, capacity: int) -> None:
        width = int(torch.Size(spec.inputs).numel())
        refuse_if(width != self.units, "units", f"are {self.units}, and an input has {width} numbers", f"give {width}")

    def new(self, x: Tensor, slot: Tensor) -> Tensor:
        return self._winners(x)

    def cue(self, x: Tensor, seed: Callable[[], Tensor]) -> Tensor:
        return self._winners(x)


def _balanced(weights: np.ndarray) -> np.ndarray:
    """Weights [x, m] minus the mean of each cell (unchanged for a single input)."""
    return weights - weights.mean(0) if len(weights) > 1 else weights


def largest(drive: Tensor, k: int) -> Tensor:
    """The indices of the k largest values along the last axis, in any order."""
    if drive.device.type == "cpu":  # numpy selects four times faster
        return torch.from_numpy(np.argpartition(drive.numpy(), -k, axis=-1)[..., -k:])
    return drive.topk(k, sorted=False).indices


def active(code: Tensor, units: int) -> Tensor:
    """Codes [s, b, k] as activities of all cells, 0 or 1: float [s, b, units].

    >>> active(torch.tensor([[[0, 2]]]), 3).tolist()
    [[[1.0, 0.0, 1.0]]]
    """
    silent = torch.zeros(*code.shape[:2], units, device=code.device)
    return silent.scatter_(2, code, 1.0)
