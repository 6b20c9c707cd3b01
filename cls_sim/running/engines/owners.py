"""Ownership of jobs: a disconnected node may still run jobs that were given to another node."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cls_sim.core.errors import StorageError
from cls_sim.storage import checkpoint
from cls_sim.storage.disk import appended, text

WATCH = 1.0  # seconds between two checks of the owner of a job
OVER = "over"  # entry of a finished job, in place of an owner


@contextmanager
def sole(job: str, folder: Path, **about: Any) -> Iterator[None]:
    """Run a job as its only owner: the latest process is the owner, and a process that is no longer the owner exits.

    A disconnected node may still run when its jobs are given to another node, and two processes must not write to one
    trace.  The file jobs/NAME.where.jsonl has a line for each process: its id, its host, and its first tick.
    """
    book, me = folder / "jobs" / f"{job}.where.jsonl", secrets.token_hex(8)
    saved = checkpoint.found(folder / "checkpoints" / job)
    others = book.is_file() and owner(book) != OVER
    line = {"id": me, "host": socket.gethostname(), "process": os.getpid(), **about}
    line["tick"] = checkpoint.tick_of(saved[0]) if saved else 0
    _note(book, line)
    if others:
        time.sleep(3 * WATCH)  # until the previous owner has noticed and exited
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH):
            if owner(book) not in (me, None):
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        _note(book, {"id": OVER})


def _note(book: Path, line: Mapping[str, Any]) -> None:
    try:
        appended(book, f"{json.dumps(line)}\n".encode())
    except OSError as error:
        raise StorageError(str(book), f"cannot be written ({error.strerror})", "make room, then resume") from None


def owner(book: Path) -> str | None:
    """The id of the present owner of a job; None if the file cannot be read at the moment."""
    try:
        return json.loads(text(book).splitlines()[-1])["id"]
    except (OSError, ValueError, IndexError, KeyError):
        return None
