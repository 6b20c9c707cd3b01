"""A hippocampus that makes inferences during recall (REMERGE)."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.slots import EVICTION, MOST


class Remerge(Settings, Episodic):
    """Stores pairs separately, and links overlapping pairs by recurrent recall.

        p_j = x_j + onehot(y_j)                                     a pair: a conjunctive unit j and its features
        a_j = exp(p_j·f / τ) / (K^(1/τ) + Σ_k exp(p_k·f / τ))       conjunctive units compete (hedged softmax)
        f ← x + gain · Σ_j a_j p_j                                  and drive the features again, `depth` times

    capacity  pairs a subject can hold, from 1
    depth     number of passes, from 1; 1 recalls the partners of the cue, 2 also the partners of those partners
    tau       τ, above 0, temperature; with a small value few pairs take part
    hedge     K, from 0; a large value silences pairs that fit poorly
    gain      from 0, strength of recalled features relative to the cue
    eviction  which pairs stay when the memory is full; see Slots

    The answer to a cue x [s, b, items] is the features that the last conjunctive units drive, minus those of the cue.
    If answers are not the items of the inputs, features are inputs and answers side by side, and pairs can overlap in
    either.  Classification only: raises ConfigError in regression.

    Source: Kumaran & McClelland (2012), Generalization through the recurrent interaction of episodic memories.

    >>> memory = Remerge(capacity=5)
    >>> spec = memory.setup(Spec(seeds=(0,), inputs=(3,), outputs=3))
    >>> for cue, answer in ((0, 1), (1, 2)):
    ...     batch = Batch.lived(torch.eye(3)[None, [cue]], torch.tensor([[answer]]))
    ...     memory.encode(batch, None, Clock(1, 1))
    >>> memory.recall(torch.eye(3)[None, [0]]).scores[0, 0].argsort(descending=True).tolist()
    [1, 2, 0]
    """

    capacity: int = setting(100, 1, MOST)
    depth: int = setting(3)
    tau: float = setting(0.5, 0.0, open_low=True)
    hedge: float = setting(1.0, 0.0)
    gain: float = setting(1.0, 0.0)
    eviction: str = setting("reservoir", EVICTION)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "stores pairs of cues and classes, and this world is a regression", "use Store")
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        self._write(slot, key, batch.x.flatten(2), batch, clock)

    def recall(self, x: Tensor) -> Recall:
        heard, flat, items = self._heard()[:, None], x.flatten(2), self.spec.inputs == (self.spec.outputs,)
        cues, answers = self._plain(self.content[:, : self.capacity]), self._votes(self._y()[:, : self.capacity])
        pairs = cues + answers if items else torch.cat((cues, answers), 2)  # [s, n, features]
        cue = flat if items else torch.cat((flat, flat.new_zeros(*flat.shape[:2], self.spec.outputs)), 2)
        features = cue
        for _ in range(self.depth):
            drive = ((features @ pairs.mT) / self.tau).masked_fill(~heard, -torch.inf)
            # the hedge joins the competition as one more unit, of drive ln K / τ
            hedge = torch.full_like(drive[..., :1], self.hedge).log() / self.tau
            brought = torch.cat((drive, hedge), 2).softmax(2)[..., :-1].nan_to_num() @ pairs
            features = cue + self.gain * brought
        scores = (brought * (cue == 0))[..., -self.spec.outputs :]
        match, slot = self._nearest(x)
        return self._recalled(x, match.clamp(0.0, 1.0), slot, scores)
