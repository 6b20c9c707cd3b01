"""Stability and plasticity: accuracy on old contexts, and on the present one."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.probes.accuracy import last_lived, lived_contexts
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import exams, mean


class Retention(Probe):
    """Stability [s]: the mean accuracy over the contexts met before the present one; NaN if there are none.

    Source: stability, Grossberg 1980; probe 7 of the study of memory, Mermillod et al. 2013.

    >>> Retention().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return mean(exams(life, None), lived_contexts(life) & ~_present(life))


class Acquisition(Probe):
    """Plasticity [s]: the accuracy on the present context, or on the context met last.

    Measured soon after a context has begun (at life.end, if `days` ends the life early in a context), it is the speed
    of learning.

    >>> Acquisition().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return mean(exams(life, None), _present(life))


def _present(life: Measured) -> Tensor:
    """The context that each subject has met last: bool [s, k]."""
    context = last_lived(life).context[:, :1].clamp(min=0)
    return torch.zeros(len(context), life.spec.contexts, dtype=torch.bool, device=context.device).scatter_(
        1, context, True
    )
