"""Pseudorehearsal: at night the cortex rehearses its own answers to random inputs, without any stored memory."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, updated
from cls_sim.core.errors import real, whole
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay


class Pseudorehearsal(Replay):
    """Rehearses random patterns with the answers that the cortex gave to them when this night began.

        x ~ Bernoulli(active) for each unit,   target: scores of the cortex at the start of the night

    The targets are soft targets (`scores`, for the objective DistillationLoss); the label of a row is the most likely
    answer, its source is DREAMED.  Pseudorehearsal preserves what the cortex knows without stored episodes.

    batch   rows per replay step, from 1
    active  fraction of units that are on, in [0, 1]; the same as in the world's patterns

    Source: Robins (1995), Catastrophic forgetting, rehearsal and pseudorehearsal; as REM sleep, Singh, Norman &
    Schapiro (2022), where the cortex, uncoupled from the hippocampus, reinstates remote memories.

    >>> Pseudorehearsal(batch=8).batch
    8
    """

    derived = frozenset({"_draws", "_inputs", "_regression"})

    def __init__(self, *, batch: int = 32, active: float = 0.25):
        self.batch, self.active = whole("batch", batch), real("active", active, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        self._inputs, self._regression = spec.inputs, spec.regression
        width = int(torch.Size(spec.inputs).numel())
        self._draws = Draws(spec.seeds, "replay.pseudo", (self.batch, width), device=spec.device)
        shapes = {**spec.weights, **spec.running}
        self.nightfall = {name: torch.zeros(shape, device=spec.device) for name, shape in shapes.items()}
        self.night = np.full(spec.subjects, -1)
        return spec

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        if (new := self.night != clock.night).any():  # the present cortex of the subjects whose night begins now
            present = neocortex.learned()
            self.nightfall = {n: updated(new, present[n].to(old.dtype), old) for n, old in self.nightfall.items()}
            self.night = clock.night.copy()
        x = (self._draws.at(clock.replay) < self.active).float().unflatten(2, self._inputs)
        with torch.no_grad():
            scores = neocortex.scores(x, weights=self.nightfall)
        source = torch.full(x.shape[:2], DREAMED, dtype=torch.uint8, device=x.device)
        return Batch.lived(x, scores if self._regression else scores.argmax(2), source=source, scores=scores)
