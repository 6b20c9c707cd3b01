"""Preferences: the priorities by which Preferred and Thinned choose memories for replay."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Part, Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import gradients


class Preference(Part):
    """The priority p ≥ 0 of each memory: memories with a larger p are replayed more often."""

    labels = False  # whether it needs labels; if so, it is refused in regression

    def setup(self, spec: Spec) -> Spec:
        reason = f"{type(self).__name__} needs class labels, and this world has none"
        refuse_if(self.labels and spec.regression, "preference", reason, "choose another")
        return super().setup(spec)

    @abstractmethod
    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        """The priority p [s, b] of these memories for the present cortex; p of rows of weight 0 is ignored."""


class Balanced(Preference):
    """Class-balanced replay: p = 1 / (number of memories of the same class).  Raises ConfigError in regression.

    Source: class-balanced memories, Chrysakis & Moens 2020.
    """

    labels = True

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return 1 / _totals(batch, batch.present().double()[..., None], self.spec)[..., 0].clamp(min=1)


class Surprise(Settings, Preference):
    """Memories on which the cortex errs most: p = loss of the cortex on the memory + eps.

    eps  from 0; with eps > 0, memories without any loss are replayed now and then

    Source: prioritised experience replay, Schaul, Quan, Antonoglou & Silver 2016.

    >>> Surprise(eps=0.01).eps
    0.01
    """

    eps: float = setting(1e-3, 0.0)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return view.loss(batch).double() + self.eps


class Weakness(Preference):
    """Memories that the cortex knows least: p = 1 - strength, with strength = exp(-loss), the probability of the label.

    Source: weakly learned information is replayed more and gains more, Schapiro et al. 2018.
    """

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return -torch.expm1(-view.loss(batch).double())


class Novelty(Preference):
    """Memories about which the cortex is least confident: p = 1 - max softmax(scores).

    Raises ConfigError in regression.
    """

    labels = True

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        told = batch.context if self.spec.task_id_known else None
        return 1 - view.scores(batch.x, told).double().softmax(2).amax(2)


class RecencyShare(Settings, Preference):
    """p = 1 for memories of the last day of which there are memories, p = `share` for older memories.

    share  in [0, 1]; 0 is focused learning, 1 full interleaving

    Source: focused and interleaved learning, McClelland, McNaughton & O'Reilly 1995.

    >>> RecencyShare(share=0.3).share
    0.3
    """

    share: float = setting(1.0, 0.0, 1.0)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        return torch.where(_new(batch, clock), 1.0, self.share).double()


class Similar(Settings, Preference):
    """Similarity-weighted interleaving (SWIL): old memories are replayed by their similarity to the new ones.

        p = 1 for memories of the last day,  p = (max(0, cos(v, n)) / max_old cos)^power  for older memories

    v is the vector of the memory (with labels: the mean vector of its class), n the mean vector of the new memories.
    Vectors are inputs, cortical features or answers (targets; one-hot labels).  Without any new or any old memories all
    p are equal.

    compare  inputs, features or answers
    power    from 0; a large power selects the most similar memories

    Source: McClelland, McNaughton & Lampinen 2020; Saxena, Shobe & McNaughton 2022.

    >>> Similar(compare="answers").power
    1.0
    """

    compare: str = setting("features", ("inputs", "features", "answers"))
    power: float = setting(1.0, 0.0)

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


class MaximallyInterfered(Settings, Preference):
    """Memories whose loss a gradient step on the present experience would increase most (MIR).

        p = max(0, L(θ - step · ∇L_now(θ)) - L(θ)),   L: cross-entropy of a memory's label, L_now: of the present rows

    step  size of the virtual gradient-descent step, above 0

    The virtual step takes one more forward and backward pass over the present rows, which is not counted as sample
    passes.  Raises ConfigError in regression.

    Source: Aljundi et al. 2019, Online continual learning with maximally interfered retrieval.  There the first k of a
    pool are replayed, as Preferred(first=True) does; otherwise Preferred draws by p.

    >>> MaximallyInterfered(step=0.1).step
    0.1
    """

    labels = True

    step: float = setting(0.1, 0.0, open_low=True)

    def priority(self, batch: Batch, view: View, clock: Clock) -> Tensor:
        if view.latest is None:
            raise ConfigError("preference", "needs the present experience, and there is none", "use it within a Life")
        lived, cortex = view.latest(), view.neocortex
        names, weights = zip(*cortex.weights.items(), strict=True)
        with torch.enable_grad():
            wrong = self._wrong(cortex, lived, None)
            share = lived.weights() / lived.weights().sum(1, keepdim=True).clamp(min=1e-12)
            found = gradients(wrong, share, weights)
        ahead = {name: w.detach() - self.step * g for name, w, g in zip(names, weights, found, strict=True)}
        with torch.no_grad():
            return (self._wrong(cortex, batch, ahead) - self._wrong(cortex, batch, None)).clamp(min=0).double()

    def _wrong(self, cortex: Any, batch: Batch, weights: dict[str, Tensor] | None) -> Tensor:
        told = batch.context if self.spec.task_id_known else None
        scores = cortex.scores(batch.x, told, weights=weights)
        return cross_entropy(scores.mT, batch.y, reduction="none", ignore_index=-1)


def _new(batch: Batch, clock: Clock) -> Tensor:
    """Which memories are of the last day of which there are any: bool [s, b]."""
    newest = torch.where(batch.present(), batch.born, 0).amax(1, keepdim=True)
    return batch.born >= newest // clock.per_day * clock.per_day


def _totals(batch: Batch, values: Tensor, spec: Spec) -> Tensor:
    """For each row, the sum of values [s, b, f] over all rows with the same label: [s, b, f]."""
    label = batch.y.clamp(min=0)[..., None].expand_as(values)
    sums = values.new_zeros(len(values), spec.outputs, values.shape[2]).scatter_add_(1, label, values)
    return sums.gather(1, label)
