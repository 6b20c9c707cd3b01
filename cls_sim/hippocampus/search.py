"""Comparison of cues with all traces, in chunks: the extra memory does not depend on the number of traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

AT_ONCE = 2**18  # similarities computed at once: they fit in the second-level cache
NEVER = -1e30  # the logit of an absent trace
LEAST = -80.0  # a softmax share below e^-80 is negligible; denormal numbers would be many times slower

Rows = Callable[[slice], Tensor]
"""The rows of a chunk of traces: [s, c, …] float."""


def chunks(cues: Tensor, n: int, most: int | None = None) -> Iterator[slice]:
    """The n traces in chunks, of `most` at most; cues [s, b, …] and a chunk give about AT_ONCE similarities."""
    size = max(64, AT_ONCE // max(1, cues.shape[0] * cues.shape[1]))
    size = size if most is None else min(size, most)
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


Adjust = Callable[[Tensor, Tensor, slice, Any], None]
"""adjust(l, rows, chunk, cues): change the products l [s, b, c] of some cues and the rows of a chunk in place."""


class Logits:
    """Similarities of cues and traces, chunk by chunk, in one buffer:  l_j = adjusted(z·k_j).

    z       [s, b, m]  cues
    keys    chunk → [s, c, m]
    n       traces
    adjust  further factors of a similarity: norms, strengths, absent traces (NEVER)
    most    largest number of traces in a chunk, where making their keys takes memory; None: no limit

    >>> keys = torch.eye(3)[None]
    >>> [l.tolist() for _, l in Logits(torch.ones(1, 1, 3), lambda c: keys[:, c], 3)]
    [[[[1.0, 1.0, 1.0]]]]
    """

    def __init__(self, z: Tensor, keys: Rows, n: int, adjust: Adjust | None = None, most: int | None = None):
        self.z, self.keys, self.n, self.adjust, self.most = z, keys, n, adjust, most
        self._room: Tensor | None = None

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for chunk in chunks(self.z, self.n, self.most):
            yield chunk, self.of(chunk, slice(None))

    def of(self, chunk: slice, cues: Any) -> Tensor:
        """The logits [s, b, c] of one chunk for some of the cues; the next call overwrites them."""
        z, rows = self.z[:, cues], self.keys(chunk)
        shape = (*z.shape[:2], rows.shape[1])
        if self._room is None or self._room.shape != shape:
            self._room = z.new_empty(shape)
        logits = torch.bmm(z, rows.mT, out=self._room)
        if self.adjust is not None:
            self.adjust(logits, rows, chunk, cues)
        return logits


class Best:
    """A running maximum and its trace; among many traces (faster) its chunk, from which `slot` finds the trace."""

    def __init__(self, logits: Logits):
        self.logits, z = logits, logits.z
        self.starts = {chunk.start: chunk.stop for chunk in chunks(z, logits.n, logits.most)}
        self.many = len(self.starts) > 4
        self.value = torch.full(z.shape[:2], 2 * NEVER, device=z.device)
        self.place = torch.zeros(z.shape[:2], dtype=torch.int64, device=z.device)

    def meet(self, chunk: slice, some: Tensor, top: Tensor | None = None) -> Tensor:
        """Add the logits of a chunk (and their maximum, if known); returns the maximum so far [s, b]."""
        if self.many:
            top = some.amax(2) if top is None else top
            self.place.masked_fill_(top > self.value, chunk.start)
        else:
            top, where = some.max(2)
            self.place = torch.where(top > self.value, where + chunk.start, self.place)
        self.value = torch.maximum(self.value, top)
        return self.value

    def slot(self) -> Tensor:
        """The trace with the maximum: int64 [s, b], -1: none."""
        slot = self.place.clone()
        for start in self.place.unique().tolist() if self.many else ():
            here = self.place == start
            cues = here.any(0).nonzero()[:, 0]  # those of any subject that end here
            where = self.logits.of(slice(start, self.starts[start]), cues).argmax(2) + start
            slot[:, cues] = torch.where(here[:, cues], where, slot[:, cues])
        return slot.masked_fill_(self.value <= NEVER / 2, -1)


def _product(p: Tensor, values: Tensor) -> Tensor:
    """p [s, b, c] · values [s, c, v]; transposed if v is small, which is twice as fast."""
    return torch.bmm(values.mT, p.mT).mT if values.shape[2] < 32 else torch.bmm(p, values)


def nearest(logits: Logits) -> tuple[Tensor, Tensor]:
    """The largest logit of each cue and its trace: [s, b] float, [s, b] int64."""
    best = Best(logits)
    for chunk, some in logits:
        best.meet(chunk, some)
    return best.value, best.slot()


def attend(logits: Logits, values: Sequence[Rows], widths: Sequence[int]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Softmax attention over all traces, p_j = exp(l_j) / Σ exp(l), without holding all p in memory.

    Returns Σ_j p_j v_j [s, b, v] for each of the values, the trace with the largest p, int64 [s, b], and that p [s, b].

    >>> keys = 9 * torch.eye(3)[None]
    >>> (mean,), slot, _ = attend(Logits(keys, lambda c: keys[:, c], 3), [lambda c: keys[:, c]], [3])
    >>> mean.round().diagonal(dim1=1, dim2=2).tolist(), slot.tolist()
    ([[9.0, 9.0, 9.0]], [[0, 1, 2]])
    """
    z, best = logits.z, Best(logits)
    sums = [z.new_zeros(*z.shape[:2], width) for width in widths]
    total = z.new_zeros(*z.shape[:2], 1)  # Σ exp(l - the largest l so far)
    for chunk, some in logits:
        before, top = best.value, some.amax(2)
        now = best.meet(chunk, some, top)
        p = torch.softmax(some, 2)  # of the chunk alone: one call is faster than its steps
        share = (top - now).exp_().div_(p.amax(2))[..., None]  # Σ exp(l - now): its largest p is 1 of it
        less = (before - now).exp_()[..., None]
        total.mul_(less).add_(share)
        for sum_, value in zip(sums, values, strict=True):
            sum_.mul_(less).addcmul_(_product(p, value(chunk)), share)
    return [sum_ / total for sum_ in sums], best.slot(), 1 / total[..., 0]


def weigh(logits: Logits, values: Sequence[Rows], widths: Sequence[int]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Sums with the logits as weights.

    Returns Σ_j l_j v_j [s, b, v] for each of the values, the trace with the largest l, and that l: [s, b] each.

    >>> keys = torch.eye(3)[None]
    >>> weigh(Logits(keys, lambda c: keys[:, c], 3), [lambda c: 2 * keys[:, c]], [3])[0][0][0, 0].tolist()
    [2.0, 0.0, 0.0]
    """
    z, best = logits.z, Best(logits)
    sums = [z.new_zeros(*z.shape[:2], width) for width in widths]
    for chunk, some in logits:
        best.meet(chunk, some)
        for sum_, value in zip(sums, values, strict=True):
            sum_.add_(_product(some, value(chunk)))
    return sums, best.slot(), best.value
