"""Checks that all numbers of a life are finite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import Diverged
from cls_sim.core.trees import leaves
from cls_sim.life import Life

FEW = 1024  # numbers that a pulse checks, at least one per subject
REMEDY = "lower the rate of plasticity; earlier checkpoints are intact"


class FiniteCheck:
    """Raises Diverged, with the subject, the place and the tick, as soon as a number of a life is NaN or infinite.

    arm  the name of the arm in the error message

    `pulse` checks a few weights in every tick and costs about a microsecond: one non-finite number makes all weights
    non-finite in the next step.  `examine` checks the whole state, before it is saved or measured.  Inside `with`,
    numpy gives no warnings about overflow.
    """

    def __init__(self, life: Life, arm: str = ""):
        self.life, self.arm = life, arm
        weights = life.neocortex.weights
        self._name = min(weights, key=lambda name: weights[name].numel(), default="")
        self._weights: Tensor | None = None
        self._few = np.zeros(0, np.float32)

    def __enter__(self) -> FiniteCheck:
        self._complaints = warnings.catch_warnings()
        self._complaints.__enter__()
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered in dot", RuntimeWarning)
        return self

    def __exit__(self, *_: object) -> None:
        self._complaints.__exit__(None, None, None)

    def pulse(self) -> None:
        """Check a few weights of each subject, and the whole state if one of them is not finite.

        It checks nothing for a cortex on another device than the CPU, because that would wait for the device.
        """
        weights = self.life.neocortex.weights.get(self._name)
        if weights is not self._weights:
            self._weights, self._few = weights, _few(weights)
        if not math.isfinite(self._few.dot(self._few)):
            self.examine()

    def examine(self, tree: Mapping[str, Any] | None = None) -> None:
        """Check the whole state (`tree`: `life.state()`, if it is computed already)."""
        for path, leaf in leaves(self.life.state() if tree is None else tree):
            if not _finite(leaf):
                self._diagnose(".".join(path), leaf, torch.isfinite)

    def read(self, readings: Mapping[str, Tensor]) -> None:
        """Check readings of probes: NaN means undefined and is allowed, an infinity is not."""
        for name, reading in readings.items():
            if torch.isinf(reading).any():
                self._diagnose(f"probes.{name}", reading, lambda numbers: ~torch.isinf(numbers))

    def _diagnose(self, name: str, leaf: Any, fine: Any) -> None:
        numbers = torch.as_tensor(leaf)
        bad = ~fine(numbers)
        if not bad.any():  # the numbers are finite, only their sum is not
            return
        who = "not finite"
        seeds, clock = self.life.spec.seeds, self.life.clock
        if numbers.ndim and len(numbers) == len(seeds):
            i = int(bad.view(len(bad), -1).any(1).nonzero()[0])
            who += f" in subject {i} (seed {seeds[i]})"
        arm = f" of arm {self.arm}" if self.arm else ""
        raise Diverged(name, f"is {who}{arm} at tick {clock.tick}, day {clock.day.max():g}", REMEDY)


def _few(weights: Tensor | None) -> np.ndarray:
    """A view of some weights of every subject."""
    if weights is None or weights.device.type != "cpu" or weights.dtype != torch.float32 or not weights.is_contiguous():
        return np.zeros(0, np.float32)
    step = min(weights[0].numel(), weights.numel() // FEW + 1)
    return weights.detach().view(-1).numpy()[::step]


def _finite(numbers: Any) -> bool:
    """Whether the sum is finite, which implies that every number is; the sum of very large numbers may not be."""
    if isinstance(numbers, Tensor):
        return not numbers.is_floating_point() or math.isfinite(numbers.detach().sum().item())
    with np.errstate(all="ignore"):
        return not isinstance(numbers, np.ndarray) or math.isfinite(numbers.sum(dtype=np.float64))
