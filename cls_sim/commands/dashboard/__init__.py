"""`cls-sim-dashboard DIR`: make the W&B workspace of a run or a sweep, and upload it on request.

cls-sim-dashboard DIR               write DIR/dashboard.json, the workspace in the format of W&B; no network access
cls-sim-dashboard DIR --picture     also write DIR/dashboard.png, the content of the panels drawn from the traces
cls-sim-dashboard DIR --push        upload the workspace to W&B (needs a login)
cls-sim-dashboard DIR --send        upload finished runs to W&B: all rows of all traces, tables, figures, files
cls-sim-dashboard DIR --send=offline    write the same to DIR/wandb, for `wandb sync`

--entity=NAME and --project=NAME choose the place at W&B; the default is the place of the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Sequence

from cls_sim.commands.dashboard.panels import Run, found, panels
from cls_sim.commands.door import Parser, entered, folders
from cls_sim.core.errors import ConfigError, StorageError, refuse_if
from cls_sim.storage.disk import put, read


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim-dashboard`."""
    args = ["--send=online" if arg == "--send" else arg for arg in (sys.argv[1:] if argv is None else argv)]
    settings = {"send": None, "entity": None, "project": None}
    return entered(Parser("cls-sim-dashboard", __doc__, settings, ("--picture", "--push")), _dashboard, args)


def _dashboard(args: argparse.Namespace) -> None:
    if args.send not in (None, "online", "offline"):
        raise ConfigError("--send", f"{args.send!r} is neither online nor offline", "give one of them")
    for name in ("entity", "project"):
        if getattr(args, name) is not None and not re.fullmatch(r"[\w.-]{1,128}", getattr(args, name)):
            raise ConfigError(f"--{name}", f"{getattr(args, name)!r} is not a name", f"write --{name}=NAME")
    refuse_if(len(args.given) != 1, "cls-sim-dashboard", "needs one folder", "name a run or a sweep")
    (folder,) = folders(args.given)
    runs = found(folder)
    if args.send:
        _send(runs, args.send)
    if args.picture:
        from cls_sim.commands.dashboard.picture import picture

        print(f"picture: {picture(runs[0], folder / 'dashboard.png')}")
    if args.send and not args.push:
        return
    from cls_sim.commands.dashboard.workspace import push, workspace

    entity, project = _place(runs, args)
    spec = workspace(folder, runs, entity, project)
    put(folder / "dashboard.json", (json.dumps(spec, indent=1) + "\n").encode())
    print(f"dashboard: {folder / 'dashboard.json'} ({len(panels(runs))} panels)")
    if args.push:
        print(f"pushed: {push(folder, runs, entity, project)}")


def _place(runs: Sequence[Run], args: argparse.Namespace) -> tuple[str, str]:
    """Entity and project: from the arguments, from the environment of W&B, or from one of the runs."""
    entity, project = "", ""
    for run in runs:
        with contextlib.suppress(ConfigError, AttributeError, TypeError):
            for told in read(run.folder / "wandb.json").values():
                if url := re.fullmatch(r"https?://.+?/([\w.-]+)/([\w.-]+)/runs/\w+", told.get("url") or ""):
                    entity, project = url[1], url[2]
    entity = args.entity or os.environ.get("WANDB_ENTITY") or entity
    return entity, args.project or os.environ.get("WANDB_PROJECT") or project or "cls-sim"


def _send(runs: Sequence[Run], mode: str) -> None:
    from cls_sim.sinks.wandb_run import send

    for run in runs:
        sent = send(mode, run.folder)
        told = read(run.folder / "wandb.json")
        rows = sum(told[name]["rows"] for name in sent)
        lost = sum(told[name]["lost"] for name in sent)
        places = sorted({told[name]["url"] or str(run.folder / "wandb" / told[name].get("files", "")) for name in sent})
        print(f"sent: {run.folder} ({len(sent)} runs, {rows} rows, {lost} lost) to {places[0]}", flush=True)
        if any(told[name]["state"] != "finished" for name in sent):
            raise StorageError("--send", f"{run.folder} was not sent completely", "try again, or give --send=offline")
