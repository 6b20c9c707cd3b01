"""The base class of hippocampi whose traces have a strength, which fades in sleep."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.slots import MOST

DEAD = 0.1  # a trace weaker than this is deleted, and its slot is free


class Fading(Settings, Episodic):
    """Each trace has a strength w, of which it loses a fraction `fade` in each replay step: w ← (1 - fade) w.

    capacity       episodes a subject can hold, from 1
    learning_rate  in (0, 1]; what it changes is up to the class
    fade           in [0, 1); a trace weaker than 0.1 is deleted

    State: `strength` w [s, n + 1], 0 where a slot is empty.
    """

    capacity: int = setting(500, 1, MOST)
    learning_rate: float | list[float] = setting(1.0, 0.0, 1.0, open_low=True)
    fade: float | list[float] = setting(0.0, 0.0, 1.0 - 1e-9)

    def setup(self, spec: Spec) -> Spec:
        self._rate = column("learning_rate", self.learning_rate, spec)
        self._stay = 1 - column("fade", self.fade, spec)
        self._fades = bool((self._stay < 1).any())
        self.strength = torch.zeros(spec.subjects, self.capacity + 1, device=spec.device)
        return super().setup(spec)

    def _strengths(self) -> Tensor:
        return self.strength

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        if self._fades:
            stay = self._stay if who is None else torch.where(who[:, None], self._stay, 1.0)
            weaker = self.strength * stay
            self.strength = torch.where(weaker < DEAD, 0.0, weaker)
            self.changed += 1


def column(key: str, value: float | list[float], spec: Spec) -> Tensor:
    """A setting with one number, or one per subject, as a column: float32 [s, 1]."""
    return torch.from_numpy(per_subject(key, value, spec)).float().to(spec.device)[:, None]
