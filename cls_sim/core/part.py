"""The base class of all parts, and the Spec and View that parts share."""

from __future__ import annotations

import functools
import math
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from cls_sim.core import renamed
from cls_sim.core.arrays import Counts, Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, under
from cls_sim.core.trees import State, agree, collected, copied, goes_along, is_state, restored

__all__ = ["Part", "Spec", "State", "View", "agree", "fill_contexts", "held_out", "known_contexts", "per_subject"]

Init = TypeVar("Init", bound=Callable[..., None])  # a constructor
Old = TypeVar("Old", bound=type)  # a class that existed in version 0.1


@dataclass(frozen=True)
class Spec:
    """The sizes and facts that parts announce to one another; each part receives the Spec in `setup`.

    The world announces the fields from `inputs` to `input_weights`, the rhythm `per_day`, `due` and `stages`, the
    neocortex `features`, `weights`, `running`, `row_values` and `routed`.
    """

    seeds: tuple[int, ...] = (0,)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    inputs: tuple[int, ...] = ()  # shape of one input
    outputs: int = 0  # number of output units
    actions: int = 0  # number of actions that a subject chooses from; 0: the world asks for none
    regression: bool = False  # targets are numbers, not labels
    batch: int = 1  # rows of one experience
    contexts: int = 1
    context_sizes: Counts | None = None  # [s, k]: rows of training data in the stretch of each context
    items: int | None = None  # upper bound of the row numbers (`Batch.item`), excluded; None: unbounded
    ends: tuple[int, ...] = ()  # experiences at which contexts end; empty if subjects do not know the boundaries
    visits: tuple[int, ...] = ()  # the context of each stretch that ends at `ends`; empty: 0, 1, 2, …
    task_id_known: bool = False  # subjects know the context while learning and when tested (task-incremental)
    heads: Tensor | None = None  # bool [s, k, o]: the outputs of each context's head, if task_id_known
    quantum: float | None = None  # inputs are whole multiples q·0 … q·255 of this step; None: any number
    input_weights: Callable[[Clock], Tensor] | None = None  # clock → [s, x], the weight of each input at that time
    per_day: int = 1  # experiences a day
    due: Callable[[Counts], Counts] | None = None  # experiences [s] → replay steps due by then, for rhythms that count
    features: int = 0  # width of the neocortex's last hidden layer
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # name → shape [s, …]
    running: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # its statistics
    row_values: int | None = None  # values per row and subject in a forward pass of it; None: judged by its weights
    routed: bool = False  # the neocortex needs the context to answer (gates, masks, columns)
    stages: tuple[int, int] | None = None  # replay steps of NREM and of REM in a cycle, if nights have stages
    budget: int | None = None  # bytes that a subject has left for its hippocampus; None: no limit
    held_out: float = 0.0  # share of the hippocampal slots that is never replayed but used for validation
    averages: tuple[str, ...] = ()  # names of the averaged copies of the weights that the neocortex keeps
    recall_answers: bool = True  # what the hippocampus recalls includes an answer
    dreams: tuple[str, ...] = ()  # the kinds of part that can generate replay: neocortex, hippocampus
    cohort: tuple[int, int] | None = None  # (index of the first subject, size) of the larger cohort, if there is one

    @property
    def subjects(self) -> int:
        return len(self.seeds)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(renamed.lost("Spec", name))


def image_shape(inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Channels, height and width of inputs [c, h, w], [h, w], or [h · h], a flat square; else ConfigError.

    >>> image_shape((784,)), image_shape((3, 32, 32))
    ((1, 28, 28), (3, 32, 32))
    """
    side = math.isqrt(math.prod(inputs))
    shape = (1, side, side) if inputs == (side**2,) else (1, *inputs)[-3:]
    if len(shape) != 3 or math.prod(shape) != math.prod(inputs):
        remedy = "use a world of images, such as cifar10, or arrays of shape [n, channels, height, width]"
        raise ConfigError("", f"needs images, and inputs are {list(inputs)}", remedy)
    return shape


def stretches(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """The context of each stretch, and the number of distinct contexts up to it: int64 [ends + 1] each.

    The last entry is the stretch after the last end, for worlds that go on.

    >>> [numbers.tolist() for numbers in stretches(Spec(contexts=2, ends=(5, 10, 15), visits=(1, 1, 0)))]
    [[1, 1, 0, 0], [1, 1, 2, 2]]
    """
    context = [*spec.visits, *spec.visits[-1:]] or [i % spec.contexts for i in range(len(spec.ends) + 1)]
    met = [len({*context[: i + 1]}) for i in range(len(context))]
    return np.array(context, np.int64), np.array(met, np.int64)


def stretch(spec: Spec, clock: Clock) -> np.ndarray:
    """The index of each subject's current stretch, from 0: int64 [s]."""
    return ended(spec, clock) + 1


def ended(spec: Spec, clock: Clock) -> np.ndarray:
    """The index of each subject's most recently ended stretch: int64 [s], -1 before any."""
    return np.searchsorted(np.asarray(spec.ends, np.int64), clock.experience, side="right") - 1


def zeros(spec: Spec) -> dict[str, Tensor]:
    """Zeros of the size of the weights, name → [s, …]."""
    return {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}


def known_contexts(spec: Spec, batch: Batch) -> Tensor | None:
    """The contexts [s, b] that the neocortex may use to learn a batch, or None.

    They are known if `task_id_known`, or if the neocortex is routed and knows the boundaries (it can count them).
    """
    return batch.context if spec.task_id_known or (spec.routed and spec.ends) else None


def fill_contexts(spec: Spec, batch: Batch) -> Batch:
    """Fill in unknown contexts in task-incremental runs: each row gets the first context whose head has its label."""
    if not spec.task_id_known or spec.heads is None:
        return batch
    context = spec.heads.int().argmax(1).gather(1, batch.y)
    return batch.with_(context=torch.where(batch.context < 0, context, batch.context))


def held_out(slots: Tensor, share: float) -> Tensor:
    """Which slots are held out of replay for validation: bool, an evenly spread `share` of them.

    >>> held_out(torch.arange(10), 0.2).nonzero().ravel().tolist()
    [4, 9]
    """
    return ((slots + 1).double() * share + 1e-9).floor() > (slots.double() * share + 1e-9).floor()


class _Whole(metaclass=ABCMeta):  # noqa: B024
    """Refuses an instance of a class that lacks an abstract method, by a ConfigError that names the method."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if missing := sorted(cls.__abstractmethods__):
            raise ConfigError(cls.__name__, f"has no method {', '.join(missing)}", "define it in your class")
        return super().__new__(cls)


class Part(_Whole):
    """A component of a life: it takes keyword-only settings, receives sizes in `setup`, and keeps state in attributes.

    Every attribute that is a tensor, an array, a part, or a dict or list of these is state: it is saved and restored
    by name.  Private attributes (`_name`) and those named in `derived` are not state: `setup` makes them again (data,
    draws, tables), and a copy of the part shares them.
    """

    derived: ClassVar[frozenset[str]] = frozenset()
    shortcuts: ClassVar[frozenset[str]] = frozenset()
    """Methods that describe this part alone: a wrap has those of the base class, not those of the part inside."""

    def __init_subclass__(cls, **others: Any) -> None:
        """Refuse the methods and settings of version 0.1 by their new names (see docs/glossary.md)."""
        super().__init_subclass__(**others)
        for base in cls.__mro__[1:]:
            for old, new in renamed.METHODS.get(base.__name__, {}).items():
                if old in vars(cls):
                    raise _was_renamed(f"{cls.__name__}.{old}", new)
        if cls.__module__.startswith("cls_sim.") and "__init__" in vars(cls):
            cls.__init__ = refusing(cls.__name__)(cls.__init__)

    def __init__(self) -> None:
        """A part without settings."""

    def setup(self, spec: Spec) -> Spec:
        """Receive the sizes of the cohort; return the spec, with the fields that this part announces to others."""
        self.spec = spec
        return spec

    def setup_inside(self, name: str, spec: Spec) -> Spec:
        """Set up the part in the attribute `name`; its errors are reported under that name."""
        with under(name):
            return getattr(self, name).setup(spec)

    def setup_parts(self, spec: Spec) -> None:
        """Set up all parts inside this part, one after the other."""
        for name, _ in self.parts():
            self.setup_inside(name, spec)

    def attach(self, spec: Spec, clock: Clock) -> None:
        """Join a life, at birth or (a wrap) in the middle.  The clock belongs to the life: read it, never change it."""
        for _, part in self.parts():
            part.attach(spec, clock)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        """Do what this part does when a context ends, for the subjects in `who` (bool [s]) and no others.

        The life calls it only if subjects know the boundaries.  `view.ended()` gives the numbers of these contexts,
        `view.revisit` their data.
        """

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The parts inside this part, with their attribute names."""
        for name, value in vars(self).items():
            if isinstance(value, Part):
                yield name, value

    def state(self) -> State:
        """The state as a tree: dicts of tensors (leaf or detached), arrays and further trees."""
        found = ((k, collected(v)) for k, v in vars(self).items() if is_state(self, k))
        return {k: v for k, v in found if v is not None}

    def load(self, tree: State) -> None:
        """Restore a state made by `state`.  Raises ConfigError if names, types or sizes differ."""
        agree(type(self).__name__, self.state(), tree)
        for name, value in tree.items():
            setattr(self, name, restored(getattr(self, name), value))

    def __deepcopy__(self, memo: dict[int, Any]) -> Part:
        """A copy: state is copied, derived tables are shared (they are never written)."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        for name, value in vars(self).items():
            own = is_state(self, name) or goes_along(name, value)
            setattr(twin, name, copied(value, memo, Spec) if own else value)
        return twin

    def __repr__(self) -> str:
        settings: dict[str, object] = {
            k: v for k, v in vars(self).items() if isinstance(v, (int, float, str, tuple, Part)) and k[0] != "_"
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def per_subject(key: str, value: float | list[float], spec: Spec) -> Numbers:
    """A setting with one number, or one for each subject of the cohort, as float64 [s] for the subjects of this spec.

    Raises ConfigError if the numbers are not as many as the subjects of the cohort.

    >>> per_subject("tau_days", 3.0, Spec(seeds=(0, 1))).tolist()
    [3.0, 3.0]
    >>> per_subject("tau_days", [1.0, 2.0, 3.0], Spec(seeds=(8, 9), cohort=(1, 3))).tolist()
    [2.0, 3.0]
    """
    numbers = np.asarray(value, np.float64)
    first, cohort = spec.cohort or (0, spec.subjects)
    if numbers.ndim and numbers.shape != (cohort,):
        raise ConfigError(key, f"has {numbers.size} numbers for {cohort} subjects", "give one, or one per subject")
    return np.broadcast_to(numbers, (cohort,))[first : first + spec.subjects].copy()


@dataclass(frozen=True)
class View:
    """What parts may read of one another during a life.

    scores(x, context)  [s, b, o]  current scores of the neocortex, without gradient
    features(x)         [s, b, f]  its last hidden layer, without gradient
    loss(batch)         [s, b]     its current loss on each row
    recall(x)                      recall of the hippocampus (see hippocampus.base.Recall)
    revisit(size)                  batches of each subject's data of the context that has just ended; weight 0 for
                                   subjects whose context has not ended; the ledger counts every row
    neocortex                      the neocortex itself, for gradients; only consolidation may write to it
    answer(x)                      the subject's current answer (see readout.base.Answer)
    latest()            [s, b, …]  the most recent experience
    stored()            [s, n, …]  all traces of the hippocampus, one row a slot; weight 0 where the slot is empty
    ended()             [s]        the context of the most recently ended stretch, int64; -1 before any
    """

    scores: Callable[[Tensor, Tensor | None], Tensor]
    features: Callable[[Tensor], Tensor]
    loss: Callable[[Batch], Tensor]
    recall: Callable[[Tensor], Any]
    revisit: Callable[[int], Iterator[Batch]]
    neocortex: Any = None
    answer: Callable[[Tensor], Any] | None = None
    latest: Callable[[], Batch] | None = None
    stored: Callable[[], Batch] | None = None
    ended: Callable[[], np.ndarray] | None = None

    def after(self, lived: Batch) -> View:
        """This view while the experience `lived` is the most recent one."""
        now = object.__new__(View)
        vars(now).update(vars(self), latest=lambda: lived)
        return now


def _was_renamed(old: str, new: str) -> ConfigError:
    return ConfigError(old, f"was renamed in {renamed.VERSION}", f"write {new}")


def refusing(name: str) -> Callable[[Init], Init]:
    """A decorator of a constructor: it refuses the settings of version 0.1 of the class with this name."""
    old_names, removed = renamed.SETTINGS.get(name, {}), renamed.REMOVED.get(name, {})

    def decorated(init: Init) -> Init:
        @functools.wraps(init)
        def made(self: Any, *parts: Any, **settings: Any) -> None:
            for old in settings.keys() & old_names.keys():
                raise _was_renamed(old, old_names[old])
            for old in settings.keys() & removed.keys():
                raise ConfigError(old, f"was removed in {renamed.VERSION}", removed[old])
            init(self, *parts, **settings)

        return cast("Init", made) if old_names or removed else init

    return decorated


def old_names_refused(cls: Old) -> Old:
    """A decorator of a class that is no part: it refuses settings and attributes by their names of version 0.1."""

    def lost(_: object, name: str) -> Any:
        raise AttributeError(renamed.lost(cls.__name__, name))

    made: Any = cls
    made.__init__, made.__getattr__ = refusing(cls.__name__)(made.__init__), lost
    return cls
