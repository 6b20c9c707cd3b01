"""The room of probes: what is measured, and when."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from cls_sim.core.errors import choice
from cls_sim.core.part import Part

MOMENTS = ("life.begin", "day.end", "night.end", "context.end", "life.end")


class Probe(Part):
    """Measures a life without changing it, at the moments named by `at`.

    A probe in a notebook can be a plain function life → [s]; it looks at night.end and life.end.
    """

    def __init__(self, *, at: str | list[str] | tuple[str, ...] = ("context.end", "life.end")):
        moments = (at,) if isinstance(at, str) else tuple(at)
        self.at = tuple(choice("at", moment, MOMENTS) for moment in moments)

    @abstractmethod
    def measure(self, life: Any) -> Tensor:
        """One number a subject [s], or several [s, k]; NaN where undefined.

        Read at context ends, the k are contexts (forgetting and transfer follow); else a profile over an axis of the
        probe's own, such as age or correlation.
        """
