"""Interventions on the hippocampus, and an operator who gives it labels."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, over
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Temporary, Wrap
from cls_sim.hippocampus.base import Hippocampus, Recall, Traces, nothing


class Frozen(Settings, Wrap, Hippocampus):
    """Stop encoding: the hippocampus keeps its traces, stores nothing new, and still decays.

    hippocampus  the hippocampus that is frozen, in mid-life or from birth

    >>> from cls_sim.hippocampus.slotless import NoHippocampus
    >>> Frozen(NoHippocampus()).setup(Spec()).subjects
    1
    """

    inside, null = "hippocampus", None

    hippocampus: Hippocampus = part(Hippocampus, kw_only=False)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Store nothing."""

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        """Change nothing."""


def _stage(key: str, value: Any) -> str:
    """The name of a stage, which the hippocampus must know."""
    refuse_if(not isinstance(value, str), key, f"{value!r} is not a name", "give dg, ca3, ca1, or null for the whole")
    return value


class Lesion(Temporary, Wrap, Hippocampus):
    """Lesion the hippocampus: all of it, a fraction of its slots, or a fraction of a stage; for good or for some days.

    hippocampus  the hippocampus that is lesioned, in mid-life (of a twin) or from birth
    fraction     in [0, 1], drawn for each subject; a larger lesion includes every smaller one
    stage        None: slots; or the name of a stage (dg, ca3, ca1), of which a fraction of the cells is lost
    until        age in days at which the lost part works again (reversible inactivation); None: for good

    Traces in lost slots, now or later, can be neither recalled nor replayed.  A fraction of 1 removes the hippocampus:
    it encodes nothing while the lesion lasts.  Raises ConfigError for a fraction below 1 if the hippocampus has no
    slots, and for a stage that it does not have.

    Source: the lesion studies from Scoville & Milner 1957; simulated as in McClelland, McNaughton & O'Reilly 1995;
    reversible: Riedel et al. 1999.

    >>> from cls_sim.hippocampus.slotless import NoHippocampus
    >>> Lesion(NoHippocampus(), fraction=0.5).setup(Spec()).subjects
    1
    """

    inside, null = "hippocampus", {"fraction": 0.0}

    hippocampus: Hippocampus = part(Hippocampus, kw_only=False)
    fraction: float = setting(1.0, 0.0, 1.0)
    stage: str | None = setting(None, check=_stage)

    @property
    def changed(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.hippocampus.changed + int(self._ended().sum())

    @property
    def _whole(self) -> bool:
        return self.fraction == 1 and self.stage is None

    def _fresh(self, spec: Spec) -> None:
        self._lost: Tensor | None = None
        self._over = np.zeros(spec.subjects, bool)  # subjects whose lesion has been ended in the memory
        if self.stage is not None:
            self.hippocampus.impair(self.stage, np.full(spec.subjects, self.fraction))
        elif 0 < self.fraction < 1:
            n = self.hippocampus.traces().alive.shape[1]
            lost = each(spec.seeds, "hippocampus.lesion", lambda g: g.permutation(n) < round(self.fraction * n))
            self._lost = lost.to(spec.device)
            self.hippocampus.silence(self._lost)
            if self.until is not None:
                self.hippocampus.revive(torch.zeros_like(self._lost))  # raises now if traces cannot be revived

    def _ended(self) -> np.ndarray:
        """The subjects whose lesion is over: bool [s].  Restores their lost part when this changes."""
        if self.until is None or self.clock is None:
            return self._over
        over = ~self.span.lasts(self.clock)
        if (over != self._over).any():
            self._over = over
            if self.stage is not None:
                self.hippocampus.impair(self.stage, self.fraction * ~over)
            elif self._lost is not None:
                self.hippocampus.revive(self._lost & torch.from_numpy(over).to(self._lost.device)[:, None])
        return over

    def _works(self) -> Tensor | None:
        """The subjects whose hippocampus is not wholly removed: bool [s]; None: all subjects."""
        ended = self._ended()
        return None if not self._whole or ended.all() else torch.from_numpy(ended).to(self.spec.device)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        works = self._works()
        if works is None:
            self.hippocampus.encode(batch, view, clock, who)
        elif works.any():
            self.hippocampus.encode(batch, view, clock, works if who is None else works & who)

    def recall(self, x: Tensor) -> Recall:
        works = self._works()
        if works is None:
            return self.hippocampus.recall(x)
        none = nothing(x, self.spec.outputs)
        if not works.any():
            return none
        found = self.hippocampus.recall(x)
        pairs = ((getattr(found, field.name), getattr(none, field.name)) for field in fields(Recall))
        return Recall(*(torch.where(over(works, mine), mine, empty) for mine, empty in pairs))

    def traces(self) -> Traces:
        works, traces = self._works(), self.hippocampus.traces()
        return traces if works is None else replace(traces, alive=traces.alive & works[:, None])

    def fetch(self, slot: Tensor) -> Batch:
        works, batch = self._works(), self.hippocampus.fetch(slot)
        return batch if works is None else batch.with_(weight=batch.weights() * works[:, None])

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        works, batch = self._works(), self.hippocampus.dream(n, clock, view)
        return batch if works is None else batch.with_(weight=batch.weights() * works[:, None])

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        works = self._works()
        who = who if works is None else who & works.cpu().numpy()
        if who.any():
            super().context_end(view, clock, who)


class Operator(Settings, Wrap, Hippocampus):
    """Stores only the rows that the subject is unsure of, for which it asks an operator for the label.

        asked:  novelty of the subject's answer ≥ threshold

    hippocampus  the hippocampus that stores the rows asked about
    threshold    in [0, 1]; 0 asks about every row

    The novelty is that of the readout before this experience is stored.  State: asked [s] and met [s], the numbers of
    rows asked about and met on the day `today` [s]; latest [s, b], which rows of the latest experience were asked.

    Source: classification with a reject option, Chow 1970; learning from queries, Cohn, Atlas & Ladner 1994.

    >>> from cls_sim.hippocampus.slotless import NoHippocampus
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
