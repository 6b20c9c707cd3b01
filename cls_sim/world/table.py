"""A data set on the device: inputs shared by all subjects, labels and contexts for each subject."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Bytes
from cls_sim.core.errors import ConfigError
from cls_sim.world.views import Views

HIGH = 99.9  # percentile of the training features that becomes the largest byte


@dataclass(frozen=True)
class Data:
    """A data set for a stream.

    x        [n, *inputs]  uint8 (multiples of `quantum`) or float32
    y        [n]           int64 class 0 … c-1, or float32 target [n, o]
    context  [n]           int64, if the data defines the contexts; None: contexts are made of classes
    tests                  the test set in the same form, or None
    quantum                step of uint8 inputs; None for float32
    copies                 number of contexts that each show all n rows in a different view: y and context are then
                           [copies · n], and item i shows row i mod n
    own                    True: inputs and targets differ between subjects: x is [s, n, *inputs], float y [s, n, o]
    unit                   size of one unit of the float targets, such as in years: a number, or one per subject [s]
    """

    x: np.ndarray
    y: np.ndarray
    context: np.ndarray | None = None
    tests: Data | None = None
    quantum: float | None = None
    copies: int = 1
    own: bool = False
    unit: float | np.ndarray = 1.0

    @property
    def rows(self) -> int:
        return self.x.shape[1] if self.own else len(self.x)

    @property
    def inputs(self) -> tuple[int, ...]:
        return self.x.shape[2:] if self.own else self.x.shape[1:]

    @property
    def regression(self) -> bool:
        return self.y.ndim > 1

    @property
    def classes(self) -> int:
        return 0 if self.regression else int(self.y.max()) + 1

    @property
    def split_by_class(self) -> bool:
        """Whether contexts are made of classes (else the data defines them, or there is one)."""
        return self.context is None and not self.regression


class Source(ABC):
    """The source of a stream's data."""

    @abstractmethod
    def data(self, seeds: tuple[int, ...]) -> Data:
        """The data of the subjects with these seeds: the same for all, unless `Data.own`."""


@dataclass(frozen=True)
class Table:
    """A data set on the device, from which batches are taken.

    x        [n, x]          flat inputs; [s, n, x] if they differ between subjects
    y        [s, n]          labels; or targets [n, o], or [s, n, o] if they differ between subjects
    context  [s, n]
    inputs                   shape of one input
    quantum                  step of uint8 inputs
    """

    x: Tensor
    y: Tensor
    context: Tensor
    inputs: tuple[int, ...]
    quantum: float | None
    views: Views | None = None

    def inputs_of(self, items: Tensor) -> Tensor:
        """Inputs [r, b, *inputs] of the items [r, b]; [s, b, *inputs] if contexts have different views of a row."""
        if self.views is None:
            return self._rows(items)
        parts = []
        for some in items.split(1000, 1):
            context = self.contexts_of(some.expand(len(self.context), -1))
            parts.append(self.views.seen(self._rows(some % self.x.shape[-2]).flatten(2), context, self.quantum))
        return torch.cat(parts, 1).view(len(self.context), items.shape[1], *self.inputs)

    def raw(self, items: Tensor) -> Bytes | None:
        """The inputs of the items [r, b] as bytes; None if they are floats, or differ between contexts."""
        if self.quantum is None or self.views is not None:
            return None
        return Bytes(_taken(self.x, items), self.quantum, self.inputs)

    def _rows(self, items: Tensor) -> Tensor:
        rows = _taken(self.x, items)
        if self.quantum is not None:
            return Bytes(rows, self.quantum, self.inputs).floats()
        return rows.view(*rows.shape[:2], *self.inputs)

    def answers_to(self, items: Tensor) -> Tensor:
        """Labels [s, b], or targets [s, b, o], of the items [s, b]."""
        if self.y.is_floating_point():
            return _taken(self.y, items)
        return self.y.gather(1, items)

    def contexts_of(self, items: Tensor) -> Tensor:
        """Contexts [s, b] of the items [s, b]."""
        return self.context.gather(1, items)


def _taken(rows: Tensor, items: Tensor) -> Tensor:
    """The items [r, b] of rows [n, x], or of each subject's rows [s, n, x]: [r, b, x] or [s, b, x]."""
    if rows.dim() == 2:
        return rows.index_select(0, items.reshape(-1)).view(*items.shape, -1)
    return rows[torch.arange(len(rows), device=rows.device)[:, None], items]


def table(
    data: Data,
    seen: list[tuple[np.ndarray, np.ndarray]],
    subjects: int,
    device: torch.device,
    views: Views | None = None,
) -> Table:
    """Make a table; `seen` holds labels and contexts [n], one pair for all subjects or one for each."""
    y, context = (torch.from_numpy(np.stack(column)).to(device) for column in zip(*seen, strict=True))
    return Table(
        x=torch.from_numpy(data.x.reshape(*data.x.shape[: 1 + data.own], -1)).to(device),
        y=y[0] if data.regression else y.expand(subjects, -1),
        context=context.expand(subjects, -1),
        inputs=data.inputs,
        quantum=data.quantum,
        views=views,
    )


def copied(data: Data, contexts: int) -> Data:
    """The data repeated for every context, each of which shows all rows in a different view."""
    if data.regression or data.context is not None:
        raise ConfigError("views", "needs data with class labels and without contexts", "give plain")
    return replace(
        data,
        y=np.tile(data.y, contexts),
        context=np.repeat(np.arange(contexts), len(data.y)),
        copies=contexts,
        tests=None if data.tests is None else copied(data.tests, contexts),
    )


def in_bytes(data: Data) -> Data:
    """Float features [n, f] as one byte each, scaled by the training rows.

        byte_f = round(255 · clip((x_f - lo_f) / (hi_f - lo_f), 0, 1))

    lo is the smallest value of a feature and hi its 99.9th percentile; labels are not used.

    >>> small = in_bytes(Data(x=np.linspace(-3, 3, 5, dtype=np.float32)[:, None], y=np.zeros(5, np.int64)))
    >>> small.x[:, 0].tolist(), small.quantum == 1 / 255
    ([0, 64, 128, 191, 255], True)
    """
    low, high = data.x.min(0), np.percentile(data.x, HIGH, 0).astype(np.float32)
    span = np.where(high > low, high - low, 1.0)

    def packed(x: np.ndarray) -> np.ndarray:
        return np.rint(255 * np.clip((x - low) / span, 0, 1)).astype(np.uint8)

    tests = None if data.tests is None else replace(data.tests, x=packed(data.tests.x), quantum=1 / 255)
    return replace(data, x=packed(data.x), quantum=1 / 255, tests=tests)
