"""Recovery: which numbers come back, where the model itself made the table with known ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cls_sim import people
from cls_sim.commands.fit.bench import Bench, Ground
from cls_sim.core.arrays import Numbers
from cls_sim.figures.people import recovery as drawn
from cls_sim.people import People
from cls_sim.statistics import spearman

SEEDS = 1000  # subjects of one cohort: seeds below this number


@dataclass(frozen=True, repr=False)
class Recovery:
    """Numbers that made tables, and the numbers that were fitted to these tables.

    true, fitted  key → [n]
    """

    true: Mapping[str, Numbers]
    fitted: Mapping[str, Numbers]

    @property
    def correlation(self) -> dict[str, float]:
        """key → Spearman's correlation of true and fitted numbers."""
        return {key: spearman(true, self.fitted[key]) for key, true in self.true.items()}

    def figure(self) -> Any:
        """Fitted over true numbers, a panel for each number."""
        return drawn(self.true, self.fitted)

    def entries(self) -> dict[str, Any]:
        """key → the true and the fitted numbers."""
        return {key: {"true": true.tolist(), "fitted": self.fitted[key].tolist()} for key, true in self.true.items()}

    def __repr__(self) -> str:
        count = len(next(iter(self.true.values())))
        lines = [f"recovery, {count} tables that the model made (true → fitted):"]
        for key, r in self.correlation.items():
            pairs = zip(self.true[key], self.fitted[key], strict=True)
            lines.append(f"  {key}, correlation {r:.2f}: " + ", ".join(f"{a:.3g} → {b:.3g}" for a, b in sorted(pairs)))
        return "\n".join(lines)


def recovered(
    bench: Bench,
    ground: Ground,
    keys: Sequence[str],
    fitted: People,
    pool: tuple[Numbers, Numbers],
    count: int,
    *,
    trials: int,
    rounds: int,
    subjects: int,
    seed: int,
    fresh: int,
    first: int,
) -> Recovery:
    """Live simulated people with known numbers from the whole range, and fit the numbers of each of them again.

    A simulated table has the means of `fresh` subjects with seeds from `first`, and normal errors as large as those of
    people.  Its search begins with the settings of the `pool` (numbers [n, k], means [n, cells]), and in each round but
    the first draws trials / 5 more near the best ones for this table; all tables share what has been lived.
    """
    lot = np.random.Generator(np.random.Philox(7))
    true = ground.drawn(count, 10**6, np.zeros((0, len(keys))))
    means = _lived(bench, keys, true, fresh, first)
    means = means + fitted.sem * lot.standard_normal(means.shape)
    tables = [People(fitted.cells, mean, fitted.sem) for mean in means]
    tried, found = pool
    for turn in range(1, rounds):
        near = [np.argsort(people.chi_squared(one, found), kind="stable")[: max(8, trials // 10)] for one in tables]
        each = max(10, trials // 5)
        draws = [ground.drawn(each, turn * 10**6 + i + 1, tried[best]) for i, best in enumerate(near)]
        new = np.concatenate(draws)
        found = np.concatenate([found, _lived(bench, keys, new, subjects, seed)])
        tried = np.concatenate([tried, new])
    again = np.stack([tried[int(np.argmin(people.chi_squared(one, found)))] for one in tables])
    return Recovery(dict(zip(keys, true.T, strict=True)), dict(zip(keys, again.T, strict=True)))


def _lived(bench: Bench, keys: Sequence[str], settings: Numbers, subjects: int, seed: int) -> Numbers:
    """The means [n, cells] of settings [n, k], in cohorts of at most `SEEDS` subjects."""
    at_once = max(1, SEEDS // subjects)
    parts = [settings[i : i + at_once] for i in range(0, len(settings), at_once)]
    return np.concatenate([bench.together(dict(zip(keys, part.T, strict=True)), subjects, seed) for part in parts])
