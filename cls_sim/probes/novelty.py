"""The novelty gate: does a subject notice what is new, and which of its systems answers what is old?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cls_sim.probes.accuracy import lived_contexts
from cls_sim.probes.amnesia import ages
from cls_sim.probes.base import Measured
from cls_sim.probes.evaluations import ReadoutProbe, answers, questions
from cls_sim.readout.base import HIPPOCAMPUS


class NoveltyGate(ReadoutProbe):
    """How well novelty tells what was never lived from what was [s]: the area under the ROC curve.

        AUC = P(novelty of a new question > that of a familiar one) + ½ P(equal)

    New are the exams of contexts not lived so far, familiar those of contexts lived.  Chance is ½, 1 a perfect gate;
    NaN before anything and after everything was lived.

    readout  whose novelty; None: the subject's own (the hippocampus: 1 - match; the cortex: 1 - its confidence)

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
    """The share of questions that the hippocampus answers, by the age of what is asked [s, k], the youngest first.

    1: all are answered by the hippocampus, 0: all by the cortex; it should fall with age as the cortex learns.

    readout  who decides; None: the subject's own

    >>> HippocampalShare().axis
    'age'
    """

    axis = "age"
    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        sources = (
            torch.cat([answer.source for answer in answers(life, self.readout, "evaluation", context)], 1)
            for context in range(life.spec.contexts)
        )
        share = torch.stack([(source == HIPPOCAMPUS).double().mean(1) for source in sources], 1)
        age = ages(life)
        order = np.argsort(age, 1, kind="stable")[:, : np.isfinite(age).sum(1).max()]
        lived = torch.from_numpy(np.isfinite(np.take_along_axis(age, order, 1))).to(share.device)
        return torch.where(lived, share.gather(1, torch.from_numpy(order.copy()).to(share.device)), torch.nan)
