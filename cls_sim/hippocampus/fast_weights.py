"""A hippocampus of synapses that learn and forget fast."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless


class FastWeights(Settings, Slotless):
    """One unit whose synapses learn each input in one exposure and forget it exponentially; it stores no episodes.

        w ← (1 - q) w + x,      match = max(0, x·w / (|x| |w|))

    fade  q, in [0, 1]

    For random inputs of N numbers ±1 the match without memory is N(0, 1/N): a match of 4/√N is four standard
    deviations.  Recall gives the cue back; it has no answer.

    Source: the short-term memory of Lindsey & Litwin-Kumar 2024.

    >>> from cls_sim.core.part import Spec
    >>> memory = FastWeights(fade=0.1)
    >>> _ = memory.setup(Spec(seeds=(0,), inputs=(3,), outputs=1, regression=True))
    >>> memory.recall(torch.ones(1, 1, 3)).match.tolist()
    [[0.0]]
    """

    fade: float = setting(0.1, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        self.synapses = torch.zeros(spec.subjects, int(torch.Size(spec.inputs).numel()), device=spec.device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() if who is None else batch.present() & who[:, None]
        x = batch.x.flatten(2)
        for row in range(batch.rows):  # each row finds what the rows before it have left
            new = there[:, row, None]
            self.synapses = torch.where(new, (1.0 - self.fade) * self.synapses + x[:, row], self.synapses)
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        empty, cue = nothing(x, self.spec.outputs), x.flatten(2)
        size = cue.norm(dim=2) * self.synapses.norm(dim=1)[:, None]
        match = (cue * self.synapses[:, None]).sum(2) / size.clamp(min=1e-12)
        return Recall(empty.scores, x, match.clamp(0.0, 1.0), empty.slot)

    def stored_bytes(self) -> Tensor:
        return torch.full((self.spec.subjects,), self.synapses[0].nbytes, dtype=torch.int64)
