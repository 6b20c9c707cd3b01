"""The dose of plasticity, sample passes, the content of coming replay, and accuracy inside the coming night."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import ConfigError, choice, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import entr, from_numpy
from cls_sim.probes.accuracy import last_lived
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import exams, shared


class Dose(Probe):
    """Dose of plasticity so far [s]: S = Σ η, the sum of the learning rates over all steps, awake and asleep.

    The dose refers to the loss reduction of the consolidation rule (in Go-CLS, the sum over patterns).  The errors of a
    linear student depend on the dose only, not on the schedule (Sun et al. 2023).

    >>> Dose().moments
    ('context.end', 'life.end')
    """

    def measure(self, life: Measured) -> Tensor:
        return from_numpy(life.ledger.totals()["dose"].copy())


class Passes(Settings, Probe):
    """Sample passes so far [s]: rows that went forward and backward through the cortex.

    of  all, wake or night

    >>> Passes(of="night").of
    'night'
    """

    of: str = setting("all", ("all", "wake", "night"))

    def measure(self, life: Measured) -> Tensor:
        totals = life.ledger.totals()
        return from_numpy(totals["passes" if self.of == "all" else f"{self.of}_passes"].copy())


class NightContent(Settings, Probe):
    """Content of the replay if a night came now [s], from a sample of the policy's coming steps that is discarded.

    of     entropy    evenness of replay of the P stored episodes, H / ln P: 1 if all are equally frequent, 0 if it is
                      always the same one (H with the Miller-Madow correction, at most ln P; NaN for P < 2)
           age_days   mean age of replayed rows, in days
           old_share  share of rows from contexts other than those of the latest experience
    draws  number of replay steps that are sampled, from 1

    Generated rows have no identity, age or context and do not count; NaN if no row counts.

    >>> NightContent(of="age_days").draws
    16
    """

    moments = ("night.end", "life.end")

    of: str = setting("entropy", ("entropy", "age_days", "old_share"))
    draws: int = setting(16)

    def measure(self, life: Measured) -> Tensor:
        rows = [self._row(life, batch) for batch in coming(life, self.draws)]
        numbers, there = (torch.cat(column, 1) for column in zip(*rows, strict=True))
        if self.of == "entropy":
            return evenness(numbers, there, life.hippocampus.traces().alive.sum(1))
        return (numbers.double() * there).sum(1) / there.sum(1)

    def _row(self, life: Measured, batch: Batch) -> tuple[Tensor, Tensor]:
        """The value of each row, and whether the row counts: [s, b] both."""
        if self.of == "entropy":
            return named(batch)
        if self.of == "age_days":
            now = from_numpy(life.clock.experience).to(batch.born.device)
            return (now[:, None] - batch.born) / life.clock.per_day, batch.present() & (batch.born >= 0)
        recent = last_lived(life).context
        old = (batch.context[:, :, None] != recent[:, None, :]).all(-1)
        return old, batch.present() & (batch.context >= 0)


class NightAccuracy(Probe):
    """Accuracy inside the coming night, at which nobody can ask: measured in a copy of the life that sleeps.

    of       lowest  the lowest accuracy in each context from now until the subject wakes [s, k]; now, if it is awake
             course  the accuracy in one context now and after each of the coming replay steps [s, steps + 1]; NaN
                     after waking
    context  the context of the course, from 0
    steps    the length of the course in replay steps, from 1

    Attach it to day.end.  If `lowest` is also measured at context ends, the derived readings NAME.stability_gap and
    NAME.min_old are the stability gap and min-ACC inside the nights.  The readout of the life answers.

    Source: per-iteration evaluation, De Lange, van de Ven & Tuytelaars 2023.

    >>> NightAccuracy(of="course", steps=80).at("day.end").steps
    80
    """

    moments = ("day.end", "context.end")

    def __init__(self, *, of: str = "lowest", context: int = 0, steps: int = 100):
        self.of = choice("of", of, ("lowest", "course"))
        self.context, self.steps = whole("context", context, 0), whole("steps", steps)

    def setup(self, spec: Spec) -> Spec:
        if self.context >= spec.contexts:
            raise ConfigError("context", f"{self.context} is none of the {spec.contexts} contexts", "count from 0")
        return super().setup(spec)

    def measure(self, life: Measured) -> Tensor:
        looks = _through(life)
        if self.of == "course":
            course = looks[: self.steps + 1, :, self.context].T
            return torch.nn.functional.pad(course, (0, self.steps + 1 - course.shape[1]), value=torch.nan)
        least = torch.where(looks.isnan(), torch.inf, looks).amin(0)
        return torch.where(least.isinf(), torch.nan, least)


@shared
def _through(life: Measured) -> Tensor:
    """The accuracy in each context now and after each step of the coming night: [t, s, k]; NaN after waking."""
    ahead, looks = life.twin(), [exams(life, None)]
    asleep = from_numpy(ahead.clock.asleep.copy()).to(looks[0].device)
    while asleep.any():
        with torch.enable_grad():
            ahead.step()
        looks.append(torch.where(asleep[:, None], exams(ahead, None), torch.nan))
        asleep = asleep & from_numpy(ahead.clock.asleep.copy()).to(asleep.device)
    return torch.stack(looks)


@shared
def coming(life: Measured, draws: int) -> list[Batch]:
    """The batches that the policy would replay in the coming steps of a night; nothing is learnt from them."""
    policy, clock = copy.deepcopy(life.replay), copy.deepcopy(life.clock)
    clock.asleep = np.ones(clock.subjects, bool)
    batches: list[Batch] = []
    for _ in range(draws):
        batches.append(policy.draw(life.hippocampus, life.neocortex, life.view, clock))
        clock.replay = clock.replay + 1
    return batches


def named(batch: Batch) -> tuple[Tensor, Tensor]:
    """The slot of each row (without slots, its item), and whether the row counts: [s, b] both."""
    name = batch.item if batch.slot is None else batch.slot
    return name, batch.present() & (name >= 0)


def counts(names: Tensor, there: Tensor, width: int | None = None) -> Tensor:
    """How often each name among the present rows [s, n] occurs: float64 [s, m].

    >>> counts(torch.tensor([[0, 2, 2]]), torch.tensor([[True, True, True]])).tolist()
    [[1.0, 0.0, 2.0]]
    """
    names = torch.where(there, names, 0).long()
    count = torch.zeros(len(names), width or int(names.max()) + 1, dtype=torch.float64, device=names.device)
    return count.scatter_add_(1, names, there.double())


def evenness(names: Tensor, there: Tensor, episodes: Tensor) -> Tensor:
    """Entropy of the names of the present rows [s, n], divided by ln(episodes [s]): [s].

    >>> evenness(torch.tensor([[3, 3, 3, 3]]), torch.ones(1, 4, dtype=torch.bool), torch.tensor([2])).tolist()
    [0.0]
    """
    count = counts(names, there)
    total = count.sum(1, keepdim=True)
    entropy = entr(count / total).sum(1) + ((count > 0).sum(1) - 1) / (2 * total[:, 0])
    most = episodes.double().log()
    return torch.where((episodes > 1) & (total[:, 0] > 0), (entropy / most).clamp(max=1.0), torch.nan)
