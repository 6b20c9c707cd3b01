"""What a memory in a drifting context replays, and how strong its sequences are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe, of_part


def _memory(life: Measured) -> Any:
    asks, remedy = "needs a memory in a drifting context", "use hippocampus=temporal_context"
    return of_part(life.hippocampus, asks, remedy, "replayed", "follows")


class ReplayedItems(Settings, Probe):
    """How many items have been replayed so far [s], or the share of each label in them [s, labels].

    of  share: of all replayed rows (NaN if there are none); rows: their number [s]

    Needs `TemporalContext`.

    >>> ReplayedItems(of="rows").of
    'rows'
    """

    axis = "label"
    moments = ("life.end",)

    of: str = setting("share", ("share", "rows"))

    def measure(self, life: Measured) -> Tensor:
        memory = _memory(life)
        counts = memory.replayed.double() * memory.met
        if self.of == "rows":
            return counts.sum(1)
        rows = torch.zeros(len(counts), life.spec.outputs, dtype=torch.float64, device=counts.device)
        rows = rows.scatter_add(1, memory.y.clamp(min=0), counts)
        return rows / rows.sum(1, keepdim=True)


class SequenceStrength(Settings, Probe):
    """How strongly the items of each label bring back the item that follows in its sequence [s, labels].

        the mean over items i, i + 1 of one label of  M_cf of (i + 1) · c_in(i)

    of  strength; or spread: the largest minus the smallest of them [s]

    NaN for a label without such items.  Needs `TemporalContext`.

    >>> SequenceStrength(of="spread").moments
    ('life.end',)
    """

    axis = "label"
    moments = ("life.end",)

    of: str = setting("strength", ("strength", "spread"))

    def measure(self, life: Measured) -> Tensor:
        memory = _memory(life)
        strength = memory.follows().double()
        there = (memory.met[:, 1:] & memory.met[:, :-1] & (memory.y[:, 1:] == memory.y[:, :-1])).double()
        label = memory.y[:, 1:].clamp(min=0)
        empty = torch.zeros(len(strength), life.spec.outputs, dtype=torch.float64, device=strength.device)
        found = empty.scatter_add(1, label, strength * there) / empty.scatter_add(1, label, there)
        if self.of == "strength":
            return found
        none = found.isnan()
        return found.masked_fill(none, -torch.inf).amax(1) - found.masked_fill(none, torch.inf).amin(1)
