"""Replay that a memory of order unfolds from the place where the subject is."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay

DIRECTIONS = ("reward", "forward", "reverse")


class Unfolded(Settings, Replay):
    """A memory of order starts from what the subject met last and is left to itself, one pattern in each replay step.

        z_0 = x of the latest experience,   z_k = what follows z_(k-1) (forward) or came before it (reverse)

    Each step replays the newest trace of z_k, forward from z_1 on, in reverse from z_0 on; where no trace is close to
    it, the night or pause has no further rows.

    direction  reward: in reverse if the latest experience brought a reward above 0, else forward; forward; reverse
    noise      share of the entries of z_k that change their sign, in [0, 0.5], by lot

    Needs a memory of order (`Follows`).  A batch has one row; it has weight 0 where nothing is replayed.  State: z [s,
    N], the night it belongs to [s], and whether the sequence goes on, bool [s].

    Source: replay from the place where the animal is, in reverse at a reward, Foster & Wilson 2006; forward before a
    run, Diba & Buzsáki 2007; that reward turns the direction is an assumption (Ambrose, Pfeiffer & Foster 2016).

    >>> Unfolded(direction="reverse").noise
    0.0
    """

    derived = frozenset({"_lots"})

    direction: str = setting("reward", DIRECTIONS)
    noise: float = setting(0.0, 0.0, 0.5)

    def setup(self, spec: Spec) -> Spec:
        width, device = int(torch.Size(spec.inputs).numel()), spec.device
        self._lots = Draws(spec.seeds, "replay.unfolded", (width,), device=device)
        self.z = torch.zeros(spec.subjects, width, device=device)
        self.night = torch.full((spec.subjects,), -1, dtype=torch.int64, device=device)
        self.goes_on = torch.zeros(spec.subjects, dtype=torch.bool, device=device)
        self.turned = torch.zeros(spec.subjects, dtype=torch.bool, device=device)
        return spec

    @torch.no_grad()
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        asleep, night = (from_numpy(one).to(self.night.device) for one in (clock.asleep, clock.night))
        new = asleep & (night != self.night)
        assert view.latest is not None
        lived = view.latest()
        turned = torch.where(new, self._turns(lived), self.turned)
        z = torch.where(new[:, None], lived.x[:, -1].flatten(1).to(self.z.dtype), self.z)
        z, slot = hippocampus.unfold(z, torch.where(turned, torch.where(new, 0, -1), 1))
        if self.noise:
            z = torch.where(self._lots.at(clock.replay) < self.noise, -z, z)
        goes_on = (new | self.goes_on) & (slot >= 0)
        self.z = torch.where(asleep[:, None], z, self.z)
        self.turned, self.goes_on = turned, torch.where(asleep, goes_on, self.goes_on)
        self.night = torch.where(asleep, night, self.night)
        batch = hippocampus.fetch(slot.clamp(min=0)[:, None])
        return batch.with_(weight=batch.weights() * (goes_on & asleep)[:, None])

    def _turns(self, lived: Batch) -> Tensor:
        """Whether the sequences of the coming night run in reverse: bool [s]."""
        if self.direction != "reward" or lived.reward is None:
            return torch.full_like(self.turned, self.direction == "reverse")
        return lived.reward[:, -1] > 0
