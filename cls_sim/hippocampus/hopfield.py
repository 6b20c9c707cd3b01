"""CA3 as Hopfield networks of vectors: the modern one, and one with dreaming or unlearning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.draws import each
from cls_sim.core.errors import real, refuse_if
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.ca3 import Ca3, Engrams, settled, without
from cls_sim.hippocampus.search import NEVER, Logits, Rows, attend

TOGETHER = 20  # cells whose drive is computed at once


def _centre(key: str, value: Any) -> float | str:
    return value if value == "mean" else real(key, value)


class ModernHopfield(Settings, Ca3):
    """A modern Hopfield network: every update replaces the state by a similarity-weighted average of the patterns.

        z ← Σ_p q_p ξ_p,  q = softmax_p(β z·ξ_p + ln w_p)

    beta         β from 0, inverse temperature; one number, or one per subject; small β gives the average of all
    updates      number of updates, from 1
    centre       what is subtracted from the patterns: a number (0: nothing), or mean, the average of the patterns
    equal_norms  whether to scale the centred patterns to equal length, so that long patterns do not dominate

    Generated states start from ±σ at random in every cell, where σ is the root mean square of the centred patterns.

    Source: Ramsauer et al. 2021; as a teacher in sleep, Spens & Burgess 2024.

    >>> ModernHopfield(beta=1.0, centre="mean", equal_norms=True).updates
    3
    """

    spells = False

    beta: float | list[float] = setting(1.0, 0.0)
    updates: int = setting(3)
    centre: float | str = setting(0.0, check=_centre)
    equal_norms: bool = setting(False)

    def setup(self, spec: Spec) -> Spec:
        self._beta = torch.from_numpy(per_subject("beta", self.beta, spec)).float().to(spec.device)[:, None]
        return spec

    def prepare_cue(self, cue: Tensor, engrams: Engrams) -> Tensor:
        return cue - self._facts(engrams)[0]

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        spread = self._facts(engrams)[2]
        return without((draws < 0.5).float().mul_(2).sub_(1) * spread[:, None, None], engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        middle, scale, _ = self._facts(engrams)

        def pattern(chunk: slice) -> Tensor:
            return engrams.keys(chunk) if self._plain() else (engrams.keys(chunk) - middle) * scale[:, chunk, None]

        for _ in range(self.updates - 1):  # CA1 makes the last update, in the patterns of the neocortex
            (z,), _, _ = attend(self._logits(z, engrams), [pattern], [engrams.units])
            z = without(z, engrams)
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
        """The centre [s, 1, m], the scale of each pattern [s, n] and the spread of all patterns [s]."""

        def make() -> tuple:
            there = (engrams.weight > 0).float()[:, None]  # [s, 1, n]
            count, xi = there.sum(2, keepdim=True).clamp(min=1), engrams.all()
            middle = there @ xi / count if self.centre == "mean" else torch.full_like(xi[:, :1], float(self.centre))
            length = torch.linalg.vector_norm(xi if self._plain() else xi - middle, dim=2).clamp_(min=1e-12)
            there, count = there[:, 0], count[:, 0]
            usual = (length * there).sum(1, keepdim=True) / count
            scale = usual / length if self.equal_norms else torch.ones_like(length)
            energy = ((length * scale).square() * there).sum(1) / (count[:, 0] * engrams.units)
            return middle, scale, energy.sqrt()

        return self._once(engrams, make)


class DreamingHopfield(Settings, Ca3):
    """A Hopfield network that changes in sleep: by a dreaming kernel, or by unlearning of generated states.

        J = (1 + t) / M · ξᵀ (1 + t C)⁻¹ ξ - (ε / M) Σ_dreams sᵀs,  J_ii = 0,  C = ξ ξᵀ / M,  z ← sign(z J)

    dream_time   t from 0: 0 is Hebb's rule, ∞ the pseudo-inverse; one number, or one per subject
    unlearning   ε from 0, amount that each replayed state is unlearned; one number, or one per subject
    updates      largest number of updates of all cells; they end early when the state no longer changes
    synchronous  whether all cells change at once; false: one after another, in an order drawn once for each subject,
                 so that the energy never rises and damaged cues are completed better

    Patterns are vectors of ±1 (no dentate gyrus); the strength of a trace scales the outer product of its pattern.
    States that replay generates are unlearned (`replay=dreamed`).  A state and its mirror image are the same memory;
    the one closer to a trace is the output.

    Source: Hopfield 1982; Hopfield, Feinstein & Palmer 1983; Fachechi, Agliari & Barra 2019.

    >>> DreamingHopfield(dream_time=2.0).unlearning
    0.0
    """

    dream_time: float | list[float] = setting(0.0, 0.0)
    unlearning: float | list[float] = setting(0.0, 0.0)
    updates: int = setting(100)
    synchronous: bool = setting(False)

    def _ready(self) -> None:
        self.unlearns = bool(np.max(self.unlearning) > 0)

    def setup(self, spec: Spec) -> Spec:
        self._time = torch.from_numpy(per_subject("dream_time", self.dream_time, spec)).float().to(spec.device)
        self._loss = torch.from_numpy(per_subject("unlearning", self.unlearning, spec)).float().to(spec.device)
        self._time, self._loss = self._time[:, None, None], self._loss[:, None, None]
        return spec

    def fit(self, spec: Spec, units: int, winners: int) -> None:
        refuse_if(winners, "dentate", "gives sparse patterns, and this network stores ±1", "give dentate=null")
        self._order = each(spec.seeds, "hippocampus.order", lambda g: g.permutation(units)).to(spec.device)
        if self.unlearns:
            self.unlearnt = torch.zeros(spec.subjects, units, units, device=spec.device)

    def noise(self, draws: Tensor, engrams: Engrams) -> Tensor:
        return without((draws < 0.5).float().mul_(2).sub_(1), engrams)

    def settle(self, z: Tensor, engrams: Engrams, free: bool = False) -> Tensor:
        weights = self._once(engrams, lambda: (self._learnt(engrams),))[0]
        if self.unlearns:
            weights = weights - self.unlearnt
        weights = weights.diagonal_scatter(torch.zeros_like(weights[..., 0]), dim1=1, dim2=2)

        def at_once(z: Tensor) -> Tensor:
            drive = z @ weights
            return without(torch.where(drive == 0, z, drive.sign()), engrams)

        z = settled(z, at_once, self.updates) if self.synchronous else self._one_by_one(z, weights, engrams.lost)
        if not free:
            return z
        shares = z @ engrams.all().mT * (engrams.weight > 0)[:, None]  # the mirror image of a state is the same memory
        most = shares.gather(2, shares.abs().argmax(2, keepdim=True))
        return torch.where(most < 0, -z, z)

    def _one_by_one(self, z: Tensor, weights: Tensor, lost: Tensor | None) -> Tensor:
        """The state after asynchronous updates; the drive of a block of cells is corrected for each that changes."""
        if lost is not None:
            weights = weights.masked_fill(lost[:, None] | lost[..., None], 0.0)
        rows = self._order[:, :, None].expand_as(weights)
        weights = weights.gather(1, rows).gather(2, rows.mT)
        units = self._order.shape[1]
        blocks = [slice(i, min(i + TOGETHER, units)) for i in range(0, units, TOGETHER)]

        def in_order(z: Tensor) -> Tensor:
            z = z.clone()
            for block in blocks:
                drive, within, new = z @ weights[:, :, block], weights[:, block, block], z[..., block].clone()
                if not ((drive != 0) & (drive.sign() != new)).any():  # no cell of the block changes
                    continue
                for i in range(new.shape[2]):
                    now, there = drive[..., i], new[..., i]
                    change = torch.where(now == 0, 0.0, now.sign() - there)
                    there += change
                    drive.addcmul_(change[..., None], within[:, None, i])
                z[..., block] = new
            return z

        order = self._order[:, None].expand_as(z)
        return torch.empty_like(z).scatter_(2, order, settled(z.gather(2, order), in_order, self.updates))

    def unlearn(self, z: Tensor, there: Tensor) -> None:
        if self.unlearns:
            self.unlearnt += (z * there[..., None]).mT @ z * (self._loss / z.shape[2])

    def _learnt(self, engrams: Engrams) -> Tensor:
        xi = engrams.all() * engrams.weight.sqrt()[..., None]
        overlap = xi @ xi.mT / engrams.units
        inner = torch.eye(engrams.n, device=xi.device) + self._time * overlap
        return (1 + self._time) / engrams.units * (xi.mT @ torch.linalg.solve(inner, xi))
