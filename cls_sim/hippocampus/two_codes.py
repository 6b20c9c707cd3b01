"""A CA3 that stores each episode in two codes at once, a dense one and a sparse one."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.hippocampus.base import Recall
from cls_sim.hippocampus.dentate import Dentate, active
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.slots import EVICTION, MOST

CODES = ("dense", "sparse")


class TwoCodes(Settings, Episodic):
    """One Hopfield network stores the sum of two codes of each episode; the threshold decides which of them comes back.

        η = γ ζ + (1 - γ) (ξ - a),   ζ = x, dense and correlated (perforant path);  ξ sparse, apart (dentate gyrus)
        W = Σ_p η_p η_pᵀ / N,  W_ii = 0,   z ← [W z > θ]

    From a dense cue and with a low threshold the network recalls what dense codes have in common: with few examples of
    a concept the example, with many the concept.  From a sparse cue and with a high threshold it recalls the example.

    capacity  episodes a subject can hold, from 1
    dentate   the dentate gyrus, with as many cells as an input has numbers ±1
    share     γ in [0, 1]; 1: no dentate gyrus; 0: the dentate path alone
    low       θ of dense recall
    high      θ of sparse recall; None: 0.65 of the drive of an active cell, 0.65 a (1 - γ)²
    updates   synchronous updates, from 1
    eviction  which episodes stay when the memory is full; see Slots

    `recall` gives as x the dense pattern ±1, as slot, label and match those of the trace that the sparse state is.

    Source: Kang & Toyoizumi 2023 (Phys. Rev. E 108, 054410) and 2024.

    >>> from cls_sim.hippocampus.dentate import KWinners
    >>> memory = TwoCodes(capacity=5, dentate=KWinners(units=60, activity=0.05))
    >>> _ = memory.setup(Spec(seeds=(0,), inputs=(60,), outputs=2))
    >>> memory.recall(torch.ones(1, 1, 60)).slot.tolist()
    [[-1]]
    """

    columns = (*Episodic.columns, "code")

    capacity: int = setting(1000, 1, MOST)
    dentate: Dentate = part(Dentate, "give KWinners")
    share: float = setting(0.07, 0.0, 1.0)
    low: float = setting(0.0)
    high: float | None = setting(None)
    updates: int = setting(5)
    eviction: str = setting("ring", EVICTION)

    def setup(self, spec: Spec) -> Spec:
        width, cells = int(torch.Size(spec.inputs).numel()), self.dentate.units
        refuse_if(width != cells, "dentate", f"has {cells} cells, and an input has {width} numbers", f"give {width}")
        spec = super().setup(spec)
        self.dentate.wire(spec, self.capacity)
        lots = (spec.subjects, self.capacity + 1, self.dentate.winners)
        self.code = torch.zeros(*lots, dtype=torch.int16, device=spec.device)
        activity = self.dentate.winners / cells
        self._high = 0.65 * activity * (1 - self.share) ** 2 if self.high is None else self.high
        return spec

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        x = batch.x.flatten(2)
        self.code[self._rows, slot] = self.dentate.new(x, slot).to(torch.int16)
        self._write(slot, key, x, batch, clock)

    def sparse(self, slot: Tensor) -> Tensor:
        """The sparse codes of the traces in these slots [s, b]: 0 or 1, [s, b, N]."""
        return active(self.code[self._rows, slot].long(), self.dentate.units)

    def cue(self, x: Tensor, code: str) -> Tensor:
        """The state [s, b, N] of 0 and 1 that cues x [s, b, …] drive, through the dense path or the dentate gyrus."""
        x = x.flatten(2)
        if code == "dense":
            return (x > 0).float()
        return active(self.dentate.cue(x, lambda: torch.zeros_like(x)), self.dentate.units)

    def settled(self, z: Tensor, code: str) -> Tensor:
        """The state that the network reaches from z [s, b, N], with the threshold of a dense or a sparse code."""
        n, cells = self.capacity, self.dentate.units
        dense = self._plain(self.content[:, :n])
        apart = active(self.code[:, :n].long(), cells) - self.dentate.winners / cells
        stored = (self.share * dense + (1 - self.share) * apart) * self._heard()[..., None]
        threshold = self.low if code == "dense" else self._high
        own = stored.square().sum(1, keepdim=True) / cells  # W_ii
        for _ in range(self.updates):
            z = ((z @ stored.mT / cells) @ stored - own * z > threshold).float()
        return z

    def recall(self, x: Tensor) -> Recall:
        heard = self._heard()
        dense = 2 * self.settled(self.cue(x, "dense"), "dense") - 1
        state = self.settled(self.cue(x, "sparse"), "sparse")
        like = state @ active(self.code[:, : self.capacity].long(), self.dentate.units).mT
        most, slot = like.masked_fill(~heard[:, None], -1.0).max(2)
        match = most / (self.dentate.winners * state.sum(2)).sqrt().clamp(min=1.0)
        found = self._recalled(x, match.clamp(0.0, 1.0), torch.where(most > 0, slot, -1))
        there = (found.slot >= 0)[..., None]
        return Recall(found.scores, (dense * there).view(x.shape), found.match * there[..., 0], found.slot)
