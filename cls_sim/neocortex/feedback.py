"""A neocortex that generates replay through its feedback connections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws, each, pick, updated
from cls_sim.core.errors import refuse_if, several, whole
from cls_sim.core.part import Spec, View, fill_contexts, known_contexts
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among
from cls_sim.core.variational import (
    Weights,
    divergence,
    down,
    drawn,
    latents,
    layers,
    log_normal,
    misfit,
    shown,
    up,
)
from cls_sim.neocortex.base import Neocortex, beyond_perceptron, told


class Feedback(Settings, Neocortex):
    """A perceptron whose feedback connections reconstruct its input: a variational autoencoder that classifies.

        h = up(x),  ŷ = W h + b,   z = μ(h) + σ(h) ε,   x̂ = down(z · gates of the class)
        loss of a row = (loss of the answer)
                        + reconstruction_weight · (misfit(x̂, x) + (ln q(z|x) - ln p(z|y)) / (numbers in x))

    hidden                 widths of the hidden layers, from 1 each; the feedback path has the same in reverse order
    latent                 number of latent units z, from 1
    prior                  class: p(z|y) is a learned Gaussian for each class; one: N(0, 1) for all classes
    gates                  in [0, 1), share of the feedback units that a class silences, drawn for each class and
                           subject
    temperature            T, above 0: a row with soft targets s belongs to class c to the degree softmax(s / T)_c
    reconstruction_weight  weight of the reconstruction error and the divergence in the loss, from 0
    renew_every            when the copy that generates replay is updated: null: at the ends of contexts; or a number of
                           steps

    `dream` uses a copy of the weights that is updated as `renew_every` says.  It draws a class met before the update
    and z from its prior, generates the input, and adds the copy's scores as soft targets (see DistillationLoss).
    Inputs that are multiples of a quantum count as levels in [0, 1] (cross-entropy), others as any numbers (squared
    error).  Raises ConfigError in regression, and if subjects do not know the boundaries and `renew_every` is null.

    Source: van de Ven, Siegelmann & Tolias 2020, Nature Communications 11, 4069 (internal replay left out).

    >>> cortex = Feedback(hidden=[8], latent=3)
    >>> spec = cortex.setup(Spec(seeds=(0, 1), inputs=(2, 2), outputs=3, ends=(5,)))
    >>> cortex.scores(torch.zeros(2, 5, 2, 2)).shape, spec.features, spec.dreams
    (torch.Size([2, 5, 3]), 8, ('neocortex',))
    """

    hidden: Sequence[int] = setting((400, 400), "widths", "[400, 400]", whole, check=several)
    latent: int = setting(100)
    prior: str = setting("class", ("class", "one"))
    gates: float = setting(0.1, 0.0, 0.999)
    temperature: float = setting(2.0, 0.0, open_low=True)
    reconstruction_weight: float = setting(1.0, 0.0)
    renew_every: int | None = setting(None)

    def _ready(self) -> None:
        refuse_if(not self.hidden, "hidden", "is empty", "give at least one layer")

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "generates classes, and this world is a regression", "choose another neocortex")
        reason = "is null, and subjects do not know the boundaries"
        refuse_if(self.renew_every is None and not spec.ends, "renew_every", reason, "give a number of steps")
        sizes, s, o = (math.prod(spec.inputs), *self.hidden), spec.subjects, spec.outputs
        top, back = sizes[-1], (self.latent, *reversed(sizes))
        shapes = layers("up", sizes) | layers("out", (top, o)) | layers("mean", (top, self.latent))
        shapes |= layers("spread", (top, self.latent), bias=False) | layers("down", back)
        self.heads, self.weights = spec.heads, drawn(spec, "neocortex", shapes)
        if self.prior == "class":
            for name in ("prior.mean", "prior.spread"):
                kind = each(spec.seeds, f"neocortex.{name}", lambda g: g.standard_normal((o, self.latent), np.float32))
                self.weights[name] = kind.to(spec.device).requires_grad_()
        self.before = {name: w.detach().clone() for name, w in self.weights.items()}
        self.met = torch.zeros(s, o, dtype=torch.bool, device=spec.device)  # classes met so far
        self.known = torch.zeros_like(self.met)  # classes met before the last update of the copy
        self.steps = np.zeros(s, np.int64)
        self.spec = told(spec, top, self.weights, dreams=(*spec.dreams, "neocortex"))
        self._levels = spec.quantum is not None
        self._gates = [self._gate(i, width) for i, width in enumerate(back[1:-1])] if self.gates else []
        self._draws: dict[str, BatchDraws] = {}
        return self.spec

    def _gate(self, layer: int, width: int) -> Tensor:
        """The units of a feedback layer that each class leaves active: [s, units, o]."""
        shape = (width, self.spec.outputs)
        active = each(self.spec.seeds, f"neocortex.gate{layer}", lambda g: g.random(shape) >= self.gates)
        return active.float().to(self.spec.device)

    def extra_weights(self) -> int:
        return beyond_perceptron(self.weights, (math.prod(self.spec.inputs), *self.hidden, self.spec.outputs))

    # -- answering --------------------------------------------------------------------------------------

    def features(self, x: Tensor, context: Tensor | None = None, weights: Weights | None = None) -> Tensor:
        return up(x.flatten(2).mT, weights or self.weights, "up", len(self.hidden)).mT

    def answer(self, features: Tensor, weights: Weights | None = None) -> Tensor:
        weights = weights or self.weights
        return torch.baddbmm(weights["out0.bias"], weights["out0.weight"], features.mT).mT

    # -- learning ---------------------------------------------------------------------------------------

    def training_outputs(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features = self.features(batch.x)
        scores = self.mask_logits(self.answer(features), context)
        if self.reconstruction_weight == 0:
            return scores, None
        noise = self._noise("taught", batch.rows, self.steps, batch.sizes) if torch.is_grad_enabled() else None
        belongs = self._belongs(batch)
        mean, spread, z = latents(features.mT, self.weights, noise)
        rows = misfit(self._down(z, belongs, self.weights), batch.x.flatten(2).mT, self._levels)
        if self.prior == "one":
            far = divergence(mean, spread)
        else:
            near = log_normal(z, self.weights["prior.mean"], self.weights["prior.spread"])
            share = torch.where(belongs > 0, belongs, 1.0).log().masked_fill(belongs == 0, -torch.inf)
            own = 0.0 if noise is None else noise.square().sum(1)
            far = -0.5 * (spread.sum(1) + own) - (near + share).logsumexp(1)
        return scores, self.reconstruction_weight * (rows + far / math.prod(self.spec.inputs))

    @torch.no_grad()
    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        who = torch.from_numpy(active).to(self.met.device)
        lived = batch.present() & (batch.source != DREAMED) & (batch.y >= 0) & who[:, None]
        self.met = self.met | among(batch.y, lived, self.spec.outputs)
        self.steps = self.steps + active
        if self.renew_every is not None and (due := active & (self.steps % self.renew_every == 0)).any():
            self._renew(due)

    def _one(self, y: Tensor) -> Tensor:
        """Labels [s, b] in one-hot form: float [s, o, b]."""
        return (y[:, None] == torch.arange(self.spec.outputs, device=y.device)[:, None]).float()

    def _belongs(self, batch: Batch) -> Tensor:
        """The degree to which a row belongs to each class: [s, o, b]."""
        hard = self._one(batch.y).masked_fill(batch.y[:, None] < 0, 1 / self.spec.outputs)
        if batch.scores is None:
            return hard
        soft = (batch.scores / self.temperature).softmax(2).mT
        return torch.where(batch.scores.isnan().any(2)[:, None], hard, soft)

    # -- dreaming ---------------------------------------------------------------------------------------

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        if self.renew_every is None:
            self._renew(who)

    @torch.no_grad()
    def _renew(self, due: np.ndarray) -> None:
        """Copy the current weights to the generating copy for the subjects in `due`."""
        self.before = {name: updated(due, w, self.before[name]) for name, w in self.weights.items()}
        self.known = updated(due, self.met, self.known)

    @torch.no_grad()
    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        now = clock.experience + clock.replay
        y = pick(self._draw("class", "uniform").at(now, (n,)), self.known)
        z = self._noise("dream", n, now)
        if self.prior == "class":
            at = y[..., None].expand(-1, -1, self.latent)
            mean, spread = (self.before[f"prior.{name}"].gather(1, at).mT for name in ("mean", "spread"))
            z = torch.addcmul(mean, (0.5 * spread).exp(), z)
        x = shown(self._down(z, self._one(y), self.before), self._levels).mT.reshape(len(y), n, *self.spec.inputs)
        weight = self.known.any(1)[:, None].float().expand(-1, n)
        source = torch.full_like(y, DREAMED, dtype=torch.uint8)
        batch = fill_contexts(self.spec, Batch.lived(x, y, source=source, weight=weight))
        return batch.with_(scores=self.scores(x, known_contexts(self.spec, batch), weights=self.before))

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstruct inputs [s, b, …] with the current weights, without noise."""
        return self._fed_back(self.features(x))

    @torch.no_grad()
    def reinstate(self, features: Tensor) -> Tensor:
        x, step = self._fed_back(features), self.spec.quantum
        return x if step is None else (x / step).round_().mul_(step)

    def _fed_back(self, features: Tensor) -> Tensor:
        """The inputs [s, b, …] that the current weights give back from patterns [s, b, f], without noise."""
        belongs = self.answer(features).softmax(2).mT
        z = latents(features.mT, self.weights, None)[2]
        x = shown(self._down(z, belongs, self.weights), self._levels)
        return x.mT.reshape(*features.shape[:2], *self.spec.inputs)

    def _down(self, z: Tensor, belongs: Tensor, weights: Weights) -> Tensor:
        return down(z, weights, "down", len(self.hidden), [gate @ belongs for gate in self._gates])

    def _draw(self, purpose: str, kind: str) -> BatchDraws:
        if purpose not in self._draws:
            self._draws[purpose] = BatchDraws(self.spec.seeds, f"neocortex.{purpose}", kind, self.spec.device)
        return self._draws[purpose]

    def _noise(self, purpose: str, rows: int, ticks: np.ndarray, sizes: np.ndarray | None = None) -> Tensor:
        return self._draw(purpose, "normal").at(ticks, (self.latent, rows), 1, sizes)
