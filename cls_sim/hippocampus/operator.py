"""A hippocampus that stores only what an operator has labelled on request."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus


class Operator(Settings, Wrap, Hippocampus):
    """Stores only the rows that the subject is unsure of, for which it asks an operator for the label.

        asked:  novelty of the subject's answer ≥ threshold

    hippocampus  the hippocampus that stores the rows asked about
    threshold    in [0, 1]; 0 asks about every row

    The novelty is that of the readout before this experience is stored.  State: asked [s] and met [s], the numbers of
    rows asked about and met on the day `today` [s]; latest [s, b], which rows of the latest experience were asked.

    Source: classification with a reject option, Chow 1970; learning from queries, Cohn, Atlas & Ladner 1994.

    >>> from cls_sim.hippocampus.none import NoHippocampus
    >>> Operator(NoHippocampus(), threshold=0.5).threshold
    0.5
    """

    inside, null = "hippocampus", {"threshold": 0.0}

    hippocampus: Hippocampus = part(Hippocampus, kw_only=False)
    threshold: float = setting(0.15, 0.0, 1.0)

    def _fresh(self, spec: Spec) -> None:
        s, device = spec.subjects, spec.device
        self.asked, self.met = (torch.zeros(s, dtype=torch.int64, device=device) for _ in range(2))
        self.latest = torch.zeros(s, spec.batch, dtype=torch.bool, device=device)
        self.today = np.full(s, -1, np.int64)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() if who is None else batch.present() & who[:, None]
        doubted = there
        if view.answer is not None:
            doubted = there & (view.answer(batch.x).novelty >= self.threshold)
        self._count(doubted, there, clock, who)
        self.hippocampus.encode(batch.with_(weight=doubted.to(batch.x.dtype)), view, clock, who)

    def _count(self, doubted: Tensor, there: Tensor, clock: Clock, who: Tensor | None) -> None:
        awake = np.ones(clock.subjects, bool) if who is None else who.cpu().numpy()
        day = np.where(awake, clock.experience // clock.per_day, self.today)
        same = torch.from_numpy(day == self.today).to(self.asked.device)
        self.asked, self.met = self.asked * same + doubted.sum(1), self.met * same + there.sum(1)
        self.today = day
        latest = torch.zeros_like(self.latest)
        latest[:, : doubted.shape[1]] = doubted
        self.latest = latest if who is None else torch.where(who[:, None], latest, self.latest)
