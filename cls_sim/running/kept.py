"""`answers=kept`: the raw answers of a job, beside its trace in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import refuse_if
from cls_sim.running.job import Job
from cls_sim.storage import disk, packed
from cls_sim.storage.cohort import row_of
from cls_sim.storage.lines import Row
from cls_sim.storage.looks import FULL
from cls_sim.storage.run_directory import say
from cls_sim.storage.trace import Trace, new_trace

LIMIT = 2**28  # largest size of a file of answers, in bytes


class KeptAnswers:
    """The file of answers of a job; without `answers=kept` it does nothing.

    A file that has reached its largest size ends with a row of the moment `answers.full`, and readings of it are
    undefined, with this reason.
    """

    def __init__(self, job: Job, folder: Path):
        self.path = path_of(job.name, folder)
        self._on = bool(job.arm.cfg.get("answers"))
        self._folder = folder
        self._trace: Trace | None = None

    @property
    def rows(self) -> int:
        return 0 if self._trace is None else len(self._trace)

    def begin(self, past: Sequence[Row] = ()) -> None:
        """Make the file, with the rows of a shared past."""
        if not self._on:
            return
        disk.made(self.path.parent, below=self._folder)
        self._trace = new_trace(self.path, past, packed)

    def go_on(self, rows: int) -> None:
        """Open the file of a resumed job, which had this number of rows."""
        if not self._on:
            return
        refuse_if(not self.path.is_file(), str(self.path), "is missing", "restore it, or start a new run")
        self._trace = Trace(self.path, rows=rows, form=packed)
        self._trace.cut(rows)

    def past(self, name: str, rows: int) -> Sequence[Row]:
        """The first rows of the job with this name."""
        path = path_of(name, self._folder)
        return Trace.read(path, rows=rows, form=packed).rows if self._on and path.is_file() else ()

    def take(self, readings: dict[str, Any], moment: Moment, clock: Clock) -> None:
        """Take the answers out of these readings and write them."""
        numbers = readings.pop(packed.NAME, None) if self._on else None
        trace = self._trace
        if numbers is None or trace is None or (trace.rows and trace.rows[-1]["moment"] == FULL):
            return
        kept, name = packed.packed(numbers.cpu().numpy()), moment.name
        if trace.size + kept.nbytes > LIMIT:
            name, kept = FULL, kept[:, :0]
            say(f"{self.path}: answers end on day {clock.day.min():g}, because the file has {LIMIT >> 20} MiB")
        day, who = np.array(clock.day, np.float64), np.array(moment.who, bool)
        trace.extend([row_of(name, day, int(clock.tick), {packed.NAME: kept}, who)])

    def sync(self) -> None:
        if self._trace is not None:
            self._trace.sync()

    def close(self) -> None:
        if self._trace is not None:
            self._trace.close()


def path_of(name: str, folder: Path) -> Path:
    """The file of answers of the job with this name."""
    return folder / "answers" / f"{name}.jsonl"
