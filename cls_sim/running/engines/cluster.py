"""The Ray engine: a cluster of machines that share a disk."""

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
from cls_sim.storage import disk

if TYPE_CHECKING:
    from cls_sim.running.job import Job

PASSED = ("CLS_SIM_DATA_DIR", "CLS_SIM_ALLOW", "CLS_SIM_SAVE_EVERY")  # variables that are passed to remote processes
RETRIES = 20  # largest number of lost nodes or processes per job
KNOCK = 10.0  # seconds to wait for an answer of the cluster
STORE = 128 * 2**20  # bytes of Ray's object store on this machine; jobs are small, their results are on the disk


class Ray(Engine):
    """Runs jobs as tasks on the Ray cluster at RAY_ADDRESS, or on a local one with `workers` processors.

    The run directory must be on a disk that all nodes share.  A job whose node or process is lost resumes elsewhere
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
            _knock(address or "")  # Ray itself would try for minutes
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
            ray.cancel(ref)  # same as Ctrl-C; tasks that have not started are dropped
        if self._refs:
            ray.wait(list(self._refs), num_returns=len(self._refs), timeout=PATIENCE)


def _ray() -> Any:
    """The module ray, set up without usage statistics and, for a local cluster, with a random access token."""
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
    """Restore our signal handlers after Ray has replaced them."""
    mine = threading.current_thread() is threading.main_thread()
    ours = [getattr(signal, name) for name in signals.CODES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in ours if mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _here(folder: Path) -> dict[str, Any]:
    """The environment, versions and run record that a remote process needs to match this one."""
    import torch

    from cls_sim import __version__

    env = {name: os.environ[name] for name in PASSED if name in os.environ}
    versions = {"cls_sim": __version__, "torch": torch.__version__}
    return {"env": env, "versions": versions, "run": disk.text(folder / "run.json")}


def _elsewhere(job: bytes, folder: str, there: dict[str, Any]) -> Failure:
    """A task on Ray: run a job, or return the reason why it cannot run on this node."""
    os.environ.update(dict.fromkeys(THREADS, "1"), **there["env"])
    run = Path(folder) / "run.json"
    if not run.is_file() or disk.text(run) != there["run"]:
        remedy = "put out= on a disk that all nodes share"
        return ConfigError("engine", f"{folder} does not exist on the node {socket.gethostname()}", remedy)
    versions = _here(Path(folder))["versions"]
    if versions != there["versions"]:
        remedy = "install the same versions on all nodes"
        return ConfigError("engine", f"{socket.gethostname()} has {versions}, not {there['versions']}", remedy)
    mine = pickle.loads(job)
    with sole(mine.name, Path(folder), node=_ray().get_runtime_context().get_node_id()):
        return lived(mine, Path(folder))
