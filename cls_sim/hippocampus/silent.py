"""Traces that are silent: lesioned, or left out for a moment."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor

from cls_sim.hippocampus.base import Hippocampus


class Silent(Hippocampus):
    """A memory of single traces; `_silent` (bool [s, n], None: none) marks those that are not recalled or replayed."""

    _silent: Tensor | None

    def silence(self, slots: Tensor) -> None:
        self._silent = slots if self._silent is None else self._silent | slots
        self.changed += 1

    def revive(self, slots: Tensor) -> None:
        if self._silent is not None:
            self._silent = self._silent & ~slots
            self.changed += 1

    @contextmanager
    def without(self, slots: Tensor) -> Generator[None]:
        before = self._silent
        self._silent = slots if before is None else before | slots
        try:
            yield
        finally:
            self._silent = before
