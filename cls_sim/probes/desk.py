"""At the operator's desk: how much is handed over, is it the right part, and is what was answered known at once?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.errors import Refused, real
from cls_sim.core.part import Part
from cls_sim.probes.accuracy import BUDGET, lived_contexts
from cls_sim.probes.novelty import Asked
from cls_sim.readout.base import Answer, Readout


class Load(Asked):
    """The share of the latest day's experience that was handed to the operator [s]; NaN before any day, or without one.

    at  moments

    >>> Load().at
    ('day.end',)
    """

    def __init__(self, *, at: str | list[str] | tuple[str, ...] = "day.end"):
        super().__init__(at=at)

    def measure(self, life: Any) -> Tensor:
        desk = operator(life)
        if desk is None:
            return torch.full((life.spec.subjects,), torch.nan, dtype=torch.float64)
        return desk.asked.double() / desk.met.double()


class AtOnce(Asked):
    """Of the latest queries that the operator has answered, the share answered right when asked again at once [s].

    NaN where none was answered.

    readout  who is asked; None: the subject's own
    at       moments (at day.end and before: what was asked has not been slept over)

    >>> AtOnce().at
    ('day.end',)
    """

    def __init__(self, *, readout: Readout | None = None, at: str | list[str] | tuple[str, ...] = "day.end"):
        super().__init__(readout=readout, at=at)

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        desk = operator(life)
        if desk is None:
            return torch.full((life.spec.subjects,), torch.nan, dtype=torch.float64)
        batch = life.view.latest()
        answer = (self.readout or life.readout).answer(batch.x, life.told(batch), life.hippocampus, life.neocortex)
        asked = desk.latest[:, : batch.rows]
        right = (answer.scores.argmax(2) == batch.y) & asked
        return right.sum(1).double() / asked.sum(1).double()


class Desk(Asked):
    """What would happen to every question of the exams now [s, 3]: three shares.

    0  of questions of contexts that were lived, handed over
    1  of questions that belong to no context, handed over
    2  of the first that are answered, answered right

    threshold  in [0, 1]: novelty from which a question is handed over; None: as to this life's operator, ½ without one
    readout    who answers; None: the subject's own
    at         moments

    NaN where contexts are told.  Refused in worlds without questions beyond their contexts.

    >>> Desk(threshold=0.3).axis
    'share'
    """

    axis = "share"

    def __init__(
        self,
        *,
        threshold: float | None = None,
        readout: Readout | None = None,
        at: str | list[str] | tuple[str, ...] = "life.end",
    ):
        super().__init__(readout=readout, at=at)
        self.threshold = None if threshold is None else real("threshold", threshold, 0.0, 1.0)

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        if life.spec.context_told:
            return torch.full((life.spec.subjects, 3), torch.nan, dtype=torch.float64)
        threshold = self.threshold if self.threshold is not None else getattr(operator(life), "threshold", 0.5)
        known, right, there = _known(self, life)
        new, weighs = _novelty(self, life, strange(life))
        handed, answered = (known >= threshold) & there, (known < threshold) & there
        shares = [
            handed.sum(1).double() / there.sum(1),
            ((new >= threshold) & weighs).sum(1).double() / weighs.sum(1),
            (right & answered).sum(1).double() / answered.sum(1),
        ]
        return torch.stack(shares, 1)


class OutOfScope(Asked):
    """How well novelty tells questions that belong to no context from those of contexts lived [s]: AUROC.

        AUROC = P(novelty of a strange question > that of a known one) + ½ P(equal)

    Chance is ½, 1 a perfect gate; NaN where contexts are told.  Refused in worlds without questions beyond theirs.

    readout  whose novelty; None: the subject's own
    at       moments

    >>> OutOfScope().at
    ('life.end',)
    """

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        if life.spec.context_told:
            return torch.full((life.spec.subjects,), torch.nan, dtype=torch.float64)
        known, _, there = _known(self, life)
        new, weighs = _novelty(self, life, strange(life))
        pairs = zip(known, there, new, weighs, strict=True)
        return torch.stack([above(n[w], k[t]) for k, t, n, w in pairs])


def above(new: Tensor, old: Tensor) -> Tensor:
    """P(new > old) + ½ P(equal), of two lists of numbers.

    >>> above(torch.tensor([0.5, 0.9]), torch.tensor([0.5, 0.1])).item()
    0.875
    """
    if not len(old) or not len(new):
        return torch.tensor(torch.nan, dtype=torch.float64, device=old.device)
    order = old.sort().values
    below, upto = torch.searchsorted(order, new), torch.searchsorted(order, new, right=True)
    return (below + upto).double().mean() / (2 * len(old))


def operator(life: Any) -> Any:
    """The desk of this life's hippocampus, however it is wrapped; None where there is none."""
    found: list[Part] = [life.hippocampus]
    while found:
        part = found.pop()
        if hasattr(part, "asked") and hasattr(part, "met"):
            return part
        found += [inner for _, inner in part.parts()]
    return None


def strange(life: Any) -> Batch:
    """The questions of this world that belong to no context."""
    if not hasattr(life.world, "strange"):
        raise Refused("", "asks what is out of scope, and this world has no such questions", "use world=clinc")
    return life.world.strange()


def _known(probe: Asked, life: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Novelty, whether right, and whether there, of all questions of contexts lived: [s, n] each."""
    lived, columns = lived_contexts(life), []
    for context in np.flatnonzero(lived.any(0).cpu().numpy()):
        batch = life.world.exam(int(context))
        answers = _answers(probe, life, batch)
        right = torch.cat([a.scores.argmax(2) for a in answers], 1) == batch.y
        there = batch.present() & lived[:, context, None]
        columns.append((torch.cat([a.novelty for a in answers], 1), right, there))
    if not columns:
        none = torch.zeros(life.spec.subjects, 0, device=life.spec.device)
        return none, none > 0, none > 0
    novelty, right, there = zip(*columns, strict=True)
    return torch.cat(novelty, 1), torch.cat(right, 1), torch.cat(there, 1)


def _novelty(probe: Asked, life: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    answers = _answers(probe, life, batch)
    return torch.cat([a.novelty for a in answers], 1), batch.present()


def _answers(probe: Asked, life: Any, batch: Batch) -> list[Answer]:
    """A few large pieces at a time."""
    who, size = probe.readout or life.readout, max(1, BUDGET // (batch.subjects * int(np.prod(batch.x.shape[2:]))))
    return [who.answer(x, None, life.hippocampus, life.neocortex) for x in batch.x.split(size, 1)]
