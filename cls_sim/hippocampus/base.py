"""The base class of hippocampi, and what they return."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cls_sim.core.arrays import Counts, Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Part, Spec, View


@dataclass(frozen=True)
class Recall:
    """What a hippocampus recalls from cues.

    scores    [s, b, o]  class scores or target, zeros where nothing is stored
    x         [s, b, …]  the completed input
    match     [s, b]     in [0, 1], similarity of the cue and the best trace; 1 - match is novelty
    slot      [s, b]     int64, the slot of the recalled trace, -1 where nothing is stored
    """

    scores: Tensor
    x: Tensor
    match: Tensor
    slot: Tensor


@dataclass(frozen=True)
class Traces:
    """The stored traces, one column for each slot, [s, n] each: the properties by which replay can choose.

    alive     bool, whether the slot holds a trace
    y         label, any integer type (or float target [s, n, o])
    context   context of the episode, any integer type
    born      experience (count) at which it was stored, any integer type
    item      row number in the world's training data, any integer type
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
    """The activity of the stages of the trisynaptic path for cues.

    dentate  [s, b, m]  the code of the dentate gyrus
    ca3      [s, b, m]  the state that CA3 converges to
    ca1      [s, b, …]  the output of CA1 to the neocortex
    """

    dentate: Tensor
    ca3: Tensor
    ca1: Tensor


@dataclass(frozen=True, eq=False)
class Filling:
    """How many traces each subject holds before each of the coming experiences, if that is planned.

    Slots 0 … n - 1 of a subject with n traces hold them, and all of them can be replayed.

    start   the first of these experiences
    counts  [s, t]
    """

    start: int
    counts: Counts


@dataclass(frozen=True)
class Map:
    """What a subject knows about the places of its world, and where actions lead.

    x            [s, c, …]     the input of each place
    there        bool [s, c]   whether the place has been seen
    leads        [s, c, a]     int64, the place to which an action led when last taken; -1: never taken
    reward       [s, c, a]     the reward that followed
    ended        bool [s, c, a]  whether the episode ended there
    transitions  [s, c, c]     float64, the chance that a place is followed by another

    The slot of an action in a place is place · a + action.
    """

    x: Tensor
    there: Tensor
    leads: Tensor
    reward: Tensor
    ended: Tensor
    transitions: Tensor


class Hippocampus(Part):
    """The fast memory: stores episodes in one exposure, recalls them by content, and provides traces for replay."""

    changed: int = 0
    """Increases whenever the stored traces change, so that a replay policy can cache its plan of a night."""

    sized: str = ""
    """The setting that says how large this memory is (`capacity`, `units`), chosen by a budget; empty: it is fixed."""

    shortcuts = frozenset({"filled", "filling"})

    spec: Spec
    """The spec that `setup` has returned; a wrap around a hippocampus in mid-life reads it."""

    def setup(self, spec: Spec) -> Spec:
        dreams = type(self).dream is not Hippocampus.dream and "hippocampus" not in spec.dreams
        self.spec = replace(spec, dreams=(*spec.dreams, "hippocampus")) if dreams else spec
        return self.spec

    def resize(self, n: int) -> None:
        """Give the setting named by `sized` this value, from 1; `setup` follows."""
        setattr(self, self.sized, n)

    @abstractmethod
    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Store the rows of an experience for the subjects `who` (bool [s]; None: all)."""

    @abstractmethod
    def recall(self, x: Tensor) -> Recall:
        """Recall from each cue [s, b, …]."""

    @abstractmethod
    def traces(self) -> Traces:
        """The properties of all stored traces."""

    @abstractmethod
    def fetch(self, slot: Tensor) -> Batch:
        """The stored episodes in these slots [s, b]."""

    def coded(self, x: Tensor) -> Tensor:
        """Inputs [s, b, …] as they would come back from this memory; unchanged where it stores no inputs."""
        return x

    def filled(self) -> Counts | None:
        """The number n_i of traces of each subject [s], if its slots 0 … n_i - 1 hold them and can be replayed.

        None: the memory does not know it without looking at its slots.
        """
        return None

    def filling(self, experience: int) -> Filling | None:
        """The numbers of traces before the coming experiences, if all subjects live this one next.

        None: the memory has planned nothing.
        """
        return None

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        """Do the work of one replay step (decay, training) for the subjects `who`; `batch` is what was replayed."""

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        """Generate `n` rows for each subject at this replay step: [s, n, …], source DREAMED, weight 0 for absent rows.

        The rows depend on (seed, clock.replay) and on what was learned.  A class that does not override this method
        raises ConfigError.
        """
        raise ConfigError("", f"{type(self).__name__} cannot dream", "choose another one, or replay stored rows")

    def silence(self, slots: Tensor) -> None:
        """Lesion the traces in these slots (bool [s, n]): they can no longer be recalled or replayed."""
        reason = f"{type(self).__name__} has no methods silence and revive, so it cannot lose single traces"
        raise ConfigError("fraction", reason, "define both, or give 1.0")

    def revive(self, slots: Tensor) -> None:
        """End a lesion: the traces in these slots (bool [s, n]) can be recalled and replayed again."""
        reason = f"{type(self).__name__} has no method revive, so no lesion can end"
        raise ConfigError("until", reason, "define it, or give None")

    def forget(self, slots: Tensor) -> None:
        """Remove the traces in these slots (bool [s, n]) for good: new episodes may use the slots."""
        raise ConfigError("", f"{type(self).__name__} holds no episodes that could be forgotten", "use Store")

    def without(self, slots: Tensor) -> AbstractContextManager[None]:
        """A context in which the traces in these slots (bool [s, n]) are not recalled; it leaves no other trace."""
        raise ConfigError("", f"{type(self).__name__} cannot recall without single traces", "use Store")

    def impair(self, stage: str, fraction: Numbers) -> None:
        """Lesion one stage: a fraction [s] of its cells, drawn for each subject, is silent from now on (0: none).

        A larger fraction silences all cells that a smaller one silences.
        """
        raise ConfigError("stage", f"{type(self).__name__} has no stage {stage!r}", "leave out stage to lesion it all")

    def stages(self, x: Tensor) -> Stages:
        """The activity of each stage of the trisynaptic path for cues [s, b, …]."""
        raise ConfigError("", f"{type(self).__name__} has no stages to read", "choose Trisynaptic or Sparse")

    def patterns(self, slot: Tensor) -> Tensor:
        """The CA3 patterns of the traces in these slots [s, b]: [s, b, m]."""
        raise ConfigError("", f"{type(self).__name__} has no stages to read", "choose Trisynaptic or Sparse")

    def complete(self, cue: Tensor, first: Tensor) -> Tensor:
        """The states that CA3 settles to from cues [s, b, m], if only the first so many slots [s] had been filled."""
        raise ConfigError("", f"{type(self).__name__} has no CA3 that completes its patterns", "choose Trisynaptic")

    def map(self) -> Map:
        """What the subject knows about places and actions."""
        raise ConfigError("", f"{type(self).__name__} has no map of places", "use hippocampus=cognitive_map")

    def unfold(self, z: Tensor, onward: Tensor) -> tuple[Tensor, Tensor]:
        """The state that follows z [s, N] in the order of a memory, and the slot of its newest trace [s] (-1: none).

        onward  int64 [s]: 1 to what came next, -1 to what came before, 0 the state itself
        """
        raise ConfigError("", f"{type(self).__name__} does not keep the order of episodes", "use hippocampus=follows")

    @abstractmethod
    def stored_bytes(self) -> Tensor:
        """Bytes of each subject's memory when it is full: int64 [s] (fixed wiring is not counted)."""


def for_classes(spec: Spec, what: str) -> None:
    """Raise ConfigError in regression, for a memory of classes; `what` it does with them."""
    refuse_if(spec.regression, "", f"{what}, and this world is a regression", "choose another hippocampus")


def nothing(x: Tensor, outputs: int) -> Recall:
    """The recall of an empty memory: scores 0, match 0, slot -1.

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


def stored(hippocampus: Hippocampus) -> Batch:
    """All traces of a hippocampus, one row for each slot; empty slots have weight 0."""
    alive = hippocampus.traces().alive
    slots = torch.arange(alive.shape[1], device=alive.device).expand_as(alive).contiguous()
    return hippocampus.fetch(slots).with_(weight=alive.float())
