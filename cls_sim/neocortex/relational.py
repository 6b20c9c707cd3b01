"""A neocortex that answers questions about items: the network of Rumelhart & Todd."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.neocortex.base import Neocortex, told
from cls_sim.neocortex.mlp import drawn, leaf


class Relational(Settings, Neocortex):
    """Item → representation; representation and relation → hidden → attributes, all of them sigmoid.

        r = σ(W₀ x_item + b₀),  h = σ(W₁ [r, x_relation] + b₁),  y = σ(W₂ h + b₂)

    relations       number of inputs that code the relation, the last ones; the inputs before them code the item
    representation  number of units r
    units           number of units h
    spread          initial weights are drawn from U(-spread, spread), from 0
    bias            initial biases of the outputs, negative if most attributes are false; other biases start at 0

    `weight0` … `weight2` are [s, out, in], `bias0` … `bias2` [s, out, 1].

    Source: Rumelhart & Todd (1993); McClelland, McNaughton & O'Reilly (1995).

    >>> cortex = Relational()
    >>> spec = cortex.setup(Spec(seeds=(0, 1), inputs=(13,), outputs=36, regression=True))
    >>> cortex.scores(torch.zeros(2, 5, 13)).shape, spec.features
    (torch.Size([2, 5, 36]), 16)
    """

    relations: int = setting(4)
    representation: int = setting(8)
    units: int = setting(16)
    spread: float = setting(0.45, 0.0)
    bias: float = setting(-2.0)

    def setup(self, spec: Spec) -> Spec:
        width = int(torch.Size(spec.inputs).numel())
        if self.relations >= width:
            raise ConfigError("relations", f"is {self.relations} of {width} inputs", "leave some inputs for the item")
        r, h = self.representation, self.units
        sizes = (r, width - self.relations), (h, r + self.relations), (spec.outputs, h)
        self.heads, self.weights = spec.heads, {}
        for layer, shape in enumerate(sizes):
            spread, start = np.full(spec.subjects, self.spread), self.bias if layer == 2 else 0.0
            self.weights[f"weight{layer}"] = leaf(drawn(spec, f"weight{layer}", shape, spread), spec)
            self.weights[f"bias{layer}"] = leaf(torch.full((spec.subjects, shape[0], 1), start), spec)
        return told(spec, self.units, self.weights)

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        w, x = self.weights if weights is None else weights, x.flatten(2).mT
        r = torch.baddbmm(w["bias0"], w["weight0"], x[:, : -self.relations]).sigmoid()
        return torch.baddbmm(w["bias1"], w["weight1"], torch.cat((r, x[:, -self.relations :]), 1)).sigmoid().mT

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        w = self.weights if weights is None else weights
        return torch.baddbmm(w["bias2"], w["weight2"], features.mT).sigmoid().mT
