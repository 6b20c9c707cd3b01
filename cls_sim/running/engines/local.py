"""The local engine: processes of one thread each on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cls_sim.core import parents
from cls_sim.running.engines.base import PATIENCE, POLL, THREADS, Engine, Failure, died, lived

if TYPE_CHECKING:
    from cls_sim.running.job import Job


class Local(Engine):
    """Runs jobs in `workers` processes of one thread each.  If a process dies, only its job fails."""

    def __init__(self, workers: int):
        self.workers = workers
        self._idle: list[_Process] = []
        self._busy: list[_Process] = []
        self._folder = Path()

    @contextmanager
    def opened(self, folder: Path) -> Iterator[None]:
        self._folder = folder
        try:
            yield
        finally:
            for process in (*self._idle, *self._busy):
                process.end()
            self._idle, self._busy = [], []

    def room(self) -> bool:
        return len(self._busy) < self.workers

    def busy(self) -> bool:
        return bool(self._busy)

    def start(self, job: Job) -> None:
        process = self._idle.pop() if self._idle else _Process()
        self._busy.append(process)
        process.live(job, self._folder)

    def ended(self, seconds: float) -> list[tuple[str, Failure]]:
        wait([thing for process in self._busy for thing in process.signs()], seconds)
        found = []
        for process in [process for process in self._busy if process.over()]:
            self._busy.remove(process)
            failure, alive = process.outcome(self._folder)
            if alive:
                self._idle.append(process)
            found.append((process.job, failure))
        return found

    def leave(self) -> None:
        for process in self._busy:
            process.tell()
        end = time.monotonic() + PATIENCE
        while self._busy and time.monotonic() < end:
            self.ended(POLL)


class _Process:
    """A process that runs one job after another."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=parents.bound, args=(os.getpid(), __name__, work.__name__, theirs), daemon=True
        )
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update(dict.fromkeys(THREADS, "1"))  # read when the process imports torch
        try:
            self._process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()
        self.job = ""

    def live(self, job: Job, folder: Path) -> None:
        self.job = job.name
        try:
            self._line.send((job, folder))
        except OSError:  # it died while idle; `outcome` reports it
            self._process.join(1.0)

    def signs(self) -> tuple[Any, Any]:
        """The objects to wait for: its connection, and its end."""
        return self._line, self._process.sentinel

    def over(self) -> bool:
        return self._line.poll() or not self._process.is_alive()

    def outcome(self, folder: Path) -> tuple[Failure, bool]:
        """The failure of the job or None, and whether the process can run another job."""
        try:
            return self._line.recv(), True
        except (EOFError, OSError):
            self._process.join(5.0)
            return died(self.job, _how(self._process.exitcode), folder), False

    def tell(self) -> None:
        """Ask it to save and stop."""
        self._process.terminate()

    def end(self) -> None:
        self._line.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _how(code: int | None) -> str:
    if code == -signal.SIGTERM:
        return "stopped before it had started"
    return f"killed by signal {-code}, perhaps out of memory" if code and code < 0 else f"exit code {code}"


def work(line: Any) -> None:
    """The main function of a process: run the jobs that are sent, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent handles it
    while True:
        try:
            job, folder = line.recv()
        except (EOFError, OSError):
            return
        line.send(lived(job, folder))
