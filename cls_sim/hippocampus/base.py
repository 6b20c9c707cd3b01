"""The hippocampi: what stores an episode in one exposure, and recalls it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec, View


@dataclass(frozen=True)
class Recall:
    """What a cue brings back.

    scores    [s, b, o]  the answer it votes for (class scores or a target), zeros where nothing is stored
    x         [s, b, …]  the completed input
    match     [s, b]     in [0, 1], how well the best trace fits the cue; 1 - match is novelty
    slot      [s, b]     int64, the trace that answered, -1 where nothing is stored
    """

    scores: Tensor
    x: Tensor
    match: Tensor
    slot: Tensor


@dataclass(frozen=True)
class Traces:
    """The list of what is stored, a column a trace, [s, n] each: what a replay policy may choose by.

    alive     bool, whether the slot holds a trace
    y         label, of any integer type (or [s, n, o] target)
    context   of any integer type, as are the next two
    born      the experience at which it was lived
    item      its number in the world's data
    strength  float, 1 when fresh
    """

    alive: Tensor
    y: Tensor
    context: Tensor
    born: Tensor
    item: Tensor
    strength: Tensor


@dataclass(frozen=True)
class Stages:
    """What the stations of the trisynaptic path make of cues.

    dentate  [s, b, m]  the code that the dentate gyrus sends on
    ca3      [s, b, m]  the state that CA3 settles in
    ca1      [s, b, …]  what CA1 tells the cortex
    """

    dentate: Tensor
    ca3: Tensor
    ca1: Tensor


class Hippocampus(Part):
    """Stores in one exposure, recalls by content, and hands traces to replay."""

    changed: int = 0
    """Counts changes of what is stored, so that a policy can keep its plan of a night."""

    spec: Spec
    """What `setup` was told; a wrap put round a hippocampus in mid-life reads it."""

    def setup(self, spec: Spec) -> Spec:
        dreams = type(self).dream is not Hippocampus.dream and "hippocampus" not in spec.dreams
        self.spec = replace(spec, dreams=(*spec.dreams, "hippocampus")) if dreams else spec
        return self.spec

    @abstractmethod
    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Store the rows of a lived batch, once, for the subjects `who` (bool [s]; None: all)."""

    @abstractmethod
    def recall(self, x: Tensor) -> Recall:
        """What each cue [s, b, …] brings back."""

    @abstractmethod
    def traces(self) -> Traces:
        """What is stored."""

    @abstractmethod
    def fetch(self, slot: Tensor) -> Batch:
        """The episodes in these slots [s, b], as they are stored."""

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        """One replay step has passed for the subjects `who`, this batch was replayed."""

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        """What it makes up at this step of sleep: `n` rows a subject [s, n, …], source DREAMED, weight 0 where none.

        A function of (seed, clock.replay) and of what was learnt.  Who does not write this cannot dream.
        """
        raise ConfigError("", f"{type(self).__name__} cannot dream", "choose another, or replay what is stored")

    def silence(self, slots: Tensor) -> None:
        """A lesion: from now on the traces in these slots (bool [s, n]) can be neither recalled nor replayed."""
        reason = f"{type(self).__name__} has no silence and revive, so that it cannot lose traces one by one"
        raise ConfigError("fraction", reason, "define both, or give 1.0")

    def revive(self, slots: Tensor) -> None:
        """A lesion is over: the traces in these slots (bool [s, n]) can be recalled and replayed again."""
        raise ConfigError(
            "until", f"{type(self).__name__} has no revive, so that no lesion ends", "define it, or give None"
        )

    def impair(self, stage: str, fraction: Numbers) -> None:
        """A lesion of one stage: from now on the fraction [s] of its cells is silent, drawn for each subject (0: none).

        A larger fraction silences all that a smaller one does.
        """
        raise ConfigError("stage", f"{type(self).__name__} has no stage {stage!r}", "lesion the whole: leave stage out")

    def stages(self, x: Tensor) -> Stages:
        """What each station of the trisynaptic path makes of cues [s, b, …]."""
        raise ConfigError("", f"{type(self).__name__} has no stations to read", "choose Trisynaptic or Sparse")

    def patterns(self, slot: Tensor) -> Tensor:
        """The patterns under which CA3 holds the traces in these slots [s, b]: [s, b, m]."""
        raise ConfigError("", f"{type(self).__name__} has no stations to read", "choose Trisynaptic or Sparse")

    @abstractmethod
    def stored_bytes(self) -> Tensor:
        """Bytes that the memories of one subject take when full: int64 [s] (fixed wiring is not counted)."""


def nothing(x: Tensor, outputs: int) -> Recall:
    """The recall of an empty memory.

    >>> nothing(torch.ones(1, 2, 3), 10).match.tolist()
    [[0.0, 0.0]]
    """
    shape = x.shape[:2]
    return Recall(
        torch.zeros(*shape, outputs, device=x.device),
        torch.zeros_like(x),
        torch.zeros(shape, device=x.device),
        torch.full(shape, -1, dtype=torch.int64, device=x.device),
    )
