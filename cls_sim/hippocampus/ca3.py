"""Fields CA3: recurrent networks in which a part of a pattern brings back the whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.errors import Refused, flag, real, reals, whole
from cls_sim.hippocampus.dentate import active, largest
from cls_sim.hippocampus.search import NEVER, Logits, Rows, attend, weigh
from cls_sim.part import Part, Spec, per_subject


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

    def hear(self, cue: Tensor, engrams: Engrams) -> Tensor:
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


class Attractor(Ca3):
    """A sparse Hebbian attractor: binary cells, synapses learnt in one shot, global inhibition.

        W = Σ_p w_p (ξ_p - a)ᵀ(ξ_p - a) / (M a (1 - a)) - γ / (a M),  W_ii = 0

    gamma      γ from 0, the inhibition
    cycles     synchronous cycles, from 1, in each of which the k cells of the largest h = z W become active
    threshold  U: in sleep as many cycles follow in which every cell with h > U is active, so that a state can fall
               silent; then it stays so, as nothing drives it.  Half way between the h of an active cell,
               1 - a - γ, and of another, - a - γ, it is 0.5 - a - γ

    It asks for a dentate gyrus (patterns of k active cells).  A stored pattern is recalled with the error
    (P - 1) / (M - 1) of Var(y), whatever a.  It stops early where nothing changes any more.

    Source: Tsodyks & Feigelman 1988; Buhmann et al. 1989; the notebook of Sun et al. 2023.

    >>> Attractor(gamma=0.6, cycles=9).threshold
    -0.15
    """

    def __init__(self, *, gamma: float = 0.6, cycles: int = 9, threshold: float = -0.15):
        self.gamma, self.cycles = real("gamma", gamma, 0.0), whole("cycles", cycles)
        self.threshold = real("threshold", threshold)

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        if not 0 < winners < units:
            raise Refused("dentate", "gives no sparse patterns, and an attractor needs them", "choose Winners or Index")

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        return _without((draws < engrams.activity).float(), engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        def held(z: Tensor) -> Tensor:
            drive = self._drive(z, engrams)
            if engrams.lost is not None:
                drive = drive.masked_fill(engrams.lost[:, None], -torch.inf)
            return _without(active(largest(drive, engrams.winners), engrams.units), engrams)

        def free_to_fall(z: Tensor) -> Tensor:
            on = (self._drive(z, engrams) > self.threshold) & (z.amax(2, keepdim=True) > 0)
            return _without(on.float(), engrams)

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


class ModernHopfield(Ca3):
    """A modern Hopfield network: every update replaces the state by the average of what resembles it.

        z ← Σ_p q_p ξ_p,  q = softmax_p(β z·ξ_p + ln w_p)

    beta         β from 0, inverse temperature; one number, or one a subject.  Small β: the average of everything
    updates      from 1
    centre       what patterns are counted from: a number (0: as they are), or mean, the average of what is stored
    equal_norms  scale the patterns, so counted, to equal length: no pattern is more attractive for being longer

    Dreams start from ±σ at random in every cell, σ the root mean square of the patterns so counted.

    Source: Ramsauer et al. 2021; as a teacher in sleep, Spens & Burgess 2024.

    >>> ModernHopfield(beta=1.0, centre="mean", equal_norms=True).updates
    3
    """

    derived = Ca3.derived | {"_beta"}
    spells = False

    def __init__(
        self,
        *,
        beta: float | list[float] = 1.0,
        updates: int = 3,
        centre: float | str = 0.0,
        equal_norms: bool = False,
    ):
        self.beta, self.updates = reals("beta", beta, 0.0), whole("updates", updates)
        self.centre = centre if centre == "mean" else real("centre", centre)
        self.equal_norms = flag("equal_norms", equal_norms)

    def begin(self, spec: Spec) -> Spec:
        self._beta = torch.from_numpy(per_subject("beta", self.beta, spec)).float().to(spec.device)[:, None]
        return spec

    def hear(self, cue: Tensor, engrams: Engrams) -> Tensor:
        return cue - self._facts(engrams)[0]

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        spread = self._facts(engrams)[2]
        return _without((draws < 0.5).float().mul_(2).sub_(1) * spread[:, None, None], engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        middle, scale, _ = self._facts(engrams)

        def pattern(chunk: slice) -> Tensor:
            return engrams.keys(chunk) if self._plain() else (engrams.keys(chunk) - middle) * scale[:, chunk, None]

        for _ in range(self.updates - 1):  # the last one is CA1's: it answers in the patterns of the cortex
            (z,), _, _ = attend(self._logits(z, engrams), [pattern], [engrams.units])
            z = _without(z, engrams)
        return z

    def decode(
        self, z: Tensor, engrams: Engrams, values: Sequence[Rows], widths: Sequence[int]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        return attend(self._logits(z, engrams), values, widths)

    def _plain(self) -> bool:
        return self.centre == 0.0 and not self.equal_norms

    def _logits(self, z: Tensor, engrams: Engrams) -> Logits:
        middle, scale, _ = self._facts(engrams)
        bias = torch.where(engrams.weight > 0, engrams.weight.clamp(min=1e-30).log(), NEVER)
        z = z * self._beta[..., None]
        shift = z @ middle.mT

        def adjust(logits: Tensor, rows: Tensor, chunk: slice, cues: Any) -> None:
            if not self._plain():
                logits.sub_(shift[:, cues]).mul_(scale[:, None, chunk])
            logits.add_(bias[:, None, chunk])

        return Logits(z, engrams.keys, engrams.n, adjust)

    def _facts(self, engrams: Engrams) -> tuple[Tensor, Tensor, Tensor]:
        """The middle [s, 1, m], the scale of each pattern [s, n] and the spread of all [s]."""

        def make() -> tuple:
            there = (engrams.weight > 0).float()[:, None]  # [s, 1, n]
            count = there.sum(2, keepdim=True).clamp(min=1)
            xi = engrams.all()
            middle = there @ xi / count if self.centre == "mean" else torch.full_like(xi[:, :1], float(self.centre))
            plain = self._plain()
            length = torch.linalg.vector_norm(xi if plain else xi - middle, dim=2).clamp_(min=1e-12)
            there, count = there[:, 0], count[:, 0]
            usual = (length * there).sum(1, keepdim=True) / count
            scale = usual / length if self.equal_norms else torch.ones_like(length)
            energy = ((length * scale).square() * there).sum(1) / (count[:, 0] * engrams.units)
            return middle, scale, energy.sqrt()

        return self._once(engrams, make)


class DreamingHopfield(Ca3):
    """A Hopfield network that sleep reshapes: by a dreaming kernel, or by unlearning its dreams.

        J = (1 + t) / M · ξᵀ (1 + t C)⁻¹ ξ - (ε / M) Σ_dreams sᵀs,  J_ii = 0,  C = ξ ξᵀ / M,  z ← sign(z J)

    dream_time  t from 0: 0 is Hebb's rule, ∞ the pseudo-inverse; one number, or one a subject
    unlearning  ε from 0: what each dream replayed takes away; one number, or one a subject
    updates     synchronous updates at most; it stops early where nothing changes any more

    Patterns are vectors of ±1 (no dentate gyrus); the strength of a trace multiplies its pattern's outer product.
    The dreams that are unlearnt are those that the policy replays: `replay=dreamed`.  Of a dream and its mirror image
    the one that resembles a trace most is told.

    Source: Hopfield 1982; Hopfield, Feinstein & Palmer 1983; Fachechi, Agliari & Barra 2019.

    >>> DreamingHopfield(dream_time=2.0).unlearning
    0.0
    """

    derived = Ca3.derived | {"_time", "_loss"}

    def __init__(
        self,
        *,
        dream_time: float | list[float] = 0.0,
        unlearning: float | list[float] = 0.0,
        updates: int = 100,
    ):
        self.dream_time, self.unlearning = reals("dream_time", dream_time, 0.0), reals("unlearning", unlearning, 0.0)
        self.updates = whole("updates", updates)
        self.unlearns = bool(np.max(self.unlearning) > 0)

    def begin(self, spec: Spec) -> Spec:
        self._time, self._loss = (
            torch.from_numpy(per_subject(key, value, spec)).float().to(spec.device)[:, None, None]
            for key, value in (("dream_time", self.dream_time), ("unlearning", self.unlearning))
        )
        return spec

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        if winners:
            raise Refused("dentate", "gives sparse patterns, and this network stores ±1", "give dentate=null")
        if self.unlearns:
            self.unlearnt = torch.zeros(spec.subjects, units, units, device=spec.device)

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        return _without((draws < 0.5).float().mul_(2).sub_(1), engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        weights = self._once(engrams, lambda: (self._learnt(engrams),))[0]
        if self.unlearns:
            weights = weights - self.unlearnt
        weights = weights.diagonal_scatter(torch.zeros_like(weights[..., 0]), dim1=1, dim2=2)

        def update(z: Tensor) -> Tensor:
            drive = z @ weights
            return _without(torch.where(drive == 0, z, drive.sign()), engrams)

        z = settled(z, update, self.updates)
        if not free:
            return z
        shares = z @ engrams.all().mT * (engrams.weight > 0)[:, None]  # a state's mirror image is the same memory
        most = shares.gather(2, shares.abs().argmax(2, keepdim=True))
        return torch.where(most < 0, -z, z)

    def unlearn(self, z: Tensor, there: Tensor) -> None:
        if self.unlearns:
            self.unlearnt += (z * there[..., None]).mT @ z * (self._loss / z.shape[2])

    def _learnt(self, engrams: Engrams) -> Tensor:
        xi = engrams.all() * engrams.weight.sqrt()[..., None]
        overlap = xi @ xi.mT / engrams.units
        inner = torch.eye(engrams.n, device=xi.device) + self._time * overlap
        return (1 + self._time) / engrams.units * (xi.mT @ torch.linalg.solve(inner, xi))


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


def _without(z: Tensor, engrams: Engrams) -> Tensor:
    """The state without the cells that are lost."""
    return z if engrams.lost is None else z.masked_fill(engrams.lost[:, None], 0.0)
