"""What is kept of the old, and what is taken up of the new: the two ends of the stability-plasticity dilemma."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.probes.accuracy import last_lived, lived_contexts
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import exams, mean


class Retention(Probe):
    """The accuracy on what is old [s]: the mean over the contexts lived before the present one; NaN without one.

    Source: stability, Grossberg 1980; probe 7 of the study of memory, Mermillod et al. 2013.

    >>> Retention().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return mean(exams(life, None), lived_contexts(life) & ~_present(life))


class Acquisition(Probe):
    """The accuracy on what is new [s]: on the context that is being lived, or was lived last.

    Measured soon after a context has begun (at life.end, where `days` ends a life early in a context) it is the speed
    of learning.

    >>> Acquisition().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return mean(exams(life, None), _present(life))


def _present(life: Measured) -> Tensor:
    """Which context each subject has lived last: bool [s, k]."""
    context = last_lived(life).context[:, :1].clamp(min=0)
    return torch.zeros(len(context), life.spec.contexts, dtype=torch.bool, device=context.device).scatter_(
        1, context, True
    )
