"""The progress bar of a life."""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import Any

from cls_sim.core.clock import Clock

EVERY = 0.1  # seconds between two drawings of a bar


class Progress:
    """A progress bar in experiences, with the remaining time, the day, the night and the phase.

    It is silent without a terminal (a notebook counts as one), under pytest, or if `quiet`.  `update` draws at most ten
    times per second.

    >>> with Progress(1000, "cls") as bar:
    ...     bar.update(Clock(subjects=2, per_day=10))
    """

    def __init__(self, total: int | None, label: str, *, quiet: bool | None = None):
        self._next = 0.0
        self._clock: Clock | None = None
        hidden = not _watched() if quiet is None else quiet
        self._bar = None if hidden else _bar(total, label)

    def update(self, clock: Clock) -> None:
        """Show the present age of the cohort."""
        if self._bar is None:
            return
        self._clock = clock
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self._draw(clock)

    def close(self) -> None:
        """Draw the last state, and close the bar."""
        if self._bar is not None:
            if self._clock is not None:
                self._draw(self._clock)
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw(self, clock: Clock) -> None:
        assert self._bar is not None
        asleep = "asleep" if clock.asleep.all() else "some asleep" if clock.asleep.any() else "awake"
        self._bar.n = round(float(clock.experience.mean()))
        self._bar.set_postfix_str(f"day {clock.day.mean():.1f}, night {clock.night.max()}, {asleep}", refresh=True)


def progress(life: Any, label: str = "life", *, quiet: bool | None = None) -> Progress:
    """A progress bar for a life until its horizon: call `update(life.clock)` and finally `close()`."""
    return Progress(life.horizon, label, quiet=quiet)


def _watched() -> bool:
    """Whether there is a terminal or a notebook, and no test is running."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "IPKernelApp" in getattr(shell, "config", {}) or bool(getattr(sys.stderr, "isatty", lambda: False)())


def _bar(total: int | None, label: str) -> Any:
    with warnings.catch_warnings():  # no warning in a notebook without ipywidgets, which gets the plain bar
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread of its own: `Progress` draws

    form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]" if total else None
    return Bar(total=total, desc=label, unit="exp", bar_format=form, dynamic_ncols=True, mininterval=0, leave=True)
