"""Streaming classifiers on features: class means with a shared covariance, and ridge regression on random features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws, each
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall, for_classes, nothing
from cls_sim.hippocampus.densities import Densities

RIDGES = tuple(10.0**k for k in range(-8, 9))


@dataclass(frozen=True)
class Whitened:
    """Which classes exist [s, o], the middle of their means [s, 1, f], the map to white features [s, f, f] (None:
    features as they are), and the white means [s, o, f]."""

    there: Tensor
    middle: Tensor
    white: Tensor | None
    mean: Tensor


class Discriminant(Settings, Densities):
    """Streaming linear discriminant analysis: a running mean of each class and one covariance, over the whole past.

        ŷ = argmax_c  w_c · x + b_c,   w_c = Λ μ_c,   b_c = -½ μ_c · Λ μ_c,   Λ = [(1 - ε) Σ + ε I]⁻¹
        Σ = S / n,   S ← S + (x - μ_y)(x - μ'_y)ᵀ,   μ'_y = μ_y + (x - μ_y) / n_y

    shrinkage  ε, from 0 to 1; 1: Λ = I, the nearest class mean (NCM), and no covariance is kept

    The update is that of Welford: after any rows in any order and in any batches, S is the scatter of all rows about
    the means of their classes, so the answer is the linear discriminant of all rows (Hayes & Kanan weight a row by
    t / (t + 1) with t the number of all rows, which tends to the same).  One exposure a row; no pass through the
    neocortex.  Answer and match are those of Densities.  Bytes: counts, means, and a triangle of S in float32.  Raises
    ConfigError in regression.

    Source: Hayes & Kanan 2020, Lifelong machine learning with deep streaming linear discriminant analysis (ε = 1e-4);
    nearest class mean, Mensink et al. 2013.

    >>> means, covariance = Discriminant(shrinkage=1.0), Discriminant()
    >>> spec = Spec(seeds=(0,), inputs=(20,), outputs=10)
    >>> [part.setup(spec).outputs and part.stored_bytes().item() for part in (means, covariance)]
    [840, 1680]
    """

    shrinkage: float = setting(1e-4, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "keeps the mean of each class")
        s, o, f = spec.subjects, spec.outputs, math.prod(spec.inputs)
        self.count = torch.zeros(s, o, device=spec.device)
        self.mean = torch.zeros(s, o, f, device=spec.device)
        if self.shrinkage < 1:
            self.scatter = torch.zeros(s, f, f, device=spec.device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        x = batch.x.flatten(2)
        belongs = _belongs(batch, who, self.spec.outputs)  # [s, o, b]
        there, rows = belongs.sum(1)[..., None], belongs.sum(2)[..., None]
        count = self.count[..., None] + rows
        mean = self.mean + (belongs @ x - rows * self.mean) / count.clamp(min=1)
        if self.shrinkage < 1:
            past = torch.where(self.count[..., None] > 0, self.mean, mean)  # 0 is no mean: it is far from the inputs
            before, after = (there * x - belongs.mT @ some for some in (past, mean))
            self.scatter = self.scatter + before.mT @ after
        self.count, self.mean = count[..., 0], mean
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        fit: Whitened = self._fitted()
        off = x.flatten(2) - fit.middle
        off = off if fit.white is None else off @ fit.white.mT
        far = (off.square().sum(2, keepdim=True) - 2 * off @ fit.mean.mT).add(fit.mean.square().sum(2)[:, None])
        there = fit.there[:, None]
        nearest = far.masked_fill(~there, torch.inf).amin(2)
        scores = (-0.5 * far).masked_fill(~there, -torch.inf)
        return self._recalled(x, scores, nearest / off.shape[2], fit.there.any(1))

    def _made(self) -> Whitened:
        there, mean = self.count > 0, self.mean.double()
        middle = (there[..., None] * mean).sum(1, keepdim=True) / there.sum(1).clamp(min=1)[:, None, None]
        mean = (mean - middle) * there[..., None]
        if self.shrinkage == 1:
            return Whitened(there, middle.float(), None, mean.float())
        eye = torch.eye(mean.shape[2], dtype=torch.float64, device=mean.device)
        scatter = self.scatter.double()
        spread = (scatter + scatter.mT) / (2 * self.count.double().sum(1).clamp(min=1)[:, None, None])
        covariance = (1 - self.shrinkage) * spread + max(self.shrinkage, 1e-9) * eye
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), eye.expand_as(spread), upper=False)
        return Whitened(there, middle.float(), white.float(), (mean @ white.mT).float())

    def stored_bytes(self) -> Tensor:
        o, f = self.mean.shape[1:]
        numbers = o + o * f + (f * (f + 1) // 2 if self.shrinkage < 1 else 0)
        return torch.full((self.spec.subjects,), 4 * numbers, dtype=torch.int64)


class RandomRidge(Settings, Densities):
    """Ridge regression of the classes on random features, from sums over the whole past (RanPAC).

        h = relu(x W),   G ← G + h hᵀ,   C ← C + h yᵀ (y one-hot),   scores = h (G + λ I)⁻¹ C

    units     M, the number of random features, from 1; W [x, M] is drawn from N(0, 1/x) for each subject and fixed
    ridge     λ, above 0; None: that of 10⁻⁸, 10⁻⁷, … 10⁸ with the least squared error on held-out rows
    held_out  above 0, up to 0.9: the share of rows, drawn at random, that chooses λ; the answer then uses all rows

    G and C of the held-out rows are kept apart, because a row is not seen twice: their error is
    tr(Aᵀ G' A) - 2 tr(Aᵀ C') + n' for a solution A on the other rows.  One exposure a row; no pass through the
    neocortex.  match = max(0, min(1, largest score)).  Bytes: triangles of G, and C, in float32, twice unless `ridge`
    is given; W is fixed wiring.  Raises ConfigError in regression.

    Source: McDonnell, Gong, Parvaneh, Abbasnejad & van den Hengel 2023, RanPAC (there M = 10,000).

    >>> memory = RandomRidge(units=50, ridge=1.0)
    >>> memory.setup(Spec(seeds=(0,), inputs=(20,), outputs=10)).outputs, memory.stored_bytes().tolist()
    (10, [7140])
    """

    sized = "units"

    units: int = setting(1000)
    ridge: float | None = setting(None, 0.0, open_low=True)
    held_out: float = setting(0.2, 0.0, 0.9, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "adds up the rows of each class")
        s, o, x = spec.subjects, spec.outputs, math.prod(spec.inputs)
        parts = 1 if self.ridge is not None else 2  # learnt, held out
        self.count = torch.zeros(s, parts, o, device=spec.device)
        self.gram = torch.zeros(s, parts, self.units, self.units, device=spec.device)
        self.cross = torch.zeros(s, parts, self.units, o, device=spec.device)
        wiring = each(spec.seeds, "hippocampus.wiring", lambda g: g.standard_normal((x, self.units), "float32"))
        self._wiring = wiring.to(spec.device) / math.sqrt(x)
        self._lots = BatchDraws(spec.seeds, "hippocampus.held_out", "uniform", spec.device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        h, belongs = self._features(batch.x), _belongs(batch, who, self.spec.outputs)
        shares = [belongs]
        if self.ridge is None:
            held = self._lots.at(clock.experience, (batch.rows,), sizes=batch.sizes) < self.held_out
            shares = [belongs * ~held[:, None], belongs * held[:, None]]
        split = torch.stack(shares, 1)  # [s, parts, o, b]
        self.count = self.count + split.sum(3)
        weighted = h[:, None] * split.sum(2)[..., None]  # [s, parts, b, M]
        self.gram = self.gram + weighted.mT @ h[:, None]
        self.cross = self.cross + weighted.mT @ split.mT
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        solution, there = self._fitted()
        blank, known = nothing(x, self.spec.outputs), there.any(1)[:, None]
        scores = (self._features(x) @ solution).masked_fill(~there[:, None], -1.0) * known[..., None]
        return Recall(scores, blank.x, scores.amax(2).clamp(0, 1) * known, blank.slot)

    def chosen(self) -> Tensor:
        """The ridge λ of each subject [s]: the given one, or the one that the held-out rows choose."""
        if self.ridge is not None:
            return torch.full((self.spec.subjects,), self.ridge, dtype=torch.float64, device=self.gram.device)
        gram, cross = self.gram.double(), self.cross.double()
        errors: list[Tensor] = []
        for ridge in RIDGES:
            a, failed = _solved(gram[:, 0], cross[:, 0], torch.full_like(gram[:, 0, 0, 0], ridge))
            error = ((gram[:, 1] @ a) * a).sum((1, 2)) - 2 * (a * cross[:, 1]).sum((1, 2))
            errors.append(error.masked_fill(failed | ~error.isfinite(), torch.inf))
        best = torch.stack(errors, 1).argmin(1)
        best = torch.where(self.count[:, 1].sum(1) > 0, best, len(RIDGES) // 2)  # nothing is held out yet: λ = 1
        return torch.tensor(RIDGES, dtype=torch.float64, device=gram.device)[best]

    def _made(self) -> tuple[Tensor, Tensor]:
        """The solution [s, M, o], and which classes were met [s, o]."""
        solution, _ = _solved(self.gram.double().sum(1), self.cross.double().sum(1), self.chosen())
        return solution.float(), self.count.sum(1) > 0

    def _features(self, x: Tensor) -> Tensor:
        return (x.flatten(2) @ self._wiring).relu()

    def stored_bytes(self) -> Tensor:
        parts, m, o = self.cross.shape[1:]
        return torch.full((self.spec.subjects,), 4 * parts * (o + m * o + m * (m + 1) // 2), dtype=torch.int64)


def _solved(gram: Tensor, cross: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """(G + λ I)⁻¹ C [s, m, o] for λ [s], and whether G + λ I is not positive to rounding [s]."""
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    factor, info = torch.linalg.cholesky_ex((gram + gram.mT) / 2 + ridge[:, None, None] * eye)
    return torch.cholesky_solve(cross, factor), info > 0


def _belongs(batch: Batch, who: Tensor | None, outputs: int) -> Tensor:
    """Which rows of subjects `who` belong to each class: float [s, o, b]."""
    there = batch.present() if who is None else batch.present() & who[:, None]
    classes = torch.arange(outputs, device=batch.y.device)[:, None]
    return ((batch.y[:, None] == classes) & there[:, None]).float()
