"""A job, one arm's life of one chunk of the cohort; and what is told of a life that is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cls_sim import sinks
from cls_sim.core.errors import Refused
from cls_sim.core.ledger import extra_bytes
from cls_sim.core.signals import Interrupted, heeded
from cls_sim.life import Life
from cls_sim.running.job import Job
from cls_sim.running.kept import Kept, past_of
from cls_sim.sinks.mirror import Mirror
from cls_sim.storage.disk import read, write
from cls_sim.storage.folder import claimed

PATIENCE = 10.0  # seconds that a process whose run was killed may take to notice


def live(job: Job, folder: Path, show: bool = False) -> None:
    """Live a job's life to its end, from where it was last saved: trace, checkpoints, forks, and a report when done."""
    report = folder / "jobs" / f"{job.name}.json"
    if is_done(job, folder):
        return
    with heeded() as ear, _one_thread(), claimed(folder / "jobs" / f".{job.name}.lock", PATIENCE), ExitStack() as stack:
        kept = Kept(job, folder, ear)
        kept.mirror = stack.enter_context(Mirror(job.arm.cfg["wandb"], folder, job.name, job.arm.cfg, kept.trace))
        if not kept.life.over:
            report.unlink(missing_ok=True)
        bar = sinks.progress(kept.life, job.arm.name) if show else None
        try:
            kept.live(bar)
        except Interrupted:
            kept.save()
            raise
        finally:
            if bar:
                bar.close()
        done = {"days": job.arm.cfg["days"], "left": kept.left, "budget": budget(kept.life), "seconds": kept.seconds()}
        write(report, done | {"fingerprint": fingerprint(kept.life.state()), "learnt": learnt(kept.life)})


def is_done(job: Job, folder: Path) -> bool:
    """Whether this life, of this past, was lived to the age asked for."""
    report = folder / "jobs" / f"{job.name}.json"
    try:
        told = read(report) if report.is_file() else {}
    except Refused:
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


# -- what is told of a life that is over --------------------------------------------------------------------


def budget(life: Life) -> dict[str, Any]:
    """What each subject cost: passes, dose, bytes stored and parameters; and whether the context was told.

    extra_bytes  what the learner keeps beside its weights, its optimiser and what its hippocampus stores
    """
    totals = {name: count.tolist() for name, count in life.ledger.totals().items()}
    parameters = sum(int(np.prod(shape[1:])) for shape in life.spec.weights.values())
    stored = life.hippocampus.stored_bytes().cpu().tolist()
    learner = (life.neocortex, life.consolidation, life.replay, life.readout)
    extra = extra_bytes(learner, life.neocortex.weights, life.spec.subjects)
    kept = {"stored_bytes": stored, "extra_bytes": extra, "parameters": parameters}
    return totals | kept | {"context_told": life.spec.context_told}


def learnt(life: Life) -> str:
    """The sha256 of what a life has learnt: cortical weights and what the hippocampus holds, wrapped or not."""
    memory = list(leaves(life.hippocampus.state()))
    weights = {name: w.detach() for name, w in life.neocortex.weights.items()}
    return fingerprint({"weights": weights, "memory": {f"{i:04d}": leaf for i, leaf in enumerate(memory)}})


def leaves(tree: Mapping[str, Any]) -> Iterator[Any]:
    """The leaves of a state, in the order of their names."""
    for _, node in sorted(tree.items()):
        if isinstance(node, Mapping):
            yield from leaves(node)
        else:
            yield node


def fingerprint(tree: Mapping[str, Any]) -> str:
    """The sha256 of a whole state tree."""
    digest = hashlib.sha256()

    def walk(name: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key in sorted(node):
                walk(f"{name}.{key}", node[key])
        else:
            array = np.ascontiguousarray(node.cpu().numpy() if isinstance(node, torch.Tensor) else node)
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())

    walk("", tree)
    return digest.hexdigest()
