"""What every part of a subject is: settings in, behaviour out, its state a tree of tensors."""

from __future__ import annotations

import functools
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core import renamed
from cls_sim.core.arrays import Counts, Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.trees import State, agree, collected, copied, restored

__all__ = ["Part", "Spec", "State", "View", "agree", "fill_contexts", "held_out", "known_contexts", "per_subject"]


@dataclass(frozen=True)
class Spec:
    """The sizes of a cohort, told once to every part by `setup`.

    The world adds what it sends (from `inputs` to `quantum`), the cortex what it is made of (`features`,
    `weights`), the rhythm the length of its day.
    """

    seeds: tuple[int, ...] = (0,)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    inputs: tuple[int, ...] = ()  # shape of one input
    outputs: int = 0  # units that answer
    regression: bool = False  # targets are numbers, not labels
    batch: int = 1  # rows of one experience
    contexts: int = 1
    context_sizes: Counts | None = None  # rows of data there are to learn from in the stretch of each context, [s, k]
    items: int | None = None  # what the numbers of rows (`Batch.item`) stay below; None: the world has no end of them
    ends: tuple[int, ...] = ()  # experiences at which contexts end, if the subject is told; else empty
    visits: tuple[int, ...] = ()  # the context of each of the stretches that end there; empty: 0, 1, 2, …
    task_id_known: bool = False  # the context is told at learning and at exams (task-incremental)
    heads: Tensor | None = None  # bool [s, k, o]: the outputs of each context's head, when it is told
    quantum: float | None = None  # inputs are whole multiples q·0 … q·255 of this step; None: any number
    input_weights: Callable[[Clock], Tensor] | None = None  # [s, x]: what each input that is there counts, at a time
    per_day: int = 1  # experiences a day
    due: Callable[[Counts], Counts] | None = None  # replay steps owed to experiences [s], where they are counted
    features: int = 0  # width of the cortex' last hidden layer
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # the cortex', [s, …]
    routed: bool = False  # the cortex answers by the context (gates, masks, columns)
    stages: tuple[int, int] | None = None  # replay steps of NREM and of REM in a cycle, where nights have stages
    held_out: float = 0.0  # the part of the hippocampus' slots that is kept from replay, to validate on
    averages: tuple[str, ...] = ()  # names of the averaged copies that the cortex keeps of them
    recall_answers: bool = True  # what the hippocampus recalls comes with an answer
    dreams: tuple[str, ...] = ()  # the kinds of part that can dream: neocortex, hippocampus
    cohort: tuple[int, int] | None = None  # of a larger cohort: the place of the first here, and how many there are

    @property
    def subjects(self) -> int:
        return len(self.seeds)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in renamed.FIELDS["Spec"]:
                new = renamed.FIELDS["Spec"][name]
                raise AttributeError(f"Spec.{name} was renamed in {renamed.VERSION}; write Spec.{new}")
            raise AttributeError(f"Spec has no attribute {name!r}")


def stretches(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """The context of each stretch, and how many different contexts have been met by then: int64 [ends + 1] both.

    The last is the stretch after the last end, if the world goes on.

    >>> [numbers.tolist() for numbers in stretches(Spec(contexts=2, ends=(5, 10, 15), visits=(1, 1, 0)))]
    [[1, 1, 0, 0], [1, 1, 2, 2]]
    """
    context = [*spec.visits, *spec.visits[-1:]] or [i % spec.contexts for i in range(len(spec.ends) + 1)]
    met = [len({*context[: i + 1]}) for i in range(len(context))]
    return np.array(context, np.int64), np.array(met, np.int64)


def stretch(spec: Spec, clock: Clock) -> np.ndarray:
    """The number of the stretch that each subject is in, from 0: int64 [s]."""
    return ended(spec, clock) + 1


def ended(spec: Spec, clock: Clock) -> np.ndarray:
    """The number of the stretch that ended last for each subject: int64 [s], -1 before any."""
    return np.searchsorted(np.asarray(spec.ends, np.int64), clock.experience, side="right") - 1


def known_contexts(spec: Spec, batch: Batch) -> Tensor | None:
    """The contexts [s, b] of a batch by which the cortex learns it: where they are told, or where it answers by them
    and is told their ends (so that it can count them)."""
    return batch.context if spec.task_id_known or (spec.routed and spec.ends) else None


def fill_contexts(spec: Spec, batch: Batch) -> Batch:
    """A batch whose rows of unknown context are, where contexts are told, of the first whose head has their label."""
    if not spec.task_id_known or spec.heads is None:
        return batch
    context = spec.heads.int().argmax(1).gather(1, batch.y)
    return batch.with_(context=torch.where(batch.context < 0, context, batch.context))


def held_out(slots: Tensor, share: float) -> Tensor:
    """Which slots are kept from replay, to validate on: bool, a `share` of them evenly spread.

    >>> held_out(torch.arange(10), 0.2).nonzero().ravel().tolist()
    [4, 9]
    """
    return ((slots + 1).double() * share + 1e-9).floor() > (slots.double() * share + 1e-9).floor()


class _Whole(metaclass=ABCMeta):  # noqa: B024
    """What can only be made when it has all the methods that its kind of part must have."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if missing := sorted(cls.__abstractmethods__):
            raise ConfigError(cls.__name__, f"has no method {', '.join(missing)}", "make a class that defines them")
        return super().__new__(cls)


class Part(_Whole):
    """A part takes keyword-only numbers, is sized by `setup`, and keeps its state in tensor attributes.

    Every attribute that is a tensor, an array, a part, or a dict or list of these is state, saved and restored
    by name, except those named in `derived`, which `setup` can make again (data, draws, tables).
    """

    derived: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **others: Any) -> None:
        """Refuse the methods and settings of version 0.1 by their new names (see docs/glossary.md)."""
        super().__init_subclass__(**others)
        for base in cls.__mro__[1:]:
            for old, new in renamed.METHODS.get(base.__name__, {}).items():
                if old in vars(cls):
                    raise _was_renamed(f"{cls.__name__}.{old}", new)
        old_names = renamed.SETTINGS.get(cls.__name__, {}) if cls.__module__.startswith("cls_sim.") else {}
        if old_names and "__init__" in vars(cls):
            cls.__init__ = _without(old_names, cls.__init__)

    def __init__(self) -> None:
        """A part without settings."""

    def setup(self, spec: Spec) -> Spec:
        """Take your sizes; return the spec, richer if others need to know yours."""
        return spec

    def setup_inside(self, name: str, spec: Spec) -> Spec:
        """Begin the part that this attribute holds; what it refuses is told under its name."""
        try:
            return getattr(self, name).setup(spec)
        except ConfigError as refused:
            raise refused.under(name) from None

    def attach(self, spec: Spec, clock: Clock) -> None:
        """Come into a life, at birth or (a wrap) in the middle: its sizes, and its clock, to be read and never set."""
        for _, part in self.parts():
            part.attach(spec, clock)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        """The context of the subjects in `who` (bool [s]) has just ended; nothing of the others may change.

        Called only in worlds that tell subjects where contexts end.  `view.ended()` gives the contexts' numbers,
        `view.revisit` the data of these subjects' contexts.
        """

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The parts inside this one, by attribute name."""
        for name, value in vars(self).items():
            if isinstance(value, Part):
                yield name, value

    def state(self) -> State:
        """The state as a tree: dicts of tensors (leaf or detached), arrays and further trees."""
        return {
            k: v
            for k, v in ((k, collected(v)) for k, v in vars(self).items() if k not in self.derived)
            if v is not None
        }

    def load(self, tree: State) -> None:
        """Take over a state made by `state`: of the same names, types and sizes, whoever wrote it."""
        agree(type(self).__name__, self.state(), tree)
        for name, value in tree.items():
            setattr(self, name, restored(getattr(self, name), value))

    def __deepcopy__(self, memo: dict[int, Any]) -> Part:
        """A twin: state copied, derived tables shared (they are never written)."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        for name, value in vars(self).items():
            setattr(twin, name, value if name in self.derived else copied(value, memo, Spec))
        return twin

    def __repr__(self) -> str:
        settings: dict[str, object] = {
            k: v for k, v in vars(self).items() if isinstance(v, (int, float, str, tuple, Part)) and k[0] != "_"
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def per_subject(key: str, value: float | list[float], spec: Spec) -> Numbers:
    """A number, or one for each subject of the cohort, as float64 [s]: those of the subjects here.

    >>> per_subject("tau_days", 3.0, Spec(seeds=(0, 1))).tolist()
    [3.0, 3.0]
    >>> per_subject("tau_days", [1.0, 2.0, 3.0], Spec(seeds=(8, 9), cohort=(1, 3))).tolist()
    [2.0, 3.0]
    """
    numbers = np.asarray(value, np.float64)
    first, cohort = spec.cohort or (0, spec.subjects)
    if numbers.ndim and numbers.shape != (cohort,):
        raise ConfigError(key, f"has {numbers.size} numbers for {cohort} subjects", "give one, or one a subject")
    return np.broadcast_to(numbers, (cohort,))[first : first + spec.subjects].copy()


@dataclass(frozen=True)
class View:
    """What parts may see of one another, read-only; life introduces them.

    scores(x, context)  [s, b, o]  what the cortex answers now
    features(x)         [s, b, f]  its last hidden layer
    loss(batch)         [s, b]     how wrong it is on each row
    recall(x)                      what the hippocampus recalls (see hippocampus.Recall)
    revisit(size)                  the data of the context that has just ended, in batches, each subject's own, weight 0
                                   for subjects whose context has not ended; every pass is counted
    neocortex                      the cortex itself, for gradients; consolidation alone may write to it
    answer(x)                      what the subject would answer now (see readout.Answer)
    latest()            [s, b, …]  what was lived last
    stored()            [s, n, …]  all that the hippocampus holds, slot by slot, weight 0 where it is empty
    ended()             [s]        the number of the context whose stretch ended last, int64; -1 before any
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


def _was_renamed(old: str, new: str) -> ConfigError:
    return ConfigError(old, f"was renamed in {renamed.VERSION}", f"write {new}")


def _without(old_names: Mapping[str, str], init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that refuses settings by their old names."""

    @functools.wraps(init)
    def made(self: Any, *parts: Any, **settings: Any) -> None:
        for old in settings.keys() & old_names.keys():
            raise _was_renamed(old, old_names[old])
        init(self, *parts, **settings)

    return made
