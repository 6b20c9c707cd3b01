"""Where jobs are lived: in processes of this machine, or on a Ray cluster.

A job is an arm's life of one chunk of the cohort.  It has the same bits in every engine, because it is cut by `chunk`,
lived by one thread, and draws from its own subjects' seeds.
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
