"""The order of replay, and how fast a subject reaches its goal."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import refuse_if
from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe, of_part, of_world

SIZES, PLACES, DIRECTIONS = ("small", "large"), ("start", "end"), ("forward", "reverse")


class ReplayOrder(Settings, Probe):
    """Forward or reverse sequences for each pause so far [s], counted by the replay `Ordered`; NaN without pauses.

    direction  forward or reverse
    place      start (of an episode; a night that follows no end of an episode counts as one), end, or any
    after      the size of the latest reward: small, large or any

    Source: events a lap, Diba & Buzsáki 2007; Mattar & Daw 2018.

    >>> ReplayOrder(direction="reverse", place="end").place
    'end'
    """

    moments = ("life.end",)

    direction: str = setting("forward", DIRECTIONS)
    place: str = setting("any", (*PLACES, "any"))
    after: str = setting("any", (*SIZES, "any"))

    def measure(self, life: Measured) -> Tensor:
        asks, remedy = "needs a replay that counts sequences", "use replay=gain_need, or wrap it in Ordered"
        counter = of_part(life.replay, asks, remedy, "counts", "pauses")
        sizes = [SIZES.index(self.after)] if self.after != "any" else [0, 1]
        places = [PLACES.index(self.place)] if self.place != "any" else [0, 1]
        found = counter.counts[..., DIRECTIONS.index(self.direction)][:, sizes][:, :, places].sum((1, 2)).double()
        pauses = counter.pauses[:, sizes][:, :, places].sum((1, 2)).double()
        return torch.where(pauses > 0, found / pauses, torch.nan)


class EpisodeSteps(Settings, Probe):
    """The steps that a subject took from start to goal in one run [s], or in each [s, k]; NaN where not finished.

    episode  from 1; None: all episodes that the world counts (`Maze(counted=…)`)

    >>> EpisodeSteps(episode=5).episode
    5
    """

    moments = ("life.end",)
    axis = "run"

    episode: int | None = setting(None)

    def measure(self, life: Measured) -> Tensor:
        taken: Tensor = of_world(life, "taken", "counts the steps of episodes", "use world=track or world=maze")
        steps = torch.where(taken >= 0, taken.double(), torch.nan)
        if self.episode is None:
            return steps
        reason = f"is {self.episode}, and this world counts the first {taken.shape[1]}"
        refuse_if(self.episode > taken.shape[1], "episode", reason, "give world.counted")
        return steps[:, self.episode - 1]
