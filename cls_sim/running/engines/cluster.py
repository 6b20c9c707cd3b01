"""Machines that share a disk: a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cls_sim.core import signals
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.running.engines.base import PATIENCE, THREADS, Engine, Failure, died, lived
from cls_sim.running.engines.owners import sole

if TYPE_CHECKING:
    from cls_sim.running.job import Job

PASSED = ("CLS_SIM_DATA_DIR", "CLS_SIM_ALLOW", "CLS_SIM_SAVE_EVERY")  # what a process elsewhere must know of this one
RETRIES = 20  # nodes and processes that a job may lose on Ray
KNOCK = 10.0  # seconds that a cluster has to answer
STORE = 128 * 2**20  # bytes of Ray's object store on this machine; jobs are small, their results are on the disk


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
            raise StorageError("engine", f"{where} ({first})", "check RAY_ADDRESS, or give engine=local") from error

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
                failure = died(name, f"on Ray: {type(error).__name__}", self._folder)
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
        raise ConfigError("engine", "ray is not installed", "pip install 'cls-sim[ray]'") from None
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
    before = {number: signal.getsignal(number) for number in map(_number, signals.CODES) if number and mine}
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
        return ConfigError("engine", f"{folder} is not to be seen on the node {socket.gethostname()}", remedy)
    versions = _here(Path(folder))["versions"]
    if versions != there["versions"]:
        remedy = "install the same versions on all nodes"
        return ConfigError("engine", f"{socket.gethostname()} has {versions}, not {there['versions']}", remedy)
    mine = pickle.loads(job)
    with sole(mine.name, Path(folder), node=_ray().get_runtime_context().get_node_id()):
        return lived(mine, Path(folder))
