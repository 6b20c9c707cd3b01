"""A hippocampus as a population of decaying copies that produce cortical copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless

MOST = 24  # copies of one item that are counted, far above any mean in use


class Copies(Settings, Slotless):
    """Memory as numbers of copies of items: learning makes Poisson(μ₁) copies, and sleep makes cortical copies of them.

    In a replay step of τ = 1 / steps_per_night days each copy is lost with probability 1 - e^(-a₁τ) and produces
    Poisson(μ₂ (1 - e^(-a₁τ)) / a₁) cortical copies.  They are replayed as one row, x = 1, y = new copies of each item.
    With a Hebbian neocortex, the weights are the numbers of cortical copies.

    intensity        μ₁, from 0, mean number of copies of an item when it is learned
    decline          a₁, above 0, rate of loss per day
    transfer         μ₂, from 0, cortical copies per copy and day
    steps_per_night  replay steps that make up a day, from 1
    copying          own: each copy produces copies (a branching process); mean: each item gets copies as if it had the
                     mean number of copies of the items learned with it (an assumption of the Memory Chain Model)
    stochastic       False: expected numbers instead of draws (two compartments with strengths)
    awake            0 to 1, the share of a day's loss that takes place by day, spread over its experiences
    early            0 to 1, the share of new copies in the early phase: they make no cortical copies
    early_decline    rate of loss per day of copies in the early phase, above 0

    intensity, decline, transfer, early and early_decline are one number, or one per subject.

    Items are the outputs: in regression those with a target other than 0 (copies keep the sign), else the classes.
    Recall gives the copies, for every cue.  Bytes: a float, a sign and an experience for each item.

    Source: Murre, Chessa & Meeter 2013; with stochastic=false McClelland, McNaughton & O'Reilly 1995; early and late
    phase: Frey & Morris 1997.

    >>> memory = Copies(intensity=2.0)
    >>> spec = memory.setup(Spec(inputs=(1,), outputs=3, regression=True))
    >>> spec.dreams, memory.copies.tolist()
    (('hippocampus',), [[0.0, 0.0, 0.0]])
    """

    intensity: float | list[float] = setting(2.0, 0.0, MOST / 3)
    decline: float | list[float] = setting(0.1, 0.0, open_low=True)
    transfer: float | list[float] = setting(0.03, 0.0)
    steps_per_night: int = setting(10)
    copying: str = setting("own", ("own", "mean"))
    stochastic: bool = setting(True)
    awake: float = setting(0.0, 0.0, 1.0)
    early: float | list[float] = setting(0.0, 0.0, 1.0)
    early_decline: float | list[float] = setting(50.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        purposes, lots = ("learn", "make", "lose", "lose.day", "early", "early.lose", "early.lose.day"), (spec.outputs,)
        self._draws = {p: Draws(spec.seeds, f"copies.{p}", lots, device=spec.device) for p in purposes}
        self.copies = torch.zeros(spec.subjects, spec.outputs, device=spec.device)
        self.labile = torch.zeros_like(self.copies)
        self.sign = torch.zeros_like(self.copies, dtype=torch.int8)
        self.born = torch.full_like(self.copies, -1, dtype=torch.int32)
        self._rates(spec)
        return super().setup(spec)

    def _rates(self, spec: Spec) -> None:
        """What is made of each copy in a replay step, and which shares of copies stay, [s, 1] each."""
        numbers = ("intensity", "decline", "transfer", "early", "early_decline")
        intensity, decline, transfer, early, early_decline = (
            per_subject(name, getattr(self, name), spec)[:, None] for name in numbers
        )
        self._any_early, asleep = bool((early > 0).any()), 1.0 - self.awake
        self._new = [from_numpy(intensity * share).float().to(spec.device) for share in (1.0 - early, early)]
        self._stay: dict[str, Tensor] = {}  # float64
        for name, rate in (("", decline), ("early.", early_decline)):
            night, day = np.exp(-rate * asleep / self.steps_per_night), np.exp(-rate * self.awake / spec.per_day)
            self._stay[f"{name}lose"] = from_numpy(night).to(spec.device)
            self._stay[f"{name}lose.day"] = from_numpy(day).to(spec.device)
        lost = decline * asleep
        made = transfer * -np.expm1(-lost / self.steps_per_night) / lost if asleep else transfer / self.steps_per_night
        self._made = from_numpy(made).float().to(spec.device)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        new = self._items(batch)
        if who is not None:
            new = new * who[:, None]
        if self.awake:
            self._fade(".day", clock.experience, who)
        now = torch.from_numpy(clock.experience.astype(np.int32)).to(new.device)[:, None]
        self.copies = torch.where(new != 0, self.copies + self._learnt("learn", new, clock), self.copies)
        if self._any_early:
            self.labile = torch.where(new != 0, self.labile + self._learnt("early", new, clock), self.labile)
        self.sign = torch.where(new != 0, new.to(torch.int8), self.sign)
        self.born = torch.where(new != 0, now, self.born)
        self.changed += 1

    def _learnt(self, phase: str, new: Tensor, clock: Clock) -> Tensor:
        """The copies of a new item in a phase: [s, o]."""
        count = self._new[phase == "early"].expand_as(new)
        return poisson(self._draws[phase].at(clock.experience), count) if self.stochastic else count

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        if self.awake < 1:
            self._fade("", clock.replay, who)

    def _fade(self, when: str, ticks: np.ndarray, who: Tensor | None) -> None:
        """Lose copies of both phases, in a replay step or in an experience (`.day`)."""
        self.copies = self._left(self.copies, f"lose{when}", ticks, who)
        if self._any_early:
            self.labile = self._left(self.labile, f"early.lose{when}", ticks, who)

    def _left(self, copies: Tensor, purpose: str, ticks: np.ndarray, who: Tensor | None) -> Tensor:
        stay = self._stay[purpose]
        left = binomial(self._draws[purpose].at(ticks), copies, stay) if self.stochastic else copies * stay.float()
        return left if who is None else torch.where(who[:, None], left, copies)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        made = self._made * self._parents()
        if self.stochastic:
            made = poisson(self._draws["make"].at(clock.replay), made)
        y = (made * self.sign)[:, None].expand(-1, n, -1)
        x = torch.ones(*y.shape[:2], *self.spec.inputs, device=y.device)
        source = torch.full(y.shape[:2], DREAMED, dtype=torch.uint8, device=y.device)
        weight = torch.zeros(y.shape[:2], device=y.device)
        weight[:, 0] = 1.0
        return Batch.lived(x, y, source=source, weight=weight)

    def recall(self, x: Tensor) -> Recall:
        copies = self.copies + self.labile
        there = (copies != 0).any(1).float()[:, None].expand(x.shape[:2])
        known = (copies * self.sign)[:, None].expand(-1, x.shape[1], -1)
        return replace(nothing(x, self.spec.outputs), scores=known, match=there)

    def stored_bytes(self) -> Tensor:
        each = 13 if self._any_early else 9
        return torch.full((self.spec.subjects,), each * self.spec.outputs, dtype=torch.int64)

    def _items(self, batch: Batch) -> Tensor:
        """The items that a batch adds, with their sign: [s, o]."""
        if batch.y.is_floating_point():
            return (batch.y * batch.weights()[..., None]).sum(1).sign()
        there = batch.present() & (batch.y >= 0)
        return (one_hot(batch.y.clamp(min=0), self.spec.outputs) * there[..., None]).sum(1).clamp(max=1).float()

    def _parents(self) -> Tensor:
        """The number of copies that produce cortical copies, for each item: float [s, o]."""
        copies = self.copies
        if self.copying == "own":
            return copies
        when = (self.born + 1).long()  # items learned in the same experience share the mean
        room = torch.zeros(len(copies), int(when.max()) + 1, device=copies.device)
        total, count = room.scatter_add(1, when, copies), room.scatter_add(1, when, torch.ones_like(copies))
        return (total / count.clamp(min=1)).gather(1, when) * (self.born >= 0)


def poisson(lot: Tensor, mean: Tensor) -> Tensor:
    """Poisson numbers with these means, from uniform draws in [0, 1).

    >>> poisson(torch.tensor([0.3, 0.9]), torch.tensor([1.0, 1.0])).tolist()
    [0.0, 2.0]
    """
    term = torch.exp(-mean.double())
    below, count = term.clone(), torch.zeros_like(term)
    for k in range(1, MOST + 1):
        count += lot >= below
        term = term * mean / k
        below += term
    return count.to(mean.dtype)


def binomial(lot: Tensor, number: Tensor, chance: Tensor) -> Tensor:
    """Binomial numbers out of `number` with probability `chance` (float64, below 1), from uniform draws in [0, 1).

    >>> binomial(torch.tensor([0.1, 0.7]), torch.tensor([2.0, 2.0]), torch.tensor(0.5).double()).tolist()
    [0.0, 1.0]
    """
    n = number.double()
    term = torch.pow(1.0 - chance, n)
    below, count = term.clone(), torch.zeros_like(term)
    for k in range(MOST):
        count += (lot >= below) & (k < n)
        term = term * (n - k).clamp(min=0) / (k + 1) * (chance / (1.0 - chance))
        below += term
    return count.to(number.dtype)
