"""An index of sparse codes: the stored codes that share most of their cells with a new one, without a look at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cls_sim.core.draws import generator

LARGE = 2**12  # slots from which the index is used
FULL = 2.0  # active cells in a block, on average, below which blocks are equal by chance
TAIL = 64  # the index is sorted again when 1 / TAIL of its slots (and 1,000) are new


class Repeats:
    """Finds every stored code c' with |c ∩ c'| ≥ least, for codes of k of `units` cells.

    Two such codes differ in at most d = 2 (k - least) cells.  The cells are divided into d + 1 blocks, so in some block
    the two codes are equal (pigeonhole principle; Manku, Jain & Das Sarma 2007).  A block of a code has a signature, a
    sum of random 64-bit numbers of its active cells; codes that share a signature are compared cell by cell.  No code
    is missed.  The cost is that of a few binary searches in sorted signatures and in the newest `1 / TAIL` of them.

    The index is not state: it can be made again from the codes, and a copy of a memory starts without it.

    >>> index = Repeats(units=100, winners=4, least=3)
    >>> codes = torch.tensor([[[1, 30, 60, 90], [2, 31, 61, 91], [1, 30, 60, 99]]], dtype=torch.int16)
    >>> [found.tolist() for found in index.find(codes, torch.tensor([[[1, 30, 60, 90]]]))[0]]
    [[0, 0], [0, 2]]
    """

    def __init__(self, units: int, winners: int, least: int):
        self.least, self.blocks = least, 2 * (winners - least) + 1
        self._units, self._winners = units, winners
        source = generator(0, "hippocampus.repeats")
        self._lot = torch.from_numpy(source.integers(-(2**63), 2**63, units, np.int64))
        self._block = torch.arange(units) * self.blocks // units
        self._of: tuple[Tensor, int] | None = None  # the column of codes that is indexed, and its version
        self._signs: list[NDArray[np.int64]] = []  # of each subject, [blocks, n]
        self._sorted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []  # signatures and their slots, [blocks, n]
        self._new: list[list[int]] = []  # slots written since

    @property
    def useful(self) -> bool:
        """Whether blocks hold enough cells to tell codes apart."""
        return self._winners >= FULL * self.blocks or self.blocks == 1

    def __deepcopy__(self, memo: dict[int, Any]) -> Repeats:
        return Repeats(self._units, self._winners, self.least)

    def find(self, codes: Tensor, wanted: Tensor) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Of each subject, the pairs (row, slot) with enough common cells, slots ascending within a row.

        codes   [s, n, k]  int16, the stored codes, on a CPU; those of empty slots are found as well
        wanted  [s, b, k]  int64, codes
        """
        if self._of is None or self._of[0] is not codes or self._of[1] != codes._version:
            self._signs = [self._signatures(mine) for mine in codes]
            self._sorted, self._new = [_sorted(mine) for mine in self._signs], [[] for _ in codes]
            self._of = (codes, codes._version)
        return [self._pairs(i, mine, wanted[i]) for i, mine in enumerate(codes)]

    def wrote(self, codes: Tensor, slot: Tensor) -> None:
        """Learn that codes were written to these slots [s, b] by one operation; a slot beyond the index is no slot."""
        if self._of is None or self._of[0] is not codes or self._of[1] + 1 != codes._version:
            self._of = None
            return
        for i, (mine, slots) in enumerate(zip(codes, slot.tolist(), strict=True)):
            slots = sorted(set(slots))
            self._signs[i][:, slots] = self._signatures(mine[slots])
            self._new[i] = sorted({*self._new[i], *slots})
            if len(self._new[i]) > max(1000, len(mine) // TAIL):
                self._sorted[i], self._new[i] = _sorted(self._signs[i]), []
        self._of = (codes, codes._version)

    def _signatures(self, codes: Tensor) -> NDArray[np.int64]:
        cells = codes.long()
        room = torch.zeros(len(cells), self.blocks, dtype=torch.int64)
        return room.scatter_add_(1, self._block[cells], self._lot[cells]).T.contiguous().numpy()

    def _pairs(self, i: int, codes: Tensor, wanted: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        n, new = len(codes), np.array(self._new[i], np.int64)
        found = list[NDArray[np.int64]]()  # row · n + slot
        for of, mine, (signs, slots) in zip(
            self._signatures(wanted), self._signs[i], zip(*self._sorted[i], strict=True), strict=True
        ):
            first, last = np.searchsorted(signs, of, "left"), np.searchsorted(signs, of, "right")
            found += [row * n + slots[a:b] for row, (a, b) in enumerate(zip(first, last, strict=True)) if a < b]
            row, place = np.nonzero(of[:, None] == mine[new])
            found.append(row * n + new[place])
        row, slot = np.divmod(np.unique(np.concatenate(found)), n)
        active = torch.zeros(len(wanted), self._units, dtype=torch.bool).scatter_(1, wanted, True)
        common = active[torch.from_numpy(row)[:, None], codes[torch.from_numpy(slot)].long()].sum(1)
        enough = (common >= self.least).numpy()
        return row[enough], slot[enough]


def _sorted(signs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(signs, axis=1)
    return np.take_along_axis(signs, order, 1), order
