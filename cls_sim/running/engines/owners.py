"""Whose job it is: a node that is cut off may still be alive when its jobs are given to another."""

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

WATCH = 1.0  # seconds between two looks at who lives a job
OVER = "over"  # in place of an owner


@contextmanager
def sole(job: str, folder: Path, **about: Any) -> Iterator[None]:
    """Live a job as the only one: whoever comes last is its owner, and a process that has lost a job to another dies.

    A node that is cut off may still be alive when its jobs are given to another; two must not write to one trace.  The
    book jobs/NAME.where.jsonl has a line for everyone who came: who, where, and from which tick on.
    """
    book, me = folder / "jobs" / f"{job}.where.jsonl", secrets.token_hex(8)
    saved = checkpoint.found(folder / "checkpoints" / job)
    others = book.is_file() and owner(book) != OVER
    line = {"id": me, "host": socket.gethostname(), "process": os.getpid(), **about}
    line["tick"] = int(saved[0].name.split("-")[1]) if saved else 0
    _note(book, line)
    if others:
        time.sleep(3 * WATCH)  # until the one before has seen it
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
        with book.open("a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise StorageError(str(book), f"cannot be written ({error.strerror})", "make room, then resume") from None


def owner(book: Path) -> str | None:
    """Who came last to a job (None if the book cannot be read just now)."""
    try:
        return json.loads(book.read_text().splitlines()[-1])["id"]
    except (OSError, ValueError, IndexError, KeyError):
        return None
