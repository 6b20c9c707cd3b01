"""A batch of rows, and the origin of each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Counts
from cls_sim.core.tensors import from_numpy

LIVED, STORED, DREAMED = 0, 1, 2
LATER = ("context", "born", "item", "source", "slot")  # columns of a joined batch made when first read


def _none() -> None:
    """The default of an absent column: kept by the instance, so that a column made later can take its place."""


class Origin(TypedDict, total=False):
    """The fields of a batch other than its inputs and targets."""

    context: Tensor
    born: Tensor
    item: Tensor
    source: Tensor
    weight: Tensor | None
    scores: Tensor | None
    slot: Tensor | None
    features: Tensor | None
    action: Tensor | None
    reward: Tensor | None
    after: Tensor | None
    steps: Tensor | None
    sizes: Counts | None


class Columns(Origin, total=False):
    """The fields of a batch."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Bytes:
    """Inputs as whole multiples of a quantum: content uint8 [s, b, x], which must never change, and the input shape.

    >>> Bytes(torch.tensor([[[1, 2]]], dtype=torch.uint8), 0.5, (2,)).floats().tolist()
    [[[0.5, 1.0]]]
    """

    content: Tensor
    quantum: float
    inputs: tuple[int, ...]

    def floats(self) -> Tensor:
        """The inputs [s, b, *inputs]: bytes times a number, float32; rows that all subjects share stay shared."""
        shared = self.content.stride(0) == 0
        own = (self.content[:1] if shared else self.content).float().mul_(self.quantum)  # faster than a mixed product
        return own.view(*own.shape[:2], *self.inputs).expand(len(self.content), -1, *self.inputs)


@dataclass(frozen=True)
class Batch:
    """`b` rows for each of `s` subjects.

    x        [s, b, *inputs]  float, inputs
    y        [s, b]           int64 labels, or float targets [s, b, o] (regression)
    context  [s, b]           int64, the context of the row; -1: unknown
    born     [s, b]           int64, the experience (count) at which the subject met the row; -1: never
    item     [s, b]           int64, the row's number in the world's training data; -1: none (generated)
    source   [s, b]           uint8: LIVED (from the world), STORED (a stored episode) or DREAMED (generated)
    weight   [s, b]           float from 0, or None (all 1); rows of weight 0 count as absent
    scores   [s, b, o]        soft targets of the row (distillation), or None
    slot     [s, b]           int64, the hippocampal slot that the row came from, or None
    features [s, b, f]        current cortical features of the row, or None
    action   [s, b]           int64, the action that the subject took there, or None (a world that asks for none)
    reward   [s, b]           float, the reward that followed, or None
    after    [s, b, *inputs]  float, the input that followed, or None
    steps    [s, b]           int64, the number of steps from x to `after`; 0: the episode ended there; or None
    sizes    [s]              numpy int64: the first sizes[i] rows belong to subject i, the rest is padding of weight 0;
                              None: all rows belong to every subject

    >>> b = Batch.lived(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))
    >>> b.subjects, b.rows
    (2, 3)
    """

    x: Tensor
    y: Tensor
    context: Tensor
    born: Tensor
    item: Tensor
    source: Tensor
    weight: Tensor | None = field(default_factory=_none)
    scores: Tensor | None = field(default_factory=_none)
    slot: Tensor | None = field(default_factory=_none)
    features: Tensor | None = field(default_factory=_none)
    action: Tensor | None = field(default_factory=_none)
    reward: Tensor | None = field(default_factory=_none)
    after: Tensor | None = field(default_factory=_none)
    steps: Tensor | None = field(default_factory=_none)
    sizes: Counts | None = field(default_factory=_none)

    def __getattr__(self, name: str) -> Any:
        """Make a column of a joined batch: most steps read only inputs, answers and weights."""
        make = vars(self).get("_later", {}).get(name)
        if make is None:
            raise AttributeError(f"Batch has no attribute {name!r}")
        return vars(self).setdefault(name, make())

    @property
    def subjects(self) -> int:
        return self.y.shape[0]

    @property
    def rows(self) -> int:
        return self.y.shape[1]

    @property
    def raw(self) -> Bytes | None:
        """The inputs as bytes, if the batch was made of bytes."""
        return vars(self).get("_raw")

    @staticmethod
    def lived(x: Tensor, y: Tensor, **others: Unpack[Origin]) -> Batch:
        """A batch from x and y: all other fields are unknown (-1, None), the source is LIVED, unless they are given."""
        unknown = torch.full(x.shape[:2], -1, dtype=torch.int64, device=x.device)
        source = torch.full(x.shape[:2], LIVED, dtype=torch.uint8, device=x.device)
        return Batch(x, y, unknown, unknown, unknown, source).with_(**others)

    @staticmethod
    def made(later: dict[str, Callable[[], Tensor]], raw: Bytes | None = None, /, **columns: Unpack[Columns]) -> Batch:
        """A batch with these columns (None if not given) and others that are made when first read.

        later  column name → a function without arguments; what it reads must never change
        raw    the inputs as bytes, of which x is made when first read
        """
        batch = object.__new__(Batch)
        if raw is not None:
            later["x"] = raw.floats
            vars(batch)["_raw"] = raw
        vars(batch).update(_absent(tuple(later)), **columns, _later=later)
        return batch

    def present(self) -> Tensor:
        """Which rows are present (weight above 0): bool [s, b]."""
        if self.weight is None:
            return torch.ones(self.y.shape[:2], dtype=torch.bool, device=self.y.device)
        return self.weight > 0

    def count(self) -> int | Counts:
        """The number of present rows: one number, or one for each subject [s]; read from the device once a batch."""
        if self.weight is None:
            return self.rows
        known: Counts | None = vars(self).get("_count")
        return vars(self).setdefault("_count", (self.weight > 0).sum(1).cpu().numpy()) if known is None else known

    def weighted(self, weight: Tensor | None, count: Counts | None = None) -> Batch:
        """This batch with these row weights, of which count [s] are above 0; None: `count` finds out."""
        changed = self.with_(weight=weight)
        if count is not None:
            vars(changed)["_count"] = count
        return changed

    def weights(self) -> Tensor:
        """The weights of the rows, [s, b]; ones if `weight` is None."""
        return torch.ones(self.y.shape[:2], device=self.y.device) if self.weight is None else self.weight

    def with_(self, **changes: Unpack[Columns]) -> Batch:
        """This batch with some of its fields replaced."""
        changed = object.__new__(Batch)
        vars(changed).update(vars(self), **changes)
        if "x" in changes:
            vars(changed).pop("_raw", None)
        if "weight" in changes:
            vars(changed).pop("_count", None)
        return changed

    def without_inputs(self, **changes: Unpack[Columns]) -> Batch:
        """This batch with x [s, b, 0] and other changes; it does not keep the inputs in memory."""
        changed, y = self.with_(**changes), self.y
        held = vars(changed)
        held["_later"] = held.get("_later", {}) | {"x": lambda: torch.empty(*y.shape[:2], 0, device=y.device)}
        for name in ("x", "_raw"):
            held.pop(name, None)
        return changed

    def columns(self) -> dict[str, Tensor]:
        """The fields that are tensors, by name."""
        named = ((name, getattr(self, name)) for name in COLUMNS)
        return {name: value for name, value in named if value is not None}

    def part(self, rows: Any) -> Batch:
        """The rows that this index (a slice, or a tensor [n]) selects, the same for all subjects."""
        some: dict[str, Tensor | None] = {name: value[:, rows] for name, value in self.columns().items()}
        return self.with_(**cast(Columns, some | {"sizes": None}))

    def at(self, rows: Tensor) -> Batch:
        """The rows with these indices [s, n], separately for each subject."""
        subjects = torch.arange(len(rows), device=rows.device)[:, None]
        return self.with_(**cast(Columns, {name: value[subjects, rows] for name, value in self.columns().items()}))

    def join(self, other: Batch) -> Batch:
        """The rows of both batches, one after the other.

        A field that only one batch has is filled in for the other: weights with 1, slots with -1, scores with NaN
        (such rows train on their label).  If a batch has `sizes`, the padding moves behind the rows of both.
        """
        if self.sizes is not None or other.sizes is not None:
            sizes: list[Counts] = [np.full(b.subjects, b.rows) if b.sizes is None else b.sizes for b in (self, other)]
            joined = self.with_(sizes=None).join(other.with_(sizes=None))
            own = [np.arange(b.rows) < size[:, None] for b, size in zip((self, other), sizes, strict=True)]
            order = np.argsort(~np.concatenate(own, 1), axis=1, kind="stable")
            return joined.at(from_numpy(order).to(self.x.device)).with_(sizes=sizes[0] + sizes[1])
        mine, its = self, other
        if self.weight is not None or other.weight is not None:
            self, other = self.with_(weight=self.weights()), other.with_(weight=other.weights())
        held = [name for name in COLUMNS if self._has(name) or other._has(name)]
        if (raw := _joined(self.raw, other.raw)) is not None:
            held.remove("x")
        now: dict[str, Any] = {name: self._both(name, other) for name in held if name not in LATER}
        both = Batch.made({name: partial(self._both, name, other) for name in held if name in LATER}, raw, **now)
        counts = [one.rows if (one.weight is None) else vars(one).get("_count") for one in (mine, its)]
        if self.weight is not None and counts[0] is not None and counts[1] is not None:
            vars(both)["_count"] = np.broadcast_to(counts[0] + counts[1], (self.subjects,))
        return both

    def _has(self, name: str) -> bool:
        held = vars(self)
        return held[name] is not None if name in held else name in held.get("_later", ())

    def _both(self, name: str, other: Batch) -> Tensor:
        """A column of both batches, one after the other; at least one of them has it."""
        mine: Tensor | None = getattr(self, name)
        its: Tensor | None = getattr(other, name)
        if mine is None:
            assert its is not None
            mine = _unknown(its, self.rows)
        return torch.cat((mine, _unknown(mine, other.rows) if its is None else its), 1)


COLUMNS = tuple(column.name for column in fields(Batch) if column.name != "sizes")


def _joined(one: Bytes | None, other: Bytes | None) -> Bytes | None:
    """The bytes of both batches, one after the other; None if they are not of one kind."""
    if one is None or other is None or one.quantum != other.quantum:
        return None
    return Bytes(torch.cat((one.content, other.content), 1), one.quantum, one.inputs)


@cache
def _absent(later: tuple[str, ...]) -> dict[str, None]:
    """None for every column that is not made later."""
    return dict.fromkeys(name for name in (*COLUMNS, "sizes") if name not in later)


def _unknown(like: Tensor, rows: int) -> Tensor:
    """`rows` rows of an unknown field: NaN, or -1 for integers."""
    return like.new_full((len(like), rows, *like.shape[2:]), torch.nan if like.is_floating_point() else -1)
