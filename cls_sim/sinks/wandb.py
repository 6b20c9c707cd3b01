"""Weights & Biases: rows go into a bounded queue, and a separate process sends them.

The life's process never imports wandb.  A thread passes the rows to `cls_sim.sinks.service`, a separate process without
a terminal, so that W&B cannot prompt.  The life continues if that process fails; rows that W&B did not receive are
counted in `<run>/wandb.json`.  Every row is first written to `<run>/wandb/<job>.jsonl`, so that all rows can be sent
later.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cls_sim.core.errors import StorageError
from cls_sim.sinks.base import Sink, print_above
from cls_sim.sinks.child import child, kill
from cls_sim.sinks.curves import curves
from cls_sim.storage.disk import ANY, appended, made, put, text

ROOM = 1000  # largest number of waiting rows
GATHER = 1.0  # seconds for which rows are collected before they are sent together
DEADLINE = 30.0  # seconds that `end` may take
HURRY = 3.0  # the same for an interrupted life
PASSED_ON = (
    *("API_KEY", "BASE_URL", "ENTITY", "PROJECT", "IDENTITY_TOKEN_FILE", "HTTP_TIMEOUT", "INSECURE_DISABLE_SSL"),
    *("RUN_GROUP", "TAGS", "NOTES"),
)
OF_ONE_RUN = ("RUN_ID", "NAME", "SWEEP_ID", "SWEEP_PARAM_PATH")
ID = r"[A-Za-z0-9_-]{1,64}"
OUT_OF_REACH: dict[Path, str] = {}  # run directories whose online runs became offline ones, and why
SAID: set[str] = set()

Row = Mapping[str, Any]
Place = tuple[int, int, str]


class Wandb(Sink):
    """The run of one job at W&B.

    mode      offline or online; online falls back to offline, with a message, without a login or a server
    folder    the run directory; nothing is written elsewhere
    job       the name of the job
    fresh     True: start a new run at W&B, even if this job has had one
    deadline  seconds that `end` may take; after them W&B is given up
    room      largest number of waiting rows; if there are more, the oldest are dropped and counted
    owns      whether this job is the run that the environment names (WANDB_RUN_ID, as an agent of a sweep sets it)

    `start` receives {"rows": the rows of the trace so far, "name", "group", "job_type", "tags", "notes", "config"};
    `end` receives {"outcome": "finished", "failed" or "interrupted", "summary", "tables", "images", "artifact"}.
    """

    def __init__(
        self,
        mode: str,
        folder: str | Path,
        *,
        job: str = "life",
        fresh: bool = False,
        deadline: float = DEADLINE,
        room: int = ROOM,
        owns: bool = False,
    ):
        self.mode, self.folder, self.job, self.deadline = mode, Path(folder).absolute(), job, deadline
        self.record: dict[str, Any] = {"id": secrets.token_hex(4), "state": "open", "rows": 0, "dropped": 0}
        self._owns, self._named = owns, os.environ.get("WANDB_RUN_ID", "") if owns else ""
        if re.fullmatch(ID, self._named):
            self.record["id"] = self._named
        self._file = self.folder / "wandb" / f"{job}.json"
        self._rows = self._file.with_suffix(".jsonl")
        self._again = f"cls-sim-dashboard {shlex.quote(str(self.folder))} --send"  # the command, for a shell
        self._fresh = fresh
        self._told = 0  # rows of the trace
        self._there = 0  # of them, those that W&B has
        self._had: set[Place] = set()  # what it had before
        self._reason: str | None = None  # why W&B is down
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(room)
        self._last = threading.Event()  # nothing more will come
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    # -- a sink ---------------------------------------------------------------------------------------------

    def start(self, info: Mapping[str, Any]) -> None:
        made(self.folder / "wandb", below=self.folder)
        if not installed():
            self._down("wandb is not installed")
            say("it is not installed, and nothing is logged; pip install wandb, or give wandb=off")
            return
        if self.folder in OUT_OF_REACH:
            self.mode = "offline"
        self._go_on()
        first = {**info, "start": self.record["id"], "mode": self.mode, "folder": str(self.folder)}
        first["record"] = str(self._file)
        rows = self._kept(first.pop("rows", ()))
        unsent = [row for row in rows if _place(row) not in self._had]
        self._told, self._there = len(rows), len(rows) - len(unsent)
        self.record |= {"mode": self.mode, "told": self._told}
        write(self._file, self.record)
        self._process = _service(self.folder / "wandb", self._owns)
        self._thread(self._hand_on, [first, *unsent])
        self._thread(self._listen)

    def moment(self, row: Row) -> None:
        told = {"n": self._told, **curves(row)}
        self._told += 1
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            appended(self._rows, f"{json.dumps(told)}\n".encode())
        if _place(told) in self._had:  # a resumed life makes again what W&B has
            self._there += 1
        elif self._reason is None:
            self._put(told)

    def end(self, summary: Mapping[str, Any]) -> None:
        outcome = summary.get("outcome", "finished")
        if self._process is not None:
            self._put({"end": dict(summary)})
            self._last.set()
            self._wait(time.monotonic() + (HURRY if outcome == "interrupted" else self.deadline))
        lost = self._told - self._there
        state = "down" if self._reason else outcome
        self.record |= {"state": state, "told": self._told, "lost": lost, "reason": self._reason}
        if self._reason:  # what arrived of this life is not sure: when it goes on, it is told again
            self.record["rows"] = len(self._had)
        write(self._file, self.record)
        collect(self.folder)
        if self._process is not None and (self._reason or lost):
            missing = f"{lost} of {self._told} rows are lost there" if lost else "it may lack the last rows"
            remedy = f"send all of it with {self._again}"
            say(f"{self.job}: {self._reason or 'W&B did not keep up'}: {missing}; {remedy}")

        if lacking := self.record.get("missing"):
            what = "; ".join(f"{name} ({reason})" for name, reason in lacking.items())
            say(f"{self.job}: W&B did not take {what}; they are in {self.folder}, and can be sent with {self._again}")

    # -- the queue and the process --------------------------------------------------------------------------

    def _put(self, message: dict[str, Any]) -> None:
        while True:
            try:
                self._queue.put_nowait(message)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()
                    self.record["dropped"] += 1
                say(f"{self.job}: W&B does not keep up; the oldest of {self._queue.maxsize} waiting rows are dropped")

    def _thread(self, target: Any, *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args, name=f"wandb {self.job}", daemon=True))
        self._threads[-1].start()

    def _hand_on(self, first: list[dict[str, Any]]) -> None:
        """The thread that writes to the process: first the existing rows, then new ones."""
        assert self._process is not None and self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                for messages in self._messages(first):
                    pipe.write(b"".join(json.dumps(message, default=str).encode() + b"\n" for message in messages))
                    pipe.flush()
        except (OSError, ValueError):
            self._down("the process that talks to W&B died")

    def _messages(self, first: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        yield first
        while True:
            messages = [self._queue.get()]
            self._last.wait(GATHER)
            with contextlib.suppress(queue.Empty):
                while "end" not in messages[-1]:
                    messages.append(self._queue.get_nowait())
            yield messages
            if "end" in messages[-1]:
                return

    def _listen(self) -> None:
        """The thread that reads the answers of the process."""
        assert self._process is not None and self._process.stdout is not None
        closed = False
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                closed |= bool(answer.pop("closed", False))
                self._there += "rows" in answer
                if "fell_back" in answer:
                    OUT_OF_REACH[self.folder] = why = answer["fell_back"]
                    files = f"{shlex.quote(str(self.folder))}/wandb/offline-run-*"
                    say(f"{why}; logged offline instead; to send it: wandb sync {files}")
                if "down" in answer:
                    self._down(answer.pop("down"))
                self.record |= answer
        if not closed:
            self._down("the process that talks to W&B died")

    def _wait(self, until: float) -> None:
        """Wait until the process is done, at most to the time `until`; then kill it and its children."""
        assert self._process is not None
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._down("W&B was not done in time")
            kill(self._process)
        for thread in self._threads:
            thread.join(1.0)
        if self._reason:
            kill(self._process)

    def _down(self, reason: str) -> None:
        self._reason = self._reason or reason

    # -- what is kept in the run directory ------------------------------------------------------------------

    def _go_on(self) -> None:
        """Continue the earlier W&B run of this job, if there is one.

        An online run continues after its rows; an offline run is written again from the first row, because it is sent
        as a whole.
        """
        if self._fresh:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            old = json.loads(text(self._file))
            mine = old["id"] == self._named or not self._named  # else the environment names another run
            if mine and re.fullmatch(ID, old["id"]) and not self._superseded(old["id"]):
                online = old["mode"] == self.mode == "online"
                self.record |= {"id": old["id"], "rows": int(old["rows"]) if online else 0}

    def _superseded(self, run: str) -> bool:
        """Whether an earlier offline run was sent already; if not, it is deleted, because it is written again."""
        for old in (self.folder / "wandb").glob(f"offline-run-*-{run}"):
            if any(old.glob("*.synced")):
                return True
            shutil.rmtree(old, ignore_errors=True)
        return False

    def _kept(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """The rows of the trace, with their costs from the row file; the row file is rewritten with these rows."""
        old: dict[Place, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            for told in map(json.loads, text(self._rows, ANY).splitlines()):
                old[_place(told)] = told
        self._had = {place for place in old if place[0] < self.record["rows"]}
        new = ({"n": n, **curves(row)} for n, row in enumerate(rows))
        found = [{**old.get(_place(row), {}), **row} for row in new]
        put(self._rows, "".join(json.dumps(row) + "\n" for row in found).encode(), lasts=False)
        return found


def _place(row: Row) -> Place:
    """The identity of a row: its number in the trace, its tick, and its moment."""
    return int(row["n"]), int(row["tick"]), str(row["moment"])


def installed() -> bool:
    """Whether the package wandb is installed (a plain folder of this name does not count)."""
    with contextlib.suppress(ValueError, ImportError):
        spec = importlib.util.find_spec("wandb")
        return spec is not None and spec.origin is not None
    return False


def without_run(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the names of one run at W&B, for a process that is not that run."""
    return {name: value for name, value in environment.items() if name.removeprefix("WANDB_") not in OF_ONE_RUN}


def _service(folder: Path, owns: bool) -> subprocess.Popen[bytes]:
    """Start the process that talks to W&B, with W&B's files in `folder`."""
    kept = [f"WANDB_{name}" for name in (*PASSED_ON, *(OF_ONE_RUN if owns else ()))]
    ours = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("WANDB_")}
    ours |= {"WANDB_CACHE_DIR": f"{folder}/cache", "WANDB_DATA_DIR": f"{folder}/data"}
    if "WANDB_SWEEP_PARAM_PATH" in ours:
        ours["WANDB_SWEEP_PARAM_PATH"] = os.path.abspath(ours["WANDB_SWEEP_PARAM_PATH"])
    return child("-m", "cls_sim.sinks.service", env=ours)


def collect(folder: Path) -> None:
    """Write `<run>/wandb.json`: for every job its run at W&B, the number of rows sent, and the number lost."""
    found = {}
    for file in sorted((folder / "wandb").glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            found[file.stem] = json.loads(text(file))
    write(folder / "wandb.json", found)


def write(path: Path, content: Any) -> None:
    """Write JSON under a temporary name and rename it; disk errors are ignored."""
    with contextlib.suppress(StorageError):
        put(path, f"{json.dumps(content, indent=1)}\n".encode(), lasts=False, shared=True)


def say(text: str | None) -> None:
    """Print one line to standard error, above a progress bar; the same line only once per process."""
    line = f"cls-sim: wandb: {text}"
    if line in SAID:
        return
    SAID.add(line)
    with contextlib.suppress(OSError, ValueError):
        print_above(line, sys.stderr)
