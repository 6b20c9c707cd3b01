"""The settings of streams: name, type and default of each, declared once for all worlds that are streams."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Annotated, Any, TypedDict, Unpack, get_args, get_origin, get_type_hints


class Timed(TypedDict, total=False):
    """The settings of every stream (see Stream), as `Annotated[type, default]`."""

    order: Annotated[str, "sharp"]
    per_context: Annotated[int, 100]
    batch: Annotated[int, 32]
    boundaries_known: Annotated[bool, True]
    fuzziness: Annotated[float, 0.2]
    cycles: Annotated[int, 2]


class HeldOut(Timed, total=False):
    """The same for streams that can hold out a share of the data."""

    validation: Annotated[float, 0.0]
    test: Annotated[float | None, None]
    eval_split: Annotated[str, "test"]


class Labelled(HeldOut, total=False):
    """The same for data with class labels."""

    scenario: Annotated[str, "class"]
    shuffle_classes: Annotated[bool, False]
    label_noise: Annotated[float, 0.0]
    views: Annotated[str, "plain"]


class StreamSettings(Labelled, total=False):
    """All settings of a stream."""

    contexts: Annotated[int, 5]


def defaults(kind: Any) -> dict[str, Any]:
    """The default of every setting of one of these TypedDicts.

    >>> defaults(HeldOut)["eval_split"]
    'test'
    """
    return {name: hint.__metadata__[0] for name, hint in _hints(kind).items() if get_origin(hint) is Annotated}


def signature_of(init: Callable[..., Any], changed: Mapping[str, Any]) -> Signature:
    """The signature of a constructor with `**settings: Unpack[…]` expanded and the defaults in `changed` replaced.

    >>> def init(self, *, colours: int = 3, **settings: Unpack[Timed]): ...
    >>> list(signature_of(init, {}).parameters)[:3]
    ['colours', 'order', 'per_context']
    """
    _, *own = inspect.signature(init).parameters.values()
    found: list[Parameter] = []
    for parameter in own:
        typed = parameter.kind is Parameter.VAR_KEYWORD and parameter.annotation is not Parameter.empty
        hint = _hints(init)[parameter.name] if typed else None
        if get_origin(hint) is not Unpack:
            found.append(parameter)
            continue
        (kind,) = get_args(hint)
        hints, values = get_type_hints(kind), defaults(kind) | dict(changed)
        found += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=values[name], annotation=hints[name]) for name in hints
        ]
    return Signature(found)


def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)
