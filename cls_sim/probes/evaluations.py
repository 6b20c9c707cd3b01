"""Evaluations: questions, answers and grades, each computed once per moment.

`Life.measure` measures inside `sharing`.  There, a `shared` function of the life computes its result once for all
probes of the moment; the results are dropped when the moment is over.  Outside of `sharing`, every call computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.contract import of_kind
from cls_sim.core.part import Part, Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.core.trees import fingerprint
from cls_sim.hippocampus.base import Hippocampus, Recall
from cls_sim.neocortex.base import Neocortex
from cls_sim.probes.base import Measured, Probe, of_world
from cls_sim.readout.base import Answer, Readout

BUDGET = 2**23  # approximate number of values (32 MB) in one forward pass of an evaluation, over all subjects
BYTES = 2**28  # largest size of the questions and answers that a moment keeps; what does not fit is computed again
LARGEST = 2**25  # largest size of one of them, in bytes
ROOM = "room"  # among the results of a moment: the bytes that are left of BYTES

CORTEX = "cortex"
Who = Readout | Literal["cortex"] | None
"""Who answers: a readout, "cortex" (the cortex alone, as after a hippocampal lesion), or None (the life's readout)."""

T = TypeVar("T")
P = ParamSpec("P")


# -- once a moment ----------------------------------------------------------------------------------------------


_OPEN: dict[int, dict[Hashable, Any]] = {}  # id of a life → the results of its moment by key, while one is open
_GRADES: WeakKeyDictionary[Any, tuple[object, dict[tuple[Who, int], Tensor]]] = WeakKeyDictionary()
"""Life → its latest state in which evaluations were graded, and the grades."""


@contextmanager
def sharing(life: Measured) -> Generator[None]:
    """Within this context, the probes of a life share results until its next tick; then the results are dropped."""
    if id(life) in _OPEN:
        yield
        return
    _OPEN[id(life)] = {ROOM: BYTES}
    try:
        yield
    finally:
        del _OPEN[id(life)]


def once(life: Measured, key: Hashable, make: Callable[[], T], *, bulky: bool = False) -> T:
    """The result of `make`, computed once per moment and key; bulky results are kept only up to `BYTES`."""
    found = _OPEN.get(id(life))
    if found is None:
        return make()
    key = (life.clock.tick, key)
    if key not in found:
        value, size = make(), 0
        if bulky and (size := _bytes(value)) > min(LARGEST, found[ROOM]):
            return value
        found |= {key: value, ROOM: found[ROOM] - size}
    return found[key]


def shared(function: Callable[Concatenate[Measured, P], T]) -> Callable[Concatenate[Measured, P], T]:
    """Decorator for a function of a life and of hashable arguments: the result is computed once per moment."""

    @functools.wraps(function)
    def computed(life: Measured, *args: P.args, **kwargs: P.kwargs) -> T:
        return once(life, (function, args, *kwargs.items()), lambda: function(life, *args, **kwargs))

    return computed


def _bytes(value: object) -> int:
    """The bytes of all tensors in a tensor, a list or a dataclass of tensors."""
    if isinstance(value, Tensor):
        return value.untyped_storage().nbytes()
    parts = cast("list[object]", value) if isinstance(value, list) else getattr(value, "__dict__", {}).values()
    return sum(map(_bytes, parts))


# -- questions --------------------------------------------------------------------------------------------------


def questions(life: Measured, kind: str = "evaluation", context: int = 0) -> Batch:
    """Questions [s, n, …] of a kind.

    kind     evaluation: the held-out questions of a context; train: all training data of a context; out_of_scope:
             questions that belong to no context
    context  ignored for out_of_scope
    """

    def make() -> Batch:
        if kind == "evaluation":
            return life.world.evaluation(context)
        if kind == "train":
            return of_world(life, "train", "needs the training data of a context", "measure accuracy")(context)
        return of_world(life, "out_of_scope", "needs out-of-scope questions", "use world=clinc")()

    return once(life, (kind, context), make, bulky=True)


@shared
def stored(life: Measured) -> Batch:
    """All stored episodes, slot by slot: [s, n, …]; weight 0 for an empty slot."""
    assert life.view.stored is not None
    return life.view.stored()


# -- answers ----------------------------------------------------------------------------------------------------


class ReadoutProbe(Settings, Probe):
    """A probe of the answers of a readout; None: the readout of the life."""

    readout: Readout | None = setting(None, Readout, "give one, such as CortexReadout(), or None", check=of_kind)


def pieces(life: Measured, batch: Batch) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The inputs [s, b, …] of a batch and their contexts (None if the task identity is unknown), in large pieces."""
    told = life.known_contexts(batch)
    size = max(1, BUDGET // (batch.subjects * _width(life.spec)))
    for start in range(0, batch.rows, size):
        part = slice(start, start + size)
        yield batch.x[:, part], None if told is None else told[:, part]


def answered(life: Measured, batch: Batch, answer: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
    """Scores [s, n, o] of a function (x, context) → scores for all rows of a batch, computed piece by piece."""
    return _joined(life, [answer(x, told) for x, told in pieces(life, batch)])


def answers(life: Measured, readout: Readout | None, kind: str = "evaluation", context: int = 0) -> list[Answer]:
    """The answers of a readout to a set of questions, piece by piece.

    The scores of the cortex and the recalls of the hippocampus are shared with all other readouts of the moment.
    """
    who = readout or life.readout

    def make() -> list[Answer]:
        found: list[Answer] = []
        for i, (x, told) in enumerate(pieces(life, questions(life, kind, context))):
            hippocampus, neocortex = _systems(life, x, told, (kind, context, i))
            found.append(who.answer(x, told, hippocampus, neocortex))
        return found

    return once(life, (who, kind, context), make, bulky=True)


def scores(life: Measured, who: Who, kind: str = "evaluation", context: int = 0) -> Tensor:
    """Scores [s, n, o] of a readout, or of the cortex alone, for a set of questions."""
    if isinstance(who, str):
        parts = enumerate(pieces(life, questions(life, kind, context)))
        return _joined(life, [_systems(life, x, told, (kind, context, i))[1].scores(x, told) for i, (x, told) in parts])
    return _joined(life, [answer.scores for answer in answers(life, who, kind, context)])


def _joined(life: Measured, scores: list[Tensor]) -> Tensor:
    nothing = torch.zeros(life.spec.subjects, 0, life.spec.outputs, device=life.spec.device)
    return torch.cat(scores or [nothing], 1)


class _Shared:
    """A stand-in for a system: some methods share their results within a moment; all others are those of the system."""

    def __init__(self, part: Part, **methods: Callable[..., Any]):
        self._part = part
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # isinstance() sees the system
        return type(self._part)


def _systems(
    life: Measured, x: Tensor, told: Tensor | None, key: tuple[Hashable, ...]
) -> tuple[Hippocampus, Neocortex]:
    """Both systems; their answers to this piece of questions (named by the key) are computed once per moment."""

    def recall(cue: Tensor) -> Recall:
        own = life.hippocampus.recall
        return once(life, ("recall", *key), lambda: own(cue), bulky=True) if cue is x else own(cue)

    def scored(asked: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        own = life.neocortex.scores
        if asked is x and context is told and weights is None:
            return once(life, ("scores", *key), lambda: own(asked, context), bulky=True)
        return own(asked, context, weights)

    systems = _Shared(life.hippocampus, recall=recall), _Shared(life.neocortex, scores=scored)
    return cast("tuple[Hippocampus, Neocortex]", systems)


def _width(spec: Spec) -> int:
    """An estimate of the number of values per row and subject in a forward pass of the cortex."""
    layers = sum(max(shape[1:], default=1) for shape in spec.weights.values())
    return int(np.prod(spec.inputs)) + spec.outputs + (layers if spec.row_values is None else spec.row_values)


# -- grades -----------------------------------------------------------------------------------------------------


def grade(scores: Tensor, y: Tensor, weights: Tensor, regression: bool) -> Tensor:
    """Accuracy, or R² in regression, over the rows of weight above 0: [s]; NaN if there are none.

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


@shared
def graded(life: Measured, who: Who, context: int) -> Tensor:
    """The accuracy or R² of a readout, or of the cortex alone, in the evaluation of a context: float64 [s]."""
    grades = _grades(life)
    if (who, context) not in grades:
        batch = questions(life, "evaluation", context)
        said = scores(life, who, "evaluation", context)
        grades[who, context] = grade(said, batch.y, batch.weights(), life.spec.regression)
    return grades[who, context]


@shared
def _grades(life: Measured) -> dict[tuple[Who, int], Tensor]:
    """The grades that an earlier moment has found in this same tick and state, bit for bit; else a new dict.

    At the end of a life, they are those of the context end before it.
    """
    if id(life) not in _OPEN:
        return {}
    parts = (life.world, life.neocortex, life.hippocampus, life.readout)
    state = life.clock.tick, *map(id, parts), fingerprint({str(i): part.state() for i, part in enumerate(parts)})
    if life not in _GRADES or _GRADES[life][0] != state:
        _GRADES[life] = state, {}
    return _GRADES[life][1]


def exams(life: Measured, who: Who) -> Tensor:
    """The accuracy or R² in the evaluation of each context: float64 [s, k]."""
    return torch.stack([graded(life, who, context) for context in range(life.spec.contexts)], 1)


def above_chance(life: Measured, grades: Tensor) -> Tensor:
    """R = (accuracy - chance) / (1 - chance) [s, k]; in regression R² itself, whose chance level is 0."""
    spec = life.spec
    if spec.regression:
        return grades
    compete = spec.heads if spec.task_id_known else None  # with known task identity, one head's outputs compete
    options = torch.full_like(grades, spec.outputs) if compete is None else compete.sum(-1).double()
    return (grades - 1.0 / options) / (1.0 - 1.0 / options)


def mean(numbers: Tensor, which: Tensor) -> Tensor:
    """The mean [s] over the selected numbers [s, k] that are not NaN."""
    return torch.where(which, numbers, torch.nan).nanmean(1)
