"""Runs a job, one arm for one chunk of the cohort, and reports on the finished life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cls_sim import sinks
from cls_sim.core.budget import SHARE, taken
from cls_sim.core.errors import ConfigError
from cls_sim.core.ledger import extra_bytes
from cls_sim.core.signals import Interrupted, handle_signals
from cls_sim.core.trees import fingerprint, leaves
from cls_sim.life import Life
from cls_sim.running.checkpointed import CheckpointedLife, past_of
from cls_sim.running.job import Job
from cls_sim.running.precision import products
from cls_sim.sinks.wandb_run import WandbRun
from cls_sim.storage.disk import read, write
from cls_sim.storage.run_directory import claimed
from cls_sim.storage.trace import Trace

PATIENCE = 10.0  # seconds to wait for a process of a killed run to exit


def live(
    job: Job, folder: Path, show: bool = False, life: Life | None = None, traces: Mapping[str, Trace] | None = None
) -> Trace | None:
    """Run a job to its end, from its last checkpoint; writes trace, checkpoints, branches, and a report at the end.

    Returns its trace; None if the job was done before.

    life    the life at birth, if it is built already
    traces  job → its trace, for traces in memory
    """
    report = folder / "jobs" / f"{job.name}.json"
    if is_done(job, folder):
        return None
    with (
        handle_signals() as ear,
        _one_thread(),
        products(job.arm.cfg),
        claimed(folder / "jobs" / f".{job.name}.lock", PATIENCE),
        ExitStack() as stack,
    ):
        kept = CheckpointedLife(job, folder, ear, life, traces)
        kept.wandb_run = stack.enter_context(WandbRun(job.arm.cfg["wandb"], folder, job.name, job.arm.cfg, kept.trace))
        if not kept.life.over:
            report.unlink(missing_ok=True)
        bar = stack.enter_context(sinks.progress(kept.life, job.arm.name, quiet=None if show else True))
        try:
            kept.live(bar)
        except Interrupted:
            kept.save()
            raise
        done = {"days": job.arm.cfg["days"], "left": kept.left, "budget": budget(kept.life), "seconds": kept.seconds()}
        found = {"fingerprint": fingerprint(kept.life.state()), "learnt": learnt(kept.life)}
        write(report, done | found)  # without it, the job ends again from its last checkpoint
        return kept.trace


def is_done(job: Job, folder: Path) -> bool:
    """Whether this job has run, from its present past, to the present setting of `days`."""
    report = folder / "jobs" / f"{job.name}.json"
    try:
        told = read(report) if report.is_file() else {}
    except ConfigError:
        return False
    return "days" in told and told["days"] == job.arm.cfg["days"] and past_of(job, folder) in (None, told.get("left"))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- the report on a finished life --------------------------------------------------------------------------


def budget(life: Life) -> dict[str, Any]:
    """The cost of each subject: passes, dose, bytes stored, parameters; and whether the task identity is known.

    extra_bytes  state of the learner other than weights, optimizer state and the content of the hippocampus
    bytes_*      with a budget of bytes: what is allowed and used, and what each kind of part uses (see core/budget.py)
    """
    totals = {name: count.tolist() for name, count in life.ledger.totals().items()}
    parameters = sum(int(np.prod(shape[1:])) for shape in life.spec.weights.values())
    stored = life.hippocampus.stored_bytes().cpu().tolist()
    learner = (life.neocortex, life.consolidation, life.replay, life.readout)
    extra = extra_bytes(learner, life.neocortex.weights, life.spec.subjects)
    kept: dict[str, Any] = {"stored_bytes": stored, "extra_bytes": extra, "parameters": parameters}
    if life.budget is not None:
        used = taken({part_kind: getattr(life, part_kind) for part_kind in SHARE}, life.spec.subjects)
        kept |= {"bytes_allowed": life.budget, "bytes_used": sum(used.values())}
        kept |= {f"bytes_{part_kind}": n for part_kind, n in used.items()}
    return totals | kept | {"task_id_known": life.spec.task_id_known}


def cost(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The budget of an arm from the reports of its chunks: the mean over subjects of each count."""
    first = reports[0]["budget"]
    counts = {key: [report["budget"][key] for report in reports] for key in first}
    return {
        key: float(np.mean(np.concatenate(counts[key]))) if isinstance(value, list) else value
        for key, value in first.items()
    }


def learnt(life: Life) -> str:
    """The sha256 of what a life has learnt: cortical weights and hippocampal state, independent of wraps."""
    memory = [leaf for _, leaf in sorted(leaves(life.hippocampus.state()), key=lambda pair: pair[0])]
    weights = {name: w.detach() for name, w in life.neocortex.weights.items()}
    return fingerprint({"weights": weights, "memory": {f"{i:04d}": leaf for i, leaf in enumerate(memory)}})
