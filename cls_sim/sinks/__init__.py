"""Sinks receive the rows of a trace while a life runs: progress bar, terminal output, summary, and W&B.

The trace is the result; a sink only shows it.  A sink that fails never stops a life.
"""

from __future__ import annotations

from cls_sim.sinks.bar import Progress, progress
from cls_sim.sinks.base import Fenced, Sink
from cls_sim.sinks.console import Console, print_protocol, print_summary, table
from cls_sim.sinks.curves import costs, curves
from cls_sim.sinks.wandb import Wandb

__all__ = [
    "Console",
    "Fenced",
    "Progress",
    "Sink",
    "Wandb",
    "costs",
    "curves",
    "print_protocol",
    "print_summary",
    "progress",
    "table",
]
