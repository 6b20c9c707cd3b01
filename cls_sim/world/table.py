"""A resident data set: inputs shared by all subjects, answers and contexts as each subject sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """What a world supplies to be made into a stream.

    x        [n, *inputs]  uint8 (whole multiples of `quantum`) or float32
    y        [n]           int64 class 0 … c-1, or [n, o] float32 target
    context  [n]           int64, where the contexts come with the data; else they are made of classes
    tests                  the same for an own test set, or None
    quantum                the step of uint8 inputs; None for float32
    """

    x: np.ndarray
    y: np.ndarray
    context: np.ndarray | None = None
    tests: Data | None = None
    quantum: float | None = None

    @property
    def regression(self) -> bool:
        return self.y.ndim > 1

    @property
    def classes(self) -> int:
        return 0 if self.regression else int(self.y.max()) + 1

    @property
    def split_by_class(self) -> bool:
        """Whether contexts are made of classes (else they come with the data, or there is one)."""
        return self.context is None and not self.regression


@dataclass(frozen=True)
class Table:
    """The same on the device, made for drawing rows.

    x        [n, x]          flat inputs
    y        [s, n]          labels, or [n, o] targets (shared)
    context  [s, n]
    inputs                   shape of one input
    quantum                  step of uint8 inputs
    """

    x: Tensor
    y: Tensor
    context: Tensor
    inputs: tuple[int, ...]
    quantum: float | None

    def inputs_of(self, items: Tensor) -> Tensor:
        """Inputs [r, b, *inputs] of the items [r, b]."""
        rows = self.x.index_select(0, items.reshape(-1))
        if self.quantum is not None:
            rows = rows.float().mul_(self.quantum)
        return rows.view(*items.shape, *self.inputs)

    def answers_to(self, items: Tensor) -> Tensor:
        """Labels [s, b], or targets [s, b, o], of the items [s, b]."""
        if self.y.is_floating_point():
            return self.y.index_select(0, items.reshape(-1)).view(*items.shape, -1)
        return self.y.gather(1, items)

    def contexts_of(self, items: Tensor) -> Tensor:
        """Contexts [s, b] of the items [s, b]."""
        return self.context.gather(1, items)


def table(data: Data, seen: list[tuple[np.ndarray, np.ndarray]], subjects: int, device: torch.device) -> Table:
    """A table of data; `seen` are labels and contexts [n], once for all subjects or once for each."""
    y, context = (torch.from_numpy(np.stack(column)).to(device) for column in zip(*seen, strict=True))
    return Table(
        x=torch.from_numpy(data.x.reshape(len(data.x), -1)).to(device),
        y=y[0] if data.regression else y.expand(subjects, -1),
        context=context.expand(subjects, -1),
        inputs=data.x.shape[1:],
        quantum=data.quantum,
    )
