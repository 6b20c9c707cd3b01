"""A disk that loses what was not synced: it records what a program does to it, and gives what may be left of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cls_sim.storage import trace

Keep = Callable[[], bool]


class Node:
    """A file (bytes) or a folder (names → nodes): as it is, and as it is on the disk."""

    def __init__(self, content: Any):
        self.now, self.safe = content, content.copy() if isinstance(content, dict) else content


class Disk:
    """What happens below a folder, call by call, and the states in which a power failure may leave it.

    The model is the one that POSIX promises and no more: the content of a file is safe once the file was synced, a name
    once its folder was; and of all that was not, any part may be lost.
    """

    def __init__(self, root: Path):
        self.root = root.resolve()
        self.before = _copied(self.root)
        self.log: list[tuple[str, tuple[Any, ...]]] = []

    # -- recording --------------------------------------------------------------------------------------

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Record from now on."""
        real = {name: getattr(os, name) for name in ("open", "write", "fsync", "close", "ftruncate")}
        opened: dict[int, str] = {}
        note = self.log.append

        def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            file = real["open"](path, flags, *args, **kwargs)
            opened[file] = str(path)
            if flags & os.O_CREAT:
                note(("create", (str(path), bool(flags & os.O_TRUNC))))
            return file

        def write(file: int, data: Any) -> int:
            done = real["write"](file, data)
            if file in opened:
                note(("append", (opened[file], bytes(data)[:done])))
            return done

        def fsync(file: int) -> None:
            real["fsync"](file)
            note(("sync", (os.path.realpath(f"/proc/self/fd/{file}"),)))

        def close(file: int) -> None:
            opened.pop(file, None)
            real["close"](file)

        patch.setattr(os, "open", open_)
        patch.setattr(os, "write", write)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "close", close)
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "remove"):
            patch.setattr(os, name, self._noted(name, getattr(os, name)))

        class File(trace.FileIO):
            def write(self, data: Any) -> int:
                done = super().write(data)
                note(("append", (str(self.name), bytes(data)[:done])))
                return done

            def truncate(self, size: int | None = None) -> int:
                note(("truncate", (str(self.name), size)))
                return super().truncate(size)

        patch.setattr(trace, "FileIO", File)

    def _noted(self, name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("dir_fd") is not None:  # as shutil.rmtree does it
                args = (os.path.join(os.path.realpath(f"/proc/self/fd/{kwargs['dir_fd']}"), args[0]), *args[1:])
                kwargs = {}
            found = real(*args, **kwargs)
            self.log.append((name, tuple(str(arg) for arg in args if isinstance(arg, (str, Path)))))
            return found

        return call

    # -- what may be left -------------------------------------------------------------------------------

    def after(self, calls: int, keep: Keep, where: Path) -> Path:
        """The folder as it may be if the power fails after so many calls; `keep` says of each loose end if it stays."""
        root = _tree(self.before)
        for name, args in self.log[:calls]:
            self._redo(root, name, args)
        where.mkdir()
        _laid_down(root, keep, where)
        return where

    def _redo(self, root: Node, name: str, args: tuple[Any, ...]) -> None:
        path = os.path.abspath(args[0])
        if not path.startswith(f"{self.root}{os.sep}"):
            return
        parts = path[len(str(self.root)) + 1 :].split(os.sep)
        above, last = _at(root, parts[:-1]), parts[-1]
        if above is None:
            return
        if name == "create":
            node = above.now.setdefault(last, Node(b""))
            node.now = b"" if args[1] else node.now
        elif name == "append":
            above.now[last].now += args[1]
        elif name == "truncate":
            above.now[last].now = above.now[last].now[: args[1]]
        elif name == "mkdir":
            above.now[last] = Node({})
        elif name in ("unlink", "rmdir", "remove"):
            above.now.pop(last, None)
        elif name == "sync":
            node = above.now[last]
            node.safe = dict(node.now) if isinstance(node.now, dict) else node.now
        else:
            parts = os.path.abspath(args[1])[len(str(self.root)) + 1 :].split(os.sep)
            there = _at(root, parts[:-1])
            assert there is not None
            there.now[parts[-1]] = above.now.pop(last)


def _copied(folder: Path) -> dict[str, Any]:
    return {p.name: _copied(p) if p.is_dir() else p.read_bytes() for p in folder.iterdir()}


def _tree(content: Any) -> Node:
    return Node({name: _tree(one) for name, one in content.items()} if isinstance(content, dict) else content)


def _at(node: Node, parts: list[str]) -> Node | None:
    for part in parts:
        if part not in node.now:
            return None
        node = node.now[part]
    return node


def _laid_down(node: Node, keep: Keep, where: Path) -> None:
    """Write down a folder; every name and content that is not safe is there or not."""
    names = dict(node.safe)
    for name in {*node.now, *node.safe}:
        if node.now.get(name) is not node.safe.get(name) and keep():
            names.pop(name, None)
            if name in node.now:
                names[name] = node.now[name]
    for name, one in names.items():
        if isinstance(one.now, dict):
            (where / name).mkdir()
            _laid_down(one, keep, where / name)
        else:
            (where / name).write_bytes(one.now if one.now == one.safe or keep() else one.safe)
