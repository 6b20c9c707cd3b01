"""The effects of lesions: retrograde amnesia by the age of memories, and a double dissociation."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.accuracy import last_lived
from cls_sim.probes.base import Measured, Probe
from cls_sim.probes.evaluations import CORTEX, above_chance, answered, exams, grade, questions, shared


class Amnesia(Settings, Probe):
    """Recall by the age of memories: a profile [s, k] over the k contexts met so far, the youngest first.

    R = (accuracy - chance) / (1 - chance) in the evaluation of a context.  The age of a context is the time since the
    end of its last stretch.

    of  control   R_c, with the readout of the life (in a lesioned twin: the recall left by its lesion)
        lesion    R_l, with the cortex alone: the recall left if the hippocampus were lost now
        retained  R_l / R_c; NaN if R_c is not above 0.  Flat without consolidation, increasing with age with
                  consolidation (Ribot's gradient), decreasing if the cortex forgets
        rr        relative retrograde gradient ln(1 - R_l) / ln(1 - R_c), with R clamped to [0, 1 - 1/(2n)] for n
                  questions; in the Memory Chain Model it does not depend on item difficulty

    Source: Ribot 1881; the gradient, McClelland, McNaughton & O'Reilly 1995; rr, Murre, Chessa & Meeter 2013.

    >>> Amnesia(of="rr").axis
    'age'
    """

    axis = "age"
    moments = ("life.end",)

    of: str = setting("retained", ("control", "lesion", "retained", "rr"))

    def measure(self, life: Measured) -> Tensor:
        control, lesion = recalls(life)
        if self.of in ("control", "lesion"):
            return control if self.of == "control" else lesion
        if self.of == "retained":
            return torch.where(control > 0, lesion / control, torch.nan)
        most = 1.0 - 0.5 / questions(life).rows
        lost, left = (torch.log1p(-r.clamp(0.0, most)) for r in (control, lesion))
        return torch.where(lost < 0, left / lost, torch.nan)


class TransferTime(Settings, Probe):
    """The age [s], in days, from which the hippocampal dependence of memories is below `level`.

    The dependence index is HDI(age) = (R_c - R_l) / R_c, see Amnesia.  The result is the youngest age at which HDI is
    below `level`, interpolated linearly from the age before.  If HDI is never below `level`, the result is the oldest
    age (a lower bound); NaN if no recall is above chance.

    level  in [0, 1]

    >>> TransferTime().level
    0.5
    """

    moments = ("life.end",)

    level: float = setting(0.5, 0.0, 1.0)

    def measure(self, life: Measured) -> Tensor:
        control, lesion = recalls(life)
        index = torch.where(control > 0, (control - lesion) / control, torch.nan)
        days = np.sort(ages(life), 1)[:, : index.shape[1]]
        return torch.tensor([crossing(d, i, self.level) for d, i in zip(days, index.cpu().numpy(), strict=True)])


def crossing(days: np.ndarray, index: np.ndarray, level: float) -> float:
    """The first day at which an index [k] is below a level, interpolated between days [k]; the last day if it never is.

    >>> crossing(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.75, 0.25]), 0.5)
    1.5
    """
    there = np.isfinite(index)
    days, index = days[there], index[there]
    if not len(index):
        return math.nan
    below = index < level
    i = int(below.argmax()) if below.any() else -1
    if i < 1:  # from the first day, or never
        return float(days[i])
    share = (index[i - 1] - level) / (index[i - 1] - index[i])
    return float(days[i - 1] + share * (days[i] - days[i - 1]))


def recalls(life: Measured) -> tuple[Tensor, Tensor]:
    """R with the readout of the life, and with the cortex alone, the youngest context first: [s, k] both."""
    control, lesion = (by_age(life, above_chance(life, exams(life, who))) for who in (None, CORTEX))
    return control, lesion


def by_age(life: Measured, numbers: Tensor) -> Tensor:
    """Numbers of the contexts [s, k] in the order of their age, the youngest first; NaN for those not met."""
    age = ages(life)
    most = np.isfinite(age).sum(1).max()  # a subject that has met fewer contexts than others has NaN at the end
    order = from_numpy(np.argsort(age, 1, kind="stable")[:, :most].copy()).to(life.spec.device)
    lived = from_numpy(np.isfinite(age)).to(life.spec.device).gather(1, order)
    return torch.where(lived, numbers.gather(1, order), torch.nan)


@shared
def ages(life: Measured) -> np.ndarray:
    """Days since the end of the last stretch of each context: float64 [s, k]; infinite for a context not met yet."""
    now, spec = life.clock.experience, life.spec
    when = np.full((spec.subjects, spec.contexts), -np.inf)
    for end in [*(end for end in life.world.ends if end <= now.max()), int(now.max())]:
        context, reached = last_lived(life, end).context[:, -1].cpu().numpy(), np.minimum(now, end)
        known = np.flatnonzero((context >= 0) & (reached > 0))
        when[known, context[known]] = np.maximum(when[known, context[known]], reached[known])
    return (now[:, None] - when) / life.clock.per_day


class DoubleDissociation(Settings, Probe):
    """Double dissociation [s]: the interaction of two lesions and two tasks, with R = performance above chance.

        R(episodes | slow lost) - R(episodes | fast lost) + R(regularities | fast lost) - R(regularities | slow lost)

    Above 0: the fast pathway supports episodes and the slow one regularities; the maximum is 2; 0 if both lesions have
    the same effect.  A lesion removes a stage of the hippocampus, or one of the two systems.

    fast, slow              the lesions: stages (of TwoPaths: trisynaptic, monosynaptic), hippocampus or cortex
    episodes, regularities  contexts whose evaluations are the two tasks
    of                      interaction, or one of its two terms: episodes or regularities

    Source: Schapiro et al. 2017.

    >>> DoubleDissociation().fast
    'trisynaptic'
    """

    moments = ("life.end",)

    fast: str = setting("trisynaptic")
    slow: str = setting("monosynaptic")
    episodes: int = setting(0, 0)
    regularities: int = setting(1, 0)
    of: str = setting("interaction", ("interaction", "episodes", "regularities"))

    def measure(self, life: Measured) -> Tensor:
        without_fast, without_slow = (above_chance(life, _without(life, part)) for part in (self.fast, self.slow))
        episodes = (without_slow - without_fast)[:, self.episodes]
        regularities = (without_fast - without_slow)[:, self.regularities]
        return {"episodes": episodes, "regularities": regularities}.get(self.of, episodes + regularities)


@shared
def _without(life: Measured, part: str) -> Tensor:
    """The accuracy or R² in the evaluation of each context after the loss of a part: float64 [s, k]."""
    if part == "hippocampus":
        return exams(life, CORTEX)
    damaged = life.hippocampus if part == "cortex" else copy.deepcopy(life.hippocampus)
    if part != "cortex":
        damaged.impair(part, np.ones(life.spec.subjects))

    def answer(x: Tensor, context: Tensor | None) -> Tensor:
        if part == "cortex":
            return life.neocortex.mask_logits(damaged.recall(x).scores, context)
        return life.readout.answer(x, context, damaged, life.neocortex).scores

    grades: list[Tensor] = []
    for batch in (questions(life, "evaluation", context) for context in range(life.spec.contexts)):
        grades.append(grade(answered(life, batch, answer), batch.y, batch.weights(), life.spec.regression))
    return torch.stack(grades, 1)
