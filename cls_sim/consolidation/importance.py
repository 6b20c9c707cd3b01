"""Importance of weights, measured at the end of a context, for all rows of a batch at once.

The gradient of a row in a layer's weights is the product δ hᵀ of its derivative δ in the layer's input current and the
layer's input h.  Therefore Σ_b (δ_b h_bᵀ)² = (δ²)(h²)ᵀ: one matrix product per layer for any number of rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.draws import Draws, over, updated
from cls_sim.core.part import Part, Spec, View, known_contexts, zeros
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import gradients
from cls_sim.neocortex.base import Neocortex

Named = dict[str, Tensor]
Pass = tuple[Tensor, Tensor]  # the weight of a pass for each row [s, b], and its derivative in the scores [s, b, o]


class Importance(Part):
    """Measures how important each weight is for the context that has just ended."""

    watches: bool = False
    """Whether `after_step` is called after each step."""

    @abstractmethod
    def measure(self, view: View, who: np.ndarray) -> Named:
        """The importance of each weight, [s, …] by name; valid for the subjects in `who` (bool [s])."""

    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        """Called after the weights have moved from `before` along these gradients, if `watches`."""


class UniformImportance(Importance):
    """Equal importance Ω = 1 of all weights: a QuadraticPenalty is then the squared L2 distance.

    >>> UniformImportance().watches
    False
    """

    def measure(self, view: View, who: np.ndarray) -> Named:
        return {name: torch.ones_like(w) for name, w in view.neocortex.weights.items()}


class _Rows(Settings, Importance):
    """The mean of |gradient|^power over the rows of the ended context; subclasses define the gradients."""

    power: ClassVar[int]

    batch: int = setting(500)
    samples: int | None = setting(None)

    @abstractmethod
    def passes(self, scores: Tensor, batch: Batch, heads: Tensor | None) -> Iterator[Pass]:
        """The derivatives in the scores whose gradients are summed; `heads` bool [s, b, o]: which outputs compete."""

    def measure(self, view: View, who: np.ndarray) -> Named:
        total = {name: torch.zeros_like(w) for name, w in view.neocortex.weights.items()}
        seen, rows = torch.zeros(self.spec.subjects, device=self.spec.device), 0
        for batch in view.revisit(self.batch if self.samples is None else min(self.batch, self.samples)):
            self._add(total, view.neocortex, batch)
            seen, rows = seen + batch.weights().sum(1), rows + batch.rows
            if self.samples is not None and rows >= self.samples:
                break
        seen = seen.clamp(min=1)
        return {name: t / over(seen, t) for name, t in total.items()}

    def _add(self, total: Named, cortex: Neocortex, batch: Batch) -> None:
        context = known_contexts(self.spec, batch)
        with torch.enable_grad():
            tapped = cortex.activations(batch.x, context)
        if tapped is None:
            for row in range(batch.rows):  # a cortex without layer activations needs one backward pass per row
                at = slice(row, row + 1)
                self._add_row(total, cortex, batch.part(at), context if context is None else context[:, at])
            return
        scores, taps = tapped
        drives = [tap.drive for tap in taps]
        sums: list[Tensor | None] = [None] * len(taps)
        for weight, delta in self.passes(scores.detach(), batch, self._heads(cortex, context)):
            found = gradients(scores, delta, drives, retain_graph=True)
            for i, d in enumerate(found):
                part = d.abs_() if self.power == 1 else d.square_()
                part.mul_(weight[:, None])
                sums[i] = part if sums[i] is None else sums[i].add_(part)  # pyright: ignore[reportOptionalMemberAccess]
        for tap, s in zip(taps, sums, strict=True):
            if s is None:
                continue
            h = tap.inputs.abs() if self.power == 1 else tap.inputs.square()
            if tap.spared is None:
                total[tap.weight].baddbmm_(s, h.mT)
            else:
                total[tap.weight] += torch.bmm(s, h.mT) * tap.spared
            if tap.bias is not None:
                total[tap.bias] += s.sum(2, keepdim=True)

    def _add_row(self, total: Named, cortex: Neocortex, row: Batch, context: Tensor | None) -> None:
        with torch.enable_grad():
            scores = cortex.scores(row.x, context)
        names, weights = zip(*cortex.weights.items(), strict=True)
        for weight, delta in self.passes(scores.detach(), row, self._heads(cortex, context)):
            found = gradients(scores, delta, weights, retain_graph=True)
            for name, g in zip(names, found, strict=True):
                part = g.abs() if self.power == 1 else g.square()
                total[name] += part * over(weight, part)

    @staticmethod
    def _heads(cortex: Neocortex, context: Tensor | None) -> Tensor | None:
        if context is None or cortex.heads is None:
            return None
        rows = torch.arange(len(context), device=context.device)[:, None]
        return cortex.heads[rows, context.clamp(min=0)]


class Fisher(_Rows):
    """The diagonal of the Fisher information: Ω_j = mean_x Σ_c p(c|x) (∂ log p(c|x) / ∂θ_j)².

    labels   exact: the sum over all competing classes, as in the equation; empirical: only the label of the row;
             sampled: one label drawn from the softmax of the cortex' scores.  In regression, with unit variance: exact
             and sampled are Σ_o (∂ŷ_o / ∂θ_j)², empirical uses the error of the row.
    batch    rows per pass, from 1
    samples  number of rows of the context that are used, from 1; None: all

    Source: Kirkpatrick et al. (2017); the three versions, van de Ven (2025), Kunstner, Balles & Hennig (2019).

    >>> Fisher(labels="sampled").labels
    'sampled'
    """

    power = 2

    labels: str = setting("exact", ("exact", "empirical", "sampled"))

    def setup(self, spec: Spec) -> Spec:
        self._draws = Draws(spec.seeds, "consolidation.fisher", (self.batch,), device=spec.device)
        self.drawn = np.zeros(spec.subjects, np.int64)
        return super().setup(spec)

    def passes(self, scores: Tensor, batch: Batch, heads: Tensor | None) -> Iterator[Pass]:
        there = batch.weights()
        if self.spec.regression:
            yield from self._numbers(scores, batch, there)
            return
        p = scores.softmax(2)
        if self.labels == "exact":
            options = p.shape[2] if heads is None else int(self.spec.heads.sum(2).max())  # pyright: ignore
            order = None if heads is None else heads.to(torch.uint8).argsort(dim=2, descending=True, stable=True)
            for j in range(options):
                label = torch.full_like(batch.item, j) if order is None else order[..., j]
                yield there * p.gather(2, label[..., None])[..., 0], _score(p, label)
        elif self.labels == "empirical":
            yield there * (batch.y >= 0), _score(p, batch.y.clamp(min=0))
        else:
            draws = self._draws.at(self.drawn)[:, : p.shape[1], None].float()
            self.drawn = self.drawn + batch.present().any(1).cpu().numpy()
            yield there, _score(p, (p.cumsum(2) < draws * p.sum(2, keepdim=True)).sum(2).clamp(max=p.shape[2] - 1))

    def _numbers(self, scores: Tensor, batch: Batch, there: Tensor) -> Iterator[Pass]:
        if self.labels == "empirical":
            yield there, batch.y - scores
            return
        for o in range(scores.shape[2]):
            one = torch.zeros_like(scores)
            one[..., o] = 1
            yield there, one


class OutputSensitivity(_Rows):
    """Sensitivity of the outputs to a weight: Ω_j = mean_x |∂ ‖ŷ(x)‖² / ∂θ_j|.  It needs no labels.

    batch    rows per pass, from 1
    samples  number of rows of the context that are used, from 1; None: all

    Source: memory aware synapses, Aljundi et al. (2018).

    >>> OutputSensitivity().power
    1
    """

    power = 1

    def passes(self, scores: Tensor, batch: Batch, heads: Tensor | None) -> Iterator[Pass]:
        yield batch.weights(), 2 * (scores if heads is None else scores.masked_fill(~heads, 0.0))


class PathIntegral(Settings, Importance):
    """Path integral of the loss decrease that a weight has caused (synaptic intelligence).

        Ω_j = Σ_t -g_j Δθ_j / ((θ_j - θ_j^start)² + damping)

    damping  ξ, above 0

    g is the gradient of the whole loss including the penalty, as in the reference implementation.

    Source: synaptic intelligence, Zenke, Poole & Ganguli (2017).

    >>> PathIntegral().watches
    True
    """

    watches = True

    damping: float = setting(0.1, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self.path, self.start = zeros(spec), zeros(spec)
        self.begun = np.zeros(spec.subjects, bool)
        return super().setup(spec)

    @torch.no_grad()
    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        fresh = active & ~self.begun
        moves = torch.from_numpy(active).to(self.spec.device)
        for name, w in weights.items():
            if fresh.any():
                self.start[name] = updated(fresh, before[name], self.start[name])
            step = (w.detach() - before[name]).mul_(gradients[name])
            if not active.all():
                step = torch.where(over(moves, step), step, 0.0)
            self.path[name].sub_(step)
        self.begun = self.begun | active

    def measure(self, view: View, who: np.ndarray) -> Named:
        moved = {name: (w.detach() - self.start[name]).square() for name, w in view.neocortex.weights.items()}
        measured = {name: self.path[name] / (away + self.damping) for name, away in moved.items()}
        self.path = {name: updated(who, torch.zeros_like(p), p) for name, p in self.path.items()}
        self.begun = self.begun & ~who
        return measured


class RiemannianWalk(Settings, Importance):
    """Riemannian walk: running Fisher information plus the loss decrease per distance moved in output space.

        F ← (1 - α) F + α g²,   s_j ← Σ_t max(0, -g_j Δθ_j / (½ F_j Δθ_j² + ε)),   Ω = F / max F + s / max s

    alpha  α of the running Fisher information, in [0, 1]
    eps    ε, above 0

    g is the gradient of the whole batch.  As in the paper, F runs on over contexts, and both terms are scaled to a
    maximum of 1.

    Source: Riemannian walk, Chaudhry, Dokania, Ajanthan & Torr (2018).

    >>> RiemannianWalk().watches
    True
    """

    watches = True

    alpha: float = setting(0.1, 0.0, 1.0)
    eps: float = setting(1e-3, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self.fisher, self.path = zeros(spec), zeros(spec)
        return super().setup(spec)

    @torch.no_grad()
    def after_step(self, weights: Named, before: Named, gradients: Named, active: np.ndarray) -> None:
        moves = torch.from_numpy(active).to(self.spec.device)
        for name, w in weights.items():
            goes, fisher = over(moves, w), self.fisher[name]
            g = torch.where(goes, gradients[name], 0.0)
            step = torch.where(goes, w.detach() - before[name], 0.0)
            self.fisher[name] = torch.where(goes, torch.lerp(fisher, g.square(), self.alpha), fisher)
            gain = -g * step / (0.5 * self.fisher[name] * step.square() + self.eps)
            self.path[name] += gain.clamp(min=0)

    def measure(self, view: View, who: np.ndarray) -> Named:
        fisher, path = _scaled(self.fisher), _scaled(self.path)
        self.path = {name: updated(who, torch.zeros_like(p), p) for name, p in self.path.items()}
        return {name: fisher[name] + path[name] for name in fisher}


def _scaled(numbers: Named) -> Named:
    """Each subject's numbers, divided by their maximum over all its weights."""
    most = torch.stack([n.flatten(1).amax(1) for n in numbers.values()]).amax(0).clamp(min=1e-30)
    return {name: n / over(most, n) for name, n in numbers.items()}


def _score(p: Tensor, label: Tensor) -> Tensor:
    """The derivative of log p(label) in the scores: 1[label] - p, [s, b, o]."""
    return (-p).scatter_add(2, label[..., None], torch.ones_like(p[..., :1]))
