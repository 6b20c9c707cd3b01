"""Hippocampi under an experiment: lesioned, or frozen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cls_sim.batch import Batch
from cls_sim.clock import Clock
from cls_sim.errors import real
from cls_sim.hippocampus.base import Hippocampus, Recall, Traces, nothing
from cls_sim.part import Spec, View
from cls_sim.subjects import each


class Wrapped(Hippocampus):
    """A hippocampus inside another, which does everything but what the wrap changes."""

    derived = frozenset({"spec"})

    def __init__(self, hippocampus: Hippocampus):
        self.hippocampus = hippocampus
        if "spec" in vars(hippocampus):  # in mid-life
            self.spec = hippocampus.spec

    def begin(self, spec: Spec) -> Spec:
        self.spec = self.hippocampus.begin(spec)
        return self.spec

    @property
    def changed(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.hippocampus.changed

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.encode(batch, view, clock, who)

    def recall(self, x: Tensor) -> Recall:
        return self.hippocampus.recall(x)

    def traces(self) -> Traces:
        return self.hippocampus.traces()

    def fetch(self, slot: Tensor) -> Batch:
        return self.hippocampus.fetch(slot)

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        self.hippocampus.sleep(batch, clock, who)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        return self.hippocampus.dream(n, clock, view)

    def silence(self, slots: Tensor) -> None:
        self.hippocampus.silence(slots)

    def stored_bytes(self) -> Tensor:
        return self.hippocampus.stored_bytes()

    def context_end(self, view: View, clock: Clock) -> None:
        self.hippocampus.context_end(view, clock)


class Frozen(Wrapped):
    """A hippocampus that encodes nothing new and keeps what it has (what fades goes on fading).

    hippocampus  the one that freezes, in mid-life or from birth

    >>> from cls_sim.hippocampus.none import NoHippocampus
    >>> Frozen(NoHippocampus()).begin(Spec()).subjects
    1
    """

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Nothing new stays."""

    def context_end(self, view: View, clock: Clock) -> None:
        """What is kept stays as it is."""


class Lesion(Wrapped):
    """A hippocampus of which a fraction of the slots is lost from now on, drawn for each subject.

    hippocampus  the one that is lesioned, in mid-life (a twin's) or from birth
    fraction     in [0, 1]; a larger lesion takes all that a smaller one does

    What lies in lost slots, now or later, can be neither recalled nor replayed.  A lesion of 1 removes the
    hippocampus: nothing is encoded any more.  Refuses a fraction below 1 where memory has no slots to lose.

    Source: the lesion studies from Scoville & Milner 1957; simulated as in McClelland, McNaughton & O'Reilly 1995.

    >>> from cls_sim.hippocampus.none import NoHippocampus
    >>> Lesion(NoHippocampus(), fraction=0.5).begin(Spec()).subjects
    1
    """

    def __init__(self, hippocampus: Hippocampus, *, fraction: float = 1.0):
        self.fraction = real("fraction", fraction, 0.0, 1.0)
        super().__init__(hippocampus)
        if "spec" in vars(self):
            self._cut()

    def begin(self, spec: Spec) -> Spec:
        spec = super().begin(spec)
        self._cut()
        return spec

    def _cut(self) -> None:
        if self.fraction < 1:
            n = self.hippocampus.traces().alive.shape[1]
            lost = each(self.spec.seeds, "hippocampus.lesion", lambda g: g.permutation(n) < round(self.fraction * n))
            self.hippocampus.silence(lost.to(self.spec.device))

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        if self.fraction < 1:
            super().encode(batch, view, clock, who)

    def recall(self, x: Tensor) -> Recall:
        return super().recall(x) if self.fraction < 1 else nothing(x, self.spec.outputs)

    def traces(self) -> Traces:
        traces = super().traces()
        return traces if self.fraction < 1 else replace(traces, alive=torch.zeros_like(traces.alive))

    def fetch(self, slot: Tensor) -> Batch:
        batch = super().fetch(slot)
        return batch if self.fraction < 1 else batch.with_(weight=torch.zeros_like(batch.weights()))

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        batch = super().dream(n, clock, view)
        return batch if self.fraction < 1 else batch.with_(weight=torch.zeros_like(batch.weights()))

    def context_end(self, view: View, clock: Clock) -> None:
        if self.fraction < 1:
            super().context_end(view, clock)
