"""The order and the speed of replay events."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import choice
from cls_sim.probes.base import Measured, Probe, of_part

PLACES = ("start", "end")
OF = ("score", "forward", "reverse", "events", "compression", "onward")


class ReplayEvents(Probe):
    """The order of the replay events so far [s], measured by the replay `Events`.

    of     score        mean correlation of an event with the order of the past: 1 forward, -1 reverse
           forward      ordered forward events for each pause (p as set in `Events`)
           reverse      ordered reverse events for each pause
           events       events for each pause, ordered or not
           onward       of the steps between rows that were lived one right after the other, the share that goes forward
           compression  experiences from the first to the last row of an event, for each replay step
    place  start (of an episode; a night that follows no end of an episode counts as one), end, or any

    NaN without pauses; of score and compression without events, and of onward without such steps.

    Source: Foster & Wilson 2006; Diba & Buzsáki 2007.

    >>> ReplayEvents(of="reverse", place="end").place
    'end'
    """

    moments = ("life.end",)

    def __init__(self, *, of: str = "score", place: str = "any"):
        self.of, self.place = choice("of", of, OF), choice("place", place, (*PLACES, "any"))

    def measure(self, life: Measured) -> Tensor:
        asks, remedy = "needs a replay that measures events", "wrap it in Events, or use replay=unfolded"
        meter = of_part(life.replay, asks, remedy, "so_far", "ordered")
        places = [PLACES.index(self.place)] if self.place != "any" else [0, 1]
        sums = {name: total[:, places].sum(1).double() for name, total in meter.so_far().items()}
        above, below = {
            "score": (sums["score"], sums["events"]),
            "forward": (sums["ordered"][..., 0], sums["pauses"]),
            "reverse": (sums["ordered"][..., 1], sums["pauses"]),
            "events": (sums["events"], sums["pauses"]),
            "compression": (sums["span"], sums["steps"]),
            "onward": (sums["beside"][..., 0], sums["beside"].sum(1)),
        }[self.of]
        return torch.where(below > 0, above / below, torch.nan)
