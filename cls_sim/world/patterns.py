"""Memories as patterns over synapses: an endless stream, or cohorts learned at given times.

The neocortex is a linear layer with one input, always 1: its weights are the synapses, and an experience is the target
of each synapse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BLOCK, generator
from cls_sim.core.errors import ConfigError, real, whole
from cls_sim.core.part import Spec
from cls_sim.world.base import Endless


class _Synapses(Endless):
    """A world of one context that never ends, with one input and a number for each synapse as target."""

    def _announced(self, spec: Spec, synapses: int) -> Spec:
        self._spec = spec
        plain = {"contexts": 1, "ends": (), "task_id_known": False, "heads": None, "quantum": None}
        return replace(spec, inputs=(1,), outputs=synapses, regression=True, batch=1, **plain)

    def _lived(self, y: Tensor, clock: Clock) -> Batch:
        """An experience of one row: x = 1, y the targets of the synapses [s, N]."""
        when = torch.from_numpy(clock.experience.copy()).to(y.device)[:, None]
        return self._asked(y).with_(item=when, born=when)

    def _asked(self, y: Tensor) -> Batch:
        """One question for each subject: the pattern y [s, N]."""
        x, context = torch.ones(len(y), 1, 1, device=y.device), torch.zeros(len(y), 1, dtype=torch.int64)
        return Batch.lived(x, y[:, None].float(), context=context.to(y.device))


class Patterns(_Synapses):
    """A new random pattern in every experience: x = 1, y = ±1 for each of N synapses, independent and balanced.

    synapses  N
    coding    coding level, above 0, at most 1: the chance that a synapse takes part in an experience; else its y is 0,
              so that the events of a synapse come by lot, as in a Poisson process with `coding` events an experience
    length    experiences until the world ends; None: endless

    Synaptic memory models are compared on this stream (Amit & Fusi 1994; Benna & Fusi 2016).

    >>> world = Patterns(synapses=5)
    >>> world.setup(Spec(seeds=(0, 1))).outputs
    5
    >>> world.next(Clock(2, 1)).y.shape
    torch.Size([2, 1, 5])
    """

    def __init__(self, *, synapses: int = 1000, coding: float = 1.0, length: int | None = None):
        self.synapses, self.coding = whole("synapses", synapses), real("coding", coding, 0.0, 1.0, open_low=True)
        self.length = None if length is None else whole("length", length)

    def setup(self, spec: Spec) -> Spec:
        self._kept = (-1, torch.empty(0))
        self._rows = torch.arange(spec.subjects, device=spec.device)
        return self._announced(spec, self.synapses)

    def next(self, clock: Clock) -> Batch:
        return self._lived(self._patterns(clock.experience), clock)

    def evaluation(self, context: int = 0) -> Batch:
        """A pattern that never occurs in experience: [s, 1, N]."""
        whole("context", context, 0, 0)
        y = torch.stack([self._signs(seed, "patterns.exam", self.synapses) for seed in self._spec.seeds])
        return self._asked(y.to(self._spec.device))

    def train(self, context: int = 0) -> Batch:
        """The first pattern: [s, 1, N]."""
        return self._asked(self._patterns(np.zeros(self._spec.subjects, np.int64)))

    def _patterns(self, experience: np.ndarray) -> Tensor:
        """Each subject's pattern at its experience: float [s, N]; the latest block is cached."""
        block, place = experience // BLOCK, torch.from_numpy(experience % BLOCK).to(self._rows.device)
        if (block == block[0]).all():
            if self._kept[0] != block[0]:
                self._kept = (int(block[0]), self._drawn(block))
            return self._kept[1][self._rows, place].float()
        return self._drawn(block)[self._rows, place].float()

    def _drawn(self, block: np.ndarray) -> Tensor:
        """A block of patterns for each subject: int8 [s, block, N]."""
        subjects = zip(self._spec.seeds, block.tolist(), strict=True)
        rows = [self._signs(seed, "patterns", BLOCK * self.synapses, one) for seed, one in subjects]
        return torch.stack(rows).view(len(rows), BLOCK, self.synapses).to(self._rows.device)

    def _signs(self, seed: int, purpose: str, count: int, block: int = 0) -> Tensor:
        """`count` random signs of one subject, 0 where a synapse takes no part: int8."""
        found = signs(seed, purpose, count, block)
        if self.coding < 1.0:
            lot = np.frombuffer(generator(seed, f"{purpose}.coding", block).bytes(2 * count), "<u2")
            found[torch.from_numpy(lot >= self.coding * 2**16)] = 0
        return found


class Cohorts(_Synapses):
    """Cohorts of items that are learned at given times: y is the pattern of a cohort at its times, and 0 elsewhere.

    times   for each of K cohorts the experiences at which it is learned: a whole number from 0, or a list of them
    items   items (synapses) in each cohort; patterns are random ±1
    noise   standard deviation of the noise on every synapse in every experience, from 0
    length  experiences until the world ends; None: endless

    One life contains a whole study: cohorts learned on different days and tested on the same day.

    >>> world = Cohorts(times=[0, [0, 2]], items=3)
    >>> _ = world.setup(Spec())
    >>> clock = Clock(1, 1)
    >>> clock.experience += 2
    >>> world.next(clock).y[0, 0].abs().tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, *, times: Sequence[Any], items: int = 100, noise: float = 0.0, length: int | None = None):
        self.times, self.items = _times(times), whole("items", items)
        self.noise, self.length = real("noise", noise, 0.0), None if length is None else whole("length", length)

    def setup(self, spec: Spec) -> Spec:
        count = len(self.times) * self.items
        self._patterns = torch.stack([signs(seed, "cohorts", count) for seed in spec.seeds]).to(spec.device).float()
        self._when: dict[int, Tensor] = {}
        for t in sorted({t for times in self.times for t in times}):
            cohorts = torch.tensor([t in times for times in self.times], device=spec.device)
            self._when[t] = cohorts.repeat_interleave(self.items).float()
        return self._announced(spec, count)

    def next(self, clock: Clock) -> Batch:
        nothing = torch.zeros_like(self._patterns[0])
        times = clock.experience.tolist()
        if len(set(times)) == 1:
            y = self._patterns * self._when.get(times[0], nothing)
        else:
            y = torch.stack([p * self._when.get(t, nothing) for p, t in zip(self._patterns, times, strict=True)])
        if self.noise:
            sources = [generator(seed, "cohorts.noise", t) for seed, t in zip(self._spec.seeds, times, strict=True)]
            noise = np.stack([source.standard_normal(len(nothing), np.float32) for source in sources])
            y = y + self.noise * torch.from_numpy(noise).to(y.device)
        return self._lived(y, clock)

    def cohorts(self) -> Tensor:
        """The patterns of all cohorts: [s, K, items]."""
        return self._patterns.view(self._spec.subjects, len(self.times), self.items)

    def evaluation(self, context: int = 0) -> Batch:
        """The patterns of all cohorts as one question: [s, 1, K · items]."""
        whole("context", context, 0, 0)
        return self._asked(self._patterns)

    def train(self, context: int = 0) -> Batch:
        """The patterns of all cohorts: [s, 1, K · items]."""
        return self.evaluation(context)


def signs(seed: int, purpose: str, count: int, block: int = 0) -> Tensor:
    """`count` random signs of one subject: int8, 1 or -1.

    >>> signs(0, "demo", 4).abs().tolist()
    [1, 1, 1, 1]
    """
    source = generator(seed, purpose, block).bytes(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(source, np.uint8))[:count]
    return torch.from_numpy(2 * bits.astype(np.int8) - 1)


def _times(given: Any) -> tuple[tuple[int, ...], ...]:
    if isinstance(given, (str, int, float)) or not hasattr(given, "__len__") or not len(given):
        raise ConfigError("times", f"{given!r} is not a list", "give one time, or a list of times, for each cohort")
    found = []
    for i, one in enumerate(given):
        some = list(one) if hasattr(one, "__len__") and not isinstance(one, str) else [one]
        found.append(tuple(whole(f"times[{i}]", t, 0) for t in some))
    return tuple(found)
