"""Memory cost: the bytes that a subject keeps beyond a plain multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from cls_sim.core.errors import several, whole
from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe


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
        extra = max(0, _floats(life.neocortex.state()) // life.spec.subjects - free)
        return (life.hippocampus.stored_bytes() + extra).double()


def _floats(tree: Mapping[str, Any]) -> int:
    """Bytes of all floating tensors of a tree."""
    branches = [_floats(branch) for branch in tree.values() if isinstance(branch, Mapping)]
    leaves = [leaf.nbytes for leaf in tree.values() if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return sum(branches) + sum(leaves)
