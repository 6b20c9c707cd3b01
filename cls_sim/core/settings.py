"""Settings of a part, each declared once: its type, its default, and the values that it can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, Literal, NamedTuple, dataclass_transform

from cls_sim.core.contract import of_kind
from cls_sim.core.errors import choice, flag, real, reals, whole

CHECKS: Mapping[str, Callable[..., Any]] = {  # type of a setting, without `| None` → what checks it
    "int": whole,
    "float": real,
    "float | list[float]": reals,
    "bool": flag,
    "str": choice,
}


class Setting(NamedTuple):
    """A declared setting."""

    default: Any
    check: Callable[[Any, str, str, Any], Any]  # (part so far, type, key, value) → the value, or ConfigError
    kind: Any = Parameter.KEYWORD_ONLY  # None: it cannot be given (see `fixed`)


def setting(default: Any, *limits: Any, check: Callable[..., Any] | None = None, **more: Any) -> Any:
    """A setting with this default; its type chooses one of CHECKS, which gets the limits: see `core.errors`.

    check  another function (key, value, *limits) that returns the value; without, other types are not checked

    If the default is None, None is allowed; so is it if the type says so and there is no `check`.  Without `check`, a
    limit may be a function of the part, which has the settings that are declared before this one.
    """

    def checked(part: Any, type_: str, key: str, value: Any) -> Any:
        known = check or CHECKS.get(type_.removesuffix(" | None"))
        may_lack = default is None or (check is None and type_.endswith(" | None"))
        if known is None or (known is choice and not limits) or (value is None and may_lack):
            return value
        found = limits if check else [limit(part) if callable(limit) else limit for limit in limits]
        return known(key, value, *found, **more)

    return Setting(default, checked)


def part(kind: Any, remedy: str = "", *, default_factory: Callable[[], Any] | None = None, kw_only: bool = True) -> Any:
    """A setting that is a part of this kind; None stands for what `default_factory` makes.

    kw_only  if False, the part can be given without its name: the part inside a wrap
    """

    def checked(_: Any, __: str, key: str, value: Any) -> Any:
        return of_kind(key, default_factory() if value is None and default_factory else value, kind, remedy)

    default = Parameter.empty if default_factory is None else None
    return Setting(default, checked, Parameter.KEYWORD_ONLY if kw_only else Parameter.POSITIONAL_OR_KEYWORD)


def needed(check: Callable[..., Any] | None = None) -> Any:
    """A setting without a default, which `check` (key, value) may return in another form."""
    return setting(Parameter.empty, check=check)


def fixed(value: Any, *, init: Literal[False] = False) -> Any:
    """A setting of a base class that this class does not have, because the value is always this one."""

    def always(*_: Any) -> Any:
        return value

    return Setting(value, always, None)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(part, needed, fixed))
class Settings:
    """A part with declared settings; this class comes first among the bases.

    The constructor takes the settings, checks them in the order of their declaration (a part inside that may be given
    by place is the first) and keeps them as attributes.

    >>> from cls_sim.core.part import Part
    >>> class Leak(Settings, Part):
    ...     units: int = setting(10, 2)
    ...     rate: float | None = setting(None, 0.0, 1.0)
    >>> Leak(units=3), Leak(rate=0.5)
    (Leak(units=3), Leak(units=10, rate=0.5))
    >>> Leak(units=1)
    Traceback (most recent call last):
    cls_sim.core.errors.ConfigError: units: 1 is out of range; give a whole number from 2
    """

    _declared: ClassVar[Mapping[str, Setting]] = {}

    def __init_subclass__(cls, **others: Any) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}
        for name in own:  # an instance has the value, the class has nothing
            delattr(cls, name)
        before, found = cls._declared, dict[str, Setting]()
        for base in reversed(cls.__mro__):
            found |= vars(base).get("_declared", {})
        cls._declared = found | own
        if cls._declared != before:
            cls.__init__ = _constructor(cls)
        super().__init_subclass__(**others)

    def _refuse(self, name: str) -> None:
        """Called with the name of a setting that this class does not have, before the TypeError."""

    def _ready(self) -> None:
        """Check settings together, and derive attributes from them: called when all are known."""


def _constructor(cls: type[Settings]) -> Callable[..., None]:
    """A constructor for the settings that a class and its bases declare."""
    found = cls._declared.items()  # pyright: ignore[reportPrivateUsage]
    declared = dict(sorted(found, key=lambda pair: pair[1].kind or Parameter.KEYWORD_ONLY))
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        types |= vars(base).get("__annotations__", {})
    types = {name: t if isinstance(t, str) else getattr(t, "__name__", str(t)) for name, t in types.items()}
    mine = Parameter("self", Parameter.POSITIONAL_ONLY)
    open_ = {name: s for name, s in declared.items() if s.kind is not None}
    settings = [Parameter(name, s.kind, default=s.default, annotation=types[name]) for name, s in open_.items()]
    signature = Signature([mine, *settings])

    def made(self: Settings, *parts: Any, **given: Any) -> None:
        for name in given.keys() - open_.keys():
            self._refuse(name)  # pyright: ignore[reportPrivateUsage]
        bound = signature.bind(self, *parts, **given)
        bound.apply_defaults()
        for name, one in declared.items():
            setattr(self, name, one.check(self, types[name], name, bound.arguments.get(name)))
        self._ready()  # pyright: ignore[reportPrivateUsage]

    made.__name__, made.__qualname__, made.__doc__ = "__init__", f"{cls.__qualname__}.__init__", None
    made.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return made
