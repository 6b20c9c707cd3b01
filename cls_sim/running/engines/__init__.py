"""Engines run jobs: in processes on this machine, or on a Ray cluster.

A job is the life of one arm for one chunk of the cohort.  Its result has the same bits in every engine: its size is
`chunk`, it runs in one thread, and its random numbers depend only on the seeds of its subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cls_sim.running.engines.base import Engine
from cls_sim.running.engines.cluster import Ray
from cls_sim.running.engines.local import Local

__all__ = ["Engine", "Local", "Ray", "engine"]


def engine(cfg: Mapping[str, Any]) -> Engine:
    """The engine that a configuration asks for.

    >>> type(engine({"engine": "local", "workers": 2, "device": "cpu"})).__name__
    'Local'
    """
    return Ray(cfg["workers"], cfg["device"]) if cfg["engine"] == "ray" else Local(cfg["workers"])
