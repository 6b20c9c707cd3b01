"""A reliable pattern that recurs in short bursts among noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, each
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.world.base import Endless


class Bursts(Settings, Endless):
    """Random patterns of ±1, one at a time, among which one pattern recurs in short bursts.

    features     N, length of a pattern, from 1
    rate         chance that a burst begins with an experience at which there is none, in [0, 1]
    burst        experiences of a burst, from 1
    spacing      experiences from one presentation of a burst to the next, from 1 (1: one after the other); in between
                 there is noise
    experiences  length of the life, from 1

    An experience is one pattern: x [s, 1, N] with the target y = 1 [s, 1, 1]; item 0 is the pattern that recurs, -1 is
    noise.  The evaluation is that pattern.  All is drawn from the subject's seed.

    Source: Lindsey & Litwin-Kumar 2024.

    >>> world, clock = Bursts(features=8, rate=1.0, experiences=20), Clock(subjects=2, per_day=10)
    >>> world.setup(Spec(seeds=(0, 1))).inputs, world.next(clock).item.tolist()
    ((8,), [[0], [0]])
    """

    derived = frozenset({"_spec", "_pattern", "_noise", "_plan"})

    features: int = setting(500)
    rate: float = setting(0.02, 0.0, 1.0)
    burst: int = setting(5)
    spacing: int = setting(1)
    experiences: int = setting(500)

    def setup(self, spec: Spec) -> Spec:
        self._spec, self.length = spec, self.experiences
        signs = each(spec.seeds, "bursts.pattern", lambda g: 2 * g.integers(0, 2, self.features).astype(np.float32) - 1)
        self._pattern = signs.to(spec.device)
        self._noise = Draws(spec.seeds, "bursts.noise", (self.features,), device=spec.device)
        self._plan = each(spec.seeds, "bursts.plan", self._planned).to(spec.device)
        told = replace(spec, inputs=(self.features,), outputs=1, regression=True, batch=1, items=1)
        return replace(told, contexts=1, context_sizes=np.full((spec.subjects, 1), self.experiences))

    def _planned(self, source: Generator) -> np.ndarray:
        """Whether the pattern is presented at each experience: bool [e]."""
        lots, plan, busy = source.random(self.experiences), np.zeros(self.experiences, bool), 0
        for now in range(self.experiences):
            if now >= busy and lots[now] < self.rate:
                plan[now : now + self.burst * self.spacing : self.spacing] = True
                busy = now + self.burst * self.spacing
        return plan

    def next(self, clock: Clock) -> Batch:
        now = np.minimum(clock.experience, self.experiences - 1)
        rows = torch.arange(len(now), device=self._pattern.device)
        shown = self._plan[rows, from_numpy(now).to(rows.device)][:, None]
        noise = torch.where(self._noise.at(now) < 0.5, -1.0, 1.0)
        return self._rows(torch.where(shown, self._pattern, noise), torch.where(shown, 0, -1), now)

    def _rows(self, x: Tensor, item: Tensor, born: np.ndarray) -> Batch:
        y, s = torch.ones(len(x), 1, 1, device=x.device), len(x)
        when = from_numpy(born.astype(np.int64)).to(x.device)[:, None]
        return Batch.lived(x[:, None], y, context=torch.zeros_like(item), item=item.expand(s, 1), born=when)

    def evaluation(self, context: int) -> Batch:
        whole("context", context, 0, 0)
        item = torch.zeros(len(self._pattern), 1, dtype=torch.int64, device=self._pattern.device)
        return self._rows(self._pattern, item, np.full(len(item), -1))
