"""Functional regularisation: the answers to a few memorable inputs of past contexts are kept (a Gaussian process)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.importance import Fisher, Named
from cls_sim.consolidation.objectives import LabelObjective
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import over, updated
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec, View, ended, known_contexts, stretches, zeros
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import gradients
from cls_sim.neocortex.base import Neocortex, Tap

WORK = 2**24  # numbers held at once while a kernel is summed


class Fromp(Settings, LabelObjective):
    """Functional regularisation of the memorable past (FROMP).

        L = label + strength / N · ½ Σ_k Σ_c (m_kc - m*_kc)ᵀ K_kc⁻¹ (m_kc - m*_kc)

    m_kc [p] are the probabilities of class c at the memorable inputs of context k, and m*_kc those at the end of the
    last context.  K_kc = J Σ Jᵀ + jitter, where J are the derivatives of m* in all weights and Σ = 1 / (prior + N ·
    Fisher) for each weight.  N is the number of rows of the contexts so far.  The memorable inputs of a class are those
    with the largest Σ_c p_c (1 - p_c).  Each step uses one past context, in turn, as an estimate of the sum over k.

    strength  τ, from 0 (1: the Bayesian value)
    points    memorable inputs per context, divided among its classes, from 1; stored with 4 bytes per number
    prior     precision of the initial weights, above 0
    jitter    added to the diagonal of the kernel, as a share of its mean, above 0

    Raises ConfigError in regression, if context boundaries are unknown, and if the cortex does not give its layer
    activations (a multilayer perceptron does).

    Source: Pan, Swaroop, Immer, Eschenhagen, Turner & Khan (2020), Continual deep learning by functional regularisation
    of memorable past.

    >>> Fromp(points=20).strength
    1.0
    """

    strength: float = setting(1.0, 0.0)
    points: int = setting(200)
    prior: float = setting(1.0, 0.0, open_low=True)
    jitter: float = setting(0.01, 0.0, open_low=True)

    def _ready(self) -> None:
        self.fisher = Fisher()

    def setup(self, spec: Spec) -> Spec:
        reason = "needs classes and known context boundaries"
        refuse_if(spec.regression or not spec.ends, "objective", reason, "choose another world")
        self.spec, s, k, d = spec, spec.subjects, spec.contexts, spec.device
        self.fisher.setup(spec)
        p = self.points
        self.x = torch.zeros(s, k, p, int(torch.Size(spec.inputs).numel()), device=d)
        self.there = torch.zeros(s, k, p, device=d)
        self.mean = torch.zeros(s, k, spec.outputs, p, device=d)
        self.inverse = torch.zeros(s, k, spec.outputs, p, p, device=d)
        self.precision = zeros(spec)
        self.rows_seen = torch.zeros(s, device=d)
        self.ended, self.turn = np.zeros(s, np.int64), np.zeros(s, np.int64)
        return spec

    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        self.turn = self.turn + active

    def losses(self, neocortex: Neocortex, batch: Batch, context: Tensor | None) -> Tensor:
        rows, past = super().losses(neocortex, batch, context), self.ended
        if not past.any() or not torch.is_grad_enabled() or not self.strength:
            return rows
        k = torch.from_numpy(self.turn % np.maximum(past, 1)).to(self.there.device)
        s = torch.arange(len(k), device=k.device)
        p = neocortex.scores(self._inputs(k), self._told(k)).softmax(2).mT  # [s, c, p]
        away = (p - self.mean[s, k]) * self.there[s, k, None]
        cost = 0.5 * (away * (self.inverse[s, k] @ away[..., None])[..., 0]).sum((1, 2))
        share = torch.from_numpy(self.strength * past).to(cost) / self.rows_seen.clamp(min=1)
        return rows + (share * cost)[:, None]

    def _told(self, k: Tensor) -> Tensor | None:
        """The contexts k [s] of the memorable inputs, [s, p]; None if the task identity is unknown."""
        return k[:, None].expand(-1, self.points) if self.spec.task_id_known else None

    def _inputs(self, k: Tensor) -> Tensor:
        """The memorable inputs of context k [s] of each subject: [s, p, …]."""
        return self.x[torch.arange(len(k), device=k.device), k].view(len(k), self.points, *self.spec.inputs)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        met = np.where(who, stretches(self.spec)[1][ended(self.spec, clock)], self.ended)
        if (new := met > self.ended).any():  # the memorable inputs of a recurring context are kept
            self._remember(view, new)
        self.ended = met
        past = np.where(who, met, 0)
        for k in range(past.max()):
            self._settle(view.neocortex, k, past > k)

    def _remember(self, view: View, who: np.ndarray) -> None:
        """Add the ended contexts' Fisher information for the subjects in `who`; pick their memorable inputs."""
        mine = torch.from_numpy(np.flatnonzero(who)).to(self.there.device)
        k = torch.from_numpy(self.ended).to(self.there.device)[mine]
        n, doubt, label = torch.zeros_like(self.rows_seen), [], []
        for batch in view.revisit(1000):
            p = view.scores(batch.x, known_contexts(self.spec, batch)).softmax(2)
            there = batch.weights() > 0
            doubt.append(torch.where(there, (p * (1 - p)).sum(2), -1.0))
            label.append(batch.y)
            n = n + there.sum(1)
        order = _memorable(torch.cat(doubt, 1), torch.cat(label, 1), self.points)
        start = 0
        for batch in view.revisit(1000):
            place = order[mine] - start
            here = (place >= 0) & (place < batch.rows)
            x = batch.x.flatten(2)[mine[:, None], place.clamp(0, batch.rows - 1)]
            self.x[mine, k] = torch.where(here[..., None], x, self.x[mine, k])
            self.there[mine, k] = torch.where(here, 1.0, self.there[mine, k])
            start += batch.rows
        for name, f in self.fisher.measure(view, who).items():
            self.precision[name] = updated(who, self.precision[name] + f * over(n, f), self.precision[name])
        self.rows_seen = updated(who, self.rows_seen + n, self.rows_seen)

    def _settle(self, cortex: Neocortex, k: int, who: np.ndarray) -> None:
        """Means and inverse kernels at a context's memorable inputs, for the present weights."""
        where = torch.full((len(who),), k, device=self.there.device)
        with torch.enable_grad():
            tapped = cortex.activations(self._inputs(where), self._told(where))
        if tapped is None:
            reason = f"needs layer activations, and {type(cortex).__name__} has none"
            raise ConfigError("objective", reason, "give neocortex=mlp")
        scores, taps = tapped
        p = scores.detach().softmax(2)
        drives, kernels = [tap.drive for tap in taps], []
        products = [_products(tap, self.precision, self.prior) for tap in taps]
        for c in range(p.shape[2]):
            one = torch.zeros_like(p)
            one[..., c] = 1
            found = gradients(scores, p[..., c, None] * (one - p), drives, retain_graph=True)
            kernels.append(sum(_kernel(d, g) for d, g in zip(found, products, strict=True)))
        kernel = torch.stack(kernels, 1)  # type: ignore[arg-type]
        both = self.there[:, k, None, :, None] * self.there[:, k, None, None, :]
        size = kernel.diagonal(dim1=2, dim2=3).mean(2)
        lift = (self.jitter * size + 1e-6).view(*size.shape, 1, 1) * torch.eye(kernel.shape[2], device=kernel.device)
        self.mean[:, k] = updated(who, p.mT, self.mean[:, k])
        inverse = torch.linalg.inv((kernel * both + lift).double()).float()
        self.inverse[:, k] = updated(who, inverse, self.inverse[:, k])


def _products(tap: Tap, precision: Named, prior: float) -> Tensor:
    """The weighted products of each unit's inputs for pairs of rows, Σ_i σ_oi h_im h_in (+ σ of the bias).

    Shape [s, o, p, p].
    """
    h, spread = tap.inputs, 1 / (prior + precision[tap.weight])  # [s, i, p], [s, o, i]
    spread = spread if tap.spared is None else spread * tap.spared
    size = max(1, WORK // max(1, h.numel()))
    parts = [(h.mT[:, None] * some[:, :, None]) @ h[:, None] for some in spread.split(size, 1)]
    shared = torch.cat(parts, 1)
    return shared if tap.bias is None else shared + (1 / (prior + precision[tap.bias]))[..., None]


def _kernel(delta: Tensor, products: Tensor) -> Tensor:
    """Σ_o δ_om δ_on products_omn: [s, p, p]."""
    return (delta[..., None] * delta[:, :, None] * products).sum(1)


def _memorable(doubt: Tensor, label: Tensor, points: int) -> Tensor:
    """The rows [s, points] with the largest uncertainty, equally many per class; -1 if there are no more."""
    chosen = np.full((len(doubt), points), -1, np.int64)
    for i, (one, classes) in enumerate(zip(doubt.cpu().numpy(), label.cpu().numpy(), strict=True)):
        order = np.lexsort((-one, classes))
        first = np.searchsorted(classes[order], classes[order])
        late = np.empty(len(one), bool)
        late[order] = np.arange(len(one)) - first >= -(-points // max(1, len(np.unique(classes[one >= 0]))))
        best = np.lexsort((-one, late))
        best = best[(one[best] >= 0) & ~late[best]][:points]
        chosen[i, : len(best)] = best
    return torch.from_numpy(chosen).to(doubt.device)
