"""What a life has cost: sample passes awake and asleep, revisits, and the dose of plasticity."""

from __future__ import annotations

import numpy as np


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
        self.counts = {name: np.zeros(subjects) for name in self.names}

    def add(self, name: str, amount: float | np.ndarray, who: np.ndarray | float = 1.0) -> None:
        self.counts[name] += amount * who

    def totals(self) -> dict[str, np.ndarray]:
        """Every count, and their sums `passes` and `dose`."""
        c = self.counts
        return c | {"passes": c["wake_passes"] + c["night_passes"], "dose": c["wake_dose"] + c["night_dose"]}

    def state(self) -> dict[str, np.ndarray]:
        return {name: count.copy() for name, count in self.counts.items()}

    def load(self, tree: dict) -> None:
        self.counts = {name: np.array(tree[name], dtype=np.float64) for name in self.names}
