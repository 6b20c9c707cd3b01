"""Files on the disk: complete or absent, durable when a call returns, never read or written through a link.

All files of a run directory are read and written here.  The directory may come from a stranger: `plain_below` refuses
links, pipes and devices anywhere in it, and no function here follows a link that is the last name of a path, or waits
for a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim.core.errors import ConfigError, StorageError

LARGEST = 2**28  # bytes of a JSON file
ANY = 2**62  # no limit of the size but the memory of this machine
ROOM = "make room or choose another folder, then resume"


class NotPlain(Exception):
    """The path is not a regular file of the expected size."""


def plain_below(root: Path) -> None:
    """Raise ConfigError for a link, a pipe or a device anywhere below a folder: others would be read or written.

    Links inside a folder `wandb` may lead to other places in `root`, because W&B makes such links.
    """
    home, rest = os.path.realpath(root), [str(root)]
    while rest:
        try:
            with os.scandir(rest.pop()) as found:
                entries = list(found)
        except OSError as error:
            raise unreadable(Path(error.filename or root), error) from None
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                rest.append(entry.path)
            elif entry.is_symlink():
                inside = os.path.realpath(entry.path).startswith(f"{home}{os.sep}")
                if not inside or "wandb" not in Path(os.path.relpath(entry.path, root)).parts:
                    raise ConfigError(entry.path, "is a link", "replace it by the file that it points to")
            elif not entry.is_file(follow_symlinks=False):
                raise ConfigError(entry.path, "is not a regular file", "remove this pipe or device")


def content(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes; NotPlain if it is a link or something else."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        file = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EMLINK, errno.ENXIO):
            raise NotPlain(f"{path.name} is missing or a link") from None
        raise
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise NotPlain(f"{path.name} is not a regular file")
        if found.st_size > most:
            raise NotPlain(f"{path.name} is larger than it should be")
        if found.st_size > _memory():
            raise MemoryError
        with open(file, "rb", closefd=False) as stream:
            return stream.read(found.st_size + 1)
    except MemoryError:
        raise StorageError(str(path), "does not fit into memory", "resume on a larger machine") from None
    finally:
        os.close(file)


def text(path: Path, most: int = LARGEST) -> str:
    """The UTF-8 text of a regular file; OSError or ValueError if it cannot be read as that."""
    try:
        return content(path, most).decode()
    except NotPlain as reason:
        raise ValueError(str(reason)) from None


def appended(path: Path, data: bytes) -> None:
    """Add bytes to the end of a regular file, which is made if it does not exist; OSError if it is something else."""
    with opened(path) as file:
        file.write(data)


def opened(path: Path) -> FileIO:
    """A regular file, open at its end for reading and appending, unbuffered; it is made if it does not exist."""
    return FileIO(path, "ab+", opener=unlinked)


def unlinked(path: str, flags: int) -> int:
    """Open a regular file, never through a link, without waiting for a pipe."""
    file = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return file


def _memory() -> float:
    """The memory of this machine in bytes; infinite if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def written(path: Path, *parts: bytes | memoryview) -> None:
    """Write a new file; its content is on the disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def synced(folder: Path) -> None:
    """Sync a folder, so that the names in it are durable."""
    if os.name == "nt":  # folders cannot be synced there
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write(path: Path, content: Any, *, lasts: bool = False) -> None:
    """Write strict JSON as `put` does."""
    put(path, (json.dumps(_plain(content), indent=1, allow_nan=False) + "\n").encode(), lasts=lasts)


def put(path: Path, data: bytes, *, lasts: bool = True, shared: bool = False) -> None:
    """Write a file under a temporary name, sync it, and rename it: a reader sees the old or the new file, whole.

    lasts   whether a power failure may not bring the old file back (its absence, if it is new) after this returns
    shared  whether other processes may write it at the same time (for most files, the lock of the run forbids that)
    """
    aside = path.with_name(f".{path.name}.{os.getpid() if shared else 'new'}")
    try:
        aside.unlink(missing_ok=True)
        written(aside, data)  # never through a link
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise broken(path, error) from None
    renamed(aside, path, lasts=lasts)


def made(folder: Path, *, below: Path | None = None) -> Path:
    """A folder; it and its parents are created if they do not exist.

    below  a folder above it; ConfigError if a name from there on is a link
    """
    way = folder.relative_to(below).parts if below else ()
    for i in range(len(way)):
        if (here := Path(below or "", *way[: i + 1])).is_symlink():
            raise ConfigError(str(here), "is a link", "replace it by the folder that it points to")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def renamed(aside: Path, path: Path, *, lasts: bool = True) -> None:
    """Rename a file and, if the new name must last, sync its folder."""
    with writing(path):
        os.replace(aside, path)
        if lasts:
            synced(path.parent)


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a regular file of limited size; raises ConfigError if the file is damaged."""
    try:
        found = json.loads(content(path, LARGEST))
    except OSError as error:
        raise unreadable(path, error) from None
    except NotPlain as reason:
        remedy = "restore it from a copy, or leave its folder out"
        raise ConfigError(str(path), f"is damaged ({reason})", remedy) from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(str(path), "is damaged", "restore it from a copy, or start a new run")
    return found


def _plain(value: Any) -> Any:
    """The value as plain JSON; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise StorageError if this file or folder cannot be written inside."""
    try:
        yield
    except OSError as error:
        raise broken(path, error) from error


def broken(path: Path, error: OSError) -> StorageError:
    """The error of a file or folder that cannot be written."""
    return StorageError(str(path), f"cannot be written ({error.strerror or error})", ROOM)


def unreadable(path: Path, error: OSError) -> StorageError:
    """The error of a file or folder that cannot be read."""
    return StorageError(str(path), f"cannot be read ({error.strerror or error})", "check the disk")
