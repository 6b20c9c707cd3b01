"""Trees of state: dicts of tensors, arrays and further trees, by name.

Parts are recognised by their methods `state()` and `load(tree)` and by `derived`; other values by their type.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, cast

import numpy as np

from cls_sim.core.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from typing_extensions import TypeIs

    from cls_sim.core.arrays import Flags

State = dict[str, Any]
Node: TypeAlias = "Tensor | NDArray[Any] | Stateful | dict[Any, Node] | list[Node] | tuple[Node, ...]"


class Stateful(Protocol):
    """What this module needs of a part (core.part imports this module)."""

    derived: ClassVar[frozenset[str]]

    def state(self) -> State: ...
    def load(self, tree: State) -> None: ...


def leaves(tree: Mapping[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The leaves of a tree with their paths, in the order of the tree; an empty branch is a leaf.

    >>> list(leaves({"a": {"b": 1, "c": {}}}))
    [(('a', 'b'), 1), (('a', 'c'), {})]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(cast(Mapping[Any, Any], value), (*above, key))
        else:
            yield (*above, key), value


def fingerprint(tree: Mapping[Any, Any]) -> str:
    """The sha256 of a whole state tree."""
    digest = hashlib.sha256()
    for path, leaf in sorted(leaves(tree), key=lambda pair: pair[0]):
        if not isinstance(leaf, Mapping):
            array = np.ascontiguousarray(leaf.cpu().numpy() if _is_tensor(leaf) else leaf)
            digest.update(f".{'.'.join(path)} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def agree(key: str, mine: Node, saved: Node) -> None:
    """Raise ConfigError if the names, types or sizes of a saved state differ from those of `mine`."""
    if isinstance(mine, Mapping) and isinstance(saved, Mapping):
        if odd := sorted(set(mine) ^ set(saved)):
            raise ConfigError(key, f"state differs in {', '.join(odd)}", "use a checkpoint of the same parts")
        for name, value in mine.items():
            agree(f"{key}.{name}", value, saved[name])
        return
    if _kind(mine) != _kind(saved):
        raise ConfigError(key, f"state is {_kind(saved)}, not {_kind(mine)}", "use a checkpoint of the same parts")


def _kind(value: Any) -> str:
    """A description of a branch or leaf: a tree, or its class, dtype and shape."""
    if isinstance(value, Mapping):
        return "a tree"
    return f"{type(value).__name__} {value.dtype} {list(value.shape)}"


def _is_part(value: object) -> TypeIs[Stateful]:
    """Whether this is a part.  core.part imports this module, so its attributes decide; a clock has no `derived`."""
    return all(hasattr(type(value), name) for name in ("derived", "state", "load"))


def is_state(part: Stateful, name: str) -> bool:
    """Whether an attribute can hold state: a private one, or one in `derived`, is made again by `setup`."""
    return not (name.startswith("_") or name in part.derived)


def goes_along(name: str, value: object) -> bool:
    """Whether a private attribute is copied with its part: another part, or an object that says how it is copied."""
    kind: type[object] = type(value)
    table = issubclass(kind, np.ndarray) or hasattr(kind, "requires_grad")
    return name.startswith("_") and not table and (_is_part(value) or "__deepcopy__" in kind.__dict__)


def _is_tensor(value: object) -> TypeIs[Tensor]:
    """Whether this is a tensor, without importing torch."""
    return hasattr(type(value), "requires_grad")


def _children(value: Node | float | str | None) -> dict[Any, Node] | None:
    """The values in a dict, list or tuple, by key or index; None for anything else."""
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else None


def collected(value: Node | float | str | None) -> Node | None:
    """The state of an attribute: a leaf (tensors detached), or a tree of leaves; None where there is no state."""
    if _is_tensor(value):
        return value.detach()
    if isinstance(value, np.ndarray):
        return value
    if _is_part(value):
        return value.state() or None
    found = {str(k): collected(v) for k, v in (_children(value) or {}).items()}
    return {k: v for k, v in found.items() if v is not None} or None


def restored(mine: Node, saved: Any) -> Node:
    """An attribute with the leaves of a state made by `collected`; dicts and lists are new objects."""
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


def mixed(who: Flags, new: State, old: State) -> State:
    """The new state for the subjects in `who` (bool [s]), the old state for the others; every leaf is [s, …].

    >>> mixed(np.array([True, False]), {"a": {"b": np.ones(2)}}, {"a": {"b": np.zeros(2)}})
    {'a': {'b': array([1., 0.])}}
    """
    from cls_sim.core.draws import updated

    found: State = {}
    for name, value in new.items():
        if isinstance(value, dict):
            found[name] = mixed(who, cast(State, value), old[name])
        elif _is_tensor(value):
            found[name] = updated(who, value, old[name])
        else:
            found[name] = np.where(who.reshape(-1, *[1] * (value.ndim - 1)), value, old[name])
    return found


def copied(value: Node, memo: dict[int, Any], shared: type) -> Any:
    """A deep copy of an attribute; objects of the class `shared` are shared."""
    if _is_tensor(value):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {k: copied(v, memo, shared) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(copied(v, memo, shared) for v in value)
    return value if isinstance(value, shared) else copy.deepcopy(value, memo)


def held(node: Node | float | str | None, without: type) -> Iterator[Tensor | NDArray[Any]]:
    """The tensors and arrays in a part, dict or list, except below objects of the class `without`.

    Attributes of parts that hold no state are left out.
    """
    if isinstance(node, without):
        return
    if _is_part(node):
        node = {name: value for name, value in vars(node).items() if is_state(node, name)}
    if _is_tensor(node) or isinstance(node, np.ndarray):
        yield node
    elif isinstance(node, (Mapping, list, tuple)):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from held(value, without)
