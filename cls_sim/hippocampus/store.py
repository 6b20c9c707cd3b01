"""A hippocampus that stores exact episodes: the replay buffer of continual learning."""

from __future__ import annotations

from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import flag
from cls_sim.core.part import View, known_contexts
from cls_sim.hippocampus.base import Recall
from cls_sim.hippocampus.codes import Code
from cls_sim.hippocampus.episodes import Episodic


class Store(Episodic):
    """Stores episodes exactly, and recalls the one most similar to the cue (cosine).

        match(x) = max over traces t of  max(0, x·t / (|x| |t|))

    capacity     episodes a subject can hold, from 1
    eviction     which episodes stay when the memory is full: reservoir (a uniform sample of the past), ring (the
                 newest), balanced (equal numbers of every class so far), herding (the same, the most typical),
                 surprise (the least expected), coverage (the least similar) or gradients (the most different
                 gradients); see Slots
    code         the format of stored inputs; null: exact (Coarse stores an image at lower resolution)
    keep_scores  whether to store the neocortex's scores at the time of the experience (4 bytes an output)

    Inputs that are multiples of a quantum are stored as one byte a number and restored bit for bit (at most 784 + 16
    bytes for a 28 × 28 image), others as float32.  The answer to a cue x [s, b, …] is the label (one-hot) or the target
    of the most similar trace.  Raises ConfigError for eviction=balanced and herding in regression.

    Source: the episodic buffer of Robins 1995 (rehearsal); Vitter 1985; nearest neighbours as hippocampal
    one-shot memory, Blundell et al. 2016.

    >>> from cls_sim.core.part import Spec
    >>> store = Store(capacity=5)
    >>> spec = store.setup(Spec(seeds=(0,), inputs=(3,), outputs=2))
    >>> int(store.traces().alive.sum())
    0
    """

    def __init__(
        self, *, capacity: int = 500, eviction: str = "reservoir", keep_scores: bool = False, code: Code | None = None
    ):
        super().__init__(capacity, eviction, code)
        self.keep_scores = flag("keep_scores", keep_scores)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        if self.keep_scores:
            batch = batch.with_(scores=view.scores(batch.x, known_contexts(self.spec, batch)))
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        self._write(slot, key, batch.x.flatten(2), batch, clock)

    def recall(self, x: Tensor) -> Recall:
        match, slot = self._nearest(x)
        return self._recalled(x, match.clamp(0, 1), slot)
