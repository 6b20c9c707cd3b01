"""A whole experiment in a notebook: all arms, claims and figures."""

from __future__ import annotations

import html
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cls_sim import figures, sinks
from cls_sim.config import experiments
from cls_sim.core.errors import known
from cls_sim.running.runs import checked, figure_specs, performed
from cls_sim.storage import tidy
from cls_sim.storage.trace import Trace


@dataclass(frozen=True, repr=False)
class Study:
    """The results of an experiment; shown as the table that the command line prints, with the claims below.

    traces    arm → Trace
    readings  arm → name → [s], the last of each
    summary   as in summary.json: estimates, paired differences, budgets, claims
    figures   name → settings of the figures of the experiment's file
    """

    traces: Mapping[str, Trace]
    readings: Mapping[str, Mapping[str, np.ndarray]]
    summary: Mapping[str, Any]
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def figure(self, name: str) -> Any:
        """Draw a figure of the experiment's file from these results.  Raises ConfigError for an unknown name."""
        known("figure", name, self.figures, f"there is no {name!r}")
        return figures.draw(name, self.figures[name], self.traces, self.readings)[0]

    def to_pandas(self) -> Any:
        """All readings as a tidy DataFrame: arm, subject, day, tick, moment, reading, context, value.

        Raises ConfigError if pandas is not installed.
        """
        return tidy.to_pandas({arm: trace.rows for arm, trace in self.traces.items()})

    def to_csv(self, path: str | Path) -> Path:
        """Write the same table as a CSV file; returns its path."""
        return tidy.to_csv({arm: trace.rows for arm, trace in self.traces.items()}, path)

    def __repr__(self) -> str:
        page = io.StringIO()
        sinks.print_summary(self.summary, page)
        return page.getvalue().rstrip()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def study(*overrides: str, folders: Sequence[str] = ()) -> Study:
    """Run all arms of an experiment (or those of `arms=[…]`) and return the results in memory.

    The results are the same as from the command line with these overrides; nothing stays on disk.  Raises ConfigError
    for unknown, contradictory or out-of-range settings.

    >>> found = study("experiment=digits", "subjects=2", "days=2", "arms=[cls,sleepless]")
    >>> sorted(found.readings), sorted(found.figures)[:2]
    (['cls', 'sleepless'], ['contexts', 'first_life'])
    """
    with tempfile.TemporaryDirectory(prefix="cls-sim-") as place:
        experiment = checked(experiments.read([*overrides, f"out={Path(place) / 'run'}"], folders))
        asked = figure_specs(experiment)
        experiment.cfg["figures"] = {}  # drawn when asked for
        done = performed(experiment, quiet=True)
    assert done.summary is not None
    return Study(traces=done.traces, readings=done.readings, summary=done.summary.entries(), figures=asked)
