"""Sleep replay consolidation: spontaneous spikes of the cortex and a Hebbian rule, without stored episodes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.around import Around
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import real, refuse_if, several
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.neocortex.base import Neocortex

SOFT = 0.001  # scale of the sigmoid below which a weight counts as 0


class SpikingSleep(Around):
    """Sleep replay consolidation: awake, the inner rule learns; asleep, layers spike and a Hebbian rule acts.

        input units fire with probability min(1, r · mean input);  u ← d u + α W s,  at u ≥ β a unit fires, u ← 0
        post fires: W ← W + inc · σ(W) where pre fires, W ← W - dec · σ(W) where not,  σ(w) = 2 / (1 + exp(w / .001))

    consolidation  the inner rule; default Descent()
    steps          spiking steps per tick of sleep, from 1
    r              input rate, from 0 (2 · dt · the largest firing rate)
    thresholds     β of each layer, above 0; at least one per layer
    inc, dec       from 0
    gain           from 0; α = gain / scale of the layer.  The scale is the larger of the layer's largest weight and its
                   largest activity in the latest training batch, divided by the scale of the layer below
    decay          d, in [0, 1]

    σ is near 0 for positive weights, so only weights at or below 0 change: sleep restores weights that later learning
    made negative, as long as the units still fire.  From experience only the mean input and the largest activities are
    kept.  Biases neither drive units nor change.

    Raises ConfigError in `setup` for a cortex without layers `weight0`, …, and for too few thresholds.

    Source: Tadros, Krishnan, Ramyaa & Bazhenov 2022, Nature Communications 13, 7742 (sleep replay consolidation).

    >>> SpikingSleep(steps=50).steps
    50
    """

    inside, null = "consolidation", {"inc": 0.0, "dec": 0.0}

    steps: int = setting(100)
    r: float = setting(0.128, 0.0)
    thresholds: Sequence[float] = setting(
        (1.045, 0.715, 0.385), "numbers", "[1.045, 0.715, 0.385]", real, 0.0, check=several, least=1, open_low=True
    )
    inc: float = setting(0.0035, 0.0)
    dec: float = setting(0.0002, 0.0)
    gain: float = setting(4.25, 0.0)
    decay: float = setting(0.999, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        self.spec = spec
        self._layers = next(n for n in itertools.count() if f"weight{n}" not in spec.weights)
        reason = "needs layers weight0, weight1, …, and this cortex has none"
        refuse_if(not self._layers, "", reason, "use neocortex=mlp or linear")
        reason = f"has {len(self.thresholds)} numbers for {self._layers} layers"
        refuse_if(self._layers > len(self.thresholds), "thresholds", reason, "give one for each layer")
        self._draws = Draws(
            spec.seeds, "consolidation.spikes", (self.steps, math.prod(spec.inputs)), device=spec.device
        )

    def _fresh(self, spec: Spec) -> None:
        s, device, x = spec.subjects, spec.device, math.prod(spec.inputs)
        self.mean, self.rows = torch.zeros(s, x, device=device), torch.zeros(s, 1, device=device)
        self.peak = torch.zeros(s, self._layers, device=device)
        self.alpha = torch.zeros(s, self._layers, device=device)
        shapes = [spec.weights[f"weight{layer}"] for layer in range(self._layers)]
        self.potential = [torch.zeros(s, shape[1], device=device) for shape in shapes]
        self.slept = np.zeros(s, bool)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch, rate, view)
        weight = batch.weights() * torch.from_numpy(rate > 0).to(batch.x.device)[:, None]
        there = (weight > 0).float()
        rows = self.rows + there.sum(1, keepdim=True)
        new = (batch.x.flatten(2) - self.mean[:, None]) * there[..., None]
        self.mean, self.rows = self.mean + new.sum(1) / rows.clamp(min=1), rows
        self.peak = torch.where(there.any(1, keepdim=True), self._peaks(neocortex, batch.x, there), self.peak)

    @torch.no_grad()
    def _peaks(self, neocortex: Neocortex, x: Tensor, there: Tensor) -> Tensor:
        """The largest activity of each layer over the rows that are present (last layer: probabilities): [s, l]."""
        h, found = x.flatten(2), []
        for layer in range(self._layers):
            h = h @ neocortex.weights[f"weight{layer}"].mT
            h = h.softmax(2) if layer == self._layers - 1 else torch.relu(h)
            found.append((h.amax(2) * there).amax(1))
        return torch.stack(found, 1)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        self.consolidation.elapse(neocortex, clock)
        if (clock.asleep & ~self.slept).any():
            self._fall_asleep(neocortex, torch.from_numpy(clock.asleep & ~self.slept).to(self.mean.device))
        self.slept = clock.asleep.copy()
        if clock.asleep.any() and (self.inc or self.dec):
            self._spike(neocortex, torch.from_numpy(clock.asleep).to(self.mean)[:, None], clock)

    def _fall_asleep(self, neocortex: Neocortex, who: Tensor) -> None:
        """Reset the potentials, and set the gains for the present weights."""
        below = torch.ones_like(self.peak[:, 0])
        for layer in range(self._layers):
            heaviest = neocortex.weights[f"weight{layer}"].flatten(1).amax(1)
            scale = torch.maximum(heaviest, self.peak[:, layer]).clamp(min=1e-12) / below
            self.alpha[:, layer] = torch.where(who, self.gain / scale, self.alpha[:, layer])
            self.potential[layer] = self.potential[layer] * ~who[:, None]
            below = scale

    def _spike(self, neocortex: Neocortex, asleep: Tensor, clock: Clock) -> None:
        fires = (self._draws.at(clock.replay) < (self.r * self.mean)[:, None]).to(self.mean)  # [s, steps, x]
        weights = [neocortex.weights[f"weight{layer}"] for layer in range(self._layers)]
        for now in range(self.steps):
            pre = fires[:, now]
            for layer, weight in enumerate(weights):
                driven = torch.bmm(weight, pre[..., None])[..., 0].mul_(self.alpha[:, layer, None])
                potential = self.potential[layer].mul_(self.decay).add_(driven)
                post = (potential >= self.thresholds[layer]).to(pre) * asleep
                change = pre * (self.inc + self.dec) - self.dec
                weight.add_(post[..., None] * change[:, None] * (weight / -SOFT).sigmoid_().mul_(2))
                potential.mul_(1 - post)
                pre = post
