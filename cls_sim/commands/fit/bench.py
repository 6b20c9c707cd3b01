"""Where settings live, and from where they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cls_sim.commands.choose.settings import Span
from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.errors import ConfigError, known
from cls_sim.running.studies import study
from cls_sim.storage.case import Case


@dataclass(frozen=True)
class Bench:
    """Where settings live: an arm of an experiment, and the readings that are compared with people."""

    given: tuple[str, ...]
    arm: str
    points: Mapping[str, str]
    folders: tuple[str, ...]

    def live(self, overrides: Sequence[str]) -> dict[str, np.ndarray]:
        """cell → [s]"""
        found = study(*self.given, "claims=null", "ablation=null", *overrides, folders=self.folders)
        case = Case(found.traces, found.readings, "data")
        for cell, reading in self.points.items():
            name, there = reading.partition("[")[0].partition("@")[0], found.readings[self.arm]
            known("data", name, there, f"the cell {cell!r} is no reading of this experiment")
        try:
            return {cell: np.asarray(case.values(self.arm, one), np.float64) for cell, one in self.points.items()}
        except (ValueError, IndexError) as error:
            raise ConfigError("data", f"a cell cannot be read ({error})", "name readings of one number") from None

    def together(self, settings: Mapping[str, Numbers], subjects: int, seed: int) -> Numbers:
        """The means [n, k] of n settings that live as one cohort."""
        lists = [
            f"{key}=[{','.join(f'{v:.6g}' for v in values for _ in range(subjects))}]"
            for key, values in settings.items()
        ]
        count = len(next(iter(settings.values())))
        found = self.live([*lists, f"subjects={count * subjects}", f"seed={seed}"])
        return np.stack([values.reshape(count, subjects).mean(1) for values in found.values()], 1)


@dataclass(frozen=True)
class Ground:
    """The ranges of the numbers, each as [0, 1] on a logarithmic scale if it spans a factor of ten or more."""

    low: Numbers
    high: Numbers
    log: Flags

    @classmethod
    def over(cls, spans: Sequence[Span]) -> Ground:
        low, high = (np.array([getattr(span, end) for span in spans], np.float64) for end in ("low", "high"))
        log = (low > 0) & (high >= 10 * np.maximum(low, 1e-300))
        return cls(np.where(log, np.log(np.where(log, low, 1)), low), np.where(log, np.log(high), high), log)

    def drawn(self, count: int, turn: int, near: Numbers) -> Numbers:
        """Settings [n, k]: a Latin hypercube, or drawn from a normal distribution fitted to the settings `near`."""
        lot = np.random.Generator(np.random.Philox(turn))
        if len(near):
            with np.errstate(divide="ignore"):
                share = (np.where(self.log, np.log(near), near) - self.low) / (self.high - self.low)
            spread = 1.5 * np.atleast_2d(np.cov(share.T)) + 1e-8 * np.eye(share.shape[1])
            share = np.clip(lot.multivariate_normal(share.mean(0), spread, count), 0.0, 1.0)
        else:
            cells = np.stack([lot.permutation(count) for _ in self.low], 1)
            share = (cells + lot.random(cells.shape)) / count
        found = self.low + share * (self.high - self.low)
        return np.where(self.log, np.exp(found), found)
