"""Probes: the base class of measurements, and the moments at which they are made."""

from __future__ import annotations

import copy
import functools
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, ClassVar, Protocol, Self, Unpack, cast

import torch
from torch import Tensor

from cls_sim.consolidation.base import Consolidation
from cls_sim.core import renamed
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, choice, refuse_if
from cls_sim.core.ledger import Ledger
from cls_sim.core.part import Init, Part, Spec, View
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.plasticity.base import Plasticity
from cls_sim.probes.changes import Changes
from cls_sim.readout.base import Readout
from cls_sim.replay.base import Replay
from cls_sim.world.base import World

MOMENTS = ("life.begin", "day.end", "night.end", "context.end", "life.end")
EVERY = re.compile("every ([1-9][0-9]{0,8})")  # `every 50`: after every 50th experience


class Measured(Protocol):
    """The attributes of a life that a probe may read.  A probe must not change them."""

    @property
    def spec(self) -> Spec: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def view(self) -> View: ...
    @property
    def world(self) -> World: ...
    @property
    def plasticity(self) -> Plasticity: ...
    @property
    def neocortex(self) -> Neocortex: ...
    @property
    def hippocampus(self) -> Hippocampus: ...
    @property
    def replay(self) -> Replay: ...
    @property
    def consolidation(self) -> Consolidation: ...
    @property
    def readout(self) -> Readout: ...
    def known_contexts(self, batch: Batch) -> Tensor | None:
        """The contexts of a batch; None if the task identity is unknown."""
        ...

    def twin(self, **changes: Unpack[Changes]) -> Twin:
        """A copy of the life with the same past, which a probe may simulate further."""
        ...


class Twin(Measured, Protocol):
    """A copy of a measured life, with a different future."""

    @property
    def over(self) -> bool: ...
    def step(self) -> object: ...


def _known(moments: str | Iterable[str]) -> tuple[str, ...]:
    named = (moments,) if isinstance(moments, str) else tuple(moments)
    refuse_if(not named, "at", "has no moment", f"give some of {', '.join(MOMENTS)}")
    for one in named:
        if not EVERY.fullmatch(str(one)) and choice("at", one, (*MOMENTS, "every N")) == "every N":
            raise ConfigError("at", "'every N' has no number", "write every 50 for every 50th experience")
    return named


def _attached(init: Init) -> Init:
    """A constructor that refuses the setting `at` of version 0.1."""

    @functools.wraps(init)
    def made(self: Probe, *parts: Any, **settings: Any) -> None:
        if "at" in settings:
            name = type(self).__name__
            raise ConfigError("at", f"is no setting of {name} since {renamed.VERSION}", f"write {name}(…).at(…)")
        init(self, *parts, **settings)

    return cast("Init", made)


class Probe(Part):
    """Measures a life without changing it, at the moments that it is attached to.

    A class names its moments as `moments`; `at` attaches a probe to others: life.begin, day.end, night.end,
    context.end, life.end, or `every N`, after every Nth experience of a subject.  In a notebook, a plain function
    life → [s] is a probe, too (see `at`).

    >>> from cls_sim import Accuracy
    >>> Accuracy().moments
    ('context.end', 'life.end')
    >>> Accuracy().at("day.end", "life.end").moments
    ('day.end', 'life.end')
    """

    moments: tuple[str, ...] = ("context.end", "life.end")

    def __init_subclass__(cls, **settings: Any):
        super().__init_subclass__(**settings)
        cls.moments = _known(cls.moments)
        if cls.__module__.startswith("cls_sim.") and "__init__" in vars(cls):
            cls.__init__ = _attached(cls.__init__)

    __init__ = _attached(Part.__init__)

    def setup(self, spec: Spec) -> Spec:
        self.setup_parts(spec)
        return spec

    def at(self, *moments: str) -> Self:
        """A copy of this probe that is attached to these moments.  Raises ConfigError for a name that is no moment."""
        probe = copy.copy(self)
        probe.moments = _known(moments)
        return probe

    @abstractmethod
    def measure(self, life: Measured) -> Tensor:
        """One number per subject [s], or several [s, k]; NaN if undefined.

        For a probe measured at context ends, the k are contexts, and forgetting and transfer are derived from them.
        Otherwise they are a profile over an axis that the probe names, such as age or correlation.
        """


class NumericProbe(Probe):
    """A probe for regression; it refuses a world with labels by a reason and a remedy."""

    refusal: ClassVar[tuple[str, str]] = "is a squared error", "measure accuracy"

    def setup(self, spec: Spec) -> Spec:
        refuse_if(not spec.regression, "", f"{self.refusal[0]}, and this world has labels", self.refusal[1])
        return spec


class Function(Probe):
    """A plain function life → [s] as a probe."""

    moments = ("night.end", "life.end")

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def measure(self, life: Measured) -> Tensor:
        return self.function(life)


def intervals(probes: Iterable[Any]) -> tuple[int, ...]:
    """The numbers N of the moments `every N` to which probes are attached, in order.

    >>> intervals([Function(len).at("every 50", "day.end")])
    (50,)
    """
    return _numbers(tuple(getattr(probe, "moments", ()) for probe in probes))


@lru_cache(64)  # a life asks at every tick
def _numbers(moments: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    named = {moment for some in moments for moment in some}
    return tuple(sorted(int(found[1]) for found in map(EVERY.fullmatch, named) if found))


def at(probe: Probe | Callable[[Any], Any], *moments: str) -> Probe:
    """Attach a probe, or a plain function life → [s], to these moments.

    Without moments a probe keeps the moments of its class; those of a function are night.end and life.end.

    >>> at(lambda life: life.clock.day, "day.end").moments
    ('day.end',)
    """
    if not isinstance(probe, Probe):
        if isinstance(probe, type) or not callable(probe):
            remedy = "give one, such as Accuracy(), or a function life -> [s]"
            raise ConfigError("probe", f"{probe!r} is not a probe", remedy)
        probe = Function(probe)
    return probe.at(*moments) if moments else probe


def undefined(life: Measured, *shape: int) -> Tensor:
    """NaN for each subject: float64 [s, …]."""
    return torch.full((life.spec.subjects, *shape), torch.nan, dtype=torch.float64, device=life.spec.device)


# -- what only some lives have ------------------------------------------------------------------------------------


def inside(part: Part, *names: str) -> Any:
    """This part, or the first part inside it, at any depth, that has all these attributes; None if there is none."""
    found = [part]
    while found:
        part = found.pop()
        if all(hasattr(part, name) for name in names):
            return part
        found += [inner for _, inner in part.parts()]
    return None


def of_part(part: Part, asks: str, remedy: str, *names: str) -> Any:
    """What `inside` finds; raises ConfigError if there is no such part."""
    found = inside(part, *names)
    refuse_if(found is None, "", asks, remedy)
    return found


def of_world(life: Measured, name: str, asks: str, remedy: str) -> Any:
    """An attribute that only some worlds have; raises ConfigError if this world does not have it."""
    refuse_if(not hasattr(life.world, name), "", f"{asks}, and this world has none", remedy)
    return getattr(life.world, name)


def labelled(spec: Spec, key: str, reason: str, remedy: str) -> Spec:
    """The spec of a world with labels; raises ConfigError for a regression world."""
    refuse_if(spec.regression, key, f"{reason}, and this world has none", remedy)
    return spec
