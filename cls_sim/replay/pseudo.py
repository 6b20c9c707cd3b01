"""Sleep in which the cortex is left to itself: it rehearses what it knew at nightfall."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, over
from cls_sim.core.errors import real, whole
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay


class Pseudorehearsal(Replay):
    """Random patterns, and what the cortex answered to them when this night began: rehearsal without any memory.

        x ~ Bernoulli(active) a unit,   target: the scores of the cortex of nightfall (objective DistillationLoss)

    What the cortex knew is held in place where nothing is stored of it any more.  Labels are the likeliest answers;
    rows are of source DREAMED.

    batch   rows a replay step, from 1
    active  0 to 1, the share of units that are on, as in the world's patterns

    Source: Robins (1995), Catastrophic forgetting, rehearsal and pseudorehearsal; as REM sleep, Singh, Norman &
    Schapiro (2022), where the cortex, uncoupled from the hippocampus, reinstates what is remote.

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
        self.nightfall = {name: torch.zeros(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.night = np.full(spec.subjects, -1)
        return spec

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        self._remember(neocortex, clock)
        x = (self._draws.at(clock.replay) < self.active).float().unflatten(2, self._inputs)
        with torch.no_grad():
            scores = neocortex.scores(x, weights=self.nightfall)
        source = torch.full(x.shape[:2], DREAMED, dtype=torch.uint8, device=x.device)
        return Batch.lived(x, scores if self._regression else scores.argmax(2), source=source, scores=scores)

    def _remember(self, neocortex: Neocortex, clock: Clock) -> None:
        """Keep the cortex of nightfall of those whose night has just begun."""
        new = self.night != clock.night
        if not new.any():
            return
        who = torch.from_numpy(new).to(self._draws.device)
        for name, weight in neocortex.weights.items():
            here = over(who, weight)
            self.nightfall[name] = torch.where(here, weight.detach(), self.nightfall[name])
        self.night = clock.night.copy()
