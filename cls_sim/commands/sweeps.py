"""Sweeps (`cls-sim -m`): one run for every combination of settings, each in a separate process and folder.

Hydra's launchers distribute the jobs.  Each job starts `cls-sim` in a separate process, so that a crash does not affect
other jobs, waits for it, and reports how it ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from types import SimpleNamespace
from typing import Any

from cls_sim.config import validation
from cls_sim.config.composer import Composer
from cls_sim.config.experiments import Experiment, read
from cls_sim.core import parents, signals
from cls_sim.core.errors import ConfigError, Diverged, StorageError, refuse_if
from cls_sim.storage.disk import appended, made, opened, plain_below, text, write

BOOK, STOP, LOGS = "sweep.json", ".stop", "logs"
POLL = 0.2  # seconds between two checks of a job
EXTRAS = {"joblib": "sweep", "submitit_local": "slurm", "submitit_slurm": "slurm"}
KINDS = {2: ConfigError, 3: StorageError, 4: Diverged}
ERROR = "cls-sim: error: "
CODE = (  # submitit sends SIGUSR2 when time is short; the process that waits for the job handles it
    "import json, signal, sys; getattr(signal, 'SIGUSR2', 0) and signal.signal(signal.SIGUSR2, signal.SIG_IGN); "
    "sys.path[:] = json.loads(sys.argv.pop(1)); sys.argv[0] = 'cls-sim'; "
    "from cls_sim.__main__ import main; sys.exit(main())"
)
Said = dict[str, Any]  # the result of a job: its name, exit code, reason of failure, whether it was done before


def sweep(args: Sequence[str], folders: Sequence[str] = ()) -> int:
    """Run every combination of the swept overrides; returns 0 if all jobs are done.

    The folder is `out=`, by default multirun/<time>.  The same command with the same `out=` runs only the missing jobs.
    If jobs fail, the others continue; at the end, ConfigError or a subclass names the failed jobs.
    """
    given = [arg for arg in args if arg not in ("-m", "--multirun") and not arg.startswith("out=")]
    if any(arg.startswith("resume=") for arg in given):
        raise ConfigError("resume", "cannot be used in a sweep", "repeat the command of the sweep with its out=")
    launcher = next((arg.split("=")[1] for arg in reversed(given) if arg.startswith("hydra/launcher=")), "basic")
    extra = EXTRAS.get(launcher)
    if extra and find_spec(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher") is None:
        raise ConfigError("hydra/launcher", f"{launcher} is not installed", f"pip install 'cls-sim[{extra}]'")
    home = _home([arg.split("=", 1)[1] for arg in args if arg.startswith("out=")])
    settings = [arg for arg in given if arg.startswith("hydra")]
    jobs, swept = _jobs([arg for arg in given if arg not in settings], folders)
    with _launcher(settings, home) as start:
        names, batch = [job_name(overrides, swept) for overrides in jobs], [[] for _ in jobs]
        made(home / LOGS)
        absolute = [str(Path(folder).absolute()) for folder in folders]
        write(home / BOOK, {"process": os.getpid(), "folders": absolute, "jobs": list(zip(names, jobs, strict=True))})
        if launcher == "submitit_slurm":  # leaving here does not change the queue
            return _ended(home, names, _launched(start, batch, home, names), launcher)
        (home / STOP).unlink(missing_ok=True)
        with signals.handle_signals() as ear:
            try:  # submitit would wait for its own processes, which Ctrl-C has ended
                with (
                    _passing_on(ear, home / STOP),
                    ear.at_once() if launcher in EXTRAS.keys() - {"joblib"} else nullcontext(),
                ):
                    ended = _launched(start, batch, home, names)
                ear.check()
            except signals.Interrupted:
                print(f"sweep: stopped; to continue, repeat the command with {_again(home)}", file=sys.stderr)
                raise
    return _ended(home, names, ended, launcher)


def _home(out: list[str]) -> Path:
    """The folder of the sweep: a new one, or that of a sweep to continue."""
    if not out:
        return (Path("multirun") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid():x}").absolute()
    home = Path(validation.path("out", out[-1])).absolute()
    refuse_if("${" in str(home), "out", f"{home} refers to another key", "give the full path of the folder")
    if home.exists() and not (home / BOOK).is_file() and (not home.is_dir() or any(home.iterdir())):
        raise ConfigError("out", f"{home} exists, is not empty and is not a sweep", "name a new folder, or a sweep")
    if home.exists():
        plain_below(home)
    return home


def _again(home: Path) -> str:
    """The override that continues a sweep, quoted for a shell."""
    return quote(f"out={home}")


def _jobs(given: Sequence[str], folders: Sequence[str]) -> tuple[list[list[str]], set[str]]:
    """The overrides of every job, and the keys that are swept.

    Raises ConfigError for invalid overrides: each value is checked once, and each swept key must be read by an arm.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    names: Any = SimpleNamespace(get_group_options=lambda group, *_, **__: Composer(folders).names(group))  # for glob
    try:
        parsed = OverridesParser.create(names).parse_overrides([validation.quoted(one, sweep=True) for one in given])
        (batch,) = BasicSweeper.split_arguments(parsed, None)
    except (HydraException, RecursionError, ValueError) as error:
        raise ConfigError("sweep", " ".join(str(error).split())[:200], "write key=value or key=value,value") from None
    swept = {one.get_key_element() for one in parsed if one.is_sweep_override()}
    jobs, seen = [[validation.plain(override) for override in job] for job in batch], set()
    for number, job in enumerate(jobs):
        new = {override for override in job if override.split("=")[0] in swept} - seen
        if number == 0 or new:
            read(job, folders, one=number > 0)
        seen |= new
    return jobs, swept


@contextmanager
def _launcher(settings: Sequence[str], home: Path) -> Iterator[Any]:
    """Hydra's launcher, a function that runs jobs.  It sees only its own settings of the configuration."""
    from hydra import initialize
    from hydra._internal.callbacks import Callbacks
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton
    from hydra.errors import HydraException
    from hydra.types import HydraContext, RunMode
    from omegaconf.errors import OmegaConfBaseException

    own = ["hydra.sweep.subdir=.", "hydra.output_subdir=null", "hydra.job.chdir=false", "hydra/hydra_logging=none"]
    own += ["hydra/job_logging=none", validation.setting("hydra.sweep.dir", str(home))]
    before = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with signals.unmasked(), initialize(config_path=None, job_name="cls-sim", version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            try:
                cfg = hydra.compose_config(None, [*settings, *own], RunMode.MULTIRUN)
                context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(cfg))
                launch = Plugins.instance().instantiate_launcher
                launcher: Any = launch(hydra_context=context, task_function=attend, config=cfg)
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigError("hydra/launcher", " ".join(str(error).split())[:200], "check its settings") from None
            yield launcher.launch
    finally:
        Singleton.set_state(before)


def job_name(overrides: Sequence[str], swept: set[str]) -> str:
    """The name of a job's folder: the swept settings.

    >>> job_name(["experiment=digits", "seed=3", "world.path=/a b"], {"seed"})
    'seed=3'
    >>> job_name(["world.path=/a b"], {"world.path"})
    'world.path=_a_b-43ddf5c6'
    """
    name = ",".join(o for o in overrides if o.split("=")[0] in swept) or "run"
    plain = re.sub(r"[^A-Za-z0-9_.+=,@\[\]-]", "_", name)[:180].removeprefix(".")
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def _passing_on(ear: signals.SignalHandler, stop: Path) -> Iterator[None]:
    """Tell the processes that wait for jobs, by a file, that this process was asked to stop."""
    import threading

    over = threading.Event()

    def listen() -> None:
        while not over.wait(POLL) and not ear.heard:
            pass
        if ear.heard:
            appended(stop, b"")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _launched(start: Any, batch: Any, home: Path, names: Sequence[str]) -> list[Said]:
    """The result of every job."""
    from hydra.core.utils import JobStatus

    try:
        returned = start(batch, initial_job_idx=0)
    except Exception as error:  # the launcher itself failed; the results of jobs are in their folders
        why = " ".join(str(error).split())[:200] or type(error).__name__
        missing = [name for name in names if not (home / name / "summary.json").is_file()]
        reason = f"failed ({why}); not done: {', '.join(missing)}"
        raise StorageError("hydra/launcher", reason, f"repeat the command with {_again(home)}") from error
    ended = []
    for name, one in zip(names, returned, strict=True):
        said, completed = one._return_value, one.status == JobStatus.COMPLETED
        ended.append(said if completed else {"name": name, "code": 1, "why": f"{type(said).__name__}: {said}"})
    return ended


def _ended(home: Path, names: Sequence[str], ended: Sequence[Said], launcher: str) -> int:
    """Report how the sweep ended: one line, or an error that names the failed jobs."""
    if launcher.startswith("submitit"):  # the output of the jobs is in logs elsewhere
        for said in ended:
            print(_line(home, said))
    failed = [said for said in ended if said["code"]]
    done, before = len(ended) - len(failed), sum(said.get("before", False) for said in ended)
    told = f"{done} of {len(names)} jobs are done" + (f", {before} of them were before" if before else "")
    print(f"sweep: {home}: {told}; compare them with cls-sim-compare {quote(str(home))}", flush=True)
    if failed:
        which = ", ".join(f"{said['name']} ({said['why'].split(':')[0]})" for said in failed)
        codes = {said["code"] for said in failed}
        kind = KINDS.get(codes.pop(), StorageError) if len(codes) == 1 else StorageError
        remedy = f"correct the cause, then repeat the command with {_again(home)}: it runs the missing jobs"
        raise kind("sweep", f"{len(failed)} of {len(names)} jobs failed: {which}", remedy)
    return 0


def _line(home: Path, said: Said) -> str:
    if said["code"]:
        return f"failed: {home / said['name']} ({said['why']})"
    return f"done{' before' if said.get('before') else ''}: {home / said['name']}"


# -- one job ------------------------------------------------------------------------------------------------


def attend(_: object) -> Said:
    """Called by a launcher for every job, in any process: run the job and return its result."""
    from hydra.core.hydra_config import HydraConfig

    settings = HydraConfig.get()
    home = Path(settings.sweep.dir)
    book = json.loads(text(home / BOOK))
    if os.getppid() == book.get("process"):  # a worker of joblib
        parents.bind(book["process"])
    name, overrides = book["jobs"][settings.job.num]
    if (home / STOP).exists():
        return {"name": name, "code": 143, "why": "not started"}
    said = _attended(home, name, overrides, book["folders"])
    print(_line(home, said), flush=True)
    return said


def _attended(home: Path, name: str, overrides: list[str], folders: list[str]) -> Said:
    if (home / name / "summary.json").is_file():
        try:
            if done(read(overrides, folders), home / name):
                return {"name": name, "code": 0, "why": "", "before": True}
        except ConfigError as refused:
            return {"name": name, "code": refused.exit_code, "why": f"exit code {refused.exit_code}: {refused}"}
    from cls_sim.sinks.wandb import without_run

    log = home / LOGS / f"{name}.txt"
    start = log.stat().st_size if log.exists() else 0
    options = [f"--config-dir={folder}" for folder in folders]
    command = [sys.executable, "-c", CODE, json.dumps(sys.path), "--into", str(home / name), *options, *overrides]
    env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") | without_run(os.environ)
    # a batch system's signals are for submitit, which may queue the job again
    names = ("SIGINT",) if "SUBMITIT_EXECUTOR" in os.environ else ()
    with signals.handle_signals(*names) as ear, opened(log) as page:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=page, stderr=page, env=parents.environment(env)
        )
        try:
            while process.poll() is None:
                time.sleep(POLL)
                if ear.heard or (home / STOP).exists():
                    break
        finally:
            code = _left(process)
    return {"name": name, "code": code, "why": _why(code, log, start)}


def _left(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a job; a job that still runs is asked to save and exit."""
    for wait, end in ((1.0, process.terminate), (signals.GRACE, process.kill)):  # it may have received Ctrl-C itself
        try:
            return process.wait(wait)
        except subprocess.TimeoutExpired:
            end()
    return process.wait()


def _why(code: int, log: Path, start: int) -> str:
    """The reason of a job's failure in one line: its last error message, else its exit code."""
    with opened(log) as page:
        page.seek(start)
        lines = page.read().decode(errors="replace").splitlines()
    told = [f": {line.removeprefix(ERROR)}" for line in lines if line.startswith(ERROR)]
    if code in signals.CODES.values():
        return "stopped"
    if code < 0:
        return f"killed by signal {-code}"
    return f"exit code {code}{told[-1] if told else f', see {log}'}" if code else ""


def done(experiment: Experiment, folder: Path) -> bool:
    """Whether this run is done in a folder; raises ConfigError if the folder holds another run."""
    from cls_sim.running.runs import config_hash

    for name in ("summary.json", "run.json"):
        record = folder / name
        if record.is_file():
            try:
                same = json.loads(text(record))["config_sha256"] == config_hash(experiment)
            except (OSError, ValueError, TypeError, KeyError):
                raise ConfigError(str(record), "is not a record of a run", "remove the folder") from None
            refuse_if(not same, "out", f"{folder} holds a run of another configuration", "name a new folder")
            return name == "summary.json"
    return False
