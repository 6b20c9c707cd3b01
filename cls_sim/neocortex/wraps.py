"""Neocortices under an experiment: lesioned, wholly or in part, for good or for a while."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock, Span
from cls_sim.core.draws import each, over
from cls_sim.core.errors import choice, reals
from cls_sim.core.part import Spec, View, Wrap, per_subject
from cls_sim.neocortex.base import Neocortex

OF = ("units", "weights")


class CortexLesion(Wrap, Neocortex):
    """A neocortex of which a fraction is silent from now on, drawn for each subject.

        units:    h ← m ⊙ h, of the last hidden layer;    weights:    W ← m ⊙ W, of every layer;    m in {0, 1}

    neocortex  the one that is lesioned, in mid-life (a twin's) or from birth
    fraction   in [0, 1], one number or one a subject; a larger lesion takes all that a smaller one does
    of         units (cells of the last hidden layer) or weights (synapses anywhere; biases stay)
    until      age in days at which what was silent is back as it was (a reversible lesion); None: for good

    What is silent neither answers nor learns.

    Source: graceful degradation, Rumelhart & McClelland 1986; cortical lesions of consolidated memory, Squire &
    Alvarez 1995.

    >>> from cls_sim.neocortex.mlp import Mlp
    >>> cortex = CortexLesion(Mlp(hidden=[8]), fraction=0.25)
    >>> spec = cortex.begin(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> (cortex.features(torch.ones(2, 1, 4)) == 0).sum().item() >= 4
    True
    """

    inside = "neocortex"
    derived = Neocortex.derived | {"_units", "_synapses"}
    clock: Clock | None = None

    def __init__(
        self,
        neocortex: Neocortex,
        *,
        fraction: float | list[float] = 1.0,
        of: str = "units",
        until: float | None = None,
    ):
        self.neocortex = neocortex
        self.fraction = reals("fraction", fraction, 0.0, 1.0)
        self.of = choice("of", of, OF)
        self.span = Span(until)

    def join(self, spec: Spec, clock: Clock) -> None:
        super().join(spec, clock)
        self.clock = clock

    def _settle(self, spec: Spec) -> None:
        self.heads = self.neocortex.heads
        fraction = torch.from_numpy(per_subject("fraction", self.fraction, spec))

        def spared(name: str, shape: tuple[int, ...]) -> Tensor:
            n = int(np.prod(shape))
            rank = each(spec.seeds, f"neocortex.lesion.{name}", lambda g: g.permutation(n))
            return (rank >= (fraction * n).round()[:, None]).float().reshape(-1, *shape).to(spec.device)

        self._units = spared("units", (spec.features,)) if self.of == "units" else None
        matrices = {name: shape[1:] for name, shape in spec.weights.items() if len(shape) > 2 and shape[-1] > 1}
        self._synapses = {} if self.of == "units" else {name: spared(name, shape) for name, shape in matrices.items()}

    @property
    def weights(self) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.neocortex.weights

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        self.neocortex.context_end(view, clock, who)

    def learnt(self, batch: Batch, active: np.ndarray) -> None:
        self.neocortex.learnt(batch, active)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        return self.neocortex.dream(n, clock, view)

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        features = self.neocortex.features(x, context, self._spared(weights))
        return features if self._units is None else features * self._now(self._units)[:, None]

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self.neocortex.answer(features, self._spared(weights))

    def _spared(self, weights: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
        """These weights (None: the cortex' own) without those that are silent."""
        if not self._synapses:
            return weights
        given = self.weights if weights is None else weights
        return given | {name: given[name] * self._now(mask) for name, mask in self._synapses.items()}

    def _now(self, mask: Tensor) -> Tensor:
        """The mask [s, …], or ones for subjects whose lesion is over."""
        if self.clock is None or (lasts := self.span.lasts(self.clock)).all():
            return mask
        past = torch.from_numpy(~lasts).to(mask.device)
        return torch.where(over(past, mask), 1.0, mask)
