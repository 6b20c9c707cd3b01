"""Pauses of a run, in which subjects replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from cls_sim.core.clock import Clock
from cls_sim.core.errors import choice, refuse_if, whole
from cls_sim.core.part import Spec, View
from cls_sim.rhythm.base import UNASKED, Rhythm

WHERE = ("start", "end")


class Pauses(Rhythm):
    """A subject that runs from starts to goals pauses at the start and at the end of an episode, and replays.

    A pause at the end follows the step that ends an episode; a pause at the start follows the first step of an episode,
    from the second episode on.  A pause counts as a night.

    experiences_per_day  from 1, steps a day (the unit of age; pauses do not depend on it)
    steps                replay steps of a pause, from 1
    at                   start, end or both, as a list; an empty list: no pauses

    The length of a pause depends on what a subject lived, which is read from the device after each experience.  Raises
    ConfigError for a world without actions.

    Source: Mattar & Daw 2018.

    >>> Pauses(steps=20).at
    ('start', 'end')
    """

    def __init__(self, *, experiences_per_day: int = 100, steps: int = 20, at: Sequence[str] = WHERE):
        self.experiences_per_day = whole("experiences_per_day", experiences_per_day)
        self.steps = whole("steps", steps)
        self.at = tuple(choice("at", place, WHERE) for place in at)

    def setup(self, spec: Spec) -> Spec:
        reason = "pauses at the ends of runs, and in this world nobody acts"
        refuse_if(not spec.actions, "", reason, "use world=track, or rhythm=nights")
        self.ended = np.zeros(spec.subjects, bool)  # the most recent experience ended an episode
        self.left = np.zeros(spec.subjects, np.int64)  # replay steps of the present pause
        self.experience, self.replay = (np.full(spec.subjects, UNASKED) for _ in range(2))
        return replace(spec, per_day=self.experiences_per_day)

    def asleep(self, clock: Clock, view: View) -> np.ndarray:
        if self.experience[0] == UNASKED:  # at birth, or when this rhythm replaces another
            self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        lived = clock.experience != self.experience
        self.left = np.maximum(self.left - (clock.replay - self.replay), 0)
        if lived.any():
            assert view.latest is not None
            batch = view.latest()
            assert batch.steps is not None
            there = batch.present()
            ended, ran = torch.stack(((there & (batch.steps == 0)).any(1), there.any(1))).cpu().numpy()
            pauses = (ended & ("end" in self.at)) | (self.ended & ran & ~ended & ("start" in self.at))
            self.left = np.where(lived, np.where(pauses, self.steps, 0), self.left)
            self.ended = np.where(lived, ended, self.ended)
        self.experience, self.replay = clock.experience.copy(), clock.replay.copy()
        return self.left > 0
