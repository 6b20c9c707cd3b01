"""Trees of state: dicts of tensors, arrays and further trees, by name.

A part has `state()`, `load(tree)` and `derived`; everything else is walked by what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from cls_sim.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, Any]


def leaves(tree: Mapping[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The leaves of a tree with their paths, in its order; an empty branch is a leaf.

    >>> list(leaves({"a": {"b": 1, "c": {}}}))
    [(('a', 'b'), 1), (('a', 'c'), {})]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def agree(key: str, mine: Any, saved: Any) -> None:
    """Refuse a saved state that is not of the names, types and sizes of mine."""
    if isinstance(mine, Mapping) and isinstance(saved, Mapping):
        if odd := sorted(set(mine) ^ set(saved)):
            raise ConfigError(key, f"state differs in {', '.join(odd)}", "use a checkpoint of the same parts")
        for name, value in mine.items():
            agree(f"{key}.{name}", value, saved[name])
        return
    if _kind(mine) != _kind(saved):
        raise ConfigError(key, f"state is {_kind(saved)}, not {_kind(mine)}", "use a checkpoint of the same parts")


def _kind(value: Any) -> str:
    """What a branch or leaf of a state is: a tree, or its class, type and size."""
    if isinstance(value, Mapping):
        return "a tree"
    return f"{type(value).__name__} {value.dtype} {list(value.shape)}"


def _is_part(value: Any) -> bool:
    """Whether this is a part (core.part, which imports this module); a clock has a state too, and is none."""
    return all(hasattr(type(value), name) for name in ("derived", "state", "load"))


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Whether this is a tensor; asked so that nothing is imported where there is none."""
    return hasattr(type(value), "requires_grad")


def _children(value: Any) -> Mapping[Any, Any] | None:
    """What a dict, list or tuple holds, by key or place; None for anything else."""
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None


def collected(value: Any) -> Any:
    """The state of an attribute: a leaf (tensors detached), or a tree of leaves; None where there is no state."""
    if _is_tensor(value):
        return value.detach()
    if isinstance(value, np.ndarray):
        return value
    if _is_part(value):
        return value.state() or None
    found = {str(k): collected(v) for k, v in (_children(value) or {}).items()}
    return {k: v for k, v in found.items() if v is not None} or None


def restored(mine: Any, saved: Any) -> Any:
    """An attribute with the leaves of a state that `collected` made; dicts and lists are made anew."""
    if _is_part(mine):
        mine.load(saved)
        return mine
    if isinstance(mine, (dict, list, tuple)):
        found = {k: restored(v, saved[str(k)]) if str(k) in saved else v for k, v in (_children(mine) or {}).items()}
        return found if isinstance(mine, dict) else type(mine)(found.values())
    if isinstance(mine, np.ndarray):
        return np.array(saved.cpu() if _is_tensor(saved) else saved).astype(mine.dtype)
    import torch

    value = torch.as_tensor(saved).to(device=mine.device, dtype=mine.dtype, copy=True)
    return value.requires_grad_(mine.requires_grad)


def copied(value: Any, memo: dict[int, Any], shared: type) -> Any:
    """A deep copy of an attribute; objects of the class `shared` are shared."""
    if _is_tensor(value):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {k: copied(v, memo, shared) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(copied(v, memo, shared) for v in value)
    return value if isinstance(value, shared) else copy.deepcopy(value, memo)


def held(node: Any, without: type) -> Iterator[Tensor | np.ndarray]:
    """The tensors and arrays that a part, dict or list holds itself, but those below objects of the class `without`.

    What a part can make again (its `derived` attributes) is left out.
    """
    if isinstance(node, without):
        return
    if _is_part(node):
        node = {name: value for name, value in vars(node).items() if name not in node.derived}
    if _is_tensor(node) or isinstance(node, np.ndarray):
        yield node
    elif isinstance(node, (Mapping, list, tuple)):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from held(value, without)
