"""Optimizers: rules that turn a gradient into a step, with one rate for each subject.

They equal `torch.optim` step for step and do not import it (constructing one of its optimizers loads 800 modules).
Each has two implementations with the same results: PyTorch's fused or foreach kernels if all subjects move at the same
rate, and one masked computation for the whole cohort if subjects differ in rate, phase or number of steps.
"""
# pyright: reportPrivateImportUsage=false, reportPrivateUsage=false

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cls_sim.core.arrays import Flags, Numbers, alike, every, some
from cls_sim.core.part import Part, Spec, zeros
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.tensors import from_numpy, without_gradient
from cls_sim.core.wrap import Wrap

Named = dict[str, Tensor]
BELOW_ONE = 0.999999
SMALLEST = 2.0**-126  # of the normal numbers in float32


class Optimizer(Part):
    """Moves weights in place; its state (momenta, counts of steps) is kept for each subject.

    `setup` allocates the state for `spec.weights`.
    """

    derived = frozenset({"spec"})

    @abstractmethod
    def update(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        """Make one step at rate [s] for the subjects in `active` (bool [s]); weights and state of others are kept."""

    def _columns(self, *numbers: NDArray[np.floating | np.bool_]) -> list[Tensor]:
        """Copy numpy arrays [s] to the device in one transfer, each as [s, 1]."""
        sent = from_numpy(np.stack(numbers).astype(np.float32)).to(self.spec.device)
        return list(sent[:, :, None])


class Sgd(Optimizer):
    """Plain gradient descent: W ← W - η g.

    >>> rule, w = Sgd(), {"w": torch.ones(1, 2)}
    >>> _ = rule.setup(Spec(weights={"w": (1, 2)}))
    >>> rule.update(w, {"w": torch.ones(1, 2)}, np.array([0.5]), np.array([True]))
    >>> w["w"].tolist()
    [[0.5, 0.5]]
    """

    @without_gradient
    def update(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        if equal_rates(rate, active):
            torch._foreach_add_(*_lists(weights, gradients), alpha=-float(rate[0]))
            return
        (step,) = self._columns(np.where(active, rate, 0.0))
        for name, w in weights.items():
            _flat(w).addcmul_(_only(gradients[name], step), step, value=-1)


class Averaging(Optimizer):
    """A rule that averages gradients; it counts the steps of each subject.

    The average of a weight whose gradient stays 0 would fade into subnormal numbers, with which a processor computes up
    to a hundred times slower.  Averages that move their weight by less than 1e-22 of the rate are set to 0, for each
    subject after every so many of its own steps that none gets there.
    """

    def setup(self, spec: Spec) -> Spec:
        super().setup(spec)
        self.steps = np.zeros(spec.subjects, np.int64)
        return spec

    def _clean(self, averages: Named, active: Flags, keep: float, scale: float = 1.0) -> None:
        """Set averages below scale · 1e-22 to 0 if it is time; they fade by the factor `keep` in each step."""
        least = scale * 1e-22
        if not 0 < keep < 1 or least <= SMALLEST:
            return
        due = active & (self.steps % max(1, int(math.log(SMALLEST / least) / math.log(keep))) == 0)
        if every(due):
            for average in averages.values():
                torch.hardshrink(average, least, out=average)
        elif some(due):
            who = from_numpy(due).to(self.spec.device)
            for average in averages.values():
                average[who] = torch.hardshrink(average[who], least)


class Momentum(Settings, Averaging):
    """Heavy-ball momentum in PyTorch's form: m ← μ m + g, W ← W - η m  (Polyak 1964).

    momentum  μ, from 0 to 1
    """

    momentum: float = setting(0.9, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        super().setup(spec)
        self.velocity = zeros(spec)
        return spec

    @without_gradient
    def update(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        self.steps = self.steps + active
        if equal_rates(rate, active):
            w, m, g = _lists(weights, self.velocity, gradients)
            torch._foreach_mul_(m, self.momentum)
            torch._foreach_add_(m, g)
            torch._foreach_add_(w, m, alpha=-float(rate[0]))
            return self._clean(self.velocity, active, self.momentum)
        keep, new, step = self._columns(np.where(active, self.momentum, 1.0), active, np.where(active, rate, 0.0))
        for name, w in weights.items():
            m = _flat(self.velocity[name])
            m.mul_(keep).add_(_only(gradients[name], new))
            _flat(w).addcmul_(m, step, value=-1)
        self._clean(self.velocity, active, self.momentum)


class Adam(Settings, Averaging):
    """Adam (Kingma & Ba 2015): m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², W ← W - η m̂ / (√v̂ + ε).

    m̂ = m / (1-β₁ᵗ) and v̂ = v / (1-β₂ᵗ), where t is the subject's number of steps.

    beta1, beta2  decay factors of the averages of the gradient and its square, from 0, below 1
    eps           above 0
    """

    beta1: float = setting(0.9, 0.0, BELOW_ONE)
    beta2: float = setting(0.999, 0.0, BELOW_ONE)
    eps: float = setting(1e-8, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        super().setup(spec)
        self.mean, self.square = zeros(spec), zeros(spec)
        return spec

    @without_gradient
    def update(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        self.steps = self.steps + active
        if equal_rates(rate, active) and alike(self.steps):
            self._fused(weights, gradients, float(rate[0]))
        else:
            self._masked(weights, gradients, np.where(active, rate, 0.0), active)
        self._clean(self.mean, active, self.beta1, self.eps)

    def _fused(self, weights: Named, gradients: Named, rate: float) -> None:
        w, g, m, v = _lists(weights, gradients, self.mean, self.square)
        count = torch.full((), float(self.steps[0]), device=self.spec.device)
        plain: dict[str, Any] = {"weight_decay": 0.0, "amsgrad": False, "maximize": False}
        rule = {"lr": rate, "beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        torch._fused_adam_(w, g, m, v, [], [count] * len(w), **rule, **plain)

    def _masked(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        t = np.maximum(self.steps, 1)
        step, correction, new1, new2 = self._columns(
            rate / (1 - self.beta1**t),
            1 / np.sqrt(1 - self.beta2**t),
            active * (1 - self.beta1),
            active * (1 - self.beta2),
        )
        for name, w in weights.items():
            g, m, v = _only(gradients[name], new1), _flat(self.mean[name]), _flat(self.square[name])
            m.lerp_(g, new1)
            v.lerp_(g.square(), new2)
            _flat(w).addcdiv_(m * step, v.sqrt().mul_(correction).add_(self.eps), value=-1)


class Clipped(Settings, Wrap, Optimizer):
    """Clip the norm of the gradient for another optimizer:  g ← g · min(1, norm / |g|), |g| over all weights.

    optimizer  the optimizer that makes the step
    norm       the largest norm of the gradient, above 0

    Source: Pascanu, Mikolov & Bengio 2013.

    >>> rule, w = Clipped(optimizer=Sgd(), norm=1.0), {"w": torch.zeros(1, 2)}
    >>> _ = rule.setup(Spec(weights={"w": (1, 2)}))
    >>> rule.update(w, {"w": torch.tensor([[3.0, 4.0]])}, np.array([1.0]), np.array([True]))
    >>> [round(x, 3) for x in w["w"][0].tolist()]
    [-0.6, -0.8]
    """

    inside, null = "optimizer", {"norm": 1e30}

    optimizer: Optimizer = part(Optimizer, "give Sgd(), Momentum() or Adam()")
    norm: float = setting(1.0, 0.0, open_low=True)

    @without_gradient
    def update(self, weights: Named, gradients: Named, rate: Numbers, active: Flags) -> None:
        given = {name: gradients[name] for name in weights}
        square = torch.stack([g.reshape(len(g), -1).square().sum(1) for g in given.values()]).sum(0)  # [s]
        scale = (self.norm / square.sqrt().clamp(min=1e-30)).clamp(max=1.0)
        shorter = {name: g * scale.view(-1, *[1] * (g.dim() - 1)) for name, g in given.items()}
        self.optimizer.update(weights, shorter, rate, active)


def equal_rates(rate: Numbers, active: Flags) -> bool:
    """Whether all subjects are active and have the same rate."""
    return every(active) and alike(rate)


def _lists(*trees: Named) -> list[list[Tensor]]:
    """The tensors of several trees, in the order of the first tree and contiguous."""
    return [[tree[name].contiguous() for name in trees[0]] for tree in trees]


def _flat(tensor: Tensor) -> Tensor:
    """[s, …] as [s, n], a view."""
    return tensor.view(len(tensor), -1)


def _only(gradient: Tensor, new: Tensor) -> Tensor:
    """The gradient [s, n] of the subjects that move and 0 for all others, even where it is NaN."""
    return torch.where(new > 0, gradient.reshape(len(gradient), -1), 0.0)
