"""The process that talks to W&B: messages come in, a JSON line each, answers go out.  Nobody waits for it.

`python -m cls_sim.sinks.service` reads {"start": id, …}, rows {"n": number, …} and {"end": …}; when what comes in
ends before its time (the life was killed), the run is finished as interrupted.  It answers {"rows": how many},
{"fell_back": why}, {"down": why} and {"closed": true}.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cls_sim.sinks.wandb import DEADLINE, write

PATIENCE = 12  # seconds that W&B's server has to answer at the start
REPEATED = 3  # errors one after another, then no more is tried
FILES = 256 * 2**20  # bytes of the artifact, at most
SETTINGS = {  # no terminal, no look at this machine, no threads that measure it
    "silent": True,
    "console": "off",
    "init_timeout": PATIENCE,
    "finish_timeout": DEADLINE - 5,
    "finish_timeout_raises": True,
    "reinit": "create_new",
    "symlink": False,
    "stop_fn": lambda: None,  # the button `stop` stops no life
    "host": "",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 2.0,
}


class Tied(subprocess.Popen):
    """A child that stays in our group, so that whoever kills us kills it."""

    def __init__(self, *args: Any, **settings: Any):
        settings.pop("start_new_session", None)
        super().__init__(*args, **settings)


class Service:
    """One run at W&B; `answer` takes what the other side should know."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], None]):
        self.answer, self.run, self.errors, self.rows = answer, None, 0, 0

    def hear(self, message: dict[str, Any]) -> bool:
        """What one message asks for; False when it was the last, or nothing goes any more."""
        try:
            if "start" in message:
                self.begin(message)
            elif "end" in message:
                self.finish(message["end"])
                return False
            else:
                self.row(message)
            self.errors = 0
        except Exception as error:
            self.errors += 1
            if self.run is None or "end" in message or self.errors >= REPEATED:
                self.answer({"down": _brief(error)})
                return False
        return True

    def begin(self, told: Mapping[str, Any]) -> None:
        import wandb

        known = wandb.Settings.model_fields
        settings = wandb.Settings(**{name: value for name, value in SETTINGS.items() if name in known})
        about = {name: told.get(name) for name in ("name", "group", "job_type", "tags", "notes", "config")}
        about |= {"project": os.environ.get("WANDB_PROJECT", "cls-sim"), "dir": told["folder"], "id": told["start"]}

        def init(mode: str) -> Any:
            return wandb.init(mode=mode, resume="allow", settings=settings, **about)  # pyright: ignore

        try:
            self.run = init(told["mode"])
        except Exception as error:
            if told["mode"] != "online":
                raise
            wandb.teardown()  # the service holds the name of the run that could not begin
            self.run = init("offline")
            self.answer({"fell_back": _brief(error), "mode": "offline"})
        self.run.define_metric("day")
        for stage in ("wake", "sleep", "exam"):
            self.run.define_metric(f"{stage}/*", step_metric="day")
        place = os.path.basename(self.run.settings.sync_dir)
        self.answer({"files": place, "url": None if self.run.offline else self.run.url})

    def row(self, row: dict[str, Any]) -> None:
        number = row.pop("n")
        self._open.log(row)
        self.rows = number + 1
        self.answer({"rows": self.rows})

    def finish(self, told: Mapping[str, Any]) -> None:
        outcome = told.get("outcome", "finished")
        missing = {}
        for name in ("summary", "tables", "images", "artifact"):
            try:
                if told.get(name):
                    getattr(self, f"_{name}")(told[name])
            except Exception as error:  # the rest may go
                missing[name] = _brief(error)
        if missing:
            self.answer({"missing": missing})
        if outcome == "interrupted":
            self._open.mark_preempting()
        self._open.finish(exit_code=0 if outcome == "finished" else 1)
        self.answer({"closed": True})

    def _summary(self, told: Mapping[str, Any]) -> None:
        self._open.summary.update(dict(told))

    def _tables(self, told: Mapping[str, Any]) -> None:
        import wandb

        self._open.log({name: wandb.Table(**table) for name, table in told.items()})

    def _images(self, told: Mapping[str, Any]) -> None:
        import wandb

        self._open.log({name: wandb.Image(path) for name, path in told.items()})

    def _artifact(self, told: Mapping[str, Any]) -> None:
        """The run directory's files, as long as there is room; they stay where they are."""
        import wandb

        artifact, room = wandb.Artifact(told["name"], told["type"]), FILES
        for name in told["files"]:
            file = Path(told["root"], name)
            room -= file.stat().st_size
            if room < 0:
                break
            artifact.add_file(str(file), name=name, skip_cache=True, policy="immutable")
        self._open.log_artifact(artifact)

    @property
    def _open(self) -> Any:
        assert self.run is not None
        return self.run


def _brief(error: BaseException) -> str:
    if isinstance(error, ConnectionError) or type(error).__name__ in ("HandleAbandonedError", "MailboxClosedError"):
        return "W&B's service died"
    text = " ".join(str(error).split())[:200]
    return f"{text or type(error).__name__}".rstrip(".")


def _end_all(seconds: float) -> None:
    """Whatever hangs: after so many seconds, this process and its children are gone."""

    def kill() -> None:
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for shown in (1, 2):
        os.dup2(nowhere, shown)  # what W&B prints is not for us
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):  # schedulers send them to all; we go when the life goes
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    subprocess.Popen = Tied

    def answer(told: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            answers.write(json.dumps(told) + "\n")
            answers.flush()

    service, record = Service(answer), None
    for line in sys.stdin.buffer:
        message = json.loads(line)
        record = message.pop("record", record)
        if "end" in message:
            _end_all(DEADLINE + 5)
        if not service.hear(message):
            return
    if record is not None:
        _alone(service, Path(record))


def _alone(service: Service, record: Path) -> None:
    """The life is gone: finish without it, and note for its next how far we came."""
    _end_all(DEADLINE)
    service.hear({"end": {"outcome": "interrupted"}})
    with contextlib.suppress(OSError, ValueError):
        write(record, json.loads(record.read_text()) | {"state": "interrupted", "rows": service.rows})


if __name__ == "__main__":
    main()
