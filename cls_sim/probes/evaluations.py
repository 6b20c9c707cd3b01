"""What probes ask: questions, answers and grades, each computed once a moment.

`Life.measure` measures inside `sharing`: there, a `shared` function of the life computes its result once, whichever
probes ask for it.  When the moment is over nothing is kept.  Outside of `sharing`, every call computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec
from cls_sim.hippocampus.base import Hippocampus, Recall
from cls_sim.neocortex.base import Neocortex
from cls_sim.probes.base import Measured, Probe, of_world
from cls_sim.readout.base import Answer, Readout

BUDGET = 2**23  # about so many numbers (32 MB) in one forward pass of an evaluation, all subjects together
BYTES = 2**28  # of questions and answers that a moment keeps at most; what does not fit is computed again
LARGEST = 2**25  # bytes of one of them

CORTEX = "cortex"
Who = Readout | Literal["cortex"] | None
"""Who answers: a readout, the cortex alone (as if the hippocampus were lost), or None, the life's own readout."""

T = TypeVar("T")
P = ParamSpec("P")


# -- once a moment ----------------------------------------------------------------------------------------------


class Found:
    """What was computed so far in a moment of a life."""

    def __init__(self) -> None:
        self.values: dict[Hashable, Any] = {}
        self.room = BYTES

    def fits(self, value: object) -> bool:
        size = _bytes(value)
        fits = size <= min(LARGEST, self.room)
        self.room -= size * fits
        return fits


_OPEN: dict[int, Found] = {}  # id of a life → its moment, while one is open


@contextmanager
def sharing(life: Measured) -> Generator[None]:
    """Inside, probes of this life share what they compute until its next tick; afterwards nothing of it is kept."""
    if id(life) in _OPEN:
        yield
        return
    _OPEN[id(life)] = Found()
    try:
        yield
    finally:
        del _OPEN[id(life)]


def once(life: Measured, key: Hashable, make: Callable[[], T], *, bulky: bool = False) -> T:
    """What `make` returns, made once a moment for each key; something bulky is kept only as far as `BYTES` go."""
    found = _OPEN.get(id(life))
    if found is None:
        return make()
    key = (life.clock.tick, key)
    if key not in found.values:
        value = make()
        if bulky and not found.fits(value):
            return value
        found.values[key] = value
    return found.values[key]


def shared(function: Callable[Concatenate[Measured, P], T]) -> Callable[Concatenate[Measured, P], T]:
    """A function of a life (and of hashable arguments) that is computed once a moment."""

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
    """Questions [s, n, …]: kind `evaluation` or `train` (all there is to learn) of a context, or `strange`, of no
    context."""

    def make() -> Batch:
        if kind == "evaluation":
            return life.world.evaluation(context)
        if kind == "train":
            return of_world(life, "train", "asks what there is to learn", "measure accuracy")(context)
        return of_world(life, "out_of_scope", "asks what is out of scope", "use world=clinc")()

    return once(life, (kind, context), make, bulky=True)


@shared
def stored(life: Measured) -> Batch:
    """All that the hippocampus holds, slot by slot: [s, n, …], weight 0 where a slot is empty."""
    assert life.view.stored is not None
    return life.view.stored()


# -- answers ----------------------------------------------------------------------------------------------------


class ReadoutProbe(Probe):
    """A probe that asks a readout: the subject's own (None), or another."""

    def __init__(self, *, readout: Readout | None = None):
        self.readout = checked("readout", readout)

    def setup(self, spec: Spec) -> Spec:
        if self.readout is not None:
            self.setup_inside("readout", spec)
        return spec


def checked(key: str, readout: Readout | None) -> Readout | None:
    """A readout, or None; refused for anything else."""
    if readout is not None and not isinstance(readout, Readout):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(key, f"{readout!r} is no readout", "give one, such as CortexReadout(), or None")
    return readout


def pieces(life: Measured, batch: Batch) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The inputs [s, b, …] of a batch and their contexts, where they are told, a few large pieces at a time."""
    told = life.known_contexts(batch)
    size = max(1, BUDGET // (batch.subjects * _width(life.spec)))
    for start in range(0, batch.rows, size):
        part = slice(start, start + size)
        yield batch.x[:, part], None if told is None else told[:, part]


def answered(life: Measured, batch: Batch, answer: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
    """Scores [s, n, o] that a function (x, context) → scores gives to all rows of a batch, piece by piece."""
    return _joined(life, [answer(x, told) for x, told in pieces(life, batch)])


def answers(life: Measured, readout: Readout | None, kind: str = "evaluation", context: int = 0) -> list[Answer]:
    """What a readout answers to a set of questions, piece by piece.

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
    """Scores [s, n, o] of one who answers to a set of questions."""
    if isinstance(who, str):
        parts = enumerate(pieces(life, questions(life, kind, context)))
        found = [_systems(life, x, told, (kind, context, i))[1].scores(x, told) for i, (x, told) in parts]
    else:
        found = [answer.scores for answer in answers(life, who, kind, context)]
    return (
        torch.cat(found, 1) if found else torch.zeros(life.spec.subjects, 0, life.spec.outputs, device=life.spec.device)
    )


def _joined(life: Measured, scores: list[Tensor]) -> Tensor:
    return torch.cat(scores, 1) if scores else torch.zeros(life.spec.subjects, 0, life.spec.outputs)


class _Shared:
    """A system some of whose methods are shared by the probes of a moment; the others are its own."""

    def __init__(self, part: Part, **methods: Callable[..., Any]):
        self._part = part
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # taken for the system itself
        return type(self._part)


def _systems(
    life: Measured, x: Tensor, told: Tensor | None, key: tuple[Hashable, ...]
) -> tuple[Hippocampus, Neocortex]:
    """Both systems, which answer this piece of questions (named by the key) once a moment, and anything else anew."""

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
    """About how many numbers one row takes on its way through the cortex: no layer is wider than its weights.

    A convolution [s, out, in, k, k] is taken to give maps of the size of the input.
    """
    maps = int(np.prod(spec.inputs[-2:]))
    layers = [shape[1] * maps if len(shape) == 5 else max(shape[1:], default=1) for shape in spec.weights.values()]
    return int(np.prod(spec.inputs)) + spec.outputs + sum(layers)


# -- grades -----------------------------------------------------------------------------------------------------


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


@shared
def graded(life: Measured, who: Who, context: int) -> Tensor:
    """The grade of one who answers in a context's exam: float64 [s]."""
    batch = questions(life, "evaluation", context)
    return grade(scores(life, who, "evaluation", context), batch.y, batch.weights(), life.spec.regression)


def exams(life: Measured, who: Who) -> Tensor:
    """The grade of one who answers in each context's exam: float64 [s, k]."""
    return torch.stack([graded(life, who, context) for context in range(life.spec.contexts)], 1)


def above_chance(life: Measured, grades: Tensor) -> Tensor:
    """R = (accuracy - chance) / (1 - chance) [s, k]; an R² is above chance as it is."""
    spec = life.spec
    if spec.regression:
        return grades
    compete = spec.heads if spec.task_id_known else None  # where the context is told, its head's outputs alone
    options = torch.full_like(grades, spec.outputs) if compete is None else compete.sum(-1).double()
    return (grades - 1.0 / options) / (1.0 - 1.0 / options)


def mean(numbers: Tensor, which: Tensor) -> Tensor:
    """The mean [s] over those [s, k] that count and are numbers."""
    return torch.where(which, numbers, torch.nan).nanmean(1)
