"""A device that is not there: the memory of the host under another name, which counts what is read and written.

A tensor that a life makes with `device=spec.device` is here a `Remote`: its data are in the memory of the host, and its
device is called meta.  As on a GPU, an operation with tensors of both places is refused, and numbers reach the host by
a read only.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import cls_sim

aten: Any = torch.ops.aten
NAME = "meta"  # torch knows this device without any hardware; no tensor of a life is really there
READS = {  # the host must wait for the result of these, or for its shape
    *(aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.bincount),
    *(aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.linalg_eigvals),
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
PACKAGE = cls_sim.__file__.removesuffix("__init__.py")
ONCE = "core/contract.py"  # checks the first result of each method


class Remote(Tensor):
    """A tensor on the device: `held` is its data."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Remote:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, held.size(), held.stride(), held.storage_offset(), dtype=held.dtype, device=NAME
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Remote({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} of a tensor on the device, outside of the device")

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore


class Device:
    """Within this context `device=device.name` is a device like a GPU; its reads and writes are counted by place."""

    name = NAME

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self._operations = _Operations(self)
        self._literals: dict[str, Callable[..., Tensor]] = {}

    def clear(self) -> None:
        self.reads.clear()
        self.writes.clear()

    def __enter__(self) -> Device:
        self._literals = {name: getattr(torch, name) for name in ("tensor", "as_tensor", "asarray")}
        for name, make in self._literals.items():
            setattr(torch, name, _literal(make))
        self._operations.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._operations.__exit__(*error)
        for name, make in self._literals.items():
            setattr(torch, name, make)


def _literal(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor` or its like: with a device, torch would make the tensor without asking `_Operations`."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        found = make(*args, **kwargs)
        return found if device is None else found.to(device)

    return made


def _held(value: Any, seen: list[Tensor]) -> Any:
    """An argument of an operation, or a list of them, with tensors on the device replaced by their data; what was seen."""
    if isinstance(value, Tensor):
        seen.append(value)
        return value.held if isinstance(value, Remote) else value
    if type(value) in (list, tuple):
        return type(value)(_held(one, seen) for one in value)
    return value


def _there(value: Any, known: dict[int, Tensor]) -> Any:
    """A result of an operation, or several of them, on the device."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else Remote(value)
    return type(value)(_there(one, known) for one in value) if type(value) in (list, tuple) else value


class _Operations(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # nothing is compiled here, and to say so at every call takes time
        return False

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors: list[Tensor] = []
        held = [_held(one, tensors) for one in args]
        named = {key: _held(one, tensors) for key, one in kwargs.items()}
        remote = [t for t in tensors if isinstance(t, Remote)]
        target = kwargs.get("device")
        to_host = target is not None and torch.device(target).type != NAME
        if not remote and (target is None or to_host):
            return func(*args, **kwargs)
        here = [t for t in tensors if not isinstance(t, Remote)]
        self._count(func, func.overloadpacket, args, here, target is not None, to_host)
        made = func(*held, **named) if target is None else func(*held, **{**named, "device": "cpu"})
        if to_host:
            return made
        mine = {id(t.held): t for t in remote}  # what an operation in place returns is the same tensor
        mine |= {id(t): t for t in here}
        return _there(made, mine)

    def _count(self, func: Any, packet: Any, args: Any, here: list[Tensor], moves: bool, to_host: bool) -> None:
        reads = writes = 0
        if packet is aten.copy_ and here:
            reads, writes = (0, 1) if isinstance(args[0], Remote) else (1, 0)
        elif packet in INDEXING:
            at = [t for t in args[1] if t is not None]
            reads = any(t.dtype in (torch.bool, torch.uint8) for t in at)
            writes = sum(not isinstance(t, Remote) and t.dim() > 0 for t in at)
        elif packet in READS or to_host:
            reads = 1
        elif moves:
            writes = len(here)
        elif any(t.dim() for t in here):
            shapes = ", ".join(f"{list(t.shape)}" for t in here)
            raise RuntimeError(f"expected all tensors to be on the same device: {func}, {shapes} on the host")
        if (reads or writes) and not (place := _place()).startswith(ONCE):
            self.device.reads[place] += int(reads)
            self.device.writes[place] += writes


def _place() -> str:
    """The line of the package that asks for the present operation."""
    frame: Any = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return "elsewhere" if frame is None else f"{frame.f_code.co_filename[len(PACKAGE) :]}:{frame.f_lineno}"
