"""Sinks receive the rows of a trace while a life runs: progress bar, terminal output, summary, and W&B.

The trace is the result; a sink only shows it.  A sink that fails never stops a life.
"""

from cls_sim.sinks.bar import Progress as Progress
from cls_sim.sinks.bar import progress as progress
from cls_sim.sinks.base import Fenced as Fenced
from cls_sim.sinks.base import Sink as Sink
from cls_sim.sinks.console import Console as Console
from cls_sim.sinks.console import print_protocol as print_protocol
from cls_sim.sinks.console import print_summary as print_summary
from cls_sim.sinks.console import table as table
from cls_sim.sinks.curves import costs as costs
from cls_sim.sinks.curves import curves as curves
from cls_sim.sinks.wandb import Wandb as Wandb
