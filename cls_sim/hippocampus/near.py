"""Sparse codes of what a memory holds, by which it knows that an episode is stored already."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cls_sim.core.part import Spec
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.dentate import active
from cls_sim.hippocampus.repeats import LARGE, Repeats
from cls_sim.hippocampus.signs import Signs

ROUNDING = 1e-3  # so that rounding does not put 0.9 · 50 above 45
AT_ONCE = 2**22  # drives of cells in memory at once

Stored = Callable[[slice], Tensor]
"""The levels of the contents in these slots: whole numbers as float [s, c, x]."""


class Near:
    """The codes of stored contents: the k = `winners` of `units` cells that their levels drive most.

    An episode repeats a stored one if they have  merge · k  cells in common.  The wiring is drawn once for each subject
    (signs, as in Sparse); levels are whole numbers, so codes do not depend on the device or on the cohort.  The codes
    are a function of the stored contents.  They are not state: a copy, or a memory that was loaded, makes them again.
    """

    def __init__(self, spec: Spec, capacity: int, units: int, winners: int, merge: float):
        self.spec, self.capacity, self.units, self.winners, self.merge = spec, capacity, units, winners, merge
        self.signs = Signs(spec, units, winners)
        self.least = math.ceil(merge * winners - ROUNDING)
        self.rows = torch.arange(spec.subjects, device=spec.device)[:, None]
        self.codes: Tensor | None = None  # [s, capacity + 1, k] int16
        index = Repeats(units, winners, self.least)
        self.index = index if spec.device.type == "cpu" and capacity >= LARGE and index.useful else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Near:
        twin = object.__new__(Near)
        vars(twin).update(vars(self), codes=None)
        twin.index = None if self.index is None else Repeats(self.units, self.winners, self.least)
        return twin

    def code(self, levels: Tensor) -> Tensor:
        """The winners for levels [s, b, x]: int64 [s, b, k]."""
        return self.signs.code(levels)

    def made(self, stored: Stored, used: int) -> Tensor:
        """The codes of all contents, of which the first `used` slots can hold any; made only if they are missing."""
        if self.codes is None:
            lots = (self.spec.subjects, self.capacity + 1, self.winners)
            self.codes = torch.zeros(lots, dtype=torch.int16, device=self.spec.device)
            size = max(1, AT_ONCE // (self.units * self.spec.subjects))
            for i in range(0, used, size):
                some = slice(i, min(i + size, used))
                self.codes[:, some] = self.code(stored(some)).to(torch.int16)
        return self.codes

    def known(self, code: Tensor, y: Tensor | None, stored_y: Tensor | None, heard: Tensor, codes: Tensor) -> Tensor:
        """Which rows repeat a stored episode (with their label, if there are labels): bool [s, b]."""
        if self.index is None:
            return self._looked(code, y, stored_y, heard, codes)
        found = torch.zeros(code.shape[:2], dtype=torch.bool)
        for i, (row, slot) in enumerate(self.index.find(codes, code)):
            inside = slot < heard.shape[1]
            rows, slots = from_numpy(row[inside]), from_numpy(slot[inside])
            same = heard[i, slots]
            if y is not None and stored_y is not None:
                same = same & (y[i, rows] == stored_y[i, slots])
            found[i, rows[same]] = True
        return found

    def _looked(self, code: Tensor, y: Tensor | None, stored_y: Tensor | None, heard: Tensor, codes: Tensor) -> Tensor:
        """The same by a look at all traces."""
        cells, n = active(code, self.units), heard.shape[1]
        found = torch.zeros(code.shape[:2], dtype=torch.bool, device=code.device)
        size = max(1, AT_ONCE // (self.units * len(code)))
        for i in range(0, n, size):
            some = slice(i, min(i + size, n))
            same = cells @ active(codes[:, some].long(), self.units).mT >= self.least
            same &= heard[:, None, some]
            if y is not None and stored_y is not None:
                same &= y[:, :, None] == stored_y[:, None, some]
            found |= same.any(2)
        return found

    def together(self, code: Tensor) -> Tensor:
        """Which rows of a batch are as one: bool [s, b, b]."""
        cells = active(code, self.units)
        return cells @ cells.mT >= self.least

    def wrote(self, code: Tensor, slot: Tensor) -> None:
        """Learn the codes of rows [s, b, k] that were written to these slots; slot `capacity` discards a row."""
        if self.codes is not None:
            self.codes[self.rows, slot] = code.to(torch.int16)
            if self.index is not None:
                self.index.wrote(self.codes, slot)
