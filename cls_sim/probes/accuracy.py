"""How well a subject answers, with which system, and on what: accuracy, dependence, rehearsal gap, error."""

from __future__ import annotations

import copy
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.part import Spec
from cls_sim.probes.base import Measured, Probe, numeric
from cls_sim.probes.evaluations import (
    BUDGET,
    CORTEX,
    ReadoutProbe,
    above_chance,
    answered,
    checked,
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
"""World → experiences looked at, and the experience [s, k] at which each subject met each context first."""


class Accuracy(ReadoutProbe):
    """The share of right answers to each context's exam [s, k]; in regression R² = 1 - SSE / SST.

    Answered by the subject's own readout, or by another one (the cortex alone, the hippocampus alone, both).
    NaN for a context without questions, and for an R² of answers that do not vary.

    readout  who answers; None: the subject's own readout

    >>> Accuracy().at("life.end").moments
    ('life.end',)
    """

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        return exams(life, self.readout)


class AbsoluteError(Probe):
    """The mean absolute error of each context's exam [s, k], of regression, in the world's own units (`unit`: years).

    Answered by the subject's own readout.  Read at context ends, NAME.backward is what the error on earlier contexts
    has risen by since they were learnt.

    >>> AbsoluteError().moments
    ('context.end', 'life.end')
    """

    def setup(self, spec: Spec) -> Spec:
        return numeric(spec, "is an error of numbers")

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        errors: list[Tensor] = []
        for context in range(life.spec.contexts):
            batch = questions(life, "evaluation", context)
            weights = batch.weights().double()
            off = (scores(life, None, "evaluation", context) - batch.y).double().abs().mean(-1)
            errors.append((off * weights).sum(1) / weights.sum(1))
        unit = torch.as_tensor(getattr(life.world, "unit", 1.0), dtype=torch.float64, device=life.spec.device)
        return torch.stack(errors, 1) * unit.reshape(-1, 1)


class Dependence(Probe):
    """The hippocampal dependence index [s]: what of recall a lesion would cost, (R_control - R_lesion) / R_control.

    R = (accuracy - chance) / (1 - chance), in regression R²; control is both systems, lesion the cortex alone,
    each the mean over the contexts lived so far.  1: all is hippocampal; 0: all is cortical; below 0 the
    hippocampus is in the way.  NaN where R_control is not above 0.

    control  who answers before the lesion; None: the subject's own readout

    >>> Dependence().control is None
    True
    """

    def __init__(self, *, control: Readout | None = None):
        self.control = checked("control", control)

    def setup(self, spec: Spec) -> Spec:
        if self.control is not None:
            self.setup_inside("control", spec)
        return spec

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        lived = lived_contexts(life)
        control, lesion = (mean(above_chance(life, exams(life, who)), lived) for who in (self.control, CORTEX))
        return torch.where(control > 0, (control - lesion) / control, torch.nan)


class RehearsalGap(Probe):
    """Overfitting to what is rehearsed [s]: the cortex' accuracy on stored episodes minus that on unseen questions.

    Of each context that has stored episodes, all contexts weighing alike; in regression of R².  NaN where nothing
    is stored.

    >>> RehearsalGap().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        stored = rehearsed(life)
        return mean(stored - exams(life, CORTEX), ~stored.isnan())


def rehearsed(life: Measured) -> Tensor:
    """The cortex' grade on the stored episodes of each context: float64 [s, k], NaN where none is stored."""
    traces, spec = life.hippocampus.traces(), life.spec
    size = max(1, BUDGET // (spec.subjects * int(np.prod(spec.inputs))))
    slots = torch.arange(traces.alive.shape[1], device=traces.alive.device).expand(spec.subjects, -1)
    found = [
        answered(life, life.hippocampus.fetch(slot), life.neocortex.scores)
        for slot in slots.split(size, 1)
        if slot.shape[1]
    ]
    if not found:
        return torch.full((spec.subjects, spec.contexts), torch.nan, dtype=torch.float64, device=spec.device)
    said = torch.cat(found, 1)
    mine = [traces.alive & (traces.context == context) for context in range(spec.contexts)]
    return torch.stack([grade(said, traces.y, there, spec.regression) for there in mine], 1)


class _Error(Probe):
    """The mean squared error of the cortex [s], of regression; its two kinds differ in what they ask."""

    moments = ("night.end", "life.end")
    kind: ClassVar[str]

    def setup(self, spec: Spec) -> Spec:
        return numeric(spec)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        batch = questions(life, self.kind)
        error = (scores(life, CORTEX, self.kind) - batch.y).double().square().mean(-1)
        weights = batch.weights().double()
        return (error * weights).sum(1) / weights.sum(1)


class Generalisation(_Error):
    """The generalisation error E_g [s]: mean squared error of the cortex on new questions (Sun et al. 2023).

    >>> Generalisation().moments
    ('night.end', 'life.end')
    """

    kind = "evaluation"


class Memorisation(_Error):
    """The training error E_t [s]: mean squared error of the cortex on all there is to learn (Sun et al. 2023).

    >>> Memorisation().kind
    'train'
    """

    kind = "train"


# -- what was lived -------------------------------------------------------------------------------------------


@shared
def last_lived(life: Measured, until: int | None = None) -> Batch:
    """The latest experience of each subject, or the latest before `until` (a count of experiences)."""
    clock = copy.deepcopy(life.clock)
    latest = clock.experience if until is None else np.minimum(clock.experience, until)
    clock.experience = np.maximum(latest - 1, 0)
    return life.world.next(clock)


@shared
def lived_contexts(life: Measured) -> Tensor:
    """Which contexts each subject has met so far: bool [s, k].

    Every experience is looked at once in a life, until all contexts have been met.
    """
    clock, device = copy.copy(life.clock), life.spec.device
    looked, first = _FIRST.get(life.world) or (0, np.full((life.spec.subjects, life.spec.contexts), NEVER))
    while looked < life.clock.experience.max() and (first == NEVER).any():
        clock.experience = np.full(life.spec.subjects, looked)
        context = life.world.contexts_at(clock).cpu().numpy()
        here = (context[..., None] == np.arange(life.spec.contexts)).any(1)
        first, looked = np.where((first == NEVER) & here, looked, first), looked + 1
    _FIRST[life.world] = looked, first
    return torch.from_numpy(first < life.clock.experience[:, None]).to(device)
