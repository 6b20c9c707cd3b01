"""Cued reactivation: some memories are called by name at night."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cls_sim.core.clock import Clock, Span
from cls_sim.core.errors import ConfigError, reals, whole
from cls_sim.core.part import Spec, per_subject
from cls_sim.hippocampus.base import Traces
from cls_sim.replay.stored import Sampled


class Cued(Sampled):
    """Targeted memory reactivation: the traces that are cued come up `gain` times as often as the others.

        w_j = gain if the trace's context or item is cued, else 1

    batch     rows a replay step, from 1
    contexts  which contexts are cued
    items     which items (numbers in the world's data) are cued
    gain      from 0 (cued memories are kept silent), one number or one a subject; 1 is uniform replay
    until     age in days from which nothing is cued any more; None: never

    Raises ConfigError where nothing is cued, or what the world does not have.

    Source: odour cues during sleep, Rasch et al. 2007; sounds of single objects, Rudoy et al. 2009.

    >>> Cued(contexts=[0], gain=5.0).gain
    5.0
    """

    derived = Sampled.derived | {"_gain", "_contexts", "_items"}

    def __init__(
        self,
        *,
        batch: int = 32,
        contexts: Sequence[int] = (0,),
        items: Sequence[int] = (),
        gain: float | list[float] = 4.0,
        until: float | None = None,
    ):
        self.batch = whole("batch", batch)
        self.contexts, self.items = _numbers("contexts", contexts), _numbers("items", items)
        if not self.contexts and not self.items:
            raise ConfigError("contexts", "and items are empty: nothing is cued", "give contexts=[0], or use uniform")
        self.gain, self.span = reals("gain", gain, 0.0), Span(until)
        super().__init__(self.batch)

    def setup(self, spec: Spec) -> Spec:
        if beyond := [context for context in self.contexts if context >= spec.contexts]:
            raise ConfigError(
                "contexts", f"{beyond[0]} is none of this world", f"give numbers from 0 to {spec.contexts - 1}"
            )
        if spec.items is not None and (beyond := [item for item in self.items if item >= spec.items]):
            raise ConfigError("items", f"{beyond[0]} is none of this world", f"give numbers from 0 to {spec.items - 1}")
        self._gain = torch.from_numpy(per_subject("gain", self.gain, spec)).to(spec.device)[:, None]
        self._contexts = torch.tensor(self.contexts, dtype=torch.int64, device=spec.device)
        self._items = torch.tensor(self.items, dtype=torch.int64, device=spec.device)
        return super().setup(spec)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        cued = torch.isin(traces.context.long(), self._contexts) | torch.isin(traces.item.long(), self._items)
        cued &= torch.from_numpy(self.span.lasts(clock)).to(cued.device)[:, None]
        return torch.where(cued, self._gain, 1.0)[:, None]


def _numbers(key: str, value: Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, (str, int)) or not hasattr(value, "__len__"):
        raise ConfigError(key, f"{value!r} is no list of whole numbers", "write [0, 3]")
    return tuple(whole(f"{key}[{i}]", number, 0) for i, number in enumerate(value))
