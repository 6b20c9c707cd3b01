"""Replay of weak and strong memories, and their gain during sleep."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import choice, real, whole
from cls_sim.core.part import Spec
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.base import Measured, Probe, labelled
from cls_sim.probes.evaluations import shared, stored
from cls_sim.probes.night import coming, counts, named


class SleepGain(Probe):
    """Gain of weak and strong memories during the coming night, measured in a copy of the life that sleeps.

    The strength of a stored episode is the score of the cortex for its label; its gain is its strength on waking minus
    that before sleep.  With a Hebbian rule and one label per episode, the gain is the dose times the number of replays.

    of      correlation  Pearson's r of gain and strength before sleep [s]; below 0: weak memories gain more; NaN if
                         either does not vary
            gain         mean gain of equal groups of episodes, from the weakest to the strongest [s, groups]
            strength     mean strength of these groups before sleep [s, groups]
    groups  from 1; the last group also has the remainder of an uneven division

    Attach it to moments at which all subjects fall asleep; NaN for a subject that does not sleep.

    Source: weakly learned information gains more, Schapiro et al. 2018.

    >>> SleepGain(of="gain", groups=4).moments
    ('day.end',)
    """

    axis = "strength before"
    moments = ("day.end",)

    def __init__(self, *, of: str = "correlation", groups: int = 8):
        self.of, self.groups = choice("of", of, ("correlation", "gain", "strength")), whole("groups", groups)

    def setup(self, spec: Spec) -> Spec:
        return labelled(spec, "", "asks for the scores of labels", "use a world with labels")

    def measure(self, life: Measured) -> Tensor:
        episodes = stored(life)
        before, there = strengths(life, episodes), episodes.present()
        values = before if self.of == "strength" else _slept(life) - before
        if self.of == "correlation":
            return correlation(before, values, there)
        order = torch.where(there, before, torch.inf).argsort(dim=1, stable=True)
        size = (there.sum(1) // self.groups).clamp(min=1)[:, None]
        part = (torch.arange(before.shape[1], device=size.device) // size).clamp(max=self.groups - 1)
        values, there = values.gather(1, order), there.gather(1, order)
        shape = (len(values), self.groups)
        total = torch.zeros(shape, dtype=torch.float64, device=size.device).scatter_add_(1, part, values * there)
        return total / torch.zeros_like(total).scatter_add_(1, part, there.double())


class Priority(Probe):
    """Agreement of replay with weakness-weighted replay [s]: χ² / (P - 1) of a sample of the coming replay steps.

        expected share of episode i = p_i^power / Σ_j p_j^power,   p = 1 - probability of its label for the cortex

    1 if rows are drawn with these probabilities (with a standard deviation of sqrt(2 / (P - 1))), larger otherwise.
    NaN for a subject with fewer than two episodes.

    power  α, from 0 (equal probabilities)
    draws  number of replay steps that are sampled, from 1; nothing is learnt from them

    Source: prioritised experience replay, Schaul et al. 2016.

    >>> Priority(power=0.6).draws
    64
    """

    moments = ("day.end",)

    def __init__(self, *, power: float = 1.0, draws: int = 64):
        self.power, self.draws = real("power", power, 0.0), whole("draws", draws)

    def setup(self, spec: Spec) -> Spec:
        return labelled(spec, "", "asks for the scores of labels", "use a world with labels")

    def measure(self, life: Measured) -> Tensor:
        there = stored(life).present()
        share = weakness(life) ** self.power * there
        drawn = [named(batch) for batch in coming(life, self.draws) if batch.slot is not None]
        count = sum((counts(*rows, share.shape[1]) for rows in drawn), torch.zeros_like(share))
        expected = share / share.sum(1, keepdim=True) * count.sum(1, keepdim=True)
        terms = torch.where(there, (count - expected).square() / expected, 0.0)
        free = there.sum(1) - 1
        return torch.where(free > 0, terms.sum(1) / free, torch.nan)


def strengths(life: Measured, episodes: Batch) -> Tensor:
    """The cortex' score for the label of each episode: float64 [s, n]."""
    return _at_labels(episodes, _scored(life, episodes))


def correlation(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    """Pearson's r of a and b [s, n] over the present entries: [s]; NaN if one of them does not vary.

    >>> there = torch.tensor([[True, True, True, False]])
    >>> round(correlation(torch.tensor([[1.0, 2, 3, 9]]), torch.tensor([[3.0, 2, 1, 9]]), there).item(), 3)
    -1.0
    """
    count = there.sum(1, keepdim=True)
    a, b = (torch.where(there, v - (v * there).sum(1, keepdim=True) / count, 0.0) for v in (a, b))
    size = a.square().sum(1).sqrt() * b.square().sum(1).sqrt()
    return torch.where(size > 0, (a * b).sum(1) / size, torch.nan)


@shared
def weakness(life: Measured) -> Tensor:
    """1 - the probability that the cortex gives the label of each stored episode: float64 [s, n]."""
    return 1 - _at_labels(stored(life), _scored(life, stored(life)).softmax(2))


def _scored(life: Measured, episodes: Batch) -> Tensor:
    return life.view.scores(episodes.x, life.known_contexts(episodes)).double()


def _at_labels(episodes: Batch, scores: Tensor) -> Tensor:
    return scores.gather(2, episodes.y.clamp(min=0)[..., None])[..., 0]


@shared
def _slept(life: Measured) -> Tensor:
    """The strength of stored episodes when a copy of the life wakes: [s, n]; NaN for a subject that is not asleep."""
    ahead, episodes = life.twin(), stored(life)
    asleep = from_numpy(ahead.clock.asleep.copy()).to(episodes.x.device)
    after = torch.full(episodes.y.shape, torch.nan, dtype=torch.float64, device=episodes.x.device)
    while asleep.any():
        with torch.enable_grad():
            ahead.step()
        woke = asleep & ~from_numpy(ahead.clock.asleep.copy()).to(asleep.device)
        if woke.any():
            after = torch.where(woke[:, None], strengths(ahead, episodes), after)
        asleep = asleep & ~woke
    return after
