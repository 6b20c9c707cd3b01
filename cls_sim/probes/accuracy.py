"""Accuracy, error, hippocampal dependence, overfitting to rehearsed episodes, stability and plasticity."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.contract import of_kind
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import among, from_numpy
from cls_sim.probes.base import Measured, NumericProbe, Probe, undefined
from cls_sim.probes.evaluations import (
    BUDGET,
    CORTEX,
    ReadoutProbe,
    Who,
    above_chance,
    answered,
    exams,
    grade,
    mean,
    questions,
    scores,
    shared,
)
from cls_sim.readout.base import Readout
from cls_sim.world.base import World

NEVER = np.iinfo(np.int64).max
_FIRST: WeakKeyDictionary[World, tuple[int, np.ndarray]] = WeakKeyDictionary()
"""World → number of experiences inspected, and the experience [s, k] at which each subject first met each context."""


class Accuracy(ReadoutProbe):
    """Accuracy in the evaluation of each context [s, k], in [0, 1]; in regression R² = 1 - SSE / SST.

    NaN for a context without questions, and for R² if the targets do not vary.

    readout  the readout that answers (such as CortexReadout() or HippocampusReadout()); None: the readout of the life

    >>> Accuracy().at("life.end").moments
    ('life.end',)
    """

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        return exams(life, self.readout)


class AbsoluteError(NumericProbe):
    """Mean absolute error in the evaluation of each context [s, k], in regression, in the world's `unit` (e.g. years).

    The readout of the life answers.  Measured at context ends, the derived reading NAME.backward is the increase of the
    error on earlier contexts since they were learnt.  Raises ConfigError for a world with labels.

    >>> AbsoluteError().moments
    ('context.end', 'life.end')
    """

    refusal = "is an error of numbers", "measure accuracy"

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        errors = [missed(life, None, "evaluation", context, Tensor.abs) for context in range(life.spec.contexts)]
        unit = torch.as_tensor(getattr(life.world, "unit", 1.0), dtype=torch.float64, device=life.spec.device)
        return torch.stack(errors, 1) * unit.reshape(-1, 1)


class Dependence(Settings, Probe):
    """Hippocampal dependence index [s]: the share of recall lost in a hippocampal lesion.

        (R_control - R_lesion) / R_control,   R = (accuracy - chance) / (1 - chance), in regression R²

    R_control is measured with both systems, R_lesion with the cortex alone; both are means over the contexts met so
    far.  1: recall depends on the hippocampus alone; 0: on the cortex alone; below 0: the hippocampus impairs recall.
    NaN if R_control is not above 0.

    control  the readout before the lesion; None: the readout of the life

    >>> Dependence().control is None
    True
    """

    control: Readout | None = setting(None, Readout, "give one, such as CortexReadout(), or None", check=of_kind)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        lived = lived_contexts(life)
        control, lesion = (mean(above_chance(life, exams(life, who)), lived) for who in (self.control, CORTEX))
        return torch.where(control > 0, (control - lesion) / control, torch.nan)


class RehearsalGap(Probe):
    """Overfitting to rehearsed episodes [s]: accuracy of the cortex on stored episodes minus that on new questions.

    The mean over all contexts with stored episodes, with equal weights; in regression the difference of R².  NaN if
    nothing is stored.

    >>> RehearsalGap().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        stored = rehearsed(life)
        return mean(stored - exams(life, CORTEX), ~stored.isnan())


def rehearsed(life: Measured) -> Tensor:
    """Accuracy or R² of the cortex on the stored episodes of each context: float64 [s, k]; NaN if none is stored."""
    traces, spec = life.hippocampus.traces(), life.spec
    size = max(1, BUDGET // (spec.subjects * int(np.prod(spec.inputs))))
    slots = torch.arange(traces.alive.shape[1], device=traces.alive.device).expand(spec.subjects, -1)
    if not slots.shape[1]:
        return undefined(life, spec.contexts)
    stored = (life.hippocampus.fetch(slot) for slot in torch.split(slots, size, 1))
    said = torch.cat([answered(life, batch, life.neocortex.scores) for batch in stored], 1)
    mine = [traces.alive & (traces.context == context) for context in range(spec.contexts)]
    return torch.stack([grade(said, traces.y, there, spec.regression) for there in mine], 1)


def missed(life: Measured, who: Who, kind: str, context: int, size: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean size of the difference of the answers of a readout and the right answers to some questions: [s]."""
    batch = questions(life, kind, context)
    weights = batch.weights().double()
    error = size((scores(life, who, kind, context) - batch.y).double()).mean(-1)
    return (error * weights).sum(1) / weights.sum(1)


class _Error(Settings, NumericProbe):
    """Mean squared error of the cortex [s], in regression; subclasses choose the questions.

    context  the context that is asked; None: the mean over all contexts
    """

    moments = ("night.end", "life.end")
    kind: ClassVar[str]

    context: int | None = setting(None, 0)

    def setup(self, spec: Spec) -> Spec:
        if self.context is not None and self.context >= spec.contexts:
            raise ConfigError("context", f"there are only {spec.contexts} contexts", "count from 0")
        return super().setup(spec)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        asked = range(life.spec.contexts) if self.context is None else [self.context]
        return torch.stack([missed(life, CORTEX, self.kind, context, Tensor.square) for context in asked]).mean(0)


class Generalisation(_Error):
    """Generalisation error E_g [s]: mean squared error of the cortex on held-out questions (Sun et al. 2023).

    context  the context that is asked; None: the mean over all contexts

    >>> Generalisation().moments
    ('night.end', 'life.end')
    """

    kind = "evaluation"


class Memorisation(_Error):
    """Training error E_t [s]: mean squared error of the cortex on all training data (Sun et al. 2023).

    context  the context that is asked; None: the mean over all contexts

    >>> Memorisation().kind
    'train'
    """

    kind = "train"


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
    context = last_lived(life).context[:, :1]
    return among(context, torch.ones_like(context), life.spec.contexts)


# -- past experience ------------------------------------------------------------------------------------------


@shared
def last_lived(life: Measured, until: int | None = None) -> Batch:
    """The latest experience of each subject; if given, the latest before `until` (a number of experiences)."""
    clock = copy.deepcopy(life.clock)
    latest = clock.experience if until is None else np.minimum(clock.experience, until)
    clock.experience = np.maximum(latest - 1, 0)
    return life.world.next(clock)


@shared
def lived_contexts(life: Measured) -> Tensor:
    """Which contexts each subject has met so far: bool [s, k].

    Each experience is inspected once per life, until all contexts have been met.
    """
    clock, device = copy.copy(life.clock), life.spec.device
    looked, first = _FIRST.get(life.world) or (0, np.full((life.spec.subjects, life.spec.contexts), NEVER))
    while looked < life.clock.experience.max() and (first == NEVER).any():
        clock.experience = np.full(life.spec.subjects, looked)
        context = life.world.contexts_at(clock).cpu().numpy()
        subject, row = np.nonzero(context >= 0)
        here = subject, context[subject, row]
        first[here] = np.minimum(first[here], looked)
        looked += 1
    _FIRST[life.world] = looked, first
    return from_numpy(first < life.clock.experience[:, None]).to(device)
