"""The base class of sinks, and a wrapper that catches their errors."""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TextIO


def print_above(line: str, out: TextIO) -> None:
    """Print a line, above the progress bar if there is one."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(line, file=out, flush=True)
    else:
        bars.tqdm.write(line, file=out)


class Sink(ABC):
    """Receives the events of one life: `start` once, `moment` for every row of its trace, `end` once."""

    @abstractmethod
    def start(self, info: Mapping[str, Any]) -> None:
        """A life starts or resumes; `info` has its name, group, tags and configuration."""

    @abstractmethod
    def moment(self, row: Mapping[str, Any]) -> None:
        """A row of the trace (see `trace.Trace`)."""

    @abstractmethod
    def end(self, summary: Mapping[str, Any]) -> None:
        """The life has ended; `summary` has its results."""


class Fenced(Sink):
    """A sink whose errors are caught: at its first error it is dropped with one warning, and the life continues.

    dropped  the reason; None while the sink works

    >>> from cls_sim.sinks import Console
    >>> sink = Fenced(Console(quiet=True))
    >>> sink.start({"name": "cls"}), sink.dropped
    (None, None)
    """

    def __init__(self, sink: Sink):
        self.sink = sink
        self.dropped: str | None = None

    def start(self, info: Mapping[str, Any]) -> None:
        self._call("start", info)

    def moment(self, row: Mapping[str, Any]) -> None:
        self._call("moment", row)

    def end(self, summary: Mapping[str, Any]) -> None:
        self._call("end", summary)

    def _call(self, name: str, told: Mapping[str, Any]) -> None:
        if self.dropped is not None:
            return
        try:
            getattr(self.sink, name)(told)
        except Exception as error:
            self.dropped = f"{type(error).__name__}: {error}"
            warnings.warn(f"{type(self.sink).__name__} is dropped ({self.dropped}); the life continues", stacklevel=3)
