"""The costs of a life: sample passes awake and asleep, revisited rows, and the dose of plasticity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from cls_sim.core.arrays import Counts, Flags, Numbers, every
from cls_sim.core.optimizers import Optimizer
from cls_sim.core.part import Part
from cls_sim.core.trees import held


class Ledger:
    """Counts for each subject [s]; a pass is one sample, forward and backward through the neocortex.

    lived                      rows of experience
    wake_passes, night_passes  rows in consolidation steps by day and by night
    revisited                  rows that parts have read with `view.revisit`
    wake_dose, night_dose      sums of the learning rates over consolidation steps by day and by night; the rates refer
                               to the loss as the consolidation rule reduces it over rows

    The dose is the integral of plasticity, which is what matters in Sun et al. (2023).

    >>> ledger = Ledger(2)
    >>> ledger.add("night_passes", 32, np.array([True, False]))
    >>> ledger.totals()["night_passes"].tolist()
    [32.0, 0.0]
    """

    names = ("lived", "wake_passes", "night_passes", "revisited", "wake_dose", "night_dose")

    def __init__(self, subjects: int):
        self.counts: dict[str, Numbers] = {name: np.zeros(subjects) for name in self.names}

    def add(self, name: str, amount: float | Numbers | Counts, who: Flags | None = None) -> None:
        self.counts[name] += amount if who is None or every(who) else amount * who

    def totals(self) -> dict[str, Numbers]:
        """Every count, and their sums `passes` and `dose`."""
        c = self.counts
        return c | {"passes": c["wake_passes"] + c["night_passes"], "dose": c["wake_dose"] + c["night_dose"]}

    def state(self) -> dict[str, Numbers]:
        return {name: count.copy() for name, count in self.counts.items()}

    def load(self, tree: Mapping[str, Any]) -> None:
        self.counts = {name: np.array(tree[name], dtype=np.float64) for name in self.names}


def extra_bytes(parts: Iterable[Part], weights: Mapping[str, Tensor], subjects: int) -> int:
    """Bytes of state of each subject in these parts, without the weights and the state of optimisers.

    The sum covers every tensor and array of state: penalties and importances, stored weights, teachers, averages,
    masks, hidden variables of synapses, prototypes.  A tensor that several parts hold counts once.  What the seed
    determines or `setup` makes again (fixed wiring, gates, tables) is not state and does not count; nor does the state
    of an optimiser, which every learner has.

    weights   the weights of the neocortex, which are counted as parameters elsewhere
    subjects  the length of the leading axis; a tensor without this axis counts in full for each subject

    >>> import torch
    >>> part = Part()
    >>> part.kept = torch.zeros(2, 5)
    >>> extra_bytes([part, part], {}, subjects=2)
    20
    """
    seen = {id(weight) for weight in weights.values()}
    total = 0
    for leaf in (leaf for part in parts for leaf in held(part, without=Optimizer)):
        if id(leaf) not in seen:
            seen.add(id(leaf))
            total += leaf.nbytes // subjects if leaf.shape[:1] == (subjects,) else leaf.nbytes
    return total
