"""A neocortex with slow and fast averages of its weights."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from cls_sim.core.part import Spec
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex
from cls_sim.neocortex.mlp import Mlp


class Averaged(Wrap, Neocortex):
    """A neocortex with two averaged copies of its weights, `slow` and `fast`, initially equal to the weights.

    Running statistics of normalisation layers are averaged like weights.  In mid-life the copies begin at the present
    weights.  The consolidation rule `Averaging` updates the copies, and the readout `SlowCopyReadout` answers with the
    slow one.  Everything else is as in the inner neocortex.

    cortex  the neocortex that learns; default: an Mlp

    Source: semantic memories as averages of the working model, Arani, Sarfraz & Zonooz 2022; mean teachers, Tarvainen
    & Valpola 2017.

    >>> import torch
    >>> cortex = Averaged(Mlp(hidden=[8]))
    >>> _ = cortex.setup(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> cortex.scores(torch.ones(2, 5, 4), weights=cortex.averages["slow"]).shape
    torch.Size([2, 5, 3])
    """

    inside, null = "cortex", {}
    averages: dict[str, dict[str, Tensor]]

    def __init__(self, cortex: Neocortex | None = None):
        super().__init__(Mlp() if cortex is None else cortex)
        self.averages = {}

    def setup(self, spec: Spec) -> Spec:
        return replace(super().setup(spec), averages=("slow", "fast"))

    def _fresh(self, spec: Spec) -> None:
        present = self.learned()
        self.averages = {name: {n: t.float().clone() for n, t in present.items()} for name in ("slow", "fast")}
