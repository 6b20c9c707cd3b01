"""An audit hook that notes what hostile input must never make the program do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "webbrowser.open", "ctypes.dlopen", "ctypes.dlsym", "pickle.find_class", "code.__new__"),
    *("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request", "ftplib.connect"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.putenv", "os.unsetenv", "os.kill", "os.chdir", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
    *("sys.settrace", "sys.setprofile", "sqlite3.connect", "tempfile.mkstemp", "tempfile.mkdtemp", "mmap.__new__"),
)
LAZY = {"hydra_plugins", "difflib", "mmap", "zipfile", "readline"}  # what the program itself may import late

OURS = (b"HYDRA_FULL_ERROR", b"CLS_SIM_ALLOW")  # what the console door itself sets

noted: list[str] | None = None
known: set[str] = set()
spared: tuple[str, ...] = ()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if noted is None:
        return
    if event in FORBIDDEN:
        if (event == "os.putenv" and args[0] in OURS) or (event == "os.truncate" and isinstance(args[0], int)):
            return  # what is truncated by number was opened before, and noted then
        if not (spared and args and isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(spared)):
            noted.append(f"{event}{args!r}"[:300])
    elif event == "open":
        path, mode, flags = args
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        writes = writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        if writes and not (spared and str(path).startswith(spared)):
            noted.append(f"open{args!r}")
    elif event == "import":
        top = str(args[0]).partition(".")[0]
        if top not in known and top not in LAZY:
            noted.append(f"import {args[0]}")


sys.addaudithook(_hook)


@contextmanager
def watched(*may_write: Path) -> Iterator[list[str]]:
    """A list of all that was done inside this context and should not have been.

    Import whatever the program needs before: modules of packages that are not there yet count.
    """
    global noted, known, spared
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    known = {name.partition(".")[0] for name in list(sys.modules)}
    spared = tuple(str(path) for path in may_write)
    noted = found = []
    try:
        yield found
    finally:
        noted = None
        sys.dont_write_bytecode = bytecode
