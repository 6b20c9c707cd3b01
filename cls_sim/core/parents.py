"""Child processes end with their parent, also if it is killed (SIGKILL) and can tell them nothing.

On Linux the kernel ends the child (`prctl(PR_SET_PDEATHSIG)`); on other systems the child looks twice a second.  A run
that ends like this goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

PARENT = "CLS_SIM_PARENT"  # environment variable: the process that a child ends with
PDEATHSIG = 1
LOOK = 0.5  # seconds


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process that calls `bind`, and so ends with this process."""
    return {**base, PARENT: str(os.getpid())}


def bind(parent: int | None = None) -> None:
    """End this process as soon as its parent has ended.

    parent  the process that started this one; by default the one named by `environment`, and without it nothing is done
    """
    named = os.environ.pop(PARENT, "")  # not for the children of this process
    mine = int(named) if parent is None and named.isdecimal() else parent
    if mine is None or not hasattr(os, "getppid"):
        return
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != mine:  # it ended before this call
        os._exit(1)
    threading.Thread(target=_watch, args=(mine,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def bound(parent: int, module: str, function: str, *args: Any) -> None:
    """The main function of a child of `multiprocessing`: bind it, and only then import what it calls."""
    bind(parent)
    getattr(importlib.import_module(module), function)(*args)
