"""Nights that end when more replay would not help, estimated from the memories alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, View, held_out
from cls_sim.core.settings import Settings, setting
from cls_sim.rhythm.base import UNASKED, Rhythm
from cls_sim.theory.predictability import best_dose, decomposed, likelihood, speed

WORST = np.finfo(np.float64).max  # a loss above any other; finite, because states hold no infinity


class Validated(Settings, Rhythm):
    """Nights that end when the loss on held-out memories has stopped falling.

    A night begins after every `experiences_per_day` experiences.  After every `steps_between_checks` replay steps the
    rhythm computes the mean loss on a share `held_out` of the memories, which replay of stored traces never draws.  The
    night ends when the loss has not improved on the best of this night for `patience` checks, and at the latest after
    `steps_per_night` steps.

    experiences_per_day   from 1, experiences a day
    steps_per_night       from 1, the longest night, in replay steps
    steps_between_checks  from 1, replay steps between checks
    patience              from 1, checks without improvement
    held_out              above 0, below 1, share of the slots, evenly spread

    Source: early stopping of consolidation without an oracle, by a validation split, Sun et al. 2023.

    >>> rhythm = Validated(held_out=0.2)
    >>> rhythm.setup(Spec()).held_out
    0.2
    """

    experiences_per_day: int = setting(100)
    steps_per_night: int = setting(400)
    steps_between_checks: int = setting(10)
    patience: int = setting(2)
    held_out: float = setting(0.1, 0.0, 0.99, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self.nights, self.stale, self.looked = (np.zeros(spec.subjects, np.int64) for _ in range(3))
        self.start = np.full(spec.subjects, UNASKED)  # replay steps before the current night; UNASKED: awake
        self.best = np.full(spec.subjects, WORST)
        return replace(spec, per_day=self.experiences_per_day, held_out=self.held_out)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        owed = clock.experience // self.experiences_per_day
        begins = (owed > self.nights) & (self.start == UNASKED)
        self.start = np.where(begins, clock.replay, self.start)
        self.looked = np.where(begins, clock.replay - 1, self.looked)
        self.best, self.stale = np.where(begins, WORST, self.best), np.where(begins, 0, self.stale)
        sleeps = self.start != UNASKED
        slept = np.where(sleeps, clock.replay - self.start, 0)
        due = sleeps & (slept % self.steps_between_checks == 0) & (clock.replay > self.looked)
        if due.any():
            loss = self._loss(view)
            better = loss < self.best
            self.stale = np.where(due, np.where(better, 0, self.stale + 1), self.stale)
            self.best = np.where(due & better, loss, self.best)
            self.looked = np.where(due, clock.replay, self.looked)
        ends = sleeps & ((self.stale >= self.patience) | (slept >= self.steps_per_night))
        self.nights = np.where(ends, owed, self.nights)
        self.start = np.where(ends, UNASKED, self.start)
        return self.start != UNASKED

    def _loss(self, view: View) -> np.ndarray:
        """The mean loss [s] on held-out memories; infinite if there are none."""
        assert view.stored is not None
        batch = view.stored()
        slots = torch.arange(batch.rows, device=batch.x.device)
        there = held_out(slots, self.held_out) & batch.present()
        loss = torch.where(there, view.loss(batch).double(), 0.0).sum(1) / there.sum(1)
        return loss.nan_to_num(torch.inf).cpu().numpy()


class Estimated(Settings, Rhythm):
    """Nights that end at the optimal dose for the signal-to-noise ratio estimated from the memories.

        asleep while  rate · (replay steps so far) < s*,   Σ e^(-l s*) [σ_e² (1 - e^(-l s*)) - σ_w² l e^(-l s*)] = 0

    At the start of every night the ratio σ_w² / σ_e² is estimated from all stored traces; l are the eigenvalues of XᵀX.
    s* is the optimum of a linear cortex that starts at 0 and learns the sum over all memories in each step (FullBatch
    replay, reduction=sum, learning rate `rate` by night and 0 by day).

    estimator            likelihood: maximum likelihood of y | X ~ N(0, σ_w² X Xᵀ + σ_e² I); speed: the initial speed
                         of learning, dE/ds = -2 |Xᵀy|² / P, over the initial error Σ y² / P
    experiences_per_day  from 1, experiences a day
    steps_per_night      from 1, the longest night, in replay steps
    rate                 above 0, the learning rate of a replay step

    Raises ConfigError in classification and for several outputs.

    Source: Sun, Advani, Spruston, Saxe & Fitzgerald 2023.

    >>> Estimated(estimator="speed", rate=0.01).setup(Spec(outputs=1, regression=True)).per_day
    100
    """

    estimator: str = setting("likelihood", ("likelihood", "speed"))
    experiences_per_day: int = setting(100)
    steps_per_night: int = setting(400)
    rate: float = setting(0.01, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        if not spec.regression or spec.outputs > 1:
            raise ConfigError("", "needs a regression with one output, and this world has none", "use Validated")
        self.nights = np.zeros(spec.subjects, np.int64)  # nights planned
        self.due = np.zeros(spec.subjects, np.int64)  # replay steps at which the last one ends
        self.before = np.full(spec.subjects, UNASKED)  # replay steps of an earlier rhythm, which do not count
        return replace(spec, per_day=self.experiences_per_day)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.before[0] == UNASKED:
            self.before = clock.replay.copy()
        owed = clock.experience // self.experiences_per_day
        falls = (owed > self.nights) & (clock.replay >= self.due)
        if falls.any():
            wanted = self.before + self._steps(view)
            self.due = np.where(falls, np.clip(wanted, clock.replay, clock.replay + self.steps_per_night), self.due)
            self.nights = np.where(falls, owed, self.nights)
        return clock.replay < self.due

    def _steps(self, view: View) -> np.ndarray:
        """The number of replay steps to the optimal dose: int64 [s]; 0 if nothing is stored."""
        assert view.stored is not None
        batch, steps = view.stored(), []
        there, x = batch.present().cpu().numpy(), batch.x.flatten(2).double().cpu().numpy()
        y = batch.y.reshape(*there.shape, -1)[..., 0].double().cpu().numpy()
        estimate = likelihood if self.estimator == "likelihood" else speed
        for i, rows in enumerate(there):
            some = (x[i][rows], y[i][rows])
            learns = len(some[0]) > 1 and some[0].any()
            dose = best_dose(decomposed(*some)[0], 2.0 ** estimate(*some)) if learns else 0.0
            steps.append(round(dose / self.rate))
        return np.array(steps, np.int64)
