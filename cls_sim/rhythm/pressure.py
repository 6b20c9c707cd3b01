"""Sleep driven by sleep pressure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.rhythm.base import UNASKED, Rhythm


class Pressure(Settings, Rhythm):
    """Sleep pressure P that rises awake and falls asleep, separately for each subject.

        awake:   P ← P + rise_per_experience + error_gain · (mean loss on the latest experience)
                       + novelty_gain · (1 - mean match of the latest experience)
        asleep:  P ← P - fall_per_step

    A subject falls asleep when P ≥ threshold and wakes when P ≤ 0.  A life begins with P = 0.

    experiences_per_day  from 1, experiences a day (the unit of age; sleep does not depend on it)
    rise_per_experience  from 0; one number, or one per subject
    error_gain           from 0, per unit of the neocortex's loss
    novelty_gain         from 0, per unit of 1 - match; match is measured after the experience has been stored
    fall_per_step        above 0, per replay step; one number, or one per subject
    threshold            above 0; one number, or one per subject

    Source: the homeostatic process of Borbély 1982, linear.

    >>> Pressure(rise_per_experience=0.02, fall_per_step=0.01).threshold
    1.0
    """

    experiences_per_day: int = setting(100)
    rise_per_experience: float | list[float] = setting(0.01, 0.0)
    error_gain: float = setting(0.0, 0.0)
    novelty_gain: float = setting(0.0, 0.0)
    fall_per_step: float | list[float] = setting(0.005, 0.0, open_low=True)
    threshold: float | list[float] = setting(1.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self._rise = per_subject("rise_per_experience", self.rise_per_experience, spec)
        self._fall = per_subject("fall_per_step", self.fall_per_step, spec)
        self._high = per_subject("threshold", self.threshold, spec)
        self.pressure, self.sleepy = np.zeros(spec.subjects), np.zeros(spec.subjects, bool)
        self.experience, self.replay = (np.full(spec.subjects, UNASKED) for _ in range(2))
        return replace(spec, per_day=self.experiences_per_day)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.experience[0] == UNASKED:  # at birth, or when this rhythm replaces another
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        lived, slept = clock.experience - self.experience, clock.replay - self.replay
        if lived.any() or slept.any():
            step = self._rise
            if lived.any() and (self.error_gain or self.novelty_gain):
                step = step + self._need(view)
            # round, so that a rounding error does not miss the threshold by a step
            self.pressure = np.maximum(self.pressure + lived * step - slept * self._fall, 0.0).round(9)
            self.sleepy = np.where(self.sleepy, self.pressure > 0, self.pressure >= self._high)
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        return self.sleepy.copy()

    def _need(self, view: View) -> np.ndarray:
        """The rise of pressure by the latest experience, without the constant: [s]."""
        assert view.latest is not None
        batch = view.latest()
        need = torch.zeros(len(self.pressure), dtype=torch.float64, device=batch.x.device)
        if self.error_gain:
            need = need + self.error_gain * view.loss(batch).mean(1).double()
        if self.novelty_gain:
            need = need + self.novelty_gain * (1 - view.recall(batch.x).match.mean(1).double())
        return need.cpu().numpy()
