"""A learning rate that follows from the size of the inputs."""

from __future__ import annotations

import math

import numpy as np
import torch

from cls_sim.consolidation.around import Around
from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.neocortex.base import Neocortex


class ScaledToInput(Around):
    """The learning rate of the schedule is divided by the size of an input, so that one schedule fits every world.

        η = rate / L,   L = n · mean of |x_i| over the first `rows` inputs that the subject learned from

    n is the largest number of connections that a cell of the cortex receives, in any layer, and at most the number of
    inputs: for a perceptron the number of inputs, so that L is the mean of |x|₁ = Σ_i |x_i|; for convolutions the
    channels times the area of the kernel.  Adam changes a weight by about η at most, so a step changes
    the drive of a cell, Σ_i w_i x_i, by at most about η n |x_i|, which on average is the rate of the schedule: the
    rate is a change of drive per step, whatever the number of inputs and their scale.  Until `rows` inputs are met, L
    is their mean so far, the present batch included.

    consolidation  the inner rule; default Descent()
    rows           inputs that are averaged, from 0; 0: the rate is not divided

    A subject whose inputs were all 0 learns at the rate of the schedule.  The ledger counts the dose of the schedule.
    State: `total` [s], the sum of |x|₁, and `met` [s], the number of inputs in it.

    Source: ours; bound of a step of Adam, Kingma & Ba 2015, section 2.1.

    >>> ScaledToInput(rows=50).rows
    50
    """

    inside, null = "consolidation", {"rows": 0}
    rows: int = setting(100, 0)

    def _fresh(self, spec: Spec) -> None:
        self._part = min(1.0, most_connections(spec) / math.prod(spec.inputs))
        self.total, self.met = np.zeros(spec.subjects), np.zeros(spec.subjects, np.int64)

    def step(self, neocortex: Neocortex, batch: Batch, rate: Numbers, view: View) -> None:
        if ((rate > 0) & (self.met < self.rows)).any():
            self._meet(batch, rate)
        size = self.total / np.maximum(self.met, 1) * self._part
        self.consolidation.step(neocortex, batch, rate / np.where(size > 0, size, 1.0), view)

    def _meet(self, batch: Batch, rate: Numbers) -> None:
        """Add inputs to the mean: the only time at which the CPU waits for the device."""
        left = from_numpy(np.where(rate > 0, self.rows - self.met, 0)).to(batch.x.device)
        there = batch.present()
        new = there & (there.cumsum(1) <= left[:, None])
        # Sums of float32 numbers in float64 are exact here, so they do not depend on padding.
        sizes = torch.where(new, batch.x.flatten(2).abs().sum(2).double(), 0.0)
        found = torch.stack((sizes.sum(1), new.sum(1).double())).cpu().numpy()
        self.total, self.met = self.total + found[0], self.met + found[1].astype(np.int64)


def most_connections(spec: Spec) -> int:
    """The largest number of connections that a cell receives in a layer; the number of inputs if no layer is known.

    A layer has weights [s, out, in] (dense) or [s, out, in, height, width] (convolution).

    >>> most_connections(Spec(inputs=(3, 32, 32), weights={"weight": (1, 8, 3, 5, 5), "bias": (1, 8)}))
    75
    """
    layers = [math.prod(shape[2:]) for shape in spec.weights.values() if len(shape) in (3, 5)]
    return max(layers, default=math.prod(spec.inputs))
