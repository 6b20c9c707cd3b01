"""Novelty detection, triage of queries, and immediate recall of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.settings import setting
from cls_sim.probes.accuracy import lived_contexts
from cls_sim.probes.amnesia import by_age
from cls_sim.probes.base import Measured, Probe, inside, undefined
from cls_sim.probes.evaluations import ReadoutProbe, answers, questions
from cls_sim.readout.base import HIPPOCAMPUS, Readout


class HandoverRate(Probe):
    """Share of the latest day's experience that was handed over to the operator [s].

    NaN before the first day, and for a life without an operator.

    >>> HandoverRate().moments
    ('day.end',)
    """

    moments = ("day.end",)

    def measure(self, life: Measured) -> Tensor:
        desk = operator(life)
        if desk is None:
            return undefined(life)
        return desk.asked.double() / desk.met.double()


class ImmediateRecall(ReadoutProbe):
    """Immediate recall [s]: accuracy on the latest queries that the operator has answered, when asked again at once.

    NaN if the operator answered none.

    readout  the readout; None: the readout of the life

    Attach it to day.end or to moments before sleep.

    >>> ImmediateRecall().moments
    ('day.end',)
    """

    moments = ("day.end",)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        desk = operator(life)
        if desk is None:
            return undefined(life)
        assert life.view.latest is not None
        batch = life.view.latest()
        who = self.readout or life.readout
        answer = who.answer(batch.x, life.known_contexts(batch), life.hippocampus, life.neocortex)
        asked = desk.latest[:, : batch.rows]
        right = (answer.scores.argmax(2) == batch.y) & asked
        return right.sum(1).double() / asked.sum(1).double()


class TriageRates(ReadoutProbe):
    """Triage of all questions of the evaluations [s, 3], three shares:

    0  share of questions of contexts already met that are handed over
    1  share of out-of-scope questions that are handed over
    2  accuracy on questions of contexts already met that are not handed over

    threshold  novelty from which a question is handed over, in [0, 1]; None: that of the life's operator, else ½
    readout    the readout that answers; None: the readout of the life

    NaN if the task identity is known.  Raises ConfigError for worlds without out-of-scope questions.

    >>> TriageRates(threshold=0.3).axis
    'share'
    """

    axis = "share"
    moments = ("life.end",)

    threshold: float | None = setting(None, 0.0, 1.0)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        if life.spec.task_id_known:
            return undefined(life, 3)
        threshold = self.threshold if self.threshold is not None else getattr(operator(life), "threshold", 0.5)
        known, right, there = _known(life, self.readout)
        new, weighs = _strange(life, self.readout)
        handed, answered = (known >= threshold) & there, (known < threshold) & there
        shares = [
            handed.sum(1).double() / there.sum(1),
            ((new >= threshold) & weighs).sum(1).double() / weighs.sum(1),
            (right & answered).sum(1).double() / answered.sum(1),
        ]
        return torch.stack(shares, 1)


class OutOfScope(ReadoutProbe):
    """Detection of out-of-scope questions by novelty [s]: the area under the ROC curve against familiar questions.

        AUROC = P(novelty of an out-of-scope question > that of a familiar one) + ½ P(equal)

    Chance is ½, a perfect gate 1; NaN if the task identity is known.  Raises ConfigError for worlds without
    out-of-scope questions.

    readout  the readout whose novelty is used; None: the readout of the life

    >>> OutOfScope().moments
    ('life.end',)
    """

    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        if life.spec.task_id_known:
            return undefined(life)
        known, _, there = _known(life, self.readout)
        new, weighs = _strange(life, self.readout)
        pairs = zip(known, there, new, weighs, strict=True)
        return torch.stack([above(n[w], k[t]) for k, t, n, w in pairs])


def above(new: Tensor, old: Tensor) -> Tensor:
    """P(new > old) + ½ P(equal) for two lists of numbers.

    >>> above(torch.tensor([0.5, 0.9]), torch.tensor([0.5, 0.1])).item()
    0.875
    """
    if not len(old) or not len(new):
        return torch.tensor(torch.nan, dtype=torch.float64, device=old.device)
    order = old.sort().values
    below, upto = torch.searchsorted(order, new), torch.searchsorted(order, new, right=True)
    return (below + upto).double().mean() / (2 * len(old))


def operator(life: Measured) -> Any:
    """The operator part of this life's hippocampus, at any depth of wraps; None if there is none."""
    return inside(life.hippocampus, "asked", "met")


def _known(life: Measured, readout: Readout | None) -> tuple[Tensor, Tensor, Tensor]:
    """Novelty, correctness and presence of all questions of contexts already met: [s, n] each."""
    lived, none = lived_contexts(life), torch.zeros(life.spec.subjects, 0, device=life.spec.device)
    columns = [(none, none > 0, none > 0)]
    for context in np.flatnonzero(lived.any(0).cpu().numpy()).tolist():
        batch = questions(life, "evaluation", context)
        said = answers(life, readout, "evaluation", context)
        right = torch.cat([answer.scores.argmax(2) for answer in said], 1) == batch.y
        there = batch.present() & lived[:, context, None]
        columns.append((torch.cat([answer.novelty for answer in said], 1), right, there))
    novelty, right, there = zip(*columns, strict=True)
    return torch.cat(novelty, 1), torch.cat(right, 1), torch.cat(there, 1)


def _strange(life: Measured, readout: Readout | None) -> tuple[Tensor, Tensor]:
    """Novelty and presence of the out-of-scope questions of this world: [s, n] each."""
    batch = questions(life, "out_of_scope")
    return torch.cat([answer.novelty for answer in answers(life, readout, "out_of_scope")], 1), batch.present()


class NoveltyGate(ReadoutProbe):
    """Novelty detection [s]: the area under the ROC curve of the novelty of new and familiar questions.

        AUC = P(novelty of a new question > that of a familiar one) + ½ P(equal)

    Familiar questions are the evaluations of contexts already met, new ones those of contexts not yet met.  Chance is
    ½, a perfect gate 1; NaN before the first context and after all contexts have been met.

    readout  the readout whose novelty is used (with the hippocampus: 1 - match; with the cortex: 1 - confidence);
             None: the readout of the life

    >>> NoveltyGate().moments
    ('life.end',)
    """

    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        contexts = range(life.spec.contexts)
        said = [answer.novelty for context in contexts for answer in answers(life, self.readout, "evaluation", context)]
        novelty = torch.cat(said, 1).double()
        sizes = [questions(life, "evaluation", context).rows for context in contexts]
        old = lived_contexts(life).repeat_interleave(torch.tensor(sizes, device=novelty.device), 1)
        more = (novelty[:, :, None] > novelty[:, None]).double() + 0.5 * (novelty[:, :, None] == novelty[:, None])
        pairs = (~old)[:, :, None] & old[:, None]
        return (more * pairs).sum((1, 2)) / pairs.sum((1, 2))


class HippocampalShare(ReadoutProbe):
    """Share of questions that the hippocampus answers, in [0, 1], by the age of contexts [s, k], the youngest first.

    It is expected to fall with age as the cortex learns.

    readout  the readout; None: the readout of the life

    >>> HippocampalShare().axis
    'age'
    """

    axis = "age"
    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        said = [answers(life, self.readout, "evaluation", context) for context in range(life.spec.contexts)]
        sources = [torch.cat([answer.source for answer in some], 1) for some in said]
        return by_age(life, torch.stack([(source == HIPPOCAMPUS).double().mean(1) for source in sources], 1))
