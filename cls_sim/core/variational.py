"""Functions of a variational autoencoder, for hippocampi and neocortices that generate replay.

Weights are a dict name → [s, …]; activity has units before rows, [s, units, b], as in the neocortices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cls_sim.core.draws import each
from cls_sim.core.part import Spec

Weights = dict[str, Tensor]


def drawn(spec: Spec, part_kind: str, shapes: dict[str, tuple[int, tuple[int, ...]]]) -> Weights:
    """Initial weights, leaf tensors [s, …]; shapes are name → (fan-in, shape), draws U(-r, r), r = 1 / sqrt(fan-in).

    >>> drawn(Spec(seeds=(0, 1)), "x", {"weight": (4, (3, 4))})["weight"].shape
    torch.Size([2, 3, 4])
    """
    made: Weights = {}
    for name, (fan_in, shape) in shapes.items():
        unit = each(spec.seeds, f"{part_kind}.{name}", lambda g, shape=shape: g.random(shape, np.float32))
        made[name] = ((2 * unit - 1) / math.sqrt(fan_in)).to(spec.device).requires_grad_()
    return made


def layers(name: str, sizes: Sequence[int], bias: bool = True) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The shapes of a chain of layers `name0`, `name1`, …, for `drawn`."""
    shapes: dict[str, tuple[int, tuple[int, ...]]] = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        shapes[f"{name}{i}.weight"] = fan_in, (fan_out, fan_in)
        if bias:
            shapes[f"{name}{i}.bias"] = fan_in, (fan_out, 1)
    return shapes


def drive(h: Tensor, weights: Weights, name: str) -> Tensor:
    """The input to the units of a layer, W h + b: h [s, in, b] → [s, out, b]."""
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    return torch.bmm(weight, h) if bias is None else torch.baddbmm(bias, weight, h)


def up(h: Tensor, weights: Weights, name: str, depth: int) -> Tensor:
    """Apply `depth` rectified linear layers."""
    for i in range(depth):
        h = torch.relu_(drive(h, weights, f"{name}{i}"))
    return h


def down(z: Tensor, weights: Weights, name: str, depth: int, gates: Sequence[Tensor] = ()) -> Tensor:
    """Decode latents z [s, z, b] through `depth` rectified layers to the drive of the output units [s, x, b].

    gates  one factor [s, units, b] for the drive of each layer
    """
    for i in range(depth):
        received = drive(z, weights, f"{name}{i}")
        z = torch.relu_(received * gates[i] if gates else received)
    return drive(z, weights, f"{name}{depth}")


def latents(h: Tensor, weights: Weights, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log-variance and a sample z = μ + σ ε of the latents, from the last hidden layer; without noise z = μ."""
    mean, spread = drive(h, weights, "mean0"), drive(h, weights, "spread0")
    return mean, spread, mean if noise is None else torch.addcmul(mean, (0.5 * spread).exp(), noise)


def misfit(received: Tensor, x: Tensor, levels: bool) -> Tensor:
    """The reconstruction error of x [s, x, b], averaged over its numbers: [s, b].

    If x is in [0, 1] (`levels`), the cross-entropy with the sigmoid of `received`; else half the squared error.
    """
    if levels:
        return binary_cross_entropy_with_logits(received, x, reduction="none").mean(1)
    return 0.5 * (received - x).square().mean(1)


def shown(received: Tensor, levels: bool) -> Tensor:
    """The reconstructed input: the sigmoid of the drive for `levels`, else the drive."""
    return received.sigmoid() if levels else received


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) [s, b] = -½ Σ_z (1 + ln σ² - μ² - σ²)  (Kingma & Welling 2014).

    >>> divergence(torch.ones(1, 3, 2), torch.zeros(1, 3, 2)).tolist()
    [[1.5, 1.5]]
    """
    return -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1)


def log_normal(z: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The log density of z [s, z, b] under the Gaussian of each class (mean, ln σ² [s, o, z]) + constant: [s, o, b].

    >>> z, mean = torch.randn(1, 4, 2), torch.randn(1, 3, 4)
    >>> found = log_normal(z, mean, torch.zeros(1, 3, 4))
    >>> torch.allclose(found[0, 1, 0], -0.5 * (z[0, :, 0] - mean[0, 1]).square().sum(), atol=1e-5)
    True
    """
    precision = (-spread).exp()
    centre = (mean.square() * precision + spread).sum(2, keepdim=True)
    return torch.bmm(precision * mean, z) - 0.5 * (torch.bmm(precision, z.square()) + centre)
