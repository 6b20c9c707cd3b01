"""A hippocampus with a cortical index of every episode."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus


class Indexed(Wrap, Hippocampus):
    """Stores with every episode its cortical pattern (last hidden layer) at the time of storage.

    hippocampus  the hippocampus that stores the episodes, one in each slot

    When the neocortex changes, stored patterns become outdated.  Replay that provides current cortical patterns
    (replay=reencoded) replaces them, so that the index stays valid.  The inner hippocampus stores the input itself; the
    model does not include a neocortex that completes the recall from an outdated index.

    index [s, n, f] is the stored pattern, birth [s, n, f] the first one.  Bytes: the inner memory and the index.

    Source: Káli & Dayan 2004, Off-line replay maintains declarative memories in a model of hippocampal-neocortical
    interactions; the index, Teyler & DiScenna 1986.

    >>> from cls_sim.hippocampus.store import Store
    >>> memory = Indexed(Store(capacity=5))
    >>> spec = memory.setup(Spec(inputs=(3,), outputs=2, features=7))
    >>> memory.index.shape
    torch.Size([1, 5, 7])
    """

    inside, null = "hippocampus", {}

    def __init__(self, hippocampus: Hippocampus):
        super().__init__(hippocampus)

    def _fresh(self, spec: Spec) -> None:
        slots = self.hippocampus.traces().alive.shape[1]
        self.index = torch.zeros(spec.subjects, slots, spec.features, device=spec.device)
        self.birth = self.index.clone()

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.encode(batch, view, clock, who)
        traces = self.hippocampus.traces()
        new = traces.alive & (traces.born == torch.from_numpy(clock.experience).to(traces.born.device)[:, None])
        if who is not None:
            new = new & who[:, None]
        slots = torch.arange(new.shape[1], device=new.device).expand(new.shape).contiguous()
        now = view.features(self.hippocampus.fetch(slots).x)
        self.index = torch.where(new[..., None], now, self.index)
        self.birth = torch.where(new[..., None], now, self.birth)

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.sleep(batch, clock, who)
        if batch.features is None or batch.slot is None:
            return
        there = batch.present() if who is None else batch.present() & who[:, None]
        slots = self.index.shape[1]
        at = torch.where(there, batch.slot, slots)[..., None].expand(-1, -1, self.index.shape[2])
        room = torch.cat((self.index, torch.zeros_like(self.index[:, :1])), 1)  # the last row receives absent rows
        self.index = room.scatter(1, at, batch.features.to(room.dtype))[:, :slots]

    def stored_bytes(self) -> Tensor:
        return self.hippocampus.stored_bytes() + 4 * self.index.shape[1] * self.index.shape[2]
