"""Slots planned in blocks: where the rows of the coming experiences go, if that depends on nothing learned."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Filling


@dataclass(frozen=True)
class Places:
    """The rows of a block of experiences that are stored; every other row is dropped.

    rows      rows of an experience
    filling   the numbers of traces before each experience of the block, and after it
    source    [m]  int64, the index of the row among all rows of its experience [s · b], sorted by experience
    target    [m]  int64, the index of its slot among all slots and the row behind them [s · (n + 1)]
    mark      [m, 3]  int32, experience, item (-1, written where it is known) and key (see Slots)
    first     [ticks + 1]  the index of the first stored row of each experience
    """

    rows: int
    filling: Filling
    source: Tensor
    target: Tensor
    mark: Tensor
    first: list[int]

    @property
    def ticks(self) -> int:
        return len(self.first) - 1

    def of(self, experience: int) -> slice:
        """The stored rows of this experience, as a slice of the columns."""
        at = experience - self.filling.start
        return slice(self.first[at], self.first[at + 1])

    def filled(self, experience: int) -> Counts:
        """The number of traces of each subject before this experience: int64 [s]."""
        return self.filling.counts[:, experience - self.filling.start]


def planned(start: int, keys: Tensor, stored: Tensor, alive: Tensor) -> Places | None:
    """Plan a block: which rows a memory stores, and where, as `Slots.choose` would decide tick by tick.

    keys           [s, t, b]  int64 keys of the rows of t experiences
    stored, alive  [s, n]     keys of the slots, and which slots hold a trace
    None: some memory has an empty slot before a full one, so that its rows must be placed tick by tick.
    """
    full, count = alive.cpu().numpy(), alive.sum(1).cpu().numpy()
    if (full != (np.arange(full.shape[1]) < count[:, None])).any():
        return None
    _, ticks, rows = keys.shape
    each = zip(keys.cpu().numpy(), stored.cpu().numpy(), count.tolist(), strict=True)
    found = [_stored(*one) for one in each]
    subject = np.repeat(np.arange(len(found)), [len(one) for one in found])
    tick, row, slot, key = np.concatenate(found).T
    order = np.argsort(tick, kind="stable")
    first = np.searchsorted(tick[order], np.arange(ticks + 1)).tolist()
    source, target = (row + subject * rows)[order], (slot + subject * (full.shape[1] + 1))[order]
    mark = np.stack((start + tick, np.full_like(tick, -1), key), 1)[order].astype(np.int32)
    counts = np.minimum(count[:, None] + rows * np.arange(ticks + 1), full.shape[1])
    columns = [from_numpy(column).to(keys.device) for column in (source, target, mark)]
    return Places(rows, Filling(start, counts), *columns, first=first)


def _stored(keys: np.ndarray, stored: np.ndarray, count: int) -> np.ndarray:
    """The stored rows of one subject, [m, 4]: tick, row, slot and key, for keys [t, b] and `count` traces."""
    rows, capacity = keys.shape[1], len(stored)
    whole = min(len(keys), (capacity - count) // rows)  # experiences that empty slots take whole
    own = np.concatenate((stored[:count], keys[:whole].reshape(-1)))
    place = np.arange(whole * rows)
    filling = np.stack((place // rows, place % rows, count + place, own[count:]), 1)
    rest = keys[whole:]
    if not rest.size:
        return filling
    empty = list(range(len(own), capacity))
    # Only a row with a key below the largest stored one can stay, and it removes at most one trace.
    tick_of, row_of = np.nonzero(rest < own.max()) if not empty else np.divmod(np.arange(rest.size), rows)
    most = min(len(own), len(tick_of))
    top = np.argpartition(own, -most)[-most:] if most else place[:0]
    top = top[np.argsort(own[top])]
    old = list(zip(own[top].tolist(), top.tolist(), strict=True))  # ascending: the next trace to go is the last
    new: list[tuple[int, int]] = []  # the rows of this block, a heap of (-key, slot)
    ready = list(zip(rest[tick_of, row_of].tolist(), row_of.tolist(), strict=True))
    cuts = np.searchsorted(tick_of, np.arange(len(rest) + 1)).tolist()
    steady: list[tuple[int, int, int, int]] = []
    for tick, (here, there) in enumerate(pairwise(cuts)):
        freed, kept = list[int](), list[tuple[int, int]]()
        for key, row in sorted(ready[here:there]):
            if empty:
                freed.append(empty.pop(0))
            elif new and (not old or -new[0][0] > old[-1][0]):
                if key >= -new[0][0]:
                    break
                freed.append(heappop(new)[1])
            elif old and key < old[-1][0]:
                freed.append(old.pop()[1])
            else:
                break
            kept.append((row, key))
        for (row, key), slot in zip(sorted(kept), sorted(freed), strict=True):
            heappush(new, (-key, slot))
            steady.append((whole + tick, row, slot, key))
    return np.concatenate((filling, np.array(steady, np.int64).reshape(-1, 4)))
