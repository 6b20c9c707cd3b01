"""What a life has cost: sample passes awake and asleep, revisits, and the dose of plasticity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from cls_sim.core.arrays import Counts, Flags, Numbers
from cls_sim.core.optimizers import Optimizer
from cls_sim.core.part import Part
from cls_sim.core.trees import held


class Ledger:
    """Counts for each subject `[s]`; a pass is one sample going forward and backward through the cortex.

    dose is the sum of the learning rates over consolidation steps (Sun et al. 2023: what matters is the
    integral of plasticity); it refers to the loss reduction of the consolidation rule.

    >>> ledger = Ledger(2)
    >>> ledger.add("night_passes", 32, np.array([True, False]))
    >>> ledger.totals()["night_passes"].tolist()
    [32.0, 0.0]
    """

    names = ("lived", "wake_passes", "night_passes", "revisited", "wake_dose", "night_dose")

    def __init__(self, subjects: int):
        self.counts: dict[str, Numbers] = {name: np.zeros(subjects) for name in self.names}

    def add(self, name: str, amount: float | Numbers | Counts, who: Flags | float = 1.0) -> None:
        self.counts[name] += amount * who

    def totals(self) -> dict[str, Numbers]:
        """Every count, and their sums `passes` and `dose`."""
        c = self.counts
        return c | {"passes": c["wake_passes"] + c["night_passes"], "dose": c["wake_dose"] + c["night_dose"]}

    def state(self) -> dict[str, Numbers]:
        return {name: count.copy() for name, count in self.counts.items()}

    def load(self, tree: Mapping[str, Any]) -> None:
        self.counts = {name: np.array(tree[name], dtype=np.float64) for name in self.names}


def extra_bytes(parts: Iterable[Part], weights: Mapping[str, Tensor], subjects: int) -> int:
    """Bytes that each subject keeps in these parts beside its weights and its optimiser's memory.

    That is every tensor and array of their state: penalties and importances, stored weights, teachers, averages,
    masks, inner variables of synapses, prototypes.  Each counts once, whoever else holds it.  What is drawn from the
    seed or made again by `setup` (fixed wiring, gates, tables) is no state, and free; so is what an optimiser
    remembers, which every learner has.

    weights   those of the cortex, counted as parameters
    subjects  how many share the leading axis; what has no such axis is kept by each

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
