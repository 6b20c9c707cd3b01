"""The cost of memory and of plasticity: bytes and energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from cls_sim.core.errors import several, whole
from cls_sim.core.settings import Settings, setting
from cls_sim.core.trees import leaves
from cls_sim.probes.base import Measured, Probe, of_part


class ExtraBytes(Settings, Probe):
    """Memory beyond a plain perceptron [s], in bytes: episodes and their labels, statistics, additional weights.

        bytes = hippocampus + (numbers in the neocortex - numbers in a perceptron of these widths) · 4

    The hippocampus counts its size when full (a generative model: its weights and their copies).  Of the neocortex all
    floating-point state counts: averaged copies, feedback connections, statistics for dreaming.  The optimizer state,
    which every learner has, and fixed connections do not count.

    hidden  widths of the reference perceptron

    >>> ExtraBytes(hidden=[100, 100]).hidden
    (100, 100)
    """

    moments = ("life.end",)

    hidden: Sequence[int] = setting((400, 400), "widths", "[400, 400]", whole, check=several)

    def measure(self, life: Measured) -> Tensor:
        sizes = (math.prod(life.spec.inputs), *self.hidden, life.spec.outputs)
        free = 4 * sum((before + 1) * after for before, after in pairwise(sizes))
        kept = (leaf for _, leaf in leaves(life.neocortex.state()) if isinstance(leaf, Tensor))
        floats = sum(leaf.nbytes for leaf in kept if leaf.is_floating_point())
        extra = max(0, floats // life.spec.subjects - free)
        return (life.hippocampus.stored_bytes() + extra).double()


class Energy(Settings, Probe):
    """Energy of plasticity so far, relative to something [s]: (Σ|Δl| + c Σ_t |s|) / reference.  For `Caching` only.

    of      consolidated: changes of the stable weights l, with the upkeep of the labile weights s
            learned: all changes of the weights w; the energy if each of them were consolidated at once
    upkeep  c, from 0: energy of one unit of labile weight per tick, if one unit of change of a stable weight costs 1
    over    the reference.  minimum: Σ|w - w_0|, the energy of going straight to the present weights
            learned: all changes;  weights: the number of weights, so that energy is per synapse

    NaN where the reference is 0.

    Source: Li & van Rossum 2020, equations 1 to 4.

    >>> Energy(upkeep=0.1).over
    'minimum'
    """

    moments = ("night.end", "life.end")

    of: str = setting("consolidated", ("consolidated", "learned"))
    upkeep: float = setting(0.0, 0.0)
    over: str = setting("minimum", ("minimum", "learned", "weights"))

    def measure(self, life: Measured) -> Tensor:
        asks, remedy = "needs a consolidation that counts its energy", "use consolidation=caching"
        cache = of_part(life.consolidation, asks, remedy, "learned", "consolidated", "held", "birth")
        weights = {name: w.detach().flatten(1).double() for name, w in life.neocortex.weights.items()}
        if self.over == "minimum":
            straight = [(w - cache.birth[name].flatten(1)).abs().sum(1) for name, w in weights.items()]
            reference = torch.stack(straight).sum(0)
        elif self.over == "learned":
            reference = cache.learned
        else:
            reference = torch.full_like(cache.learned, sum(w.shape[1] for w in weights.values()))
        spent = cache.learned if self.of == "learned" else cache.consolidated + self.upkeep * cache.held
        return torch.where(reference > 0, spent / reference, torch.nan)
