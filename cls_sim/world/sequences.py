"""Sequences of items, met again and again, some of them more salient than others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, real, several, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed


class Sequences(Settings, Listed):
    """Sequences of random items, one item in each experience: runs through sequence 0, 1, … k-1, again and again.

    sequences  k, their number
    items      n, items in each
    runs       number of runs in a life, each through one sequence, from its first item to its last
    gap        experiences before each run, always with one further item, of elsewhere: its number is k · n, its label k
    features   entries ±1 of an item, drawn at random for each subject
    salience   the weight of the items of each sequence (`Batch.weight`), k numbers above 0; None: all 1

    The label y is the number of the sequence.  The evaluation has all items, x [s, k · n, N]; those of a sequence have
    consecutive numbers (`Batch.item`).

    Source: the runs of Zhou, Kahana & Schapiro 2023.

    >>> world = Sequences(sequences=2, items=3, runs=4, salience=[2.0, 1.0])
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> world.length, [world.next(Clock(1, 1)).weight.item(), spec.items]
    (12, [2.0, 6])
    """

    sequences: int = setting(3)
    items: int = setting(8, 2)
    runs: int = setting(6)
    gap: int = setting(0, 0)
    features: int = setting(60)
    salience: Sequence[float] | None = setting(
        None, "numbers", "[2.0, 1.0, 1.0]", real, 0.0, check=several, open_low=True
    )

    def _ready(self) -> None:
        if self.salience is not None and len(self.salience) != self.sequences:
            reason = f"has {len(self.salience)} numbers for {self.sequences} sequences"
            raise ConfigError("salience", reason, "give one for each")

    def setup(self, spec: Spec) -> Spec:
        k, n = self.sequences, self.items

        def draw(source: Generator) -> np.ndarray:
            return 2 * source.integers(0, 2, (k * n, self.features)).astype(np.float32) - 1

        def one(source: Generator) -> np.ndarray:
            return 2 * source.integers(0, 2, (1, self.features)).astype(np.float32) - 1

        run, elsewhere = np.arange(k * n).reshape(k, n), np.full((k, self.gap), k * n)
        plan = np.resize(np.concatenate((elsewhere, run), 1), (self.runs, self.gap + n)).ravel()
        self.length = len(plan)
        self.ends = (self.length,)
        self._weights = torch.tensor([*(self.salience or [1.0] * k), 1.0], device=spec.device)
        more = self.gap > 0
        y, x = torch.arange(k).repeat_interleave(n)[None], each(spec.seeds, "sequences.items", draw)
        if more:
            y, x = torch.cat((y, torch.full((1, 1), k)), 1), torch.cat((x, each(spec.seeds, "sequences.gap", one)), 1)
        spec = self._keep(spec, x, y, outputs=max(k + more, 2), batch=1)
        rows = torch.from_numpy(plan).to(spec.device)
        self._plan = rows[:, None].expand(spec.subjects, -1, 1).contiguous()
        return spec

    def train(self, context: int = 0) -> Batch:
        """The items of the sequences, to measure memorisation."""
        whole("context", context, 0, 0)
        return self._presented(slice(0, self.sequences * self.items))

    def next(self, clock: Clock) -> Batch:
        batch = super().next(clock)
        return batch if self.salience is None else batch.with_(weight=self._weights[batch.y])
