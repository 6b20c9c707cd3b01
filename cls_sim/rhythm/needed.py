"""Sleep when it is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cls_sim.core.clock import Clock
from cls_sim.core.errors import real, reals, whole
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.rhythm.base import UNASKED, Rhythm


class Pressure(Rhythm):
    """Sleep when it is needed: pressure rises awake and falls asleep, at each subject's own pace.

        awake:  P ← P + rise + error · (mean loss on what was just lived) + novelty · (1 - mean match in memory)
        asleep: P ← P - fall

    Falls asleep when P ≥ high, wakes when P ≤ 0.  A life begins at 0.

    wake     from 1, experiences a day (ages are in days; sleep comes when it comes)
    rise     from 0, an experience; one number, or one a subject
    error    from 0, for each unit of the cortex' loss
    novelty  from 0, for what the hippocampus does not recognise (it has just been stored: seen before is 0)
    fall     above 0, a replay step; one number, or one a subject
    high     above 0; one number, or one a subject

    Source: the homeostatic process of Borbély 1982, linear.

    >>> Pressure(rise=0.02, fall=0.01).high
    1.0
    """

    derived = frozenset({"_rise", "_fall", "_high"})

    def __init__(
        self,
        *,
        wake: int = 100,
        rise: float | list[float] = 0.01,
        error: float = 0.0,
        novelty: float = 0.0,
        fall: float | list[float] = 0.005,
        high: float | list[float] = 1.0,
    ):
        self.wake = whole("wake", wake)
        self.rise, self.fall = reals("rise", rise, 0.0), reals("fall", fall, 0.0, open_low=True)
        self.error, self.novelty = real("error", error, 0.0), real("novelty", novelty, 0.0)
        self.high = reals("high", high, 0.0, open_low=True)

    def begin(self, spec: Spec) -> Spec:
        self._rise, self._fall = per_subject("rise", self.rise, spec), per_subject("fall", self.fall, spec)
        self._high = per_subject("high", self.high, spec)
        self.pressure, self.sleepy = np.zeros(spec.subjects), np.zeros(spec.subjects, bool)
        self.experience, self.replay = (np.full(spec.subjects, UNASKED) for _ in range(2))
        return replace(spec, per_day=self.wake)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.experience[0] == UNASKED:  # at birth, or where it takes over from another rhythm
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        lived, slept = clock.experience - self.experience, clock.replay - self.replay
        if lived.any() or slept.any():
            step = self._rise
            if lived.any() and (self.error or self.novelty):
                step = step + self._need(view)
            # a step that takes it to where it was going must not miss by a rounding error
            self.pressure = np.maximum(self.pressure + lived * step - slept * self._fall, 0.0).round(9)
            self.sleepy = np.where(self.sleepy, self.pressure > 0, self.pressure >= self._high)
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        return self.sleepy.copy()

    def _need(self, view: View) -> np.ndarray:
        """What the latest experience asks for: [s]."""
        assert view.latest is not None
        batch, need = view.latest(), np.zeros(len(self.pressure))
        if self.error:
            need += self.error * view.loss(batch).mean(1).double().cpu().numpy()
        if self.novelty:
            need += self.novelty * (1 - view.recall(batch.x).match.mean(1).double().cpu().numpy())
        return need
