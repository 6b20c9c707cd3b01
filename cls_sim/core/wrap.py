"""The base class of wraps: parts around another part of the same kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from cls_sim.core.clock import Clock, Span
from cls_sim.core.contract import of_kind
from cls_sim.core.part import Part, Spec
from cls_sim.core.settings import Settings, setting


class Wrap(Part):
    """A part around another part of the same kind, from birth or from the middle of a life.

    inside  the name of the attribute that holds the inner part
    null    settings with which the wrap equals the inner part bit for bit; None: this wrap always changes something

    A wrap forwards to the inner part every public method and attribute of the base class that it does not define, and
    every other attribute of the inner part, but not the `shortcuts` of the base class.  A subclass names its kind
    second: `class Mine(Wrap, Replay)`.

    >>> class Kind(Part):
    ...     def double(self, x):
    ...         return 2 * x
    >>> class Other(Kind):
    ...     def double(self, x):
    ...         return x + x + 1
    >>> class Round(Wrap, Kind):
    ...     inside, null = "part", {}
    >>> Round(Other()).double(3)
    7
    """

    inside: ClassVar[str]
    null: ClassVar[Mapping[str, Any] | None]
    clock: Clock | None = None
    _begun: bool = False

    if TYPE_CHECKING:  # abstract methods that `__init_subclass__` forwards, which a static tool cannot see
        answer = asleep = draw = due = encode = evaluation = features = fetch = loss = cast(Any, None)
        next = rate = read = recall = revisit = step = stored_bytes = traces = update = write = cast(Any, None)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = _public(Part).union(*(_public(base) for base in cls.__mro__ if issubclass(base, Wrap)))
        for base in cls.__mro__:
            if issubclass(base, Part) and not issubclass(base, Wrap):
                for name in _public(base) - own - base.shortcuts:
                    setattr(cls, name, _forwarded(name, vars(base).get(name)))
                own |= _public(base)

    def __init__(self, part: Any):
        kinds = [base for base in type(self).__mro__ if issubclass(base, Part) and not issubclass(base, Wrap)]
        setattr(self, self.inside, of_kind(self.inside, part, kinds[-2]))  # the last is Part

    def setup(self, spec: Spec) -> Spec:
        spec = self.setup_inside(self.inside, spec)
        self._begun = False
        self._come_in(spec)
        return spec

    def attach(self, spec: Spec, clock: Clock) -> None:
        super().attach(spec, clock)
        self.clock = clock
        self._come_in(spec)

    def _come_in(self, spec: Spec) -> None:
        self._settle(spec)
        if not self._begun:
            self._fresh(spec)
            self._begun = True

    def _settle(self, spec: Spec) -> None:
        """Receive the sizes and make derived tables: at birth, and in every life that the wrap joins."""

    def _fresh(self, spec: Spec) -> None:
        """Make the initial state: once, at birth or when the wrap is put around a part in mid-life."""

    def context_end(self, *args: Any, **kwargs: Any) -> None:
        for _, part in self.parts():
            part.context_end(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self.inside not in vars(self):
            raise AttributeError(name)
        return getattr(vars(self)[self.inside], name)


class Temporary(Settings):
    """An intervention that lasts until an age; this class comes first among the bases.

    until  age in days, from 0, at which it is over (see Span); None: it lasts for good
    """

    until: float | None = setting(None, 0.0)

    def _ready(self) -> None:
        self.span = Span(self.until)
        super()._ready()


def _public(kind: type) -> set[str]:
    """The public names that a class defines or declares, without its bases."""
    return {name for name in (*vars(kind), *vars(kind).get("__annotations__", ())) if not name.startswith("_")}


def _forwarded(name: str, defined: Any) -> Any:
    """A method or property that forwards to the inner part."""
    if not inspect.isfunction(defined):
        return property(lambda self: getattr(getattr(self, self.inside), name))

    @functools.wraps(defined, updated=())
    def method(self: Wrap, *args: Any, **kwargs: Any) -> Any:
        return getattr(getattr(self, self.inside), name)(*args, **kwargs)

    return method
