"""What makes a memory worth replaying: numbers from which a policy draws."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, choice, real
from cls_sim.core.part import Part, Spec, View


class Preference(Part):
    """A number p for each memory, from 0: the larger, the more it wants to be replayed."""

    derived = frozenset({"spec"})
    labels = False  # whether it needs labels, so that it is refused in regression

    def setup(self, spec: Spec) -> Spec:
        if self.labels and spec.regression:
            raise ConfigError(
                "by", f"{type(self).__name__} asks for classes, and this world for numbers", "choose another"
            )
        self.spec = spec
        return spec

    @abstractmethod
    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        """p [s, b] of these memories as the cortex is now; that of rows of weight 0 does not count."""


class Balanced(Preference):
    """Every class alike: p = 1 / (how many memories there are of its class).  Refused in regression.

    Source: class-balanced memories, Chrysakis & Moens 2020.
    """

    labels = True

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return 1 / _totals(batch, batch.present().double()[..., None], self.spec)[..., 0].clamp(min=1)


class Surprise(Preference):
    """What the cortex gets most wrong: p = its loss on the memory (+ eps).

    eps  from 0, keeps what is known by heart from being forgotten altogether

    Source: prioritised experience replay, Schaul, Quan, Antonoglou & Silver 2016.

    >>> Surprise(eps=0.01).eps
    0.01
    """

    def __init__(self, *, eps: float = 1e-3):
        self.eps = real("eps", eps, 0.0)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return view.loss(batch).double() + self.eps


class Weakness(Preference):
    """What the cortex remembers least: p = 1 - strength, with strength = exp(-loss), the probability of the label.

    Source: weakly learned information is replayed more and gains more, Schapiro et al. 2018.
    """

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return -torch.expm1(-view.loss(batch).double())


class Novelty(Preference):
    """What the cortex does not recognise, whatever it is: p = 1 - max softmax(scores).  Refused in regression."""

    labels = True

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        told = batch.context if self.spec.task_id_known else None
        return 1 - view.scores(batch.x, told).double().softmax(2).amax(2)


class RecencyShare(Preference):
    """A share for the old, all for the new: p = 1 for the last day remembered, `share` for what is older.

    share  from 0 to 1; 0 is focused learning, 1 full interleaving

    Source: focused and interleaved learning, McClelland, McNaughton & O'Reilly 1995.

    >>> RecencyShare(share=0.3).share
    0.3
    """

    def __init__(self, *, share: float = 1.0):
        self.share = real("share", share, 0.0, 1.0)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return torch.where(_new(batch, clock), 1.0, self.share).double()


class Similar(Preference):
    """Old memories by their likeness to the new (similarity-weighted interleaving, SWIL).

        p = 1 for the last day remembered,  p = (max(0, cos(v, n)) / max_old cos)^power  for what is older

    v is what the memory is like, n the mean of the new ones; likeness is that of inputs, of the cortex' features, or
    of the answers (targets; labels one-hot), and with labels v is the mean of the memory's class.  Without anything
    new, or old, all are alike.

    compare  inputs, features or answers
    power    from 0; large keeps to what is most alike

    Source: McClelland, McNaughton & Lampinen 2020; Saxena, Shobe & McNaughton 2022.

    >>> Similar(compare="answers").power
    1.0
    """

    def __init__(self, *, compare: str = "features", power: float = 1.0):
        self.compare = choice("compare", compare, ("inputs", "features", "answers"))
        self.power = real("power", power, 0.0)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        there, new = batch.present(), _new(batch, clock)
        like = self._like(batch, view).double()
        mean = (like * (there & new)[..., None]).sum(1)  # [s, f]; its length does not matter
        if not self.spec.regression:
            like = _totals(batch, like * there[..., None], self.spec)
        cosine = torch.einsum("sbf,sf->sb", normalize(like, dim=2), normalize(mean, dim=1)).clamp(min=0)
        most = torch.where(there & ~new, cosine, 0.0).amax(1, keepdim=True)
        share = torch.where(most > 0, (cosine / most.clamp(min=1e-12)).clamp(max=1), 1.0)
        return torch.where(new, 1.0, share**self.power)

    def _like(self, batch: Batch, view: View) -> Tensor:
        if self.compare == "inputs":
            return batch.x.flatten(2)
        if self.compare == "features":
            return view.features(batch.x)
        if self.spec.regression:
            return batch.y
        return (batch.y[..., None] == torch.arange(self.spec.outputs, device=batch.y.device)).float()


class MaximallyInterfered(Preference):
    """What a step on what is lived now would spoil most (maximally interfered retrieval, MIR).

        p = max(0, L(θ - step · ∇L_now(θ)) - L(θ)),   L the cross-entropy of a memory's label, L_now of the rows lived

    step  of the foreseen step, plain gradient descent, above 0

    The foreseen step takes one more forward and backward pass of the rows lived, not counted.  Refused in regression.

    Source: Aljundi et al. 2019, Online continual learning with maximally interfered retrieval; there the first k of a
    pool are replayed, here Preferred draws by p (a large power comes near to that).

    >>> MaximallyInterfered(step=0.1).step
    0.1
    """

    labels = True

    def __init__(self, *, step: float = 0.1):
        self.step = real("step", step, 0.0, open_low=True)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        if view.latest is None:
            raise ConfigError("by", "asks what is lived now, and nobody tells", "replay within a life")
        lived, cortex = view.latest(), view.neocortex
        names, weights = zip(*cortex.weights.items(), strict=True)
        with torch.enable_grad():
            wrong = self._wrong(cortex, lived, None)
            share = lived.weights() / lived.weights().sum(1, keepdim=True).clamp(min=1e-12)
            found = torch.autograd.grad(wrong, weights, share, materialize_grads=True)
        ahead = {name: w.detach() - self.step * g for name, w, g in zip(names, weights, found, strict=True)}
        with torch.no_grad():
            return (self._wrong(cortex, batch, ahead) - self._wrong(cortex, batch, None)).clamp(min=0).double()

    def _wrong(self, cortex: Any, batch: Batch, weights: dict[str, Tensor] | None) -> Tensor:
        told = batch.context if self.spec.task_id_known else None
        scores = cortex.scores(batch.x, told, weights=weights)
        return cross_entropy(scores.mT, batch.y, reduction="none", ignore_index=-1)


def _new(batch: Batch, clock: Clock) -> Tensor:
    """What was lived on the last day of which there are memories: bool [s, b]."""
    newest = torch.where(batch.present(), batch.born, 0).amax(1, keepdim=True)
    return batch.born >= newest // clock.per_day * clock.per_day


def _totals(batch: Batch, values: Tensor, spec: Spec) -> Tensor:
    """For each row the sum of values [s, b, f] over all rows of its label: [s, b, f]."""
    label = batch.y.clamp(min=0)[..., None].expand_as(values)
    sums = values.new_zeros(len(values), spec.outputs, values.shape[2]).scatter_add_(1, label, values)
    return sums.gather(1, label)
