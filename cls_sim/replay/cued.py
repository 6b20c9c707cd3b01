"""Targeted memory reactivation: cues during sleep make some memories more likely to be replayed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, several, whole
from cls_sim.core.part import Spec, per_subject
from cls_sim.core.settings import setting
from cls_sim.core.wrap import Temporary
from cls_sim.hippocampus.base import Traces
from cls_sim.replay.stored import Sampled


class Cued(Temporary, Sampled):
    """Targeted memory reactivation: cued traces are replayed `gain` times as often as the others.

        w_j = gain if the context or the item of trace j is cued, else 1

    batch     rows per replay step, from 1
    contexts  the contexts that are cued
    items     the items that are cued (item numbers of the world's data)
    gain      from 0 (cued traces are not replayed); 1 is uniform replay; one number, or one per subject
    until     age in days at which cueing stops; None: it never stops

    Raises ConfigError if nothing is cued, or if the world does not have a cued context or item.

    Source: odour cues during sleep, Rasch et al. 2007; sounds of single objects, Rudoy et al. 2009.

    >>> Cued(contexts=[0], gain=5.0).gain
    5.0
    """

    contexts: Sequence[int] = setting((0,), "whole numbers", "[0, 3]", whole, 0, check=several)
    items: Sequence[int] = setting((), "whole numbers", "[0, 3]", whole, 0, check=several)
    gain: float | list[float] = setting(4.0, 0.0)

    def _ready(self) -> None:
        if not self.contexts and not self.items:
            raise ConfigError("contexts", "and items are empty: nothing is cued", "give contexts=[0], or use uniform")
        super()._ready()

    def setup(self, spec: Spec) -> Spec:
        if beyond := [context for context in self.contexts if context >= spec.contexts]:
            remedy = f"give numbers from 0 to {spec.contexts - 1}"
            raise ConfigError("contexts", f"this world has no context {beyond[0]}", remedy)
        if spec.items is not None and (beyond := [item for item in self.items if item >= spec.items]):
            remedy = f"give numbers from 0 to {spec.items - 1}"
            raise ConfigError("items", f"this world has no item {beyond[0]}", remedy)
        self._gain = torch.from_numpy(per_subject("gain", self.gain, spec)).to(spec.device)[:, None]
        self._contexts = torch.tensor(self.contexts, dtype=torch.int64, device=spec.device)
        self._items = torch.tensor(self.items, dtype=torch.int64, device=spec.device)
        return super().setup(spec)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        cued = torch.isin(traces.context.long(), self._contexts) | torch.isin(traces.item.long(), self._items)
        cued &= torch.from_numpy(self.span.lasts(clock)).to(cued.device)[:, None]
        return torch.where(cued, self._gain, 1.0)[:, None]
