"""A life in a notebook, without files."""

from __future__ import annotations

import numpy as np

from cls_sim.core.clock import Moment
from cls_sim.core.signals import handle_signals
from cls_sim.life import Life
from cls_sim.running.finite import FiniteCheck
from cls_sim.sinks.bar import progress as bar_of
from cls_sim.storage.trace import Trace


def run(life: Life, days: float | None = None, *, trace: Trace | None = None, progress: bool = True) -> Trace:
    """Simulate a life for `days` more days (None: until the world ends) and return the trace of its probes.

    trace     the trace of an earlier run of this life, to be continued; its row of life.end is removed
    progress  whether to show a progress bar

    Ctrl-C stops after the present tick and its evaluations, so that `run` can be called again to continue; a second
    Ctrl-C stops at once.  `life.clock.day` is the age of the life.

    Raises ConfigError if the world ends before, and Diverged as soon as a weight is NaN or infinite.

    >>> from cls_sim.config.experiments import build
    >>> trace = run(build("experiment=digits", "subjects=2", "size=small"), days=1)
    >>> trace.last("accuracy").shape
    (2, 5)
    """
    trace, finite, everybody = Trace() if trace is None else trace, FiniteCheck(life), np.ones(life.spec.subjects, bool)
    life.horizon = life.ahead(days)
    if trace.rows and trace.rows[-1]["moment"] == "life.end":
        trace.cut(len(trace) - 1)

    def look(moment: Moment) -> None:
        readings = life.measure(moment)
        if readings:
            trace.append(moment, life.clock, {name: value.cpu().numpy() for name, value in readings.items()})

    bar = bar_of(life, "life", quiet=None if progress else True)
    try:
        with handle_signals("SIGINT", leaves=False) as ear, finite, bar:
            if life.clock.tick == 0:
                look(Moment("life.begin", everybody))
            while not life.over:
                ear.check()
                moments = life.step()
                finite.pulse()
                for moment in moments:
                    look(moment)
                bar.update(life.clock)
            look(Moment("life.end", everybody))
    finally:
        life.horizon = life.world.length
    return trace
