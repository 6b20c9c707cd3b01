"""A finished run, opened again: its tables, claims, figures, configuration and weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from cls_sim.config import experiments
from cls_sim.core.errors import ConfigError, known, whole
from cls_sim.life import Life
from cls_sim.running.checkpointed import final
from cls_sim.running.job import Job, jobs
from cls_sim.running.kept import path_of
from cls_sim.running.runs import Outcome, figure_specs, gathered, judged, readings
from cls_sim.running.studies import Study
from cls_sim.storage import disk, packed, run_directory, summary
from cls_sim.storage.looks import Measure, measured
from cls_sim.storage.summary import Claim
from cls_sim.storage.trace import Trace


@dataclass(frozen=True, repr=False)
class FinishedRun(Study):
    """A finished run on disk; what a Study has, and:

    folder  its directory
    config  arm → all settings
    """

    folder: Path = Path()
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    jobs: Sequence[Job] = ()

    def life(self, arm: str, subject: int = 0) -> Life:
        """The life of the chunk that contains this subject (from 0), at the end of the run."""
        return final(self._job(arm, subject), self.folder)

    def module(self, arm: str, subject: int = 0) -> nn.Module:
        """The neocortex of one subject at the end of the run, as a plain PyTorch network with its weights."""
        job = self._job(arm, subject)
        return final(job, self.folder).neocortex.to_module(subject - job.first)

    def measure(self, reading: str, window: int = 10) -> dict[str, Measure]:
        """A reading of the answers that the run has kept: arm → [s], or why it is undefined.

        reading  such as anytime, min_acc, stability_gap, windowed_forgetting, prequential (`cls-sim measure --help`)
        window   number of looks of a window, from 2

        Raises ConfigError for an unknown reading, and for a run without `answers=kept`.
        """
        if not (self.folder / "answers").is_dir():
            raise ConfigError(str(self.folder), "has kept no answers", "run it again with answers=kept")
        chunks: dict[str, list[Trace]] = {}
        for job in self.jobs:
            path = path_of(job.name, self.folder)
            chunks.setdefault(job.arm.name, []).append(Trace.read(path, form=packed))
        return {arm: measured(parts, reading, window) for arm, parts in chunks.items()}

    def _job(self, arm: str, subject: int) -> Job:
        known("arm", arm, self.config, f"{arm!r} is not in this run")
        mine = [job for job in self.jobs if job.arm.name == arm]
        subject = whole("subject", subject, 0, mine[-1].first + mine[-1].subjects - 1)
        return next(job for job in mine if job.first <= subject < job.first + job.subjects)


def open_run(folder: str | Path, folders: Sequence[str] = ()) -> FinishedRun:
    """Open the directory of a finished run; nothing is written.

    folder   the directory that the run printed as `run:`
    folders  folders of configuration files that the run was given (`--config-dir`)

    Raises ConfigError if it is no run directory, is not finished, or was made from other configuration files.

    >>> open_run("no_such_folder")
    Traceback (most recent call last):
    cls_sim.core.errors.ConfigError: resume: no_such_folder is not a run directory; name the folder printed as `run:`
    """
    done = reopened(Path(folder), folders)
    return FinishedRun(
        traces=done.traces,
        readings=done.readings,
        summary=summary.read(done.folder).entries(),
        figures=figure_specs(done.experiment),
        folder=done.folder,
        config={name: arm.cfg for name, arm in done.experiment.arms.items()},
        jobs=done.jobs,
    )


def reopened(folder: Path, folders: Sequence[str] = ()) -> Outcome:
    """The outcome of a finished run, from its directory; raises ConfigError as `open_run` does."""
    old = run_directory.record(folder)
    disk.plain_below(folder)
    if not (folder / "summary.json").is_file():
        raise ConfigError(str(folder), "is not finished", f"continue it with cls-sim {shlex.quote(f'resume={folder}')}")
    experiment = experiments.read(old.get("overrides", []), folders)
    run_directory.same(folder, old, experiment)
    return gathered(experiment, folder, jobs(experiment))


def judged_in_blocks(folder: Path, subjects: int) -> list[tuple[Claim, ...]]:
    """The verdicts on the claims of a finished run in each block of `subjects` subjects, as if it had lived alone.

    A subject's life does not depend on its company, so a block of a large cohort has the readings that it has alone
    (up to rounding).  Arms count as identical in a block if the chunks that contain it have also learnt the same.
    """
    done, blocks = reopened(folder), []
    for first in range(0, done.experiment.cfg["subjects"], subjects):
        cfg = done.experiment.cfg | {"seed": done.experiment.cfg["seed"] + first, "subjects": subjects}
        traces = {name: trace.part(first, subjects) for name, trace in done.traces.items()}
        block = replace(
            done,
            experiment=replace(done.experiment, cfg=cfg),
            jobs=[job for job in done.jobs if job.first < first + subjects and first < job.first + job.subjects],
            traces=traces,
            readings={name: readings(trace) for name, trace in traces.items()},
        )
        blocks.append(judged(block)[1])
    return blocks
