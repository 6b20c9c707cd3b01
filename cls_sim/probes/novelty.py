"""The novelty gate: detection of new questions, and the share of questions that the hippocampus answers."""

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
        sources = (
            torch.cat([answer.source for answer in answers(life, self.readout, "evaluation", context)], 1)
            for context in range(life.spec.contexts)
        )
        share = torch.stack([(source == HIPPOCAMPUS).double().mean(1) for source in sources], 1)
        age = ages(life)
        order = np.argsort(age, 1, kind="stable")[:, : np.isfinite(age).sum(1).max()]
        lived = torch.from_numpy(np.isfinite(np.take_along_axis(age, order, 1))).to(share.device)
        return torch.where(lived, share.gather(1, torch.from_numpy(order.copy()).to(share.device)), torch.nan)
