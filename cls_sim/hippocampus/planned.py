"""Slots planned in blocks: where the rows of the coming experiences go, if that depends on nothing learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Filling
from cls_sim.hippocampus.standing import Ranks

PLANNED = ("reservoir", "ring")  # rules by which slots depend on nothing learned
ROWS, TOGETHER = 2**14, 4  # rows that are planned at once, and the fewest subjects for which this is faster


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

    @property
    def end(self) -> int:
        """The experience after the block."""
        return self.filling.start + self.ticks

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
    size = max(1, ROWS // (ticks * rows)) if (count == full.shape[1]).all() else 1
    each = [slice(i, i + size) for i in range(0, len(keys), size)]
    parts = [_of_some(keys[some].cpu().numpy(), stored[some].cpu().numpy(), count[some]) for some in each]
    found = [part + [some.start, 0, 0, 0, 0] for part, some in zip(parts, each, strict=True)]
    return _joined(start, np.concatenate(found), keys, count, full.shape[1])


def followed(start: int, keys: Tensor, ranks: Sequence[Ranks]) -> Places:
    """The same from the ranks of each subject, which are then those after the block; the cost is O(t · b) a subject."""
    count = np.array([one.count for one in ranks])
    found = [one.plan(mine) for one, mine in zip(ranks, keys.numpy(), strict=True)]
    subject = np.repeat(np.arange(len(found)), [len(one) for one in found])
    return _joined(start, np.column_stack((subject, np.concatenate(found))), keys, count, ranks[0].capacity)


def _joined(start: int, found: np.ndarray, keys: Tensor, count: np.ndarray, capacity: int) -> Places:
    """The places of rows [m, 5] (subject, tick, row, slot and key) in memories that hold `count` traces."""
    _, ticks, rows = keys.shape
    subject, tick, row, slot, key = found.T
    order = np.argsort(tick, kind="stable")
    first = np.searchsorted(tick[order], np.arange(ticks + 1)).tolist()
    source, target = (row + subject * rows)[order], (slot + subject * (capacity + 1))[order]
    mark = np.stack((start + tick, np.full_like(tick, -1), key), 1)[order].astype(np.int32)
    counts = np.minimum(count[:, None] + rows * np.arange(ticks + 1), capacity)
    columns = [from_numpy(column).to(keys.device) for column in (source, target, mark)]
    return Places(rows, Filling(start, counts), *columns, first=first)


def _of_some(keys: np.ndarray, stored: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The stored rows of some subjects, [m, 5]: subject, tick, row, slot and key, for keys [s, t, b] and [s, n]."""
    if len(keys) >= TOGETHER and (found := _all_stored(keys, stored)) is not None:
        return found
    found = [_stored(*one) for one in zip(keys, stored, count.tolist(), strict=True)]
    subject = np.repeat(np.arange(len(found)), [len(one) for one in found])
    return np.column_stack((subject, np.concatenate(found)))


def _all_stored(keys: np.ndarray, stored: np.ndarray) -> np.ndarray | None:
    """The same as `_stored` for several subjects with full memories; None: two of their keys are equal, or so
    many rows can stay that subject by subject is faster.

    Only a row with a key below the largest stored one can stay: a candidate.  The trace with the j-th largest stored
    key is removed when j candidates with smaller keys have come; so is a candidate with j - 1 larger stored keys.
    """
    (s, ticks, _), capacity = keys.shape, stored.shape[1]
    subject, tick, row = np.nonzero(keys < stored.max(1)[:, None, None])
    if 2 * len(row) > keys.size:
        return None
    key, most = keys[subject, tick, row], min(capacity, int(np.bincount(subject, minlength=s).max()))
    top = np.argpartition(stored, -most, axis=1)[:, capacity - most :]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(stored, top, 1), 1), 1)  # the next to go is the first
    apart = np.arange(s)[:, None] << 40  # keys of different subjects do not mix
    old, new = np.take_along_axis(stored, top, 1) + apart, key + apart[subject, 0]
    order = np.argsort(new)
    every = np.sort(np.concatenate((old.ravel(), new)))
    if (every[1:] == every[:-1]).any():
        return None
    come = np.zeros((ticks, len(new) + 1), np.int16)  # [t, i]: of the i smallest candidates, those up to tick t
    come[tick[order], np.arange(1, len(new) + 1)] = 1
    come = come.cumsum(1, dtype=np.int16).cumsum(0, dtype=np.int16)
    start = np.searchsorted(new[order], apart[:, 0] - 2**39)  # the first candidate of each subject

    def gone(value: np.ndarray, whose: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The tick at which so many smaller candidates have come; `ticks`: never."""
        smaller = come.take(np.searchsorted(new[order], value), 1) - come.take(start[whose], 1)
        return (smaller < after).sum(0, dtype=np.int16)

    larger = most * (subject + 1) - np.searchsorted(old[:, ::-1].ravel(), new)  # stored keys above each candidate
    nth = np.tile(np.arange(1, most + 1, dtype=np.int16), s)
    leaves = gone(old.ravel(), np.repeat(np.arange(s), most), nth)
    leaves = np.concatenate((leaves, np.maximum(gone(new, subject, larger.astype(np.int16)), tick)))
    place = np.concatenate(((top + np.arange(s)[:, None] * capacity).ravel(), np.zeros_like(new)))
    kept = np.flatnonzero(leaves[s * most :] > tick)
    kept = kept[np.argsort(tick[kept], kind="stable")]
    held = np.concatenate((np.arange(s * most), s * most + kept))
    held = held[np.argsort(leaves[held], kind="stable")]
    until = np.searchsorted(tick[kept], np.arange(ticks + 1)).tolist()
    for here, there in pairwise(until):  # as many traces leave as rows stay, subject by subject
        place[s * most + kept[here:there]] = np.sort(place[held[here:there]])
    return np.stack((subject, tick, row, place[s * most :] % capacity, key), 1)[kept]


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
