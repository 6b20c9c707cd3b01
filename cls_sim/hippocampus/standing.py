"""An index of stored keys: the slots of new rows at a cost that does not depend on the capacity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.tensors import from_numpy

LABELLED, UNLABELLED = 2**11, 2**14  # slots from which the index is faster than a sort or a scan at every experience
MASK = 2**32 - 1
NONE, NOTHING = -(2**20), np.zeros(0, np.int64)  # the class of empty slots, and an empty pile
Row = tuple[int, int, int]  # number in the batch (or slot), key, class
Facts = Callable[[], tuple[Tensor, Tensor | None, Tensor]]
Level = tuple[int, int, int]  # of a class: its size and its largest number, both negative, and the class


class Pile:
    """A set of numbers that gives its largest: those it begins with in a sorted array, later ones in a heap.

    >>> pile = Pile(np.array([3, 7]))
    >>> pile.push(5)
    >>> len(pile), pile.top(), pile.pop(), pile.pop(), pile.pop()
    (3, 7, 7, 5, 3)
    """

    __slots__ = ("_end", "_new", "_old")

    def __init__(self, numbers: NDArray[np.int64]):
        self._old, self._new, self._end = np.sort(numbers), list[int](), len(numbers)

    def __len__(self) -> int:
        return self._end + len(self._new)

    def top(self) -> int:
        old = int(self._old[self._end - 1]) if self._end else -(2**63)
        return max(old, -self._new[0]) if self._new else old

    def pop(self) -> int:
        if self._new and (not self._end or -self._new[0] > self._old[self._end - 1]):
            return -heappop(self._new)
        self._end -= 1
        return int(self._old[self._end])

    def push(self, number: int) -> None:
        heappush(self._new, -number)


class Ranks:
    """The stored keys of one subject, the next to leave first; gives the choices of `Slots.choose`.

    Among the stored and the new rows those of the largest class leave first, and within it the largest keys (see
    Slots; rules without classes have one class).  Every number is key · 2^32 + slot.

    key, label  [n]  integers, the key and the class of each slot
    alive       [n]  which slots hold a trace

    >>> ranks = Ranks(np.array([4, 9, 2]), np.array([0, 0, 1]), np.array([True, True, True]))
    >>> ranks.choose([(0, 5, 1), (1, 7, 1)])  # the class 0 loses key 9; then the class 1 its key 7, the second row
    {0: 1}
    """

    def __init__(self, key: NDArray[Any], label: NDArray[Any], alive: NDArray[np.bool_]):
        self.capacity = len(key)
        slots = np.flatnonzero(alive)
        codes, classes = (key[slots].astype(np.int64) << 32) + slots, label[slots]
        self.piles = {int(c): Pile(codes[classes == c]) for c in np.unique(classes)}
        self.empty = Pile(-np.flatnonzero(~alive))  # the first empty slot is the next to be used
        self.newest = int(min(0, key[slots].min(initial=0)))  # the lowest key
        self._now: dict[int, Level] = {}  # the size and the largest number of each class
        self._levels: list[Level] = []  # the same as a heap; entries that are no longer true are skipped
        self._mine: dict[int, list[int]] = {}  # class → the numbers of its new rows, ascending
        self._taken: dict[int, tuple[int, int]] = {}  # slot → class and number of a trace that leaves
        for c in self.piles:
            self._rank(c)

    @property
    def count(self) -> int:
        return self.capacity - len(self.empty)

    def first(self) -> int | None:
        """The number of traces, if they fill the first slots; else None."""
        return self.count if not len(self.empty) or -self.empty.top() == self.count else None

    def _rank(self, c: int) -> None:
        """Put a class at its place among the classes."""
        pile, new = self.piles[c], self._mine.get(c)
        size, top = len(pile), pile.top()
        if new:
            size, top = size + len(new), max(top, new[-1])
        if not size:
            self._now.pop(c, None)
            return
        self._now[c] = level = (-size, -top, c)
        heappush(self._levels, level)

    def choose(self, rows: Sequence[Row]) -> dict[int, int]:
        """The slots of the rows that stay, row → slot.  Tell by `wrote` which were written before the next call."""
        free = min(len(rows), len(self.empty))
        freed = [-self.empty.pop() for _ in range(free)]
        self._taken = {slot: (NONE, -slot) for slot in freed}
        self._mine = mine = dict[int, list[int]]()
        for number, key, c in rows:
            mine.setdefault(c, []).append((key << 32) + self.capacity + number)
        for c, numbers in mine.items():
            numbers.sort()
            self.piles.setdefault(c, Pile(NOTHING))
            self._rank(c)
        gone = set[int]()
        for _ in range(len(rows) - free):
            level = heappop(self._levels)
            while self._now.get(level[2]) is not level:
                level = heappop(self._levels)
            _, top, c = level
            new, slot = mine.get(c), -top & MASK
            if new and new[-1] == -top:
                new.pop()
                gone.add(slot - self.capacity)
            else:
                self.piles[c].pop()
                self._taken[slot] = (c, -top)
                freed.append(slot)
            self._rank(c)
        stay = sorted(number for number, _, _ in rows if number not in gone)
        return dict(zip(stay, sorted(freed), strict=True))

    def wrote(self, slots: Sequence[int], keys: Sequence[int], labels: Sequence[int], before: Sequence[Row]) -> bool:
        """Tell which slots were written; False: this index cannot follow, because a trace was replaced unasked.

        before  the slot, key and class that each of these slots held
        """
        touched, self._mine = set(self._mine), {}
        for slot, key, c, held in zip(slots, keys, labels, before, strict=True):
            if (leaving := self._taken.pop(slot, None)) is None:
                if held[1:] != (key, c):
                    return False
                continue
            self.piles.setdefault(c, Pile(NOTHING)).push((key << 32) + slot)
            self.newest = min(self.newest, key)
            touched |= {c, leaving[0]}
        for c, number in self._taken.values():  # what was to leave, and stayed
            (self.empty if c == NONE else self.piles[c]).push(number)
            touched.add(c)
        self._taken = {}
        for c in touched - {NONE}:
            self._rank(c)
        if len(self._levels) > 4 * len(self._now) + 64:
            self._levels = sorted(self._now.values())
        return True

    def plan(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the next experiences that stay, [m, 4]: tick, row, slot and key, for keys [t, b]; no classes."""
        pile, found = self.piles.setdefault(0, Pile(NOTHING)), list[tuple[int, int, int, int]]()
        fresh = len(self.empty) > 0
        some = np.divmod(np.arange(keys.size), keys.shape[1]) if fresh else np.nonzero(keys < pile.top() >> 32)
        cuts = np.searchsorted(some[0], np.arange(len(keys) + 1)).tolist()
        numbers, values = some[1].tolist(), keys[some].tolist()
        for tick, (start, stop) in enumerate(pairwise(cuts)):
            freed, kept = list[int](), list[tuple[int, int]]()
            for key, row in sorted(zip(values[start:stop], numbers[start:stop], strict=True)):
                if len(self.empty):
                    freed.append(-self.empty.pop())
                elif key < pile.top() >> 32:
                    freed.append(pile.pop() & MASK)
                else:
                    break
                kept.append((row, key))
            for (row, key), slot in zip(sorted(kept), sorted(freed), strict=True):
                pile.push((key << 32) + slot)
                found.append((tick, row, slot, key))
        self.newest = min(self.newest, *(key for *_, key in found)) if found else self.newest
        self._rank(0)
        return np.array(found, np.int64).reshape(-1, 4)


def newest_of(ranks: Sequence[Ranks]) -> Tensor:
    """The lowest key of each subject, at most 0: [s]."""
    return torch.tensor([one.newest for one in ranks])


class Standing:
    """The ranks of all subjects of a memory on a CPU, as long as nothing else writes to its columns.

    It is not state: it can be made again from the columns, and a copy of a memory starts without it.

    capacity  slots of a memory; a row that is not stored gets this number
    limits    [s], the number of slots that each subject can use; None: all
    """

    def __init__(self, capacity: int, limits: Counts | None = None) -> None:
        self.capacity, self.limits = capacity, limits
        self.ranks: list[Ranks] | None = None
        self._seen: list[tuple[Tensor, int]] = []  # the columns after the last write, with their versions

    def __deepcopy__(self, memo: dict[int, Any]) -> Standing:
        return Standing(self.capacity, self.limits)

    def limit(self, limits: Counts) -> None:
        """Change the numbers of slots that subjects can use."""
        self.limits = limits
        self.drop()

    def filled(self, columns: Sequence[Tensor]) -> Counts | None:
        """The numbers of traces [s], if they fill the first slots and nothing has written to these columns since."""
        if self.ranks is None or not self._same(columns):
            return None
        first = [one.first() for one in self.ranks]
        return None if None in first else np.array(first, np.int64)

    def ready(self, columns: Sequence[Tensor], facts: Facts, at_once: bool = False) -> list[Ranks] | None:
        """The ranks; made again if the columns are as the last experience left them (or `at_once`), else None.

        facts  gives the keys [s, n], the classes [s, n] or None, and which slots hold a trace [s, n]
        """
        if not self._same(columns):
            self.drop()
            if not at_once:
                return None
        if self.ranks is None:
            key, label, alive = facts()
            classes = torch.zeros_like(key) if label is None else label
            n = [self.capacity] * len(key) if self.limits is None else self.limits.tolist()
            each = zip(key.numpy(), classes.numpy(), alive.numpy(), n, strict=True)
            self.ranks = [Ranks(*(column[:count] for column in columns)) for *columns, count in each]
        return self.ranks

    def choose(self, ranks: Sequence[Ranks], fresh: Tensor, key: Tensor, label: Tensor | None) -> Tensor:
        """The slot [s, b] of each new row, `capacity` for those that are not stored."""
        slot = np.full(fresh.shape, self.capacity)
        classes = np.zeros(fresh.shape, np.int64) if label is None else label.numpy()
        columns = zip(ranks, fresh.numpy(), key.tolist(), classes.tolist(), strict=True)
        for i, (mine, there, keys, labels) in enumerate(columns):
            placed = mine.choose([(row, keys[row], labels[row]) for row in np.flatnonzero(there).tolist()])
            slot[i, list(placed)] = list(placed.values())
        return from_numpy(slot)

    def write(self, slot: Tensor, key: Tensor, label: Tensor | None, old_key: Tensor, old_label: Tensor) -> None:
        """Learn that rows with these keys and classes [s, b] are about to replace others in their slots [s, b]."""
        if self.ranks is None:
            return
        labels = [[0] * slot.shape[1]] * len(slot) if label is None else label.tolist()
        olds = labels if label is None else old_label.tolist()
        columns = zip(self.ranks, slot.tolist(), key.tolist(), labels, old_key.tolist(), olds, strict=True)
        for ranks, slots, keys, classes, before, held in columns:
            rows = [i for i, one in enumerate(slots) if one < ranks.capacity]
            fields = ([column[i] for i in rows] for column in (slots, keys, classes))
            if not ranks.wrote(*fields, [(slots[i], before[i], held[i]) for i in rows]):
                self.drop()
                return

    def seen(self, columns: Sequence[Tensor], later: int = 0) -> None:
        """Note the columns as they are after a write; `later`: writes to each that are planned and still to come."""
        self._seen = [(column, column._version + later) for column in columns]

    def drop(self) -> None:
        self.ranks, self._seen = None, []

    def _same(self, columns: Sequence[Tensor]) -> bool:
        return len(columns) == len(self._seen) and all(
            now is then and now._version == version for now, (then, version) in zip(columns, self._seen, strict=True)
        )
