"""What would happen if something were learnt now: savings, and interference both ways.

These probes let copies of the cortex learn, with a consolidation rule that begins anew; the subject does not notice.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.errors import choice, real, whole
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import answered, grade, questions, shared


class ListLearning(Probe):
    """What the cortex makes of whole lists, learnt in passes over all of a list's rows at a rate."""

    moments = ("life.end",)

    def __init__(self, *, rate: float, criterion: float, passes: int):
        self.rate = real("rate", rate, 0.0, open_low=True)
        self.criterion = real("criterion", criterion, 0.0, 1.0)
        self.passes = whole("passes", passes)

    def learn(self, life: Measured, newborn: bool, learnt: int, asked: int) -> Tensor:
        """The grade in context `asked` before and after each pass over context `after_step`: [passes + 1, s]."""
        return _learned(life, newborn, learnt, asked, self.rate, self.passes)

    def reached(self, grades: Tensor) -> Tensor:
        """The passes until the criterion [s] of grades [passes + 1, s]; `passes` + 1 where it is not reached."""
        there = grades >= self.criterion
        return torch.where(there.any(0), there.to(torch.uint8).argmax(0), self.passes + 1)


class Savings(ListLearning):
    """What is saved in relearning a context [s]: (n_first - n_again) / n_first passes to a criterion.

    n_first is counted for the same cortex at birth, n_again for the cortex now; above 0 something is left even where
    nothing is recalled (Ebbinghaus).  1: it is all there; 0: nothing is left; below 0 it is harder than at first.
    NaN where a newborn does not reach the criterion.

    context    which
    rate       of learning, above 0
    criterion  0 to 1, the grade to be reached
    passes     at most so many

    Source: Ebbinghaus 1885.

    >>> Savings(passes=50).context
    0
    """

    def __init__(
        self,
        *,
        context: int = 0,
        rate: float = 0.1,
        criterion: float = 1.0,
        passes: int = 200,
    ):
        super().__init__(rate=rate, criterion=criterion, passes=passes)
        self.context = whole("context", context, 0)

    def measure(self, life: Measured) -> Tensor:
        first = self.reached(self.learn(life, True, self.context, self.context)).double()
        again = self.reached(self.learn(life, False, self.context, self.context)).double()
        return torch.where((first > 0) & (first <= self.passes), (first - again) / first, torch.nan)


class Interference(ListLearning):
    """What learning one context costs another [s], in grade (accuracy or R²).

    of = "retroactive"  the grade in context `old` now, less that after `passes` passes over context `new`
    of = "proactive"    the grade in context `new` that a newborn reaches in as many passes as it needs to the
                        criterion, less that which the cortex reaches now: what earlier learning is in the way of
    Above 0: interference; below 0: transfer.

    of         retroactive or proactive
    old, new   contexts
    rate       of learning, above 0
    criterion  0 to 1, the grade that a newborn is to reach
    passes     at most so many

    Source: McGeoch 1932; Barnes & Underwood 1959.

    >>> Interference(of="proactive").new
    1
    """

    def __init__(
        self,
        *,
        of: str = "retroactive",
        old: int = 0,
        new: int = 1,
        rate: float = 0.1,
        criterion: float = 1.0,
        passes: int = 200,
    ):
        super().__init__(rate=rate, criterion=criterion, passes=passes)
        self.of = choice("of", of, ("retroactive", "proactive"))
        self.old, self.new = whole("old", old, 0), whole("new", new, 0)

    def measure(self, life: Measured) -> Tensor:
        if self.of == "retroactive":
            grades = self.learn(life, False, self.new, self.old)
            return grades[0] - grades[-1]
        alone = self.learn(life, True, self.new, self.new)
        until = self.reached(alone)
        return _at(alone, until) - _at(self.learn(life, False, self.new, self.new), until)


@shared
def _learned(life: Measured, newborn: bool, learnt: int, asked: int, rate: float, passes: int) -> Tensor:
    """The grades of a copy of the cortex, as it is now or as it was born: [passes + 1, s]."""
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
    """Each subject's grade [s] after so many passes [s]."""
    return grades.gather(0, passes.clamp(max=len(grades) - 1)[None])[0]
