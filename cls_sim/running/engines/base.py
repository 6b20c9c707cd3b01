"""The base class of engines: starts jobs in the right order; a failed job stops only the jobs that need it."""

from __future__ import annotations

import pickle
import shlex
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from cls_sim.core import signals
from cls_sim.core.errors import ConfigError, StorageError, short_of_memory

if TYPE_CHECKING:
    from cls_sim.running.job import Job

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = signals.GRACE - 1.0  # seconds that jobs have to save when they are asked to stop
POLL = 0.2  # seconds between two checks for finished jobs

Failure = BaseException | None


class Engine(ABC):
    """Runs jobs, several at the same time."""

    def spread(self, jobs: Sequence[Job], folder: Path) -> None:
        """Run all these jobs in the run directory `folder`; a branch starts after its origin.

        If a job fails, the jobs that do not need it continue; after them, the failure is raised.
        """
        from cls_sim.running.jobs import is_done

        waiting = _with_branches(jobs, lambda job: not is_done(job, folder))
        undone = {job.name for job in waiting}
        failed: dict[str, BaseException] = {}
        if not waiting:
            return
        with signals.handle_signals() as ear, self.opened(folder.resolve()):
            try:
                while waiting or self.busy():
                    ear.check()
                    for job in [job for job in waiting if not _needs(job) & undone]:
                        if self.room():
                            waiting.remove(job)
                            self.start(job)
                    for name, failure in self.ended(POLL):
                        undone.discard(name)
                        if failure is not None:
                            failed[name] = failure
                            lost = _with_branches(waiting, lambda job, name=name: name in _needs(job))
                            waiting = [job for job in waiting if job not in lost]
            except BaseException:
                self.leave()
                ear.check()  # Ray forgets which signal it was
                raise
        if failed:
            raise _told(failed, folder)

    @abstractmethod
    def opened(self, folder: Path) -> AbstractContextManager[None]:
        """The resources needed while jobs run in `folder`, as a context manager."""

    @abstractmethod
    def room(self) -> bool:
        """Whether another job can start now."""

    @abstractmethod
    def busy(self) -> bool:
        """Whether jobs are running."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start a job."""

    @abstractmethod
    def ended(self, seconds: float) -> list[tuple[str, Failure]]:
        """The names of jobs that have ended, each with its failure or None; waits up to `seconds` for one."""

    @abstractmethod
    def leave(self) -> None:
        """Ask all jobs to save and stop."""


def _with_branches(jobs: Sequence[Job], chosen: Callable[[Job], bool]) -> list[Job]:
    """The chosen jobs, and all that need one of them (a job comes after those that it needs)."""
    found: list[Job] = []
    for job in jobs:
        if _needs(job) & {other.name for other in found} or chosen(job):
            found.append(job)
    return found


def _needs(job: Job) -> set[str]:
    """The name of the job whose past this job shares, as a set; empty if there is none."""
    return {job.of(job.origin.name)} if job.origin else set()


def _told(failed: Mapping[str, BaseException], folder: Path) -> BaseException:
    """The first failure, with the number of other failures in its message."""
    first, *others = failed.values()
    if others and type(first) in (ConfigError, StorageError):
        assert isinstance(first, ConfigError)
        return type(first)(first.key, f"{first.reason} (and {len(others)} other chunks failed)", first.remedy)
    return first


def died(name: str, how: str, folder: Path) -> StorageError:
    way = shlex.quote(f"resume={folder}")
    return StorageError(f"chunk {name}", f"its process died ({how})", f"resume with {way}; other chunks are not lost")


def lived(job: Job, folder: Path) -> Failure:
    """Run a job in this process; returns its failure, in a form that can be pickled, or None."""
    from cls_sim.running.jobs import live

    try:
        live(job, folder)
    except BaseException as error:
        if short := short_of_memory(error):
            return short
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"in chunk {job.name}:\n{traceback.format_exc()}")
        return error if hasattr(error, "exit_code") else RuntimeError(f"in chunk {job.name}:\n{traceback.format_exc()}")
    return None
