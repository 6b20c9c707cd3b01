"""Large tensors of checkpoints: a file with all of their blocks, and one more for those that changed, each time.

    folder/tensors/<sha256>   number of blocks (8 bytes), their indices (8 bytes each), their bytes

A file is named by the hash of its content, complete before it has its name, and never changed.  The manifest of a
checkpoint lists the files of each large tensor, oldest first.  When the changes are as large as the tensor, all blocks
are written again.  Files that no kept checkpoint lists are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cls_sim.core.errors import StorageError
from cls_sim.storage.disk import content, synced, written

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

LARGE = 2**22  # bytes from which a tensor is stored in files of its own
BLOCK, ROW = 2**10, 2**14  # bytes of a block: whole rows of the tensor, or one row, if a row is not larger than ROW
CHAIN = 100  # files of a tensor, at most
FOLDERS = 16  # folders whose last checkpoint is remembered
FOLDER = "tensors"
NAME = re.compile(r"[0-9a-f]{64}")
KINDS = ("uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "bool")

Entry = dict[str, Any]  # of a tensor in the manifest: kind, shape, block (bytes) and files, [sha256, size] each


class Damaged(Exception):
    """The checkpoint differs from what was written."""


def damaged_if(wrong: object, reason: str) -> None:
    """Raise Damaged for this reason, if something is wrong."""
    if wrong:
        raise Damaged(reason)


@dataclass(frozen=True)
class Known:
    """A tensor as the last checkpoint of a folder has it: its entry, and the hashes of its blocks, [blocks, 2]."""

    entry: Entry
    hashes: NDArray[np.int64]


_known: dict[str, dict[str, Known]] = {}  # folder → name → tensor, the folder used last at the end


def is_large(tensor: Tensor) -> bool:
    """Whether a tensor is stored in files of its own."""
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    return tensor.layout == torch.strided and tensor.dim() > 0 and tensor.nbytes >= LARGE and kind in KINDS


class Plan:
    """What a checkpoint in this folder will write for its large tensors: all is hashed now, and written by `write`."""

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor]):
        self._folder, self._files, self._now = folder, list[tuple[str, list[memoryview]]](), dict[str, Known]()
        before = _known.get(os.path.abspath(folder), {})
        for name, tensor in tensors.items():
            self._now[name] = self._of(tensor, before.get(name))
        self.entries = {name: known.entry for name, known in self._now.items()}

    def _of(self, tensor: Tensor, old: Known | None) -> Known:
        data, size = _bytes(tensor), _block(tensor)
        hashes = _hashes(data, size)
        entry: Entry = {"kind": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape), "block": size}
        files: list[list[Any]] = []
        some = np.arange(len(hashes))
        if old is not None and old.entry | {"files": 0} == entry | {"files": 0} and self._there(old.entry["files"]):
            changed = np.flatnonzero((hashes != old.hashes).any(1))
            more = sum(bytes_ for _, bytes_ in old.entry["files"][1:]) + len(changed) * size
            if more < len(data) and len(old.entry["files"]) < CHAIN:
                files, some = list(old.entry["files"]), changed
        if len(some) or not files:
            files.append(self._file(data, size, some, len(hashes)))
        return Known(entry | {"files": files}, hashes)

    def _file(self, data: memoryview, size: int, some: NDArray[np.int64], blocks: int) -> list[Any]:
        head = np.concatenate(([len(some)], some)).astype("<i8")
        parts = [memoryview(head.tobytes())]
        parts += [data] if len(some) == blocks else [data[i * size : (i + 1) * size] for i in some.tolist()]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        self._files.append((digest.hexdigest(), parts))
        return [digest.hexdigest(), sum(map(len, parts))]

    def _there(self, files: Iterable[Any]) -> bool:
        """Whether the files of the last checkpoint are still there."""
        with contextlib.suppress(OSError):
            return all(os.lstat(self._folder / FOLDER / name).st_size == size for name, size in files)
        return False

    def write(self) -> None:
        """Write the files; raises OSError."""
        if not self._files:
            return
        home = self._folder / FOLDER
        if home.is_symlink():
            raise StorageError(str(home), "is a link", "replace it by the folder that it points to")
        home.mkdir(exist_ok=True)
        for name, parts in self._files:
            aside = home / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
            try:
                written(aside, *parts)
                os.replace(aside, home / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(aside)
                raise
        synced(home)

    def done(self) -> None:
        """The checkpoint is on the disk: the next one writes what has changed since."""
        _remember(self._folder, self._now)


def read(folder: Path, entries: Mapping[str, Entry]) -> dict[str, Tensor]:
    """The large tensors of a checkpoint, every byte verified; Damaged or NotPlain if one is not what it was."""
    import torch

    damaged_if(entries and (folder / FOLDER).is_symlink(), f"{FOLDER} is a link")
    found: dict[str, Tensor] = {}
    now: dict[str, Known] = {}
    for name, entry in entries.items():
        damaged_if(entry["kind"] not in KINDS, f"{name} is of an unknown kind")
        kind: torch.dtype = getattr(torch, entry["kind"])
        total = int(np.prod(entry["shape"], dtype=object)) * kind.itemsize
        data = _joined(folder / FOLDER, entry, total)
        try:
            found[name] = torch.frombuffer(data, dtype=kind).view(entry["shape"])
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise Damaged(f"{name} cannot be read ({error})") from None
        now[name] = Known(entry, _hashes(memoryview(data), entry["block"]))
    if now:
        _remember(folder, now)
    return found


def check(entries: Any) -> None:
    """Check the types of entries from a manifest (KeyError, TypeError or ValueError if they are wrong)."""
    for entry in entries.values():
        sizes = [entry["block"], *entry["shape"], *(size for _, size in entry["files"])]
        names = [entry["kind"], *(name for name, _ in entry["files"])]
        if {*map(type, sizes)} != {int} or {*map(type, names)} != {str} or min(sizes) < 1:
            raise TypeError
        if not all(map(NAME.fullmatch, names[1:])) or not names[1:]:
            raise ValueError


def tidy(folder: Path, listed: Iterable[Entry]) -> None:
    """Remove the files that no entry lists, and what a dead save has left; a failure is a warning."""
    home, kept = folder / FOLDER, {name for entry in listed for name, _ in entry["files"]}
    if home.is_symlink() or not home.is_dir():
        return
    try:
        for name in os.listdir(home):
            if name not in kept and (NAME.fullmatch(name) or name.startswith(".tmp-")):
                os.unlink(home / name)
        if not kept and not os.listdir(home):
            os.rmdir(home)
    except OSError as error:
        warnings.warn(f"{home} cannot be tidied ({error.strerror or error})", stacklevel=3)


def _remember(folder: Path, now: dict[str, Known]) -> None:
    place = os.path.abspath(folder)
    _known.pop(place, None)
    if now:
        _known[place] = now
    while len(_known) > FOLDERS:
        del _known[next(iter(_known))]


def _joined(home: Path, entry: Entry, total: int) -> bytearray:
    """The bytes of a tensor from its files."""
    size, data = entry["block"], bytearray()
    blocks = -(-total // size)
    for turn, (name, length) in enumerate(entry["files"]):
        most = 8 * (1 + blocks) + total
        damaged_if(length > most or (not turn and length != most), f"{FOLDER}/{name} has a size that cannot be")
        part = content(home / name, length)
        damaged_if(len(part) != length or hashlib.sha256(part).hexdigest() != name, f"{FOLDER}/{name} fails its hash")
        count = int.from_bytes(part[:8], "little")
        reason = f"{FOLDER}/{name} holds other blocks than it should"
        damaged_if(len(part) < 8 * (1 + count) or (not turn and count != blocks), reason)
        some = np.frombuffer(part, "<i8", count, 8)
        damaged_if(not _ascending(some, blocks), reason)
        rest = memoryview(part)[8 * (1 + len(some)) :]
        last = total - (blocks - 1) * size  # bytes of the last block
        short = size - last if len(some) and some[-1] == blocks - 1 else 0
        damaged_if(len(rest) != len(some) * size - short, reason)
        if not turn:
            data = bytearray(rest)
            continue
        for place, block in enumerate(some.tolist()):
            data[block * size : (block + 1) * size] = rest[place * size : (place + 1) * size]
    return data


def _ascending(some: NDArray[np.int64], blocks: int) -> bool:
    return not len(some) or bool(some[0] >= 0 and some[-1] < blocks and (np.diff(some) > 0).all())


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data.cast("B")


def _block(tensor: Tensor) -> int:
    """Bytes of a block: whole rows along the last axis, so that a row that is replaced changes one block."""
    row = tensor.shape[-1] * tensor.element_size()
    return row * max(1, BLOCK // row) if row <= ROW else BLOCK


def _hashes(data: memoryview, size: int) -> NDArray[np.int64]:
    found = b"".join([hashlib.blake2b(data[i : i + size], digest_size=16).digest() for i in range(0, len(data), size)])
    return np.frombuffer(found, np.int64).reshape(-1, 2)
