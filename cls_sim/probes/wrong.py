"""Wrong labels in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.part import Spec
from cls_sim.probes.base import Measured, Probe, labelled, undefined


class WrongInMemory(Probe):
    """The share of the stored episodes whose label is not the true one of their item, [s] in [0, 1].

    Without editing it is the label noise of the world; replay teaches the neocortex this share of wrong answers.

    NaN in a world without label noise (the setting `label_noise` is 0, or the world has none), for a memory without
    episodes, and for one whose episodes have no item or no label.  Raises ConfigError in regression.

    >>> WrongInMemory().moments
    ('night.end', 'life.end')
    """

    moments = ("night.end", "life.end")

    def setup(self, spec: Spec) -> Spec:
        return labelled(spec, "", "needs labels", "leave it out")

    def measure(self, life: Measured) -> Tensor:
        truth, traces = life.world.true_labels(), life.hippocampus.traces()
        if truth is None or not traces.alive.shape[1]:
            return undefined(life)
        there = traces.alive & (traces.item >= 0) & (traces.y >= 0)
        right = truth.gather(1, traces.item.long().clamp(min=0)) == traces.y
        return (there & ~right).sum(1).double() / torch.where(there.any(1), there.sum(1), torch.nan)
