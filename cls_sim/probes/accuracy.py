"""How well a subject answers, with which system, and on what: accuracy, dependence, rehearsal gap, error."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import Refused
from cls_sim.core.part import Spec
from cls_sim.probes.base import Probe
from cls_sim.readout.base import Readout

BUDGET = 2**23  # about so many numbers (32 MB) in one forward pass of an evaluation, all subjects together

NEVER = np.iinfo(np.int64).max
_FIRST: WeakKeyDictionary[Any, tuple[int, np.ndarray]] = WeakKeyDictionary()
"""World → experiences looked at, and the experience [s, k] at which each subject met each context first."""

Answerer = Callable[[Tensor, "Tensor | None"], Tensor]


class Accuracy(Probe):
    """The share of right answers to each context's exam [s, k]; in regression R² = 1 - SSE / SST.

    Answered by the subject's own readout, or by another one (the cortex alone, the hippocampus alone, both).
    NaN for a context without questions, and for an R² of answers that do not vary.

    readout  who answers; None: the subject's own readout
    at       moments

    >>> Accuracy(at="life.end").at
    ('life.end',)
    """

    def __init__(
        self, *, readout: Readout | None = None, at: str | list[str] | tuple[str, ...] = ("context.end", "life.end")
    ):
        super().__init__(at=at)
        self.readout = _readout("readout", readout)

    def begin(self, spec: Spec) -> Spec:
        if self.readout is not None:
            self.begin_inside("readout", spec)
        return spec

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        return exams(life, by(life, self.readout))


class AbsoluteError(Probe):
    """The mean absolute error of each context's exam [s, k], of regression, in the world's own units (`unit`: years).

    Answered by the subject's own readout.  Read at context ends, NAME.backward is what the error on earlier contexts
    has risen by since they were learnt.

    at  moments

    >>> AbsoluteError(at="life.end").at
    ('life.end',)
    """

    def begin(self, spec: Spec) -> Spec:
        if not spec.regression:
            raise Refused("", "is an error of numbers, and this world asks for labels", "measure accuracy")
        return spec

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        errors = []
        for context in range(life.spec.contexts):
            batch = life.world.exam(context)
            weights = batch.weights().double()
            off = (answers(life, batch, by(life, None)) - batch.y).double().abs().mean(-1)
            errors.append((off * weights).sum(1) / weights.sum(1))
        unit = torch.as_tensor(getattr(life.world, "unit", 1.0), dtype=torch.float64, device=life.spec.device)
        return torch.stack(errors, 1) * unit.reshape(-1, 1)


class Dependence(Probe):
    """The hippocampal dependence index [s]: what of recall a lesion would cost, (R_control - R_lesion) / R_control.

    R = (accuracy - chance) / (1 - chance), in regression R²; control is both systems, lesion the cortex alone,
    each the mean over the contexts lived so far.  1: all is hippocampal; 0: all is cortical; below 0 the
    hippocampus is in the way.  NaN where R_control is not above 0.

    control  who answers before the lesion; None: the subject's own readout
    at       moments

    >>> Dependence().control is None
    True
    """

    def __init__(
        self, *, control: Readout | None = None, at: str | list[str] | tuple[str, ...] = ("context.end", "life.end")
    ):
        super().__init__(at=at)
        self.control = _readout("control", control)

    def begin(self, spec: Spec) -> Spec:
        if self.control is not None:
            self.begin_inside("control", spec)
        return spec

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        lived = lived_contexts(life)
        control = _mean(above_chance(life, exams(life, by(life, self.control))), lived)
        lesion = _mean(above_chance(life, exams(life, life.neocortex.scores)), lived)
        return torch.where(control > 0, (control - lesion) / control, torch.nan)


class RehearsalGap(Probe):
    """Overfitting to what is rehearsed [s]: the cortex' accuracy on stored episodes minus that on unseen questions.

    Of each context that has stored episodes, all contexts weighing alike; in regression of R².  NaN where nothing
    is stored.

    at  moments

    >>> RehearsalGap().at
    ('context.end', 'life.end')
    """

    def measure(self, life: Any) -> Tensor:
        cortex = life.neocortex.scores
        stored = rehearsed(life, cortex)
        return _mean(stored - exams(life, cortex), ~stored.isnan())


class _Error(Probe):
    """The mean squared error of the cortex [s], of regression; its two kinds differ in what they ask."""

    def __init__(self, *, at: str | list[str] | tuple[str, ...] = ("night.end", "life.end")):
        super().__init__(at=at)

    def begin(self, spec: Spec) -> Spec:
        if not spec.regression:
            raise Refused("", "is a squared error, and this world asks for labels", "measure accuracy")
        return spec

    @abstractmethod
    def questions(self, life: Any) -> Batch:
        """What is asked: [s, n, …]."""

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        batch = self.questions(life)
        error = (answers(life, batch, life.neocortex.scores) - batch.y).double().square().mean(-1)
        weights = batch.weights().double()
        return (error * weights).sum(1) / weights.sum(1)


class Generalisation(_Error):
    """The generalisation error E_g [s]: mean squared error of the cortex on new questions (Sun et al. 2023).

    at  moments

    >>> Generalisation().at
    ('night.end', 'life.end')
    """

    def questions(self, life: Any) -> Batch:
        return life.world.exam(0)


class Memorisation(_Error):
    """The training error E_t [s]: mean squared error of the cortex on all there is to learn (Sun et al. 2023).

    at  moments

    >>> Memorisation(at="life.end").at
    ('life.end',)
    """

    def questions(self, life: Any) -> Batch:
        return life.world.train()


# -- the means ------------------------------------------------------------------------------------------------


def _readout(key: str, readout: Any) -> Readout | None:
    if readout is not None and not isinstance(readout, Readout):
        raise Refused(key, f"{readout!r} is no readout", "give one, such as Cortex(), or None")
    return readout


def by(life: Any, readout: Readout | None) -> Answerer:
    """The answers of a readout (None: the life's own) as a function (x, context) → scores."""
    who = life.readout if readout is None else readout
    return lambda x, context: who.answer(x, context, life.hippocampus, life.neocortex).scores


def answers(life: Any, batch: Batch, answer: Answerer) -> Tensor:
    """Scores [s, n, o] to all rows of a batch, a few large pieces at a time."""
    told = life.told(batch)
    size = max(1, BUDGET // (batch.subjects * _width(life.spec)))
    pieces = [
        answer(batch.x[:, start : start + size], None if told is None else told[:, start : start + size])
        for start in range(0, batch.rows, size)
    ]
    return torch.cat(pieces, 1) if pieces else batch.x.new_zeros(batch.subjects, 0, life.spec.outputs)


def _width(spec: Spec) -> int:
    """About how many numbers one row takes on its way through the cortex: no layer is wider than its weights.

    A convolution [s, out, in, k, k] is taken to give maps of the size of the input.
    """
    maps = int(np.prod(spec.inputs[-2:]))
    layers = [shape[1] * maps if len(shape) == 5 else max(shape[1:], default=1) for shape in spec.weights.values()]
    return int(np.prod(spec.inputs)) + spec.outputs + sum(layers)


def grade(scores: Tensor, y: Tensor, weights: Tensor, regression: bool) -> Tensor:
    """Accuracy, or R², of the rows that weigh: [s]; NaN where there are none.

    >>> scores = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    >>> grade(scores, torch.tensor([[1, 0]]), torch.ones(1, 2), regression=False).tolist()
    [0.5]
    """
    weights = weights.double()
    total = weights.sum(1)
    if not regression:
        return (weights * (scores.argmax(-1) == y)).sum(1) / total
    y, weights = y.double(), weights[..., None]
    middle = (weights * y).sum(1, keepdim=True) / total[:, None, None]
    wrong = (weights * (scores - y).square()).sum((1, 2))
    spread = (weights * (y - middle).square()).sum((1, 2))
    return torch.where(spread > 0, 1.0 - wrong / spread, torch.nan)


def exams(life: Any, answer: Answerer) -> Tensor:
    """The grade in each context's exam: float64 [s, k]."""
    grades = []
    for context in range(life.spec.contexts):
        batch = life.world.exam(context)
        grades.append(grade(answers(life, batch, answer), batch.y, batch.weights(), life.spec.regression))
    return torch.stack(grades, 1)


def rehearsed(life: Any, answer: Answerer) -> Tensor:
    """The grade on the stored episodes of each context: float64 [s, k], NaN where none is stored."""
    traces, spec = life.hippocampus.traces(), life.spec
    size = max(1, BUDGET // (spec.subjects * int(np.prod(spec.inputs))))
    slots = torch.arange(traces.alive.shape[1], device=traces.alive.device).expand(spec.subjects, -1)
    pieces = [answers(life, life.hippocampus.fetch(slot), answer) for slot in slots.split(size, 1) if slot.shape[1]]
    if not pieces:
        return torch.full((spec.subjects, spec.contexts), torch.nan, dtype=torch.float64, device=spec.device)
    scores = torch.cat(pieces, 1)
    mine = [traces.alive & (traces.context == context) for context in range(spec.contexts)]
    return torch.stack([grade(scores, traces.y, there, spec.regression) for there in mine], 1)


def above_chance(life: Any, grades: Tensor) -> Tensor:
    """R = (accuracy - chance) / (1 - chance) [s, k]; an R² is above chance as it is."""
    spec = life.spec
    if spec.regression:
        return grades
    compete = spec.heads if spec.context_told else None  # where the context is told, its head's outputs alone
    options = torch.full_like(grades, spec.outputs) if compete is None else compete.sum(-1).double()
    return (grades - 1.0 / options) / (1.0 - 1.0 / options)


def last_lived(life: Any, until: int | None = None) -> Batch:
    """The latest experience of each subject, or the latest before `until` (a count of experiences)."""
    clock = copy.deepcopy(life.clock)
    latest = clock.experience if until is None else np.minimum(clock.experience, until)
    clock.experience = np.maximum(latest - 1, 0)
    return life.world.next(clock)


def lived_contexts(life: Any) -> Tensor:
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


def _mean(numbers: Tensor, which: Tensor) -> Tensor:
    """The mean [s] over those [s, k] that count and are numbers."""
    return torch.where(which, numbers, torch.nan).nanmean(1)
