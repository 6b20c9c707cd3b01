"""Neocortices that use the context to answer: gates, columns, masks, attention.

All are perceptrons in which some contexts use only some of the hidden units or weights.  They need the context to learn
(or the boundaries, to count contexts) and to answer; a readout can infer it (ExpertGate).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Flags
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, updated
from cls_sim.core.errors import ConfigError, refuse_if, several, whole
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among
from cls_sim.neocortex.base import Neocortex, beyond_perceptron, told
from cls_sim.neocortex.mlp import drawn, drive, leaf

Named = dict[str, Tensor]
HEADS_WANTED = "keeps an output head for each context, and needs the task at test"


class Routed(Settings, Neocortex):
    """A perceptron with `hidden` ReLU units; subclasses define which units and weights a context uses.

    In a batch with rows of several contexts each row moves only what is plastic for its own context: the gradient of a
    row is 0 in all other weights, and `plastic_mask` frees what is plastic for at least one of the rows.
    """

    heads_needed = True  # the context must also be known in evaluations
    _lesson: Tensor | None = None  # bool [s, k]: the contexts of the rows from which the present step learns

    hidden: Sequence[int] = setting((400, 400), "widths", "[400, 400]", whole, check=several)

    def _ready(self) -> None:
        refuse_if(not self.hidden, "hidden", "is empty, so there are no units to route", "write [400, 400]")

    def setup(self, spec: Spec) -> Spec:
        if not spec.task_id_known and not spec.ends:
            reason = "needs the context, and subjects know neither contexts nor boundaries"
            raise ConfigError("", reason, "give scenario=task, or order=sharp with boundaries_known=true")
        headless = not spec.task_id_known or spec.heads is None
        refuse_if(self.heads_needed and headless, "", HEADS_WANTED, "give scenario=task (and classes)")
        self.heads, self.weights, self.spec = spec.heads, {}, spec
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.sizes(spec))):
            bound = np.full(spec.subjects, 1 / math.sqrt(self.fan_in(layer, fan_in)))
            self.weights[f"weight{layer}"] = leaf(drawn(spec, f"weight{layer}", (fan_out, fan_in), bound), spec)
            if self.biased(layer):
                self.weights[f"bias{layer}"] = leaf(drawn(spec, f"bias{layer}", (fan_out, 1), bound), spec)
        return told(spec, self.sizes(spec)[-2], self.weights, routed=True)

    def extra_weights(self) -> int:
        return beyond_perceptron(self.weights, (math.prod(self.spec.inputs), *self.hidden, self.spec.outputs))

    def sizes(self, spec: Spec) -> tuple[int, ...]:
        """Number of units of every layer, including inputs and outputs."""
        return math.prod(spec.inputs), *self.hidden, spec.outputs

    def fan_in(self, layer: int, inputs: int) -> int:
        """The number of inputs of a layer that are not masked."""
        return inputs

    def biased(self, layer: int) -> bool:
        return True

    def seen(self, layer: int, weights: Named, context: Tensor) -> Named:
        """The weights of a layer that these contexts [s, b] use (names as in `weights`)."""
        return weights

    @abstractmethod
    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        """Hidden activity h [s, units, b] after the gates of these contexts."""

    def features(self, x: Tensor, context: Tensor | None = None, weights: Named | None = None) -> Tensor:
        if context is None:
            raise ConfigError("neocortex", "needs the context to answer, which is unknown", "give scenario=task")
        weights, context, h = self.weights if weights is None else weights, context.clamp(min=0), x.flatten(2).mT
        for layer in range(len(self.hidden)):
            h = self.gate(layer, torch.relu_(drive(h, self.seen(layer, weights, context), layer)), context, weights)
        return h.mT

    def answer(self, features: Tensor, weights: Named | None = None) -> Tensor:
        return drive(features.mT, self.weights if weights is None else weights, len(self.hidden)).mT

    def _of(self, table: Tensor, context: Tensor) -> Tensor:
        """The rows of a table [s, k, n] for contexts [s, b]: [s, n, b]."""
        return table[torch.arange(len(context), device=context.device)[:, None], context].mT

    def before_step(self, batch: Batch, active: Flags) -> None:
        self._lesson = None

    @contextmanager
    def learning(self, batch: Batch) -> Iterator[None]:
        here = among(batch.context, batch.present(), self.spec.contexts)
        self._lesson = here if self._lesson is None else self._lesson | here
        yield

    def after_step(self, batch: Batch, active: Flags) -> None:
        self._lesson = None

    def _learnt(self, context: Tensor) -> Tensor:
        """The contexts that a step changes, bool [s, k]: those of its present rows, else those of all rows given."""
        given = self._lesson
        return among(context, torch.ones_like(context), self.spec.contexts) if given is None else given

    def _head(self, learnt: Tensor) -> Tensor:
        """The outputs of the heads of these contexts (bool [s, k]), float [s, o, 1]; all outputs without heads."""
        if self.heads is None:
            return torch.ones(self.spec.subjects, self.spec.outputs, 1, device=learnt.device)
        return (self.heads & learnt[..., None]).any(1)[..., None].float()


class Gated(Routed):
    """Context-dependent gating: each context silences a different random set of hidden units (XdG).

    hidden  widths of the hidden layers
    share   share of the units that are silent, from 0, below 1

    Source: Masse, Grant & Freedman (2018), Alleviating catastrophic forgetting using context-dependent gating.

    >>> Gated(hidden=[8], share=0.5).share
    0.5
    """

    share: float = setting(0.9, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        spec = super().setup(spec)
        self._open = [self._drawn(spec, layer, width) for layer, width in enumerate(self.hidden)]
        return spec

    def _drawn(self, spec: Spec, layer: int, width: int) -> Tensor:
        silent = round(self.share * width)
        refuse_if(silent == width, "share", f"silences all {width} units", "give less")

        def draw(g: np.random.Generator) -> np.ndarray:
            return np.stack([g.permutation(width) >= silent for _ in range(spec.contexts)]).astype(np.float32)

        return each(spec.seeds, f"neocortex.gate{layer}", draw).to(spec.device)

    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        return h * self._of(self._open[layer], context)


class Attentive(Routed):
    """Hard attention to the task: learned gates on hidden units for each context, which protect used weights (HAT).

        a_k = σ(s_max e_k);   ΔW_ij ← ΔW_ij · (1 - min(a_i, a_j)), a the largest gates of the contexts that have ended

    hidden  widths of the hidden layers
    s_max   final slope of the gates, above 0

    `gate0`, … [s, k, units] are the e, learned like weights.  The objective Hat anneals the slope and makes gates
    sparse.

    Source: Serrà, Surís, Miron & Karatzoglou (2018), Overcoming catastrophic forgetting with hard attention

    >>> Attentive(hidden=[8]).s_max
    400.0
    """

    s_max: float = setting(400.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        reason = "needs the ends of contexts, which subjects do not know"
        refuse_if(not spec.ends, "", reason, "give order=sharp, boundaries_known=true")
        spec = super().setup(spec)
        for layer, shape in enumerate((spec.contexts, width) for width in self.hidden):
            name = f"neocortex.gate{layer}"
            gates = each(spec.seeds, name, lambda g, shape=shape: g.standard_normal(shape, np.float32))
            self.weights[f"gate{layer}"] = leaf(gates, spec)
        self.spent = [torch.zeros(spec.subjects, width, device=spec.device) for width in self.hidden]
        return told(spec, spec.features, self.weights)

    def gate(self, layer: int, h: Tensor, context: Tensor, weights: Named) -> Tensor:
        name = f"open{layer}"  # gates with the annealed slope of the objective, or with the final slope
        gates = weights[name] if name in weights else (self.s_max * weights[f"gate{layer}"]).sigmoid()
        return h * self._of(gates, context)

    def plastic_mask(self, context: Tensor) -> Named:
        free, learnt = {}, self._learnt(context)
        for layer, spent in enumerate(self.spent):
            out = spent[..., None]
            free[f"bias{layer}"] = 1 - out
            into = torch.ones_like(out[:, :1]) if layer == 0 else self.spent[layer - 1][:, None]
            free[f"weight{layer}"] = 1 - torch.minimum(out, into)
            free[f"gate{layer}"] = learnt[..., None].float()
        last = len(self.hidden)
        free[f"weight{last}"] = free[f"bias{last}"] = self._head(learnt)
        return free

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        assert view.ended is not None
        k = torch.from_numpy(view.ended()).to(self.spec.device)
        s = torch.arange(len(k), device=k.device)
        for layer, spent in enumerate(self.spent):
            gates = (self.s_max * self.weights[f"gate{layer}"].detach()[s, k]).sigmoid()
            self.spent[layer] = updated(who, torch.maximum(spent, gates), spent)
