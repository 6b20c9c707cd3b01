"""A batch of experience, and where each of its rows came from."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Counts

LIVED, STORED, DREAMED = 0, 1, 2


class Origin(TypedDict, total=False):
    """Fields of a batch beside its inputs and targets."""

    context: Tensor
    born: Tensor
    item: Tensor
    source: Tensor
    weight: Tensor | None
    scores: Tensor | None
    slot: Tensor | None
    features: Tensor | None
    sizes: Counts | None


class Columns(Origin, total=False):
    """Fields of a batch."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Batch:
    """`b` rows of experience for each of `s` subjects.

    x        [s, b, *inputs]  float, the input
    y        [s, b]           int64 label, or [s, b, o] float target (regression)
    context  [s, b]           int64, the context a row comes from; -1: not known
    born     [s, b]           int64, the experience (count) at which the row was lived; -1: never
    item     [s, b]           int64, its number in the world's training data; -1: none (a dream)
    source   [s, b]           uint8, LIVED, STORED or DREAMED
    weight   [s, b]           float or None (all rows equal); 0 is a row that is not there
    scores   [s, b, o]        soft targets that come with the row (distillation), or None
    slot     [s, b]           int64, the trace of the hippocampus that it came from, or None
    features [s, b, f]        the cortical patterns that stand for the rows today, or None
    sizes    [s]              on the host: how many of the rows are the subject's own, the first ones, where subjects
                              differ; those behind only fill up, at weight 0.  None: all rows are

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
    weight: Tensor | None = None
    scores: Tensor | None = None
    slot: Tensor | None = None
    features: Tensor | None = None
    sizes: Counts | None = None

    @property
    def subjects(self) -> int:
        return self.x.shape[0]

    @property
    def rows(self) -> int:
        return self.x.shape[1]

    @staticmethod
    def lived(x: Tensor, y: Tensor, **others: Unpack[Origin]) -> Batch:
        """A batch of which only x and y are known; the rest is filled in."""
        unknown = torch.full(x.shape[:2], -1, dtype=torch.int64, device=x.device)
        source = torch.full(x.shape[:2], LIVED, dtype=torch.uint8, device=x.device)
        return replace(Batch(x, y, unknown, unknown, unknown, source), **others)

    def present(self) -> Tensor:
        """Which rows are there: bool [s, b]."""
        if self.weight is None:
            return torch.ones(self.x.shape[:2], dtype=torch.bool, device=self.x.device)
        return self.weight > 0

    def count(self) -> int | Counts:
        """How many rows are there: one number, or one for each subject [s]."""
        return self.rows if self.weight is None else (self.weight > 0).sum(1).cpu().numpy()

    def weights(self) -> Tensor:
        """The rows' weights [s, b], ones where none were given."""
        return torch.ones(self.x.shape[:2], device=self.x.device) if self.weight is None else self.weight

    def with_(self, **changes: Unpack[Columns]) -> Batch:
        """This batch with some of its fields replaced."""
        return replace(self, **changes)

    def at(self, rows: Tensor) -> Batch:
        """The rows of these numbers [s, n], each subject's own."""
        subjects = torch.arange(len(rows), device=rows.device)[:, None]
        columns = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value[subjects, rows] for name, value in columns.items()})

    def join(self, other: Batch) -> Batch:
        """The rows of both, one after the other.

        What only one of them has: weights are 1 for the other, slots -1, scores NaN (rows that teach their label).
        Where subjects differ in `sizes`, each one's own rows of both come first.
        """
        if self.sizes is not None or other.sizes is not None:
            mine, its = (np.full(b.subjects, b.rows) if b.sizes is None else b.sizes for b in (self, other))
            both = self.with_(sizes=None).join(other.with_(sizes=None))
            own = [np.arange(b.rows) < size[:, None] for b, size in ((self, mine), (other, its))]
            order = np.argsort(~np.concatenate(own, 1), axis=1, kind="stable")
            return both.at(torch.from_numpy(order).to(self.x.device)).with_(sizes=mine + its)
        if self.weight is not None or other.weight is not None:
            self, other = self.with_(weight=self.weights()), other.with_(weight=other.weights())
        both: dict[str, Tensor | None] = {}
        for field in fields(self)[:-1]:  # all but sizes
            mine: Tensor | None = getattr(self, field.name)
            its: Tensor | None = getattr(other, field.name)
            if mine is None and its is not None:
                mine = _unknown(its, self.rows)
            elif its is None and mine is not None:
                its = _unknown(mine, other.rows)
            both[field.name] = None if mine is None or its is None else torch.cat((mine, its), 1)
        return replace(self, **both)


def _unknown(like: Tensor, rows: int) -> Tensor:
    """So many rows of what nobody knows: NaN, or -1 in whole numbers."""
    return like.new_full((len(like), rows, *like.shape[2:]), torch.nan if like.is_floating_point() else -1)
