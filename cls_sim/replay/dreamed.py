"""Generative replay: the hippocampus or the cortex generates the rows that are replayed."""

from __future__ import annotations

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
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
