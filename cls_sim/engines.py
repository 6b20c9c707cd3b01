"""Where jobs are lived: in processes of this machine, or on a Ray cluster.

A job is an arm's life of one chunk of the cohort.  It has the same bits in every engine, because it is cut by `chunk`,
lived by one thread, and draws from its own subjects' seeds.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import secrets
import signal
import socket
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cls_sim import interrupts
from cls_sim.errors import Broken, Refused

if TYPE_CHECKING:
    from cls_sim.jobs import Job

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PASSED = ("CLS_SIM_DATA_DIR", "CLS_SIM_ALLOW", "CLS_SIM_SAVE_EVERY")  # what a process elsewhere must know of this one
PATIENCE = interrupts.GRACE - 1.0  # seconds that jobs have to save when they are told to leave
POLL = 0.2  # seconds between two looks at what has happened
WATCH = 1.0  # seconds between two looks at who lives a job
RETRIES = 20  # nodes and processes that a job may lose on Ray
KNOCK = 10.0  # seconds that a cluster has to answer
STORE = 128 * 2**20  # bytes of Ray's object store on this machine; jobs are small, their results are on the disk

OVER = "over"  # in place of an owner

Failure = BaseException | None


def engine(cfg: Mapping[str, Any]) -> Engine:
    """The engine that a configuration asks for.

    >>> type(engine({"engine": "local", "workers": 2, "device": "cpu"})).__name__
    'Local'
    """
    return Ray(cfg["workers"], cfg["device"]) if cfg["engine"] == "ray" else Local(cfg["workers"])


class Engine(ABC):
    """Lives jobs, as many at once as there is room for."""

    def spread(self, jobs: Sequence[Job], folder: Path) -> None:
        """Live all these jobs in the run directory `folder`; one that leaves another's past comes after it.

        Where a job fails, those that do not need it go on; when they are over, its failure is raised.
        """
        waiting = _missing(jobs, folder)
        undone = {job.name for job in waiting}
        failed: dict[str, BaseException] = {}
        if not waiting:
            return
        with interrupts.heeded() as ear, self.opened(folder.resolve()):
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
                            waiting = _without(name, waiting)
            except BaseException:
                self.leave()
                ear.check()  # Ray forgets which signal it was
                raise
        if failed:
            raise _told(failed, folder)

    @abstractmethod
    def opened(self, folder: Path) -> AbstractContextManager[None]:
        """What must be there while jobs are lived in `folder`."""

    @abstractmethod
    def room(self) -> bool:
        """Whether another job can start now."""

    @abstractmethod
    def busy(self) -> bool:
        """Whether jobs are being lived."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Begin to live a job."""

    @abstractmethod
    def ended(self, seconds: float) -> list[tuple[str, Failure]]:
        """The names of jobs that have ended, and what went wrong; waits up to `seconds` for one."""

    @abstractmethod
    def leave(self) -> None:
        """Have all jobs save, and leave."""


def _missing(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """The jobs that are not done, or come from one that is not."""
    from cls_sim.jobs import is_done

    missing: list[Job] = []
    for job in jobs:
        if _needs(job) & {other.name for other in missing} or not is_done(job, folder):
            missing.append(job)
    return missing


def _needs(job: Job) -> set[str]:
    """The name of the job whose past this one shares."""
    return {job.of(job.origin.name)} if job.origin else set()


def _without(name: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that can be lived without the one of this name (a job comes after those that it needs)."""
    gone, left = {name}, []
    for job in jobs:
        if _needs(job) & gone:
            gone.add(job.name)
        else:
            left.append(job)
    return left


def _told(failed: Mapping[str, BaseException], folder: Path) -> BaseException:
    """The first failure, which also says how many there were."""
    first, *others = failed.values()
    if others and type(first) in (Refused, Broken):
        assert isinstance(first, Refused)
        return type(first)(first.key, f"{first.reason} (and {len(others)} other chunks failed)", first.remedy)
    return first


def _died(name: str, how: str, folder: Path) -> Broken:
    return Broken(f"chunk {name}", f"its process died ({how})", f"go on with resume={folder}; the others are not lost")


def _lived(job: Job, folder: Path) -> Failure:
    """Live a job here; what went wrong, in a form that can travel."""
    from cls_sim.jobs import live

    try:
        live(job, folder)
    except BaseException as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"in chunk {job.name}:\n{traceback.format_exc()}")
        return error if hasattr(error, "exit_code") else RuntimeError(f"in chunk {job.name}:\n{traceback.format_exc()}")
    return None


# -- this machine -------------------------------------------------------------------------------------------


class Local(Engine):
    """`workers` processes of one thread each.  One that dies takes its job with it, and no other."""

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
    """A process that lives one job after another."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
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
        except OSError:  # it died idle; `outcome` tells
            self._process.join(1.0)

    def signs(self) -> tuple[Any, Any]:
        """What to wait for: a word from it, or its end."""
        return self._line, self._process.sentinel

    def over(self) -> bool:
        return self._line.poll() or not self._process.is_alive()

    def outcome(self, folder: Path) -> tuple[Failure, bool]:
        """What went wrong with the job, and whether the process can live another."""
        try:
            return self._line.recv(), True
        except (EOFError, OSError):
            self._process.join(5.0)
            return _died(self.job, _how(self._process.exitcode), folder), False

    def tell(self) -> None:
        """Ask it to save and leave."""
        self._process.terminate()

    def end(self) -> None:
        self._line.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _how(code: int | None) -> str:
    if code == -signal.SIGTERM:
        return "told to leave before it had begun"
    return f"killed by signal {-code}, perhaps for want of memory" if code and code < 0 else f"exit code {code}"


def _work(line: Any) -> None:
    """In a process of its own: live the jobs that come along the line, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to every process of a terminal; the first passes it on
    threading.Thread(target=_orphaned, daemon=True).start()
    while True:
        try:
            job, folder = line.recv()
        except (EOFError, OSError):
            return
        line.send(_lived(job, folder))


def _orphaned() -> None:
    """Die with the process that started this one: whoever resumes the run must be alone with it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# -- Ray ----------------------------------------------------------------------------------------------------


class Ray(Engine):
    """Jobs as tasks on the Ray cluster that RAY_ADDRESS names, or on one of `workers` processors on this machine.

    The run directory must be on a disk that all nodes share.  A job whose node or process is lost goes on elsewhere
    from its last checkpoint.
    """

    def __init__(self, workers: int, device: str = "cpu"):
        self.workers, self.device = workers, device
        self._refs: dict[Any, str] = {}
        self._folder = Path()
        self._task: Any = None

    @contextmanager
    def opened(self, folder: Path) -> Iterator[None]:
        ray = _ray()
        mine = not ray.is_initialized()
        if mine:
            self._join(ray)
        try:
            self._folder = folder
            gpus = 0 if self.device == "cpu" else 1
            self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_elsewhere)
            yield
        finally:
            self._refs.clear()
            if mine:
                ray.shutdown()

    def _join(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = os.environ.get("RAY_ADDRESS")
        try:
            _knock(address or "")  # Ray would knock for minutes
            with _signals_kept():
                if address:
                    ray.init(address=address, **quiet)
                else:
                    own = {"num_cpus": self.workers, "include_dashboard": False, "object_store_memory": STORE}
                    ray.init(address="local", **own, **quiet)
        except Exception as error:
            where = f"no Ray cluster answers at {address}" if address else "Ray does not start on this machine"
            first = str(error).strip().split("\n")[0][:200]
            raise Broken("engine", f"{where} ({first})", "check RAY_ADDRESS, or give engine=local") from error

    def room(self) -> bool:
        return True  # Ray queues them

    def busy(self) -> bool:
        return bool(self._refs)

    def start(self, job: Job) -> None:
        ref = self._task.remote(pickle.dumps(job), str(self._folder), _here(self._folder))
        self._refs[ref] = job.name

    def ended(self, seconds: float) -> list[tuple[str, Failure]]:
        ray = _ray()
        if not self._refs:
            return []
        found = []
        for ref in ray.wait(list(self._refs), num_returns=1, timeout=seconds)[0]:
            name = self._refs.pop(ref)
            try:
                failure = ray.get(ref)
            except Exception as error:
                failure = _died(name, f"on Ray: {type(error).__name__}", self._folder)
            found.append((name, failure))
        return found

    def leave(self) -> None:
        ray = _ray()
        for ref in self._refs:
            ray.cancel(ref)  # as Ctrl-C would; what has not begun is dropped
        if self._refs:
            ray.wait(list(self._refs), num_returns=len(self._refs), timeout=PATIENCE)


def _ray() -> Any:
    """Ray, told to be quiet, to call nobody, and to let in nobody else."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS") and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise Refused("engine", "ray is not installed", "pip install 'cls-sim[ray]'") from None
    return ray


def _knock(address: str) -> None:
    """Raise OSError if an address host:port does not answer."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray would listen to them in our place."""
    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in map(_number, interrupts.CODES) if number and mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number(name: str) -> Any:
    return getattr(signal, name, None)


def _here(folder: Path) -> dict[str, Any]:
    """What a process elsewhere is told of this one, so that it can be like it."""
    import torch

    from cls_sim import __version__

    env = {name: os.environ[name] for name in PASSED if name in os.environ}
    versions = {"cls_sim": __version__, "torch": torch.__version__}
    return {"env": env, "versions": versions, "run": (folder / "run.json").read_text()}


def _elsewhere(job: bytes, folder: str, there: dict[str, Any]) -> Failure:
    """As a task on Ray: live a job, or say why it cannot be lived here."""
    os.environ.update(dict.fromkeys(THREADS, "1"), **there["env"])
    run = Path(folder) / "run.json"
    if not run.is_file() or run.read_text() != there["run"]:
        remedy = "put out= on a disk that all nodes share"
        return Refused("engine", f"{folder} is not to be seen on the node {socket.gethostname()}", remedy)
    versions = _here(Path(folder))["versions"]
    if versions != there["versions"]:
        remedy = "install the same versions on all nodes"
        return Refused("engine", f"{socket.gethostname()} has {versions}, not {there['versions']}", remedy)
    mine = pickle.loads(job)
    with sole(mine.name, Path(folder), node=_ray().get_runtime_context().get_node_id()):
        return _lived(mine, Path(folder))


@contextmanager
def sole(job: str, folder: Path, **about: Any) -> Iterator[None]:
    """Live a job as the only one: whoever comes last is its owner, and a process that has lost a job to another dies.

    A node that is cut off may still be alive when its jobs are given to another; two must not write to one trace.  The
    book jobs/NAME.where.jsonl has a line for everyone who came: who, where, and from which tick on.
    """
    from cls_sim import checkpoint

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
        raise Broken(str(book), f"cannot be written ({error.strerror})", "make room, then resume") from None


def owner(book: Path) -> str | None:
    """Who came last to a job (None if the book cannot be read just now)."""
    try:
        return json.loads(book.read_text().splitlines()[-1])["id"]
    except (OSError, ValueError, IndexError, KeyError):
        return None
