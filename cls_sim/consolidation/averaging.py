"""Semantic memories of CLS-ER: averaged copies of the cortex give the soft targets of replayed rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.around import Around
from cls_sim.consolidation.copies import learners
from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.draws import Draws, over
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.neocortex.base import Neocortex


class Averaging(Around):
    """CLS-ER: after each step of the inner rule, two averaged copies of the cortex are updated, θ̄ ← a θ̄ + (1 - a) θ.

        a = min(1 - 1/(t + 1), α) in the subject's t-th step; a copy is updated in a step with probability r

    Before each step a replayed row gets soft targets: the scores of the copy that gives the higher probability to its
    label (in regression, of the slow copy).  An objective that reads soft targets (DarkExperienceLoss,
    DistillationLoss) then keeps the cortex near its averages.  Rows of experience get no soft targets.

    consolidation                       the inner rule; default Descent()
    slow_decay, fast_decay              α of the two copies, in [0, 1]
    slow_probability, fast_probability  r of the two copies, in [0, 1]

    Raises ConfigError in `setup` for a cortex without averaged copies (use Averaged).

    Source: Arani, Sarfraz & Zonooz 2022.

    >>> Averaging(slow_decay=0.999).slow_decay
    0.999
    """

    slow_decay: float = setting(0.99, 0.0, 1.0)
    fast_decay: float = setting(0.99, 0.0, 1.0)
    slow_probability: float = setting(0.9, 0.0, 1.0)
    fast_probability: float = setting(1.0, 0.0, 1.0)

    def _settle(self, spec: Spec) -> None:
        refuse_if("slow" not in spec.averages, "", "needs a cortex with averaged copies", "use neocortex=averaged")
        self.spec = spec
        self._draws = Draws(spec.seeds, "consolidation.averaging", (2,))  # decided on the host

    def _fresh(self, spec: Spec) -> None:
        self.steps = np.zeros(spec.subjects, np.int64)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        self.consolidation.step(neocortex, batch.with_(scores=self._said(neocortex, batch)), rate, view)
        self._follow(neocortex, learners(batch, rate))

    @torch.no_grad()
    def _said(self, neocortex: Neocortex, batch: Batch) -> Tensor:
        """The scores of the copies for replayed rows: [s, b, o], NaN for rows of experience."""
        told = batch.context if self.spec.task_id_known else None
        slow, fast = (neocortex.scores(batch.x, told, weights=neocortex.averages[name]) for name in ("slow", "fast"))
        if not batch.y.is_floating_point():
            label = batch.y.clamp(min=0)[..., None]
            better = fast.log_softmax(2).gather(2, label) > slow.log_softmax(2).gather(2, label)
            slow = torch.where(better, fast, slow)
        return slow.masked_fill_((batch.source == LIVED)[..., None], torch.nan)

    @torch.no_grad()
    def _follow(self, neocortex: Neocortex, active: np.ndarray) -> None:
        lots = self._draws.at(self.steps).numpy()  # [s, 2]
        self.steps = self.steps + active
        most = 1 - 1 / (self.steps + 1)
        pairs = ((self.slow_decay, self.slow_probability), (self.fast_decay, self.fast_probability))
        present = neocortex.learned()
        for name, (alpha, chance), lot in zip(("slow", "fast"), pairs, lots.T, strict=True):
            share = np.where(active & (lot < chance), 1 - np.minimum(most, alpha), 0.0)
            sent = torch.from_numpy(share.astype(np.float32)).to(self.spec.device)
            for weight, average in neocortex.averages[name].items():
                average.lerp_(present[weight].to(average.dtype), over(sent, average))
