"""Replay of generated rows."""

from __future__ import annotations

import numpy as np
import torch

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock, in_rem
from cls_sim.core.draws import Draws, over
from cls_sim.core.errors import ConfigError, choice, real, whole
from cls_sim.core.part import Spec, View, fill_contexts
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay


class Dreamed(Settings, Replay):
    """Replays rows that the hippocampus or the cortex generates in each step with `dream(n, clock, view)`.

    batch    rows per replay step, from 1
    dreamer  the generator: hippocampus (spontaneous reactivation, a generative memory) or neocortex (replay through
             feedback connections)

    Raises ConfigError in `setup` if the dreamer cannot generate rows.

    Source: spontaneous reactivation, Sun et al. 2023; generative replay, Shin et al. 2017; van de Ven et al. 2020.

    >>> Dreamed(batch=32).setup(Spec(dreams=("hippocampus",))).subjects
    1
    """

    batch: int = setting(32)
    dreamer: str = setting("hippocampus", ("hippocampus", "neocortex"))

    def setup(self, spec: Spec) -> Spec:
        if self.dreamer not in spec.dreams:
            able = " or ".join(spec.dreams) or f"a {self.dreamer} that can"
            raise ConfigError("dreamer", f"this {self.dreamer} cannot dream", f"choose {able}")
        return super().setup(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        dreamer = hippocampus if self.dreamer == "hippocampus" else neocortex
        # Contexts are filled in because a head learns only the labels that it contains.
        return fill_contexts(self.spec, dreamer.dream(self.batch, clock, view))


class Pseudorehearsal(Replay):
    """Rehearses random patterns with the answers that the cortex gave to them before it changed in this night.

        x ~ Bernoulli(active) for each unit,   target: scores of the teacher, a copy of the cortex
        in each step of rehearsal:  teacher ← teacher + follow · (cortex - teacher)

    The targets are soft targets (`scores`, for the objective DistillationLoss); the label of a row is the most likely
    answer, its source is DREAMED.  Pseudorehearsal preserves what the cortex knows without stored episodes.

    batch   rows per replay step, from 1
    active  fraction of units that are on, in [0, 1]; the same as in the world's patterns
    copied  when the cortex is copied: night, when the night begins; rem, when the first REM sleep of the night begins,
            after the NREM sleep before it.  The same in nights without stages
    follow  in [0, 1], how fast the teacher follows the cortex; 0: it is frozen for the night, 1: it is the cortex
            itself, whose soft targets then teach it nothing

    Source: Robins (1995), Catastrophic forgetting, rehearsal and pseudorehearsal; as REM sleep, Singh, Norman &
    Schapiro (2022), where the cortex, uncoupled from the hippocampus, reinstates remote memories.

    >>> Pseudorehearsal(batch=8).batch
    8
    """

    def __init__(self, *, batch: int = 32, active: float = 0.25, copied: str = "night", follow: float = 0.0):
        self.batch, self.active = whole("batch", batch), real("active", active, 0.0, 1.0)
        self.copied, self.follow = choice("copied", copied, ("night", "rem")), real("follow", follow, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        self._inputs, self._regression, self._stages = spec.inputs, spec.regression, spec.stages
        width = int(torch.Size(spec.inputs).numel())
        self._draws = Draws(spec.seeds, "replay.pseudo", (self.batch, width), device=spec.device)
        shapes = {**spec.weights, **spec.running}
        self.nightfall = {name: torch.zeros(shape, device=spec.device) for name, shape in shapes.items()}
        self.night = np.full(spec.subjects, -1)
        return spec

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        self._copy(neocortex, clock)
        x = (self._draws.at(clock.replay) < self.active).float().unflatten(2, self._inputs)
        with torch.no_grad():
            scores = neocortex.scores(x, weights=self.nightfall)
        source = torch.full(x.shape[:2], DREAMED, dtype=torch.uint8, device=x.device)
        return Batch.lived(x, scores if self._regression else scores.argmax(2), source=source, scores=scores)

    def _copy(self, neocortex: Neocortex, clock: Clock) -> None:
        """Copy the present cortex of the subjects whose night (or REM sleep) begins; let other teachers follow."""
        rehearses = clock.asleep if self._stages is None else clock.asleep & in_rem(clock, self._stages)
        new = (self.night != clock.night) & (clock.asleep if self.copied == "night" else rehearses)
        blank = self.night < 0  # nothing was ever copied
        follows = rehearses & ~new & (self.follow > 0)
        if (new | blank | follows).any():
            step = torch.from_numpy(np.where(new | blank, 1.0, self.follow * follows)).float()
            present = neocortex.learned()
            for name, old in self.nightfall.items():
                share = over(step.to(old.device), old)
                moved = torch.lerp(old, present[name].to(old.dtype), share)
                self.nightfall[name] = torch.where(share > 0, moved, old)
            self.night = np.where(new, clock.night, self.night)
