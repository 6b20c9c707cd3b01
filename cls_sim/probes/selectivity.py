"""How much stronger a linear cortex responds to what it learnt than to noise."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError
from cls_sim.core.tensors import vector_norm
from cls_sim.probes.base import Measured, Probe, of_part


class Selectivity(Probe):
    """Signal-to-noise ratio of a linear cortex with one output [s]: mean response to the evaluation of context 0, in
    standard deviations of the response to random inputs of variance 1.

        SNR = mean_x w·x / |w|            at most √N for N inputs ±1; 0 if all weights are 0

    Source: Lindsey & Litwin-Kumar 2024.

    >>> Selectivity().moments
    ('life.end',)
    """

    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        weights = life.neocortex.weights
        if set(weights) != {"weight0"} or life.spec.outputs != 1:
            raise ConfigError("", "needs a linear cortex with one output", "use neocortex=linear")
        signal = life.neocortex.scores(life.world.evaluation(0).x).detach().double().mean((1, 2))
        noise = vector_norm(weights["weight0"].detach().double().flatten(1), dim=1)
        return torch.where(noise > 0, signal / noise.clamp(min=1e-300), 0.0)


class GateShare(Probe):
    """The share of rows that a gate let pass so far [s]; NaN before any (see `RecallGated`).

    >>> GateShare().moments
    ('life.end',)
    """

    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        asks, remedy = "needs a consolidation with a gate", "use consolidation=recall_gated"
        gate = of_part(life.consolidation, asks, remedy, "passed", "met")
        return torch.where(gate.met > 0, gate.passed / gate.met.clamp(min=1.0), torch.nan)
