"""The process that talks to W&B: it reads messages and writes answers, one JSON line each; the life does not wait.

`python -m cls_sim.sinks.service` reads {"start": id, …}, rows {"n": number, …} and {"end": …}.  If the input ends
without {"end": …} (the life was killed), the run is marked as interrupted.  Its answers are {"rows": count},
{"fell_back": reason}, {"down": reason} and {"closed": true}.
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

import yaml

from cls_sim.sinks.wandb import DEADLINE, write
from cls_sim.storage.disk import text

REPEATED = 3  # number of consecutive errors after which the service gives up
FILES = 256 * 2**20  # largest size of the artifact, in bytes


class Tied(subprocess.Popen):
    """A child process in the same process group, so that it is killed together with this process."""

    def __init__(self, *args: Any, **settings: Any):
        settings.pop("start_new_session", None)
        super().__init__(*args, **settings)


class Service:
    """One run at W&B; `answer` sends answers to the life's process."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], None]):
        self.answer, self.errors, self.rows = answer, 0, 0
        self.run: Any = None  # of W&B, once it has begun

    def hear(self, message: dict[str, Any]) -> bool:
        """Handle one message; False after the last message, or after too many errors."""
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

        wanted = yaml.safe_load(Path(__file__).with_name("wandb.yaml").read_text())
        known = {name: value for name, value in wanted.items() if name in wandb.Settings.model_fields}
        settings = wandb.Settings(**known, stop_fn=lambda: None)  # the button `stop` at W&B must not stop a life
        about = {name: told.get(name) for name in ("name", "group", "job_type", "tags", "notes", "config")}
        named = {"name": "WANDB_NAME", "group": "WANDB_RUN_GROUP", "notes": "WANDB_NOTES"}
        about |= {key: os.environ[name] for key, name in named.items() if os.environ.get(name)}
        if tags := os.environ.get("WANDB_TAGS"):
            about["tags"] = [*(told.get("tags") or ()), *filter(None, map(str.strip, tags.split(",")))]
        about |= {"project": os.environ.get("WANDB_PROJECT", "cls-sim"), "dir": told["folder"], "id": told["start"]}

        def init(mode: str) -> Any:
            return wandb.init(mode=mode, resume="allow", settings=settings, **about)  # pyright: ignore

        try:
            self.run = init(told["mode"])
        except Exception as error:
            if told["mode"] != "online":
                raise
            wandb.teardown()  # the W&B service still holds the name of the failed run
            self.run = init("offline")
            self.answer({"fell_back": _brief(error), "mode": "offline"})
        self.run.define_metric("day")
        for stage in ("wake", "sleep", "evaluation"):
            self.run.define_metric(f"{stage}/*", step_metric="day")
        place = os.path.basename(self.run.settings.sync_dir)
        self.answer({"files": place, "url": None if self.run.offline else self.run.url})

    def row(self, row: dict[str, Any]) -> None:
        number = row.pop("n")
        self.run.log(row)
        self.rows = number + 1
        self.answer({"rows": self.rows})

    def finish(self, told: Mapping[str, Any]) -> None:
        outcome = told.get("outcome", "finished")
        missing = {}
        for name in ("summary", "tables", "images", "artifact"):
            try:
                if told.get(name):
                    missing |= self._send(name, told[name])
            except Exception as error:  # the other items may still be sent
                missing[name] = _brief(error)
        if missing:
            self.answer({"missing": missing})
            with contextlib.suppress(Exception):
                self.run.summary.update({f"missing/{name}": reason for name, reason in missing.items()})
        if outcome == "interrupted":
            self.run.mark_preempting()
        self.run.finish(exit_code=0 if outcome == "finished" else 1)
        self.answer({"closed": True})

    def _send(self, kind: str, told: Mapping[str, Any]) -> dict[str, str]:
        """Send the summary, the tables, the images, or the artifact: files up to the largest size, not moved.

        Returns what cannot be sent: name → reason.
        """
        import wandb

        missing: dict[str, str] = {}
        if kind == "summary":
            self.run.summary.update(dict(told))
        elif kind == "tables":
            self.run.log({name: wandb.Table(**table) for name, table in told.items()})
        elif kind == "images":
            images = {}
            for name, path in told.items():
                try:
                    images[name] = wandb.Image(path)
                except Exception as error:
                    missing[name] = _brief(error)
            self.run.log(images)
        else:
            artifact, sizes = wandb.Artifact(told["name"], told["type"]), 0
            for name in told["files"]:
                file = Path(told["root"], name)
                sizes += file.stat().st_size
                if sizes > FILES:
                    missing[name] = f"the artifact holds {FILES >> 20} MB at most"
                else:
                    artifact.add_file(str(file), name=name, skip_cache=True, policy="immutable")
            self.run.log_artifact(artifact)
        return missing


def _brief(error: BaseException) -> str:
    if isinstance(error, ConnectionError) or type(error).__name__ in ("HandleAbandonedError", "MailboxClosedError"):
        return "W&B's service died"
    text = " ".join(str(error).split())[:200]
    return f"{text or type(error).__name__}".rstrip(".")


def _end_all(seconds: float) -> None:
    """Kill this process and its children after this number of seconds, in case something hangs."""

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
        os.dup2(nowhere, shown)  # discards the output of W&B
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):  # sent to all processes; this one ends with the life
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
    """The life was killed: finish the run as interrupted, and record the number of rows sent."""
    _end_all(DEADLINE)
    service.hear({"end": {"outcome": "interrupted"}})
    with contextlib.suppress(OSError, ValueError):
        write(record, json.loads(text(record)) | {"state": "interrupted", "rows": service.rows})


if __name__ == "__main__":
    main()
