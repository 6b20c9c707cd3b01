"""The run directory: created or resumed, used by one process at a time; and the JSON files in it.

run.json is written first; from then on the run can be resumed.  Other missing files are written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
import torch
import yaml

from cls_sim import __version__
from cls_sim.config import experiments
from cls_sim.config.experiments import Experiment
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.storage import disk
from cls_sim.storage.disk import read, write, writing

SCHEMA = 1
DECISIVE = ("cls_sim", "torch", "numpy", "processor", "threads", "device")  # bit-identical results depend on these
ROOMS = ("trace", "checkpoints", "jobs", "figures")


@contextmanager
def opened(experiment: Experiment) -> Iterator[Path]:
    """The run directory, new or resumed, locked by this process."""
    cfg = experiment.cfg
    if cfg["resume"]:
        folder = Path(cfg["resume"])
        old = record(folder)
        disk.plain_below(folder)
    else:
        folder, old = _named(experiment), None
        try:
            _unused(folder)
        except ConfigError:
            if not (folder / ".lock").exists():  # else `claimed` names the process that uses it
                raise
        disk.made(folder)
    with claimed(folder / ".lock"):
        if old is None:
            _unused(folder)  # checked again under the lock
        else:
            same(folder, old, experiment)
        _furnish(folder, experiment, old)
        yield folder


def record(folder: Path) -> dict[str, Any]:
    """run.json of a run directory."""
    if not (folder / "run.json").is_file():
        raise ConfigError("resume", f"{folder} is not a run directory", "name the folder printed as `run:`")
    found = read(folder / "run.json")
    if not are_overrides(found.get("overrides", [])) or type(found.get("resumed", 0)) is not int:
        raise ConfigError("resume", f"{folder}/run.json is damaged", "restore it from a copy")
    made = f"was made by cls_sim {found.get('version')} (schema {found.get('schema')})"
    refuse_if(found.get("schema", SCHEMA) != SCHEMA, "resume", f"{folder} {made}", "use that version")
    return found


def are_overrides(told: Any) -> TypeGuard[list[str]]:
    """Whether this, read from a run.json, is a list of overrides."""
    return isinstance(told, list) and all(isinstance(one, str) for one in cast("list[Any]", told))


def resumed(overrides: list[str]) -> list[str]:
    """The overrides of the run named by `resume=`, replaced by those given now for the same keys."""
    named = [o.split("=", 1)[1] for o in overrides if o.startswith("resume=")]
    if not named or named[-1] in ("", "null"):
        return overrides
    now = {_key(override) for override in overrides}
    return [*(o for o in record(Path(named[-1])).get("overrides", []) if _key(o) not in now), *overrides]


def _key(override: str) -> str:
    return override.lstrip("+~").split("=")[0].split("@")[0]


def _named(experiment: Experiment) -> Path:
    if experiment.cfg["out"]:
        return Path(experiment.cfg["out"])
    return Path("outputs") / experiment.name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid():x}"


def _unused(folder: Path) -> None:
    """Raise ConfigError for a folder that is not empty, except for files of a run that died before it started."""
    with writing(folder):
        if not folder.exists():
            return
        used = not folder.is_dir() or any(not name.startswith((".lock", ".run.json.")) for name in os.listdir(folder))
    remedy = f"name a new folder, or resume it with {shlex.quote(f'resume={folder}')}"
    refuse_if(used, "out", f"{folder} exists and is not empty", remedy)


def _furnish(folder: Path, experiment: Experiment, old: dict[str, Any] | None) -> None:
    """Write the description of the run, and create its folders."""
    arms = {name: arm.cfg for name, arm in experiment.arms.items()}
    kept = [override for override in experiment.overrides if _key(override) not in ("resume", "out")]
    identity = {"schema": SCHEMA, "version": __version__, "config_sha256": config_hash(experiment)}
    resumes = 0 if old is None else int(old.get("resumed", 0)) + 1
    now = environment(experiment.cfg["device"])
    told = identity | {"resumed": resumes, "overrides": kept, "arms": _decisive(experiment)}
    write(folder / "run.json", told, lasts=True)
    for name in ROOMS:
        disk.made(folder / name, below=folder)
    page = yaml.safe_dump({"overrides": kept, "arms": arms}, sort_keys=False)
    disk.put(folder / "config.yaml", page.encode(), lasts=False)
    if (folder / "environment.json").is_file():
        _compare(read(folder / "environment.json"), now)
    else:
        write(folder / "environment.json", now)


# -- is it the same run? ------------------------------------------------------------------------------------


def config_hash(experiment: Experiment) -> str:
    """The sha256 of all settings that determine the results of a run."""
    return hashlib.sha256(json.dumps(_decisive(experiment), sort_keys=True).encode()).hexdigest()


def _decisive(experiment: Experiment) -> dict[str, Any]:
    """The configurations of the arms as JSON, without the settings that may change when a run is resumed."""
    skip = {*experiments.FREE, "out", "resume"}
    usual = (("precision", "float32"), ("answers", None), ("budget", None))  # as in versions without these keys
    arms = {
        name: {k: v for k, v in arm.cfg.items() if k not in skip and (k, v) not in usual}
        for name, arm in experiment.arms.items()
    }
    return json.loads(json.dumps(arms, default=str), parse_constant=str)


def same(folder: Path, old: dict[str, Any], experiment: Experiment) -> None:
    """Raise ConfigError, with the different keys, if the configuration is not that of the run."""
    if old.get("config_sha256") == config_hash(experiment):
        return
    was, now = old.get("arms", {}), _decisive(experiment)
    same_arms = isinstance(was, dict) and set(was) == set(now)
    keys = sorted({key for arm in now for key in _odd(was[arm], now[arm], "")} if same_arms else {"arms"})
    shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
    reason = f"differs from the run in {folder}" if keys else f"is not that of the run in {folder}"
    raise ConfigError(shown or "config", reason, f"only {', '.join(experiments.FREE)} may differ, or start a new run")


def _odd(old: Any, new: Any, above: str) -> set[str]:
    """The dotted keys in which two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = {*old, *new}
        return {key for name in names for key in _odd(old.get(name), new.get(name), f"{above}{name}.")}
    return set() if old == new else {above[:-1]}


def environment(device: str) -> dict[str, Any]:
    """The software, processor and device of a run, on which bit-identical results depend."""
    import matplotlib

    return {
        "cls_sim": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "matplotlib": matplotlib.__version__,
        "platform": platform.platform(),
        "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": 1,
        "device": device,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Warn about differences of the environment on which bit-identical results depend."""
    odd = [f"{name} was {old.get(name)} and is {new[name]}" for name in DECISIVE if old.get(name) != new[name]]
    if odd:
        say(f"{'; '.join(odd)}: the continuation will not be bit-identical")


def say(text: str) -> None:
    """Print a warning of one line on standard error."""
    print(f"cls-sim: warning: {' '.join(text.split())}", file=sys.stderr, flush=True)


# -- one at a time ------------------------------------------------------------------------------------------


@contextmanager
def claimed(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock file; raises ConfigError, with the owner, if another process still holds it after `patience` seconds.

    It is a lock of the operating system, which is released when its process ends.
    """
    with writing(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        end = time.monotonic() + patience
        while not (mine := _locked(file)) and time.monotonic() < end:
            time.sleep(0.1)
        if not mine:
            raise ConfigError(str(path.parent), f"is in use by {_holder(file)}", "wait for it, or stop it")
        with contextlib.suppress(OSError):  # the lock also works on a full disk
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)  # the next process must not read our name
    finally:
        os.close(file)


def _holder(file: int) -> str:
    """The owner of a lock.  It writes its name shortly after locking, so an empty file is read again."""
    end = time.monotonic() + 1.0
    while not (who := os.pread(file, 500, 0).decode(errors="replace").strip()) and time.monotonic() < end:
        time.sleep(0.01)
    return who or "another process"


def _locked(file: int) -> bool:
    """Try to take the lock; also True on a system or a file system without locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, a file system without locks
        pass
    return True
