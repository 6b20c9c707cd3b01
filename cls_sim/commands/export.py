"""`cls-sim export DIR`: the results of a finished run as files that other programs read.

cls-sim export DIR                 write DIR/export
cls-sim export DIR out=FOLDER      write FOLDER, which must not exist or be empty

table.csv             one row per arm, subject, moment, reading and context
summary.json          readings with intervals, differences, budgets, claims
weights/ARM-SUBJECT.safetensors   the neocortex of each subject as a PyTorch state dict; arms whose neocortex has no
                      plain form are left out and named
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from cls_sim.commands.door import Parser, entered
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.storage.disk import LARGEST, content, made, put


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim export`."""
    return entered(Parser("cls-sim export", __doc__, {"out": None}), _export, argv, needs="a run directory")


def _export(args: argparse.Namespace) -> None:
    from safetensors.torch import save

    from cls_sim.running.opened import open_run

    refuse_if(len(args.given) != 1, "export", f"has {len(args.given)} folders", "name one run directory")
    run = open_run(args.given[0])
    out = Path(args.out) if args.out else run.folder / "export"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("out", f"{out} exists and is not empty", "remove it, or give another folder, out=FOLDER")
    made(out / "weights")
    run.to_csv(out / "table.csv")
    put(out / "summary.json", content(run.folder / "summary.json", LARGEST), lasts=False)
    for job in run.jobs:
        cortex = run.life(job.arm.name, job.first).neocortex
        for i in range(job.subjects):
            try:
                state = cortex.state_dict(i)
            except ConfigError as refused:
                print(f"{job.arm.name}: no weights written: {refused}")
                break
            path = out / "weights" / f"{job.arm.name}-{job.first + i}.safetensors"
            put(path, save({name: t.contiguous() for name, t in state.items()}), lasts=False)
    if not any((out / "weights").iterdir()):
        shutil.rmtree(out / "weights")
    print(f"export: {out}", flush=True)
