"""Predictability of stored episodes, and generalisation compared with the best estimators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.errors import choice, real
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.base import Measured, NumericProbe, of_world
from cls_sim.probes.evaluations import questions, shared, stored
from cls_sim.theory.predictability import DOSES, decomposed, errors, likelihood, snr_of, speed

NIGHT = ("night.end", "life.end")


class ConsolidationScore(Settings, NumericProbe):
    """Relative reduction of the error by consolidation [s]: 1 - MSE / mean y², in regression (Sun et al. 2023).

    of  memory          on the training data: the memory score of a subject without hippocampus
        generalisation  on held-out questions

    0: a cortex whose answers are 0, as at birth; 1: a cortex without error; below 0: consolidation was harmful.

    >>> ConsolidationScore(of="memory").of
    'memory'
    """

    moments = NIGHT

    of: str = setting("generalisation", ("memory", "generalisation"))

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        kind = "train" if self.of == "memory" else "evaluation"
        before = [batch.y.double().square().mean((1, 2)) for batch in _asked(life, kind)]
        return 1.0 - _error(life, kind) / torch.stack(before).mean(0)


class BayesExcess(NumericProbe):
    """Error of the cortex on held-out questions divided by that of the Bayes-optimal estimator, minus 1 [s].

    The optimal estimator is ridge regression of the stored episodes with the penalty σ_e² / σ_w² of the true SNR (the
    Bayes bound of Sun et al. 2023, computed for each subject).  0 is the bound; single subjects may be below it by
    chance.

    >>> BayesExcess().moments
    ('night.end', 'life.end')
    """

    moments = NIGHT

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        ratio = _ratio(life)

        def best(i: int, x: Numbers, y: Numbers, asked: Numbers, right: Numbers) -> float:
            penalty = 0.0 if np.isinf(ratio[i]) else 1.0 / max(float(ratio[i]), 1e-9)
            values, vectors, seen = decomposed(x, y)
            weights = vectors @ (seen / np.where(values > 1e-9, values + penalty, np.inf))
            return float(np.mean((asked @ weights - right) ** 2))

        return _excess(life, best)


class Regret(NumericProbe):
    """Error of the cortex on held-out questions divided by the minimum along the path of learning, minus 1 [s].

    The path is gradient descent from w = 0 on all stored episodes, at any dose.  The minimum is taken on the same
    questions (an oracle, for each subject).  Values below 0 are possible for a cortex that learnt on another path.
    With several contexts both errors are means over them, and the oracle stops for each context on its own.

    >>> Regret().moments
    ('night.end', 'life.end')
    """

    moments = NIGHT

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        return _excess(life, lambda i, x, y, asked, right: errors(x, y, asked, right).min())


class Predictability(NumericProbe):
    """Error of an estimate of the teacher's SNR from the stored episodes alone: log2(estimated / true) [s].

    by     likelihood  maximum likelihood of y | X ~ N(0, σ_w² X Xᵀ + σ_e² I); variances sum to 1
           validation  the SNR whose best dose is the dose with the smallest error on held-out episodes
           speed       initial speed of learning over the initial error: dE_t/ds = -2 |Xᵀy|² / P, E_t = Σ y² / P
    share  share of the episodes that is held out, from 0.01 to 0.99

    0 is a perfect estimate; NaN if nothing is stored, or if the true SNR is 0 or infinite.  Estimates are clamped to
    [2^-6, 2^10].

    Source: Sun, Advani, Spruston, Saxe & Fitzgerald 2023, the three ways of regulating consolidation.

    >>> Predictability(by="speed").share
    0.2
    """

    moments = ("life.end",)

    def __init__(self, *, by: str = "likelihood", share: float = 0.2):
        self.by, self.share = choice("by", by, ("likelihood", "validation", "speed")), real("share", share, 0.01, 0.99)

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        ratio, found = _ratio(life), list[float]()
        for i, (x, y) in enumerate(_stored(life)):
            snr = float(ratio[i])
            knowable = len(x) > 1 and 0.0 < snr < np.inf
            found.append(self._estimated(x, y) - np.log2(snr) if knowable else np.nan)
        return torch.tensor(found, dtype=torch.float64, device=life.spec.device)

    def _estimated(self, x: np.ndarray, y: np.ndarray) -> float:
        if self.by != "validation":
            return {"likelihood": likelihood, "speed": speed}[self.by](x, y)
        held = max(1, round(self.share * len(x)))
        dose = DOSES[np.argmin(errors(x[held:], y[held:], x[:held], y[:held]))]
        return snr_of(decomposed(x[held:], y[held:])[0], float(dose))


def _excess(life: Measured, best: Callable[[int, Numbers, Numbers, Numbers, Numbers], float]) -> Tensor:
    """The cortex' error on held-out questions over the `best` error (i, x, y, questions, answers), minus 1: [s].

    With several contexts, the errors are means over them, and the best one of each is that on its own episodes.
    """
    least = np.zeros(life.spec.subjects)
    for context, exam in enumerate(_asked(life, "evaluation")):
        asked, right = exam.x.flatten(2).double().cpu().numpy(), exam.y[..., 0].double().cpu().numpy()
        for i, (x, y) in enumerate(_stored(life, context)):
            used = x.any(0)  # inputs that are 0 in all episodes teach nothing
            least[i] += best(i, x[:, used], y, asked[i][:, used], right[i])
    least = from_numpy(least / life.spec.contexts)
    cortex = _error(life, "evaluation")
    return cortex / least.to(cortex.device) - 1.0


def _asked(life: Measured, kind: str) -> list[Batch]:
    """The held-out questions (evaluation) or the training data (train) of each context."""
    return [questions(life, kind, context) for context in range(life.spec.contexts)]


@shared
def _error(life: Measured, kind: str) -> Tensor:
    """The mean squared error of the cortex on held-out questions (evaluation) or on the training data (train): [s]."""
    errors = [(life.neocortex.scores(b.x) - b.y).double().square().mean((1, 2)) for b in _asked(life, kind)]
    return torch.stack(errors).mean(0)


def _ratio(life: Measured) -> np.ndarray:
    """The true SNR of each subject's teacher: [s]."""
    return of_world(life, "ratio", "needs a world with a true SNR", "use world=teacher")


@shared
def _stored(life: Measured, context: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """The stored episodes of each subject (of a context, if there are several): x [P, N] and y [P], in float64."""
    batch, there = stored(life), life.hippocampus.traces().alive.cpu().numpy()
    if context is not None and life.spec.contexts > 1:
        there = there & (batch.context == context).cpu().numpy()
    x, y = batch.x.flatten(2).cpu().numpy(), batch.y[..., 0].cpu().numpy()
    return [(x[i][there[i]].astype(np.float64), y[i][there[i]].astype(np.float64)) for i in range(len(x))]
