"""A hippocampus that stores an index of every episode: a pattern of the cortex, and no content."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Recall, for_classes, nothing
from cls_sim.hippocampus.codes import Code, Plain
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.slots import MOST


class _Pattern(Wrap, Code):
    """The pattern of the neocortex's last hidden layer, in the format of another code."""

    inside, null = "inner", None

    def setup(self, spec: Spec) -> Spec:
        self.inner.setup(replace(spec, inputs=(spec.features,), quantum=None))
        return spec


class Indexed(Settings, Episodic):
    """Stores of every episode only its cortical pattern f(x), the last hidden layer at the time of storage.

    The input of an episode is not stored, nor its answer: only the feedback connections of the neocortex can reinstate
    the input from the pattern (`Neocortex.reinstate`).  When the neocortex changes, stored patterns become outdated.
    Replay that provides new patterns (replay=reencoded) replaces them.

    capacity  episodes a subject can hold, from 1
    eviction  which episodes stay when the memory is full: ring (the newest) or reservoir (a uniform sample of the past)
    code      the format of stored patterns; None: float32; Product: a few bytes.  What a code loses of a pattern, and
              what is lost when the neocortex drifts, IndexValidity(of="found") measures together

    `fetch` gives the patterns as `features` [s, b, f], inputs of zeros and the label -1.  By itself this memory recalls
    nothing from an input.  birth [s, n + 1, f] is the first pattern of each episode, for measurements only; it does not
    count among the stored bytes.  Raises ConfigError in regression.

    Source: Káli & Dayan 2004, Off-line replay maintains declarative memories in a model of hippocampal-neocortical
    interactions; the index, Teyler & DiScenna 1986.

    >>> memory = Indexed(capacity=5)
    >>> spec = memory.setup(Spec(inputs=(3,), outputs=2, features=7))
    >>> memory.fetch(torch.tensor([[0, 1]])).features.shape, spec.recall_answers
    (torch.Size([1, 2, 7]), False)
    """

    columns = (*Episodic.columns, "birth")

    code: Code = part(Code, "give one, such as Product(), or None", default_factory=Plain, kw_only=False)
    capacity: int = setting(200, 1, MOST)
    eviction: str = setting("ring", ("ring", "reservoir"))

    def _format(self) -> Code:
        return _Pattern(self.code)

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "stores no answers")
        spec = super().setup(spec)
        self.birth = torch.zeros(*self.content.shape[:2], spec.features, device=spec.device)
        self.spec = replace(spec, recall_answers=False)
        return self.spec

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        pattern = view.features(batch.x)
        self._write(slot, key, pattern, batch.with_(y=torch.full_like(batch.y, -1)), clock)
        self.birth[self._rows, slot] = pattern

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        """Replace the patterns of the replayed episodes by the new ones, if the batch has any."""
        if batch.features is None or batch.slot is None:
            return
        there = self._fresh(batch, who) & (batch.slot >= 0)
        place = torch.where(there, batch.slot, self.capacity)
        self.content[self._rows, place] = self._form.write(batch.features)

    def fetch(self, slot: Tensor) -> Batch:
        return super().fetch(slot).with_(features=self._plain(self.content[self._rows, slot]))

    def coded(self, x: Tensor) -> Tensor:
        return x

    def recall(self, x: Tensor) -> Recall:
        return nothing(x, self.spec.outputs)

    def stored_bytes(self) -> Tensor:
        return super().stored_bytes() - self.capacity * self.birth[0, 0].nbytes

    def _input(self, content: Tensor) -> Tensor:
        return torch.zeros(*content.shape[:2], *self.spec.inputs, device=content.device)
