"""Feed-forward networks: a multilayer perceptron and a linear layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from cls_sim.core.batch import Batch
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, several, whole
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among, without_gradient
from cls_sim.neocortex.base import ClosedForm, Neocortex, Tap, told
from cls_sim.neocortex.networks import checked_state

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "linear": lambda drive: drive,
}
BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (∂loss/∂activity, activity) → ∂loss/∂drive
    "relu": lambda slope, h: torch.ops.aten.threshold_backward.default(slope, h, 0),
    "tanh": torch.ops.aten.tanh_backward.default,
    "sigmoid": torch.ops.aten.sigmoid_backward.default,
    "linear": lambda slope, h: slope,
}


class Plain(Neocortex):
    """A stack of linear layers, which plain PyTorch has, too: `weight0`, `bias0`, … [s, out, in] and [s, out, 1]."""

    hidden: Sequence[int] = ()  # widths of the hidden layers
    activation = "linear"
    outputs = "all"  # met: only those of classes met so far compete
    met: Tensor

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        squash, h = ACTIVATIONS[self.activation], x.flatten(2).mT
        for layer in range(len(self.hidden)):
            h = squash(drive(h, self.weights if weights is None else weights, layer))
        return h.mT

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self._known(drive(features.mT, self.weights if weights is None else weights, len(self.hidden)).mT)

    def _known(self, scores: Tensor) -> Tensor:
        """Scores with the outputs of classes not met so far masked, if outputs grow."""
        return scores if self.outputs == "all" else scores.masked_fill(~self.met[:, None], -1e9)

    def closed_form(self, batch: Batch, context: Tensor | None) -> ClosedForm:
        return closed_form(
            self.weights, batch.x, self.activation, lambda scores: self.mask_logits(self._known(scores), context)
        )

    def activations(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, list[Tap]]:
        squash, h, taps = ACTIVATIONS[self.activation], x.flatten(2).mT, []
        for layer in range(len(self.hidden) + 1):
            z = drive(h, self.weights, layer)
            bias = f"bias{layer}" if f"bias{layer}" in self.weights else None
            taps.append(Tap(f"weight{layer}", bias, h.detach(), z))
            h = squash(z.clone())  # a copy, because activation functions work in place and a tap keeps its drive
        return self.mask_logits(self._known(taps[-1].drive.mT), context), taps

    def to_module(self, subject: int = 0) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for name, layer in self._layers():
            if len(layers) > 1 and self.activation != "linear":
                layers.append({"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[self.activation]())
            fan_out, fan_in = self.weights[name].shape[1:]
            layers.append(nn.Linear(fan_in, fan_out, bias=f"bias{layer}" in self.weights))
        net = nn.Sequential(*layers).eval()
        pairs = zip(net.state_dict().items(), self._names(), strict=True)
        net.load_state_dict({key: self.weights[own].detach()[subject].reshape(t.shape) for (key, t), own in pairs})
        return net

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], subject: int = 0) -> None:
        mine = self.state_dict(subject)
        checked_state(state, mine)
        for key, own in zip(mine, self._names(), strict=True):
            self.weights[own][subject] = state[key].reshape(self.weights[own].shape[1:]).to(self.weights[own])

    def _layers(self) -> list[tuple[str, str]]:
        return [(name, name.removeprefix("weight")) for name in self.weights if name.startswith("weight")]

    def _names(self) -> list[str]:
        """The weights in the order of a PyTorch state dict."""
        names = (own for name, layer in self._layers() for own in (name, f"bias{layer}"))
        return [own for own in names if own in self.weights]


class Mlp(Settings, Plain):
    """A multilayer perceptron for each subject: h' = f(W h + b), the last layer without f.

    hidden      widths of the hidden layers, from 1 each; an empty list makes a linear network
    activation  f: relu, tanh, sigmoid or linear (a deep linear network, Saxe et al. 2014)
    bias        whether layers have biases
    gain        factor of the initial weights, from 0, one number or one per subject; large values give the lazy regime
                of learning, small values the rich regime
    outputs     all: all outputs compete from the start; met: only those of classes met so far

    Weights `weight0`, `bias0`, … are [s, out, in] and [s, out, 1], initially drawn from U(-r, r), r = gain / sqrt(in)
    (LeCun et al. 1998; the default of PyTorch's Linear).  Raises ConfigError for settings out of range.

    >>> cortex = Mlp(hidden=[8])
    >>> spec = cortex.setup(Spec(seeds=(0, 1), inputs=(2, 2), outputs=3))
    >>> cortex.scores(torch.zeros(2, 5, 2, 2)).shape, spec.features, spec.weights["weight0"]
    (torch.Size([2, 5, 3]), 8, (2, 8, 4))
    """

    hidden: Sequence[int] = setting((400, 400), "widths", "[400, 400]", whole, check=several)
    activation: str = setting("relu", ACTIVATIONS)
    bias: bool = setting(True)
    gain: float | list[float] = setting(1.0, 0.0)
    outputs: str = setting("all", ("all", "met"))

    def setup(self, spec: Spec) -> Spec:
        if self.outputs == "met":
            if spec.regression:
                raise ConfigError("outputs", "is met, which needs classes, and this world is a regression", "give all")
            self.met = torch.zeros(spec.subjects, spec.outputs, dtype=torch.bool, device=spec.device)
        sizes = (math.prod(spec.inputs), *self.hidden, spec.outputs)
        gain = per_subject("gain", self.gain, spec)
        self.heads, self.weights = spec.heads, {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            shapes = {f"weight{layer}": (fan_out, fan_in)} | ({f"bias{layer}": (fan_out, 1)} if self.bias else {})
            for name, shape in shapes.items():
                self.weights[name] = leaf(drawn(spec, name, shape, gain / math.sqrt(fan_in)), spec)
        return told(spec, sizes[-2], self.weights)

    def before_step(self, batch: Batch, active: np.ndarray) -> None:
        if self.outputs == "met":
            there = batch.present() & (batch.y >= 0) & torch.from_numpy(active).to(batch.y.device)[:, None]
            self.met = self.met | among(batch.y, there, self.met.shape[1])


class Linear(Settings, Plain):
    """One linear layer, y = W x (+ b): the student of Go-CLS (Sun et al. 2023); its features are its inputs.

    bias  whether there is a bias, initially 0
    init  standard deviation of the initial weights, N(0, init²), from 0, one number or one per subject

    `weight0` is [s, out, in], `bias0` [s, out, 1].  Raises ConfigError for settings out of range.

    >>> cortex = Linear()
    >>> _ = cortex.setup(Spec(seeds=(0, 1), inputs=(4,), outputs=1, regression=True))
    >>> cortex.scores(torch.ones(2, 3, 4)).abs().max().item()
    0.0
    """

    bias: bool = setting(False)
    init: float | list[float] = setting(0.0, 0.0)

    def setup(self, spec: Spec) -> Spec:
        fan_in, s = math.prod(spec.inputs), spec.subjects
        spread = torch.from_numpy(per_subject("init", self.init, spec)).float()[:, None, None]
        drawn = each(spec.seeds, "neocortex.weight0", lambda g: g.standard_normal((spec.outputs, fan_in), np.float32))
        self.heads, self.weights = spec.heads, {"weight0": leaf(drawn * spread, spec)}
        if self.bias:
            self.weights["bias0"] = leaf(torch.zeros(s, spec.outputs, 1), spec)
        return told(spec, fan_in, self.weights)


def drawn(spec: Spec, name: str, shape: tuple[int, ...], bound: np.ndarray) -> Tensor:
    """A draw from U(-bound, bound) for each subject: [s, *shape]."""
    unit = each(spec.seeds, f"neocortex.{name}", lambda g: g.random(shape, np.float32))
    return (2 * unit - 1) * torch.from_numpy(bound).float()[:, None, None]


def leaf(value: Tensor, spec: Spec) -> Tensor:
    return value.to(spec.device).requires_grad_()


def drive(h: Tensor, weights: dict[str, Tensor], layer: int) -> Tensor:
    """The drive of a layer, W h + b: h [s, in, b] → [s, out, b], with the rows of the batch as columns.

    In this layout no product of the forward and backward pass needs a transposed copy; with few outputs, products are
    three times as fast as in the usual layout.
    """
    weight, bias = weights[f"weight{layer}"], weights.get(f"bias{layer}")
    return torch.bmm(weight, h) if bias is None else torch.baddbmm(bias, weight, h)


@cache
def _layers(names: tuple[str, ...]) -> int:
    """The number of layers with these names of weights."""
    return sum(name.startswith("weight") for name in names)


@without_gradient
def closed_form(
    weights: dict[str, Tensor], x: Tensor, activation: str, scores: Callable[[Tensor], Tensor]
) -> ClosedForm:
    """The forward pass of stacked layers: backpropagation by the same kernels, in the same order, as autograd.

    With δ_L = ∂loss/∂outputs:  ∂W_l = δ_l h_lᵀ,  ∂b_l = Σ_rows δ_l,  δ_(l-1) = f'(h_l) · W_lᵀ δ_l.
    """
    layers, h, inputs = _layers(tuple(weights)), x.flatten(2).mT, list[Tensor]()
    for layer in range(layers):
        inputs.append(h)
        h = drive(h, weights, layer)
        if layer < layers - 1:
            h = ACTIVATIONS[activation](h)

    def gradients(slope: Tensor) -> dict[str, Tensor]:
        found, delta = dict[str, Tensor](), slope.mT
        for layer in reversed(range(layers)):
            found[f"weight{layer}"] = torch.bmm(delta, inputs[layer].mT)
            if f"bias{layer}" in weights:
                found[f"bias{layer}"] = delta.sum(2, keepdim=True)
            if layer:
                delta = BACKWARD[activation](torch.bmm(weights[f"weight{layer}"].mT, delta), inputs[layer])
        return {name: found[name] for name in weights}

    return ClosedForm(h.mT, scores, gradients)
