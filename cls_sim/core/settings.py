"""Settings of a part, each declared once: its type, its default, and the values that it can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, NamedTuple, dataclass_transform

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
    check: Callable[[str, str, Any], Any]  # (type, key, value) → the value, or ConfigError
    kind: Any = Parameter.KEYWORD_ONLY


def setting(default: Any, *limits: Any, check: Callable[..., Any] | None = None, **more: Any) -> Any:
    """A setting with this default; its type chooses one of CHECKS, which gets the limits: see `core.errors`.

    check  another function (key, value, *limits) that returns the value; without, other types are not checked

    If the default is None, None is allowed.
    """

    def checked(type_: str, key: str, value: Any) -> Any:
        known = check or CHECKS.get(type_.removesuffix(" | None"))
        free = known is None or (known is choice and not limits) or (value is None and default is None)
        return value if known is None or free else known(key, value, *limits, **more)

    return Setting(default, checked)


def part(kind: Any, remedy: str = "", *, default_factory: Callable[[], Any] | None = None, kw_only: bool = True) -> Any:
    """A setting that is a part of this kind; None stands for what `default_factory` makes.

    kw_only  if False, the part can be given without its name: the part inside a wrap
    """

    def checked(_: str, key: str, value: Any) -> Any:
        return of_kind(key, default_factory() if value is None and default_factory else value, kind, remedy)

    default = Parameter.empty if default_factory is None else None
    return Setting(default, checked, Parameter.KEYWORD_ONLY if kw_only else Parameter.POSITIONAL_OR_KEYWORD)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(part,))
class Settings:
    """A part with declared settings; this class comes first among the bases.

    The constructor takes the settings, checks them in the order of their declaration and keeps them as attributes.

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
        cls._declared = {**cls._declared, **own}
        if own:
            cls.__init__ = _constructor(cls)
        super().__init_subclass__(**others)

    def _ready(self) -> None:
        """Check settings together, and derive attributes from them: called when all are known."""


def _constructor(cls: type[Settings]) -> Callable[..., None]:
    """A constructor for the settings that a class and its bases declare."""
    declared = cls._declared  # pyright: ignore[reportPrivateUsage]
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        types |= vars(base).get("__annotations__", {})
    types = {name: t if isinstance(t, str) else getattr(t, "__name__", str(t)) for name, t in types.items()}
    mine = Parameter("self", Parameter.POSITIONAL_ONLY)
    settings = [Parameter(name, s.kind, default=s.default, annotation=types[name]) for name, s in declared.items()]
    signature = Signature([mine, *settings])

    def made(self: Settings, *parts: Any, **given: Any) -> None:
        bound = signature.bind(self, *parts, **given)
        bound.apply_defaults()
        for name, one in declared.items():
            setattr(self, name, one.check(types[name], name, bound.arguments[name]))
        self._ready()  # pyright: ignore[reportPrivateUsage]

    made.__name__, made.__qualname__, made.__doc__ = "__init__", f"{cls.__qualname__}.__init__", None
    made.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return made
