"""The capacity of CA3 for its own patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.draws import each
from cls_sim.core.errors import real, several
from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe


class Capacity(Settings, Probe):
    """Capacity of CA3 per cell [s, k]: the largest P / M at which damaged cues still bring back the first P patterns.

    overlaps  criteria, above 0, at most 1: a settled state has this share of the active cells of its pattern, the mean
              over cues
    wrong     share of a cue's active cells that are wrong, in [0, 1): these cells are silent and as many others active
    damage    ca3: the cue is a damaged pattern of CA3, as the perforant path could give it; input: the stored input (0
              and 1) is damaged, and the dentate gyrus codes the damaged input
    cues      number of cues for each P, from 1, spread evenly over the P patterns

    P is found by bisection: the synapses of CA3 are a sum over traces, so that those of the first P are known at the
    end of life.  It is 1 at least and the number of traces at most; NaN for a subject with nothing stored.  Raises
    ConfigError for a hippocampus without a CA3.

    Source: Tsodyks & Feigelman 1988; Treves & Rolls 1991.

    >>> Capacity(overlaps=[0.9, 0.95]).wrong
    0.2
    """

    axis = "overlap"
    moments = ("life.end",)

    overlaps: Sequence[float] = setting((0.95,), "numbers", "[0.95]", real, 0.0, 1.0, check=several, open_low=True)
    wrong: float = setting(0.2, 0.0, 1.0 - 1e-9)
    damage: str = setting("ca3", ("ca3", "input"))
    cues: int = setting(100)

    def measure(self, life: Measured) -> Tensor:
        stored = life.hippocampus.traces().alive.sum(1)
        none = torch.zeros_like(stored)[:, None]
        cells = life.hippocampus.patterns(none).shape[2]
        width = cells if self.damage == "ca3" else life.hippocampus.fetch(none).x[0, 0].numel()
        draws = each(life.spec.seeds, "probe.capacity", lambda g: g.random((self.cues, width), np.float32))
        draws = draws.to(stored.device)
        found = [self._most(life, level, stored, draws) / cells for level in self.overlaps]
        return torch.where(stored[:, None] > 0, torch.stack(found, 1), torch.nan)

    def _most(self, life: Measured, level: float, stored: Tensor, draws: Tensor) -> Tensor:
        """The largest number of traces [s] at which the overlap reaches the level."""
        low, high = torch.ones_like(stored), stored + 1  # `low` suffices, `high` is too many
        while bool((high - low > 1).any()):
            middle = (low + high) // 2
            enough = self._overlap(life, middle, draws) >= level
            low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
        return low.double()

    def _overlap(self, life: Measured, first: Tensor, draws: Tensor) -> Tensor:
        """The mean overlap [s] of settled states and patterns, with the first so many traces [s] in the synapses."""
        slot = torch.arange(self.cues, device=first.device) * first[:, None] // self.cues
        pattern = life.hippocampus.patterns(slot)
        if self.damage == "ca3":
            cue = swapped(pattern, self.wrong, draws)
        else:
            x = life.hippocampus.fetch(slot).x
            cue = life.hippocampus.stages(swapped(x.flatten(2), self.wrong, draws).view_as(x)).dentate
        settled = life.hippocampus.complete(cue, first)
        return ((settled * pattern).sum(2) / pattern.sum(2)).double().mean(1)


def swapped(pattern: Tensor, wrong: float, draws: Tensor) -> Tensor:
    """Patterns [s, b, m] of 0 and 1 in which this share of the ones has moved to other cells, by uniform draws.

    >>> swapped(torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]), 0.5, torch.tensor([[[0.3, 0.1, 0.7, 0.2]]])).tolist()
    [[[1.0, 0.0, 0.0, 1.0]]]
    """
    count = (wrong * pattern.sum(2, keepdim=True)).round()
    off = (draws + 2 * (1 - pattern)).argsort(2).argsort(2) < count  # ranks: the ones with the smallest draws
    on = (draws + 2 * pattern).argsort(2).argsort(2) < count
    return torch.where(off, 0.0, torch.where(on, 1.0, pattern))
