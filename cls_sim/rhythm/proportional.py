"""Days and nights whose lengths follow from stated sizes."""

from __future__ import annotations

import math
from dataclasses import replace

from cls_sim.core.arrays import Counts
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.rhythm.base import Owed

ROWS = 500  # of a day, whatever an experience


class ProportionalNights(Settings, Owed):
    """Days of a number of rows, and a night after each that replays a fixed number of rows per lived row.

        experiences a day    e = experiences_per_day;  if None: ⌈500 / b⌉,   b = rows of an experience
        replay steps a night    n = ⌊replayed_per_lived · e b / batch⌋, at least 1 if replayed_per_lived > 0

    All nights of a life have the same length, so the replayed rows per lived row are at most `replayed_per_lived` at
    every age.

    experiences_per_day  from 1; None: 500 rows
    replayed_per_lived   from 0, replayed rows of a night per lived row of the day; 0: no nights, days as long
    batch                from 1, rows of a replay step, equal to the `batch` of the policy that replays by night
    held_out             0 to .99, share of the slots, evenly spread, that is never replayed (see FittedSum)

    Source: ours.

    >>> import numpy as np
    >>> rhythm = ProportionalNights(batch=50)
    >>> spec = rhythm.setup(Spec(inputs=(64,), batch=10))
    >>> spec.per_day, rhythm.due(np.array([49, 50, 100])).tolist()
    (50, [0, 10, 20])
    """

    experiences_per_day: int | None = setting(None, 1)
    replayed_per_lived: float = setting(1.0, 0.0, 1e6)
    batch: int = setting(64)
    held_out: float = setting(0.0, 0.0, 0.99)

    def setup(self, spec: Spec) -> Spec:
        self._experiences = self.day(spec)
        # the small number: products that are whole are not to be rounded down
        steps = math.floor(self.replayed_per_lived * self._experiences * spec.batch / self.batch + 1e-9)
        self._steps = max(steps, 1 if self.replayed_per_lived else 0)
        return replace(super().setup(spec), held_out=max(spec.held_out, self.held_out))

    def day(self, spec: Spec) -> int:
        return self.experiences_per_day or math.ceil(ROWS / spec.batch)

    def due(self, experience: Counts) -> Counts:
        return experience // self._experiences * self._steps
