"""A hippocampus that stores no episodes and learns a generative network for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, softplus

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws
from cls_sim.core.errors import refuse_if, several, whole
from cls_sim.core.optimizers import Adam
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import gradients
from cls_sim.core.variational import Weights, divergence, down, drawn, latents, misfit, shown, up
from cls_sim.hippocampus.autoencoder import coder
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless

WORK = 2**24  # limit of the numbers in memory while cues are compared with classes


class GenerativeClassifier(Settings, Slotless):
    """A generative classifier: one variational autoencoder for each class; the class with the highest likelihood wins.

        p(x|c) ≈ 1/S Σ_i p(x|z_i) p(z_i) / q(z_i|x),   z_i ~ q(z|x) of class c's network;   ŷ = softmax_c log p(x|c)

    hidden      widths of the hidden layers, from 1 each; the decoder has the same in reverse order
    latent      number of latent units z, from 1
    rate        learning rate of all networks (Adam), from 0
    samples     S, number of samples for each question and class, from 1
    accumulate  number of experiences that are learned together, from 1; waiting rows do not count as stored

    Classes share no weights, so learning one does not affect another; classes not met so far are never answered.
    Inputs that are multiples of a quantum count as levels in [0, 1] (Bernoulli), others as any numbers (Gaussian with
    variance 1).  Recall is the reconstruction of the cue by the network of the answered class; match is the cosine of
    cue and reconstruction.  Bytes: the weights of all classes.  Raises ConfigError in regression.

    Source: van de Ven, Li & Tolias 2021, Class-incremental learning with generative classifiers.

    >>> memory = GenerativeClassifier(hidden=[8], latent=3)
    >>> spec = memory.setup(Spec(seeds=(0, 1), inputs=(2, 2), outputs=3))
    >>> memory.stored_bytes().tolist()
    [1944, 1944]
    """

    hidden: Sequence[int] = setting((85, 85), "widths", "[85, 85]", whole, check=several, least=1)
    latent: int = setting(5)
    rate: float = setting(0.001, 0.0)
    samples: int = setting(50)
    accumulate: int = setting(1)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "has a network for each class, and this world is a regression", "choose another")
        sizes = (math.prod(spec.inputs), *self.hidden)
        shapes = coder(sizes, self.latent)
        self.weights = [drawn(spec, f"hippocampus.{c}", shapes) for c in range(spec.outputs)]
        self.rules = [Adam() for _ in self.weights]
        for rule, weights in zip(self.rules, self.weights, strict=True):
            rule.setup(replace(spec, weights={name: tuple(w.shape) for name, w in weights.items()}))
        held = (spec.subjects, self.accumulate, spec.batch)
        self.kept_x = torch.zeros(*held, sizes[0], device=spec.device)
        self.kept_y = torch.full(held, -1, device=spec.device)
        self._rows = torch.arange(spec.subjects, device=spec.device)
        self._draws = {
            p: BatchDraws(spec.seeds, f"hippocampus.{p}", "normal", spec.device) for p in ("taught", "asked")
        }
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        awake = torch.ones(len(batch.y), dtype=torch.bool, device=batch.y.device) if who is None else who
        waited = clock.experience % self.accumulate
        turn = torch.from_numpy(waited).to(batch.y.device)
        at, label = (self._rows, turn), torch.where(batch.present(), batch.y, -1)
        self.kept_x[at] = torch.where(awake[:, None, None], batch.x.flatten(2), self.kept_x[at])
        self.kept_y[at] = torch.where(awake[:, None], label, self.kept_y[at])
        if (waited == self.accumulate - 1).any():  # of those who are awake: the others have no rows
            due = awake & (turn == self.accumulate - 1)
            y = self.kept_y.flatten(1).masked_fill(~due[:, None], -1)
            self._all_learn(self.kept_x.flatten(1, 2), y, self._noise("taught", y.shape[1], clock.experience).mT)
            self.kept_y = self.kept_y.masked_fill(due[:, None, None], -1)
        self.changed += 1

    def _all_learn(self, x: Tensor, y: Tensor, noise: Tensor) -> None:
        """One step of every class on its rows of x [s, b, x], y [s, b] (-1: no class), noise [s, b, z]."""
        counts = torch.stack([(y == c).sum(1) for c in range(self.spec.outputs)]).cpu().numpy()
        for c, count in enumerate(counts):
            if count.any():
                mine = (y == c).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
                mine = mine[:, : int(count.max())]  # rows of this class, padded with rows of weight 0
                weight = (y == c).gather(1, mine).float()
                own = x.gather(1, mine[..., None].expand(-1, -1, x.shape[2])).mT
                own_noise = noise.gather(1, mine[..., None].expand(-1, -1, self.latent)).mT
                self._learn(c, own, own_noise, weight, count > 0)

    def _learn(self, c: int, x: Tensor, noise: Tensor, weight: Tensor, active: np.ndarray) -> None:
        """One step of the network of class c on rows x [s, x, b] with these weights [s, b]."""
        names, weights = zip(*self.weights[c].items(), strict=True)
        with torch.enable_grad():
            mean, spread, z = latents(up(x, self.weights[c], "up", len(self.hidden)), self.weights[c], noise)
            wrong = misfit(down(z, self.weights[c], "down", len(self.hidden)), x, self._levels())
            rows = wrong + divergence(mean, spread) / x.shape[1]
            share = weight / weight.sum(1, keepdim=True).clamp(min=1)
            found = dict(zip(names, gradients(rows, share, weights), strict=True))
        self.rules[c].update(self.weights[c], found, np.full(len(active), self.rate), active)

    @torch.no_grad()
    def recall(self, x: Tensor) -> Recall:
        flat, blank = x.flatten(2), nothing(x, self.spec.outputs)
        met = torch.from_numpy(np.stack([rule.steps > 0 for rule in self.rules], 1)).to(x.device)  # [s, o]
        known = met.any(1)[:, None]
        best = torch.full(x.shape[:2], -torch.inf, device=x.device)
        scores, again = torch.full_like(blank.scores, -torch.inf), torch.zeros_like(flat)
        noise = self._noise("asked", self.samples, np.zeros(len(x), np.int64))
        size = max(1, WORK // (len(x) * self.samples * flat.shape[2]))
        for c in range(self.spec.outputs):
            if not bool(met[:, c].any()):
                continue
            parts = [self._likely(self.weights[c], part.mT, noise) for part in flat.split(size, 1)]
            likely = torch.cat([part[0] for part in parts], 1).masked_fill(~met[:, c, None], -torch.inf)
            better = likely > best
            best = torch.where(better, likely, best)
            again = torch.where(better[..., None], torch.cat([part[1] for part in parts], 1), again)
            scores[..., c] = likely
        posterior = torch.where(known[..., None], scores, 0.0).softmax(2) * known[..., None]
        match = cosine_similarity(again, flat, dim=2).clamp(0, 1) * known
        return Recall(posterior, again.view(x.shape), match, blank.slot)

    def _likely(self, weights: Weights, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The log likelihood [s, b] of x [s, x, b], up to a constant, and its reconstruction [s, b, x]."""
        s, width, rows = x.shape
        mean, spread, _ = latents(up(x, weights, "up", len(self.hidden)), weights, None)
        again = shown(down(mean, weights, "down", len(self.hidden)), self._levels())
        z = mean[:, :, None] + (0.5 * spread).exp()[:, :, None] * noise[..., None]  # [s, z, S, b]
        received = down(z.flatten(2), weights, "down", len(self.hidden)).view(s, width, self.samples, rows)
        if self._levels():
            fit = torch.einsum("sxb,sxkb->skb", x, received) - softplus(received).sum(1)
        else:
            fit = -0.5 * (received - x[:, :, None]).square().sum(1)
        prior = -0.5 * z.square().sum(1)
        found = -0.5 * (noise.square().sum(1)[..., None] + spread.sum(1)[:, None])
        return (fit + prior - found).logsumexp(1), again.mT

    def stored_bytes(self) -> Tensor:
        held = sum(w[0].nbytes for weights in self.weights for w in weights.values())
        return torch.full((self.spec.subjects,), held, dtype=torch.int64)

    def _levels(self) -> bool:
        return self.spec.quantum is not None

    def _noise(self, purpose: str, rows: int, ticks: np.ndarray) -> Tensor:
        """Normal draws [s, z, rows]."""
        return self._draws[purpose].at(ticks, (self.latent, rows))
