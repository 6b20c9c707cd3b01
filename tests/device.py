"""A device that is not there: the memory of the host under another name, which counts what is read and written.

A tensor that a life makes with `device=spec.device` is here a `Remote`: its data are in the memory of the host, and its
device is called meta.  As on a GPU, an operation with tensors of both places is refused, and numbers reach the host by
a read only.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

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
        self._modes = (_Literals(), _Operations(self))

    def clear(self) -> None:
        self.reads.clear()
        self.writes.clear()

    def __enter__(self) -> Device:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Literals(TorchFunctionMode):
    """`torch.tensor` and its like with a device: torch would make them without asking the other mode."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        target = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and target is not None:
            return func(*args, **{**kwargs, "device": None}).to(target)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        remote = [t for t in tensors if isinstance(t, Remote)]
        target = kwargs.get("device")
        to_host = target is not None and torch.device(target).type != NAME
        if not remote and (target is None or to_host):
            return func(*args, **kwargs)
        packet = func.overloadpacket
        self._count(func, packet, args, [t for t in tensors if not isinstance(t, Remote)], target is not None, to_host)
        if target is not None:
            kwargs = {**kwargs, "device": "cpu"}
        args, kwargs = tree_map(lambda t: t.held if isinstance(t, Remote) else t, (args, kwargs))
        made = func(*args, **kwargs)
        if to_host:
            return made
        mine = {id(t.held): t for t in remote}  # what an operation in place returns is the same tensor
        mine |= {id(t): t for t in tensors if not isinstance(t, Remote)}
        return tree_map(lambda t: (mine[id(t)] if id(t) in mine else Remote(t)) if isinstance(t, Tensor) else t, made)

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
