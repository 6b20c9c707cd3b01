"""What nights do: the dose of plasticity, and the content of replay."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import choice, whole
from cls_sim.probes.accuracy import last_lived
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import shared


class Dose(Probe):
    """The dose of plasticity so far [s]: the sum of the learning rates over consolidation steps, awake and asleep.

    S = Σ η; it refers to the loss reduction of the consolidation rule (in Go-CLS the sum over patterns), and is
    what a student's errors depend on, whatever the schedule (Sun et al. 2023).

    >>> Dose().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return torch.from_numpy(life.ledger.totals()["dose"].copy())


class Passes(Probe):
    """Sample passes so far [s]: rows that went forward and backward through the cortex, awake and asleep.

    of  all, wake or night

    >>> Passes(of="night").of
    'night'
    """

    def __init__(self, *, of: str = "all"):
        self.of = choice("of", of, ("all", "wake", "night"))

    def measure(self, life: Measured) -> Tensor:
        totals = life.ledger.totals()
        return torch.from_numpy(totals["passes" if self.of == "all" else f"{self.of}_passes"].copy())


class NightContent(Probe):
    """What a night would replay if it came now [s]: a sample of the policy's coming steps, drawn and thrown away.

    of = "entropy"    how evenly the P stored episodes are visited, H / ln P: 1 all alike, 0 always the same one
                      (H with the Miller-Madow correction for a finite sample, at most ln P; NaN for P < 2)
    of = "age_days"   the mean age of what is replayed, in days
    of = "old_share"  the share of rows from contexts that are not those of the latest experience

    Dreamed rows have no identity, age or context and do not count; NaN where no row counts.

    of     entropy, age_days or old_share
    draws  from 1, replay steps that are sampled

    >>> NightContent(of="age_days").draws
    16
    """

    moments = ("night.end", "life.end")

    def __init__(self, *, of: str = "entropy", draws: int = 16):
        self.of = choice("of", of, ("entropy", "age_days", "old_share"))
        self.draws = whole("draws", draws)

    def measure(self, life: Measured) -> Tensor:
        rows = [self._row(life, batch) for batch in coming(life, self.draws)]
        numbers, there = (torch.cat(column, 1) for column in zip(*rows, strict=True))
        if self.of == "entropy":
            return evenness(numbers, there, life.hippocampus.traces().alive.sum(1))
        return (numbers.double() * there).sum(1) / there.sum(1)

    def _row(self, life: Measured, batch: Batch) -> tuple[Tensor, Tensor]:
        """What counts of each row, and whether it does: [s, b] both."""
        if self.of == "entropy":
            return named(batch)
        if self.of == "age_days":
            now = torch.from_numpy(life.clock.experience).to(batch.born.device)
            return (now[:, None] - batch.born) / life.clock.per_day, batch.present() & (batch.born >= 0)
        recent = last_lived(life).context
        old = (batch.context[:, :, None] != recent[:, None, :]).all(-1)
        return old, batch.present() & (batch.context >= 0)


@shared
def coming(life: Measured, draws: int) -> list[Batch]:
    """What the policy would replay in the coming steps of a night, without any of them being made."""
    policy, clock = copy.deepcopy(life.replay), copy.deepcopy(life.clock)
    clock.asleep = np.ones(clock.subjects, bool)
    batches: list[Batch] = []
    for _ in range(draws):
        batches.append(policy.draw(life.hippocampus, life.neocortex, life.view, clock))
        clock.replay = clock.replay + 1
    return batches


def named(batch: Batch) -> tuple[Tensor, Tensor]:
    """The slot of each row, or its item where it has none, and whether it counts: [s, b] both."""
    name = batch.item if batch.slot is None else batch.slot
    return name, batch.present() & (name >= 0)


def counts(names: Tensor, there: Tensor, width: int | None = None) -> Tensor:
    """How often each name [s, n] that is there comes: float64 [s, m].

    >>> counts(torch.tensor([[0, 2, 2]]), torch.tensor([[True, True, True]])).tolist()
    [[1.0, 0.0, 2.0]]
    """
    names = torch.where(there, names, 0).long()
    count = torch.zeros(len(names), width or int(names.max()) + 1, dtype=torch.float64, device=names.device)
    return count.scatter_add_(1, names, there.double())


def evenness(names: Tensor, there: Tensor, episodes: Tensor) -> Tensor:
    """Entropy of the names [s, n] that are there, over ln(episodes [s]): [s].

    >>> evenness(torch.tensor([[3, 3, 3, 3]]), torch.ones(1, 4, dtype=torch.bool), torch.tensor([2])).tolist()
    [0.0]
    """
    count = counts(names, there)
    total = count.sum(1, keepdim=True)
    entropy = torch.special.entr(count / total).sum(1) + ((count > 0).sum(1) - 1) / (2 * total[:, 0])
    most = episodes.double().log()
    return torch.where((episodes > 1) & (total[:, 0] > 0), (entropy / most).clamp(max=1.0), torch.nan)
