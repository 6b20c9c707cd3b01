"""Savings in relearning, and proactive and retroactive interference.

These probes train copies of the cortex with a newly initialised consolidation rule; the life itself does not change.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import answered, grade, questions, shared


class ListLearning(Settings, Probe):
    """A probe that trains copies of the cortex in passes over all rows of a context, at a given learning rate."""

    moments = ("life.end",)

    rate: float = setting(0.1, 0.0, open_low=True)
    criterion: float = setting(1.0, 0.0, 1.0)
    passes: int = setting(200)

    def learn(self, life: Measured, newborn: bool, learnt: int, asked: int) -> Tensor:
        """Accuracy (or R²) in context `asked` before and after each pass over context `learnt`: [passes + 1, s]."""
        return _learned(life, newborn, learnt, asked, self.rate, self.passes)

    def reached(self, grades: Tensor) -> Tensor:
        """The number of passes [s] until `grades` [passes + 1, s] reach the criterion; `passes` + 1 if they do not."""
        there = grades >= self.criterion
        return torch.where(there.any(0), there.to(torch.uint8).argmax(0), self.passes + 1)


class Savings(ListLearning):
    """Savings in relearning a context [s]: (n_first - n_again) / n_first, with n the passes to a criterion.

    n_first is counted for the same cortex at birth, n_again for the present cortex.  Savings above 0 show a memory even
    if nothing is recalled.  1: fully retained; 0: nothing left; below 0: relearning is harder than learning.
    NaN if the newborn cortex does not reach the criterion.

    context    the context that is relearnt
    rate       learning rate, above 0
    criterion  accuracy (or R²) to reach, in [0, 1]
    passes     largest number of passes, from 1

    Source: Ebbinghaus 1885.

    >>> Savings(passes=50).context
    0
    """

    context: int = setting(0, 0)

    def measure(self, life: Measured) -> Tensor:
        first = self.reached(self.learn(life, True, self.context, self.context)).double()
        again = self.reached(self.learn(life, False, self.context, self.context)).double()
        return torch.where((first > 0) & (first <= self.passes), (first - again) / first, torch.nan)


class Interference(ListLearning):
    """Interference between two contexts [s], in accuracy (or R²); above 0: interference, below 0: transfer.

    of         retroactive  accuracy in context `old` now, minus that after `passes` passes over context `new`
               proactive    accuracy in context `new` of a newborn cortex after the passes that it needs to reach the
                            criterion, minus that of the present cortex after as many passes
    old, new   the contexts
    rate       learning rate, above 0
    criterion  accuracy (or R²) that the newborn cortex must reach, in [0, 1]
    passes     largest number of passes, from 1

    Source: McGeoch 1932; Barnes & Underwood 1959.

    >>> Interference(of="proactive").new
    1
    """

    of: str = setting("retroactive", ("retroactive", "proactive"))
    old: int = setting(0, 0)
    new: int = setting(1, 0)

    def measure(self, life: Measured) -> Tensor:
        if self.of == "retroactive":
            grades = self.learn(life, False, self.new, self.old)
            return grades[0] - grades[-1]
        alone = self.learn(life, True, self.new, self.new)
        until = self.reached(alone)
        return _at(alone, until) - _at(self.learn(life, False, self.new, self.new), until)


@shared
def _learned(life: Measured, newborn: bool, learnt: int, asked: int, rate: float, passes: int) -> Tensor:
    """Accuracy (or R²) of a copy of the present or newborn cortex, before and after each pass: [passes + 1, s]."""
    cortex, rule = copy.deepcopy(life.neocortex), copy.deepcopy(life.consolidation)
    rule.setup(life.spec)
    if newborn:
        cortex.setup(life.spec)
    lesson, exam = questions(life, "train", learnt), questions(life, "evaluation", asked)

    def graded() -> Tensor:
        return grade(answered(life, exam, cortex.scores), exam.y, exam.weights(), life.spec.regression)

    grades = [graded()]
    for _ in range(passes):
        with torch.enable_grad():
            rule.step(cortex, lesson, np.full(life.spec.subjects, rate), life.view)
        grades.append(graded())
    return torch.stack(grades)


def _at(grades: Tensor, passes: Tensor) -> Tensor:
    """The entry of `grades` [s] after the given number of passes [s]."""
    return grades.gather(0, passes.clamp(max=len(grades) - 1)[None])[0]
