"""`cls-sim-dashboard DIR`: the W&B workspace of a run or a sweep, made here and pushed only on demand.

cls-sim-dashboard DIR               write DIR/dashboard.json, the workspace as W&B stores it; nobody is called
cls-sim-dashboard DIR --picture     write DIR/dashboard.png too: what the panels contain, drawn from the traces
cls-sim-dashboard DIR --push        put the workspace into W&B (needs a login)
cls-sim-dashboard DIR --send        send finished runs to W&B: every row of every trace, tables, figures, files
cls-sim-dashboard DIR --send=offline    the same into DIR/wandb, for `wandb sync`

--entity=NAME and --project=NAME say where at W&B; by default where the runs are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cls_sim.commands.dashboard.panels import Run, found, panels
from cls_sim.commands.door import entered
from cls_sim.core.errors import Broken, Refused, suggest

OPTIONS = ("--picture", "--push", "--send", "--entity", "--project")


def main(argv: Sequence[str] | None = None) -> int:
    """The door of `cls-sim-dashboard`; exit codes as everywhere."""
    return entered("cls-sim-dashboard", _door, argv)


def _door(args: list[str]) -> int:
    if "-h" in args or "--help" in args:
        print(__doc__)
        return 0
    options = _options(args)
    folder = Path(next((arg for arg in args if not arg.startswith("-")), ""))
    if sum(not arg.startswith("-") for arg in args) != 1:
        raise Refused("cls-sim-dashboard", "needs one folder", "name a run or a sweep")
    runs = list(found(folder))
    if "--send" in options:
        _send(runs, options["--send"])
    if "--picture" in options:
        from cls_sim.commands.dashboard.picture import picture

        print(f"picture: {picture(runs[0], folder / 'dashboard.png')}")
    if "--send" in options and "--push" not in options:
        return 0
    from cls_sim.commands.dashboard.workspace import push, workspace

    entity, project = _place(runs, options)
    spec = workspace(folder, runs, entity, project)
    _write(folder / "dashboard.json", json.dumps(spec, indent=1) + "\n")
    print(f"dashboard: {folder / 'dashboard.json'} ({len(panels(runs))} panels)")
    if "--push" in options:
        print(f"pushed: {push(folder, runs, entity, project)}")
    return 0


def _options(args: list[str]) -> dict[str, str]:
    given = {}
    for arg in args:
        if arg.startswith("-"):
            name, _, value = arg.partition("=")
            if name not in OPTIONS:
                raise Refused(arg, "is no option of cls-sim-dashboard", suggest(name, OPTIONS))
            given[name] = value
    if given.get("--send", "") not in ("", "online", "offline"):
        raise Refused("--send", f"{given['--send']!r} is neither online nor offline", "give one of them")
    for name in ("--entity", "--project"):
        if name in given and not re.fullmatch(r"[\w.-]{1,128}", given[name]):
            raise Refused(name, f"{given[name]!r} is no name", f"write {name}=NAME")
    return given


def _place(runs: Sequence[Run], options: Mapping[str, str]) -> tuple[str, str]:
    """Entity and project: as given, as set for W&B, or where a run of these is."""
    entity, project = "", ""
    for run in runs:
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            for told in json.loads((run.folder / "wandb.json").read_text()).values():
                if url := re.fullmatch(r"https?://.+?/([\w.-]+)/([\w.-]+)/runs/\w+", told.get("url") or ""):
                    entity, project = url[1], url[2]
    entity = options.get("--entity") or os.environ.get("WANDB_ENTITY") or entity
    return entity, options.get("--project") or os.environ.get("WANDB_PROJECT") or project or "cls-sim"


def _send(runs: Sequence[Run], mode: str) -> None:
    from cls_sim.sinks.wandb_run import send

    for run in runs:
        sent = send(mode or "online", run.folder)
        told = json.loads((run.folder / "wandb.json").read_text())
        rows = sum(told[name]["rows"] for name in sent)
        lost = sum(told[name]["lost"] for name in sent)
        places = sorted({told[name]["url"] or str(run.folder / "wandb" / told[name].get("files", "")) for name in sent})
        print(f"sent: {run.folder} ({len(sent)} runs, {rows} rows, {lost} lost) to {places[0]}", flush=True)
        if any(told[name]["state"] != "finished" for name in sent):
            raise Broken("--send", f"{run.folder} did not get there whole", "try again, or give --send=offline")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Broken(str(path), f"cannot be written ({error.strerror})", "make room, or copy the run") from None
