"""Processes without a terminal, where W&B would prompt."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cls_sim


def child(*command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start Python in a new session without a terminal, where W&B would prompt; it can import this package."""
    places = [str(Path(cls_sim.__file__).parent.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = os.pathsep.join(os.path.abspath(place) for place in places if place)
    return subprocess.Popen(
        [sys.executable, "-P", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**env, "WANDB_ERROR_REPORTING": "false", "PYTHONPATH": path},
        cwd=os.path.abspath(os.sep),  # W&B reads settings in the folder where it starts
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, including suspended ones."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
