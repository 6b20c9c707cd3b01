"""A part around another of its kind: everything that it does not change is that of the part inside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from cls_sim.core.clock import Clock
from cls_sim.core.contract import of_kind
from cls_sim.core.part import Part, Spec


class Wrap(Part):
    """A part around another of its kind, from birth or from the middle of a life on.

    inside  the name of the attribute that holds the part inside
    null    settings with which the wrap is the part inside, bit for bit; None: this wrap always changes something

    Every public method and attribute of the base class that a wrap does not define itself is forwarded to the part
    inside; so is whatever else that part has.  A subclass names its kind second: `class Mine(Wrap, Replay)`.

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

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = _public(Part).union(*(_public(base) for base in cls.__mro__ if issubclass(base, Wrap)))
        for base in cls.__mro__:
            if issubclass(base, Part) and not issubclass(base, Wrap):
                for name in _public(base) - own:
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
        """Take the sizes of a life, and make what is derived from them: at birth, and in every life it comes into."""

    def _fresh(self, spec: Spec) -> None:
        """Make the first state: once, at birth or when the wrap is put around a part in mid-life."""

    def context_end(self, *args: Any, **kwargs: Any) -> None:
        for _, part in self.parts():
            part.context_end(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self.inside not in vars(self):
            raise AttributeError(name)
        return getattr(vars(self)[self.inside], name)


def _public(kind: type) -> set[str]:
    """The public names that a class itself defines or declares."""
    return {name for name in (*vars(kind), *vars(kind).get("__annotations__", ())) if not name.startswith("_")}


def _forwarded(name: str, defined: Any) -> Any:
    """What a wrap has in place of a method or attribute of its base class: that of the part inside."""
    if not inspect.isfunction(defined):
        return property(lambda self: getattr(getattr(self, self.inside), name))

    @functools.wraps(defined, updated=())
    def method(self: Wrap, *args: Any, **kwargs: Any) -> Any:
        return getattr(getattr(self, self.inside), name)(*args, **kwargs)

    return method
