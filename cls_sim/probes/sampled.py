"""Evaluations of bounded cost: a fixed sample of questions, for a sample of the contexts met so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.draws import generator
from cls_sim.core.part import Spec
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.probes.accuracy import last_lived, lived_contexts
from cls_sim.probes.base import Measured, labelled
from cls_sim.probes.evaluations import ReadoutProbe, answered, mean, shared
from cls_sim.readout.base import Readout
from cls_sim.world.base import World


@dataclass(frozen=True)
class Asked:
    """The questions of one moment and the answers.

    contexts  [s, c]     the contexts asked; -1: none
    drawn     [s, c]     bool: a uniform sample of the contexts met so far; False: the newest context, beside the sample
    newest    [s]        the context of the latest experience; -1 before any, or if it was not looked for
    its       [s, o]     bool: the classes of the newest context
    y, said   [s, c, q]  the right answers, and the answers given; -1: no question
    """

    contexts: np.ndarray
    drawn: np.ndarray
    newest: np.ndarray
    its: np.ndarray
    y: Tensor
    said: Tensor


@dataclass
class _Kept:
    """The questions of the contexts asked last, so that those of a context are gathered once: a cache, no state."""

    contexts: np.ndarray  # [s, c]
    x: Tensor  # [s, c, q, …], bytes if the world has a quantum
    y: Tensor  # [s, c, q], -1: no question
    its: np.ndarray  # [s, c, o], the classes of each context
    keys: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])  # subject → a number of each context


_KEPT: WeakKeyDictionary[World, dict[tuple[int, int, bool], _Kept]] = WeakKeyDictionary()


@shared
def asked(life: Measured, questions: int, contexts: int, readout: Readout | None, beside: bool = True) -> Asked:
    """The answers of a readout (None: that of the life) to a sample of questions; see Sampled.

    beside  whether the newest context is asked, too, if it is not in the sample
    """
    kept = _kept(life, questions, contexts, beside)
    met = lived_contexts(life).cpu().numpy()
    newest = np.full(len(met), -1)
    if beside:
        newest = np.where(life.clock.experience > 0, last_lived(life).context[:, 0].cpu().numpy(), -1)
    wanted, drawn = _wanted(life.spec, kept, met, newest, contexts)
    _fill(life, kept, wanted)
    order = np.argsort(kept.contexts < 0, axis=1, kind="stable")  # what is asked first
    most = int((kept.contexts >= 0).sum(1).max())
    order = order[:, :most]
    now = np.take_along_axis(kept.contexts, order, 1)
    places = from_numpy(order).to(kept.y.device)
    rows = torch.arange(len(now), device=places.device)[:, None]
    y = kept.y[rows, places]
    batch = _batch(life.spec, kept.x[rows, places], y, now)
    who = readout or life.readout
    scores = answered(life, batch, lambda x, told: who.answer(x, told, life.hippocampus, life.neocortex).scores)
    said = scores.argmax(2).view(y.shape) if most else y
    its = np.zeros((len(now), life.spec.outputs), bool)
    for i, context in enumerate(newest):
        its[i] = kept.its[i, kept.contexts[i] == context].any(0)
    sampled = [[context in drawn[i] for context in row] for i, row in enumerate(now.tolist())]
    return Asked(now, np.array(sampled, bool).reshape(now.shape), newest, its, y, torch.where(y < 0, -1, said))


def _wanted(
    spec: Spec, kept: _Kept, met: np.ndarray, newest: np.ndarray, most: int
) -> tuple[list[set[int]], list[set[int]]]:
    """The contexts to ask each subject, and those that are a sample of all that it has met.

    Every context has a random number, drawn from the subject's seed; those with the least numbers are the sample, so a
    context that is still in the sample has been asked ever since it was met.
    """
    wanted, drawn = list[set[int]](), list[set[int]]()
    for i, seed in enumerate(spec.seeds):
        if i not in kept.keys:
            kept.keys[i] = generator(seed, "probes.contexts").random(met.shape[1])
        there = np.flatnonzero(met[i])
        sample = set(there[np.argsort(kept.keys[i][there])[:most]].tolist())
        drawn.append(sample)
        wanted.append(sample | ({int(newest[i])} if newest[i] >= 0 else set()))
    return wanted, drawn


def _kept(life: Measured, questions: int, contexts: int, beside: bool) -> _Kept:
    caches = _KEPT.setdefault(life.world, {})
    spec, key = life.spec, (questions, contexts, beside)
    if key not in caches or spec.input_weights is not None:  # such inputs change with time
        columns = min(contexts, spec.contexts) + beside
        shape = (spec.subjects, columns, questions)
        kind = torch.float32 if spec.quantum is None else torch.uint8
        caches[key] = _Kept(
            np.full(shape[:2], -1, np.int64),
            torch.zeros(*shape, *spec.inputs, dtype=kind, device=spec.device),
            torch.full(shape, -1, device=spec.device),
            np.zeros((*shape[:2], spec.outputs), bool),
        )
    return caches[key]


def _fill(life: Measured, kept: _Kept, wanted: list[set[int]]) -> None:
    """Gather the questions of contexts that are asked for the first time, in place of those no longer asked."""
    fresh: dict[int, list[tuple[int, int]]] = {}
    for i, these in enumerate(wanted):
        there = kept.contexts[i]
        for column in np.flatnonzero(~np.isin(there, list(these))):
            there[column] = -1
        free = iter(np.flatnonzero(there < 0).tolist())
        for context in sorted(these - set(there.tolist())):
            fresh.setdefault(context, []).append((i, next(free)))
    quantum, questions = life.spec.quantum, kept.y.shape[2]
    for context, places in fresh.items():
        batch = life.world.evaluation(context)
        present, right = batch.present().cpu().numpy(), batch.y.cpu().numpy()
        for i, column in places:
            rows = np.flatnonzero(present[i])
            source = generator(life.spec.seeds[i], "probes.questions", context)
            chosen = np.sort(source.permutation(rows)[:questions])
            x, y = batch.x[i, chosen], from_numpy(right[i, chosen]).to(kept.y.device)
            x = x if quantum is None else (x / quantum).round_().clamp_(0, 255).to(torch.uint8)
            kept.contexts[i, column] = context
            kept.x[i, column, : len(chosen)], kept.y[i, column] = x, -1
            kept.y[i, column, : len(chosen)] = y
            kept.its[i, column] = False
            kept.its[i, column, right[i, rows]] = True


def _batch(spec: Spec, x: Tensor, y: Tensor, contexts: np.ndarray) -> Batch:
    """A batch [s, c · q, …] of questions x [s, c, q, …]."""
    x = (x if spec.quantum is None else x * spec.quantum).flatten(1, 2)
    context = from_numpy(np.maximum(contexts, 0)).to(y.device)[..., None].expand(y.shape).flatten(1)
    y = y.flatten(1)
    return Batch.lived(x, y.clamp(min=0), context=context, weight=(y >= 0).float())


class ClassProbe(ReadoutProbe):
    """A probe of answers that are classes, of one readout."""

    moments = ("day.end", "context.end", "life.end")

    def setup(self, spec: Spec) -> Spec:
        labelled(spec, "", "reads answers that are classes", "measure accuracy")
        return super().setup(spec)


class Sampled(ClassProbe):
    """A probe of a fixed sample of questions, so that its cost does not grow with the number of contexts.

    questions  questions of each context, from 1: a sample of its held-out questions, drawn once from the seed
    contexts   contexts asked at a moment, from 1: a sample of those met so far, drawn from the seed (a context that
               leaves the sample does not come back)
    readout    the readout that answers; None: that of the life
    """

    questions: int = setting(20)
    contexts: int = setting(10)

    def _asked(self, life: Measured, beside: bool = True) -> Asked:
        self.setup(life.spec)
        return asked(life, self.questions, self.contexts, self.readout, beside)


class AnytimeAccuracy(Sampled):
    """Accuracy on the contexts met so far [s], at any time and at bounded cost; NaN before the first experience.

        A(t) = mean over sampled contexts k met by t of the accuracy on the sampled questions of k

    Its mean over all moments is the reading NAME.mean, the average anytime accuracy (AAA).  Settings as in Sampled.

    Source: Caccia et al. 2022; Koh et al. 2022.

    >>> AnytimeAccuracy(questions=10).at("every 5").moments
    ('every 5',)
    """

    def measure(self, life: Measured) -> Tensor:
        found = self._asked(life, beside=False)
        return mean(right(found.y, found.said), from_numpy(found.drawn).to(found.y.device))


class SampledAccuracy(Sampled):
    """Accuracy on a sample of questions of each context [s, k], in [0, 1]; NaN for contexts that are not asked.

        a_k(t) = share of the sampled questions of context k that are answered right

    It stands in for Accuracy where all questions cost too much: measured at context ends and within contexts, it gives
    NAME.anytime, NAME.min_old and NAME.stability_gap.  With `contexts` of at least their number, each context that has
    been met is asked.  Settings as in Sampled.

    >>> SampledAccuracy(questions=200, contexts=20).at("every 10", "context.end").moments
    ('every 10', 'context.end')
    """

    def measure(self, life: Measured) -> Tensor:
        found = self._asked(life, beside=False)
        accuracy = right(found.y, found.said)
        of_all = torch.full((len(accuracy), life.spec.contexts), torch.nan, dtype=torch.float64, device=found.y.device)
        subject, column = np.nonzero(found.drawn)
        of_all[subject, found.contexts[subject, column]] = accuracy[subject, column]
        return of_all


class RecencyBias(Sampled):
    """Recency bias of answers [s]: the share of wrong answers on earlier contexts that are classes of the newest one.

        #(ŷ ≠ y, ŷ in C_newest) / #(ŷ ≠ y),   over sampled questions of earlier contexts

    NaN without an earlier context or a wrong answer, and where the contexts share their classes.  Settings as in
    Sampled.

    Source: task-recency bias, Masana et al. 2022; Wu et al. 2019.

    >>> RecencyBias().questions
    20
    """

    def measure(self, life: Measured) -> Tensor:
        found = self._asked(life)
        return from_numpy(recency_bias(found)).to(found.y.device)


@dataclass(frozen=True)
class Look:
    """What one reading of Answers holds: Asked, and Coming, as arrays."""

    contexts: np.ndarray
    drawn: np.ndarray
    newest: np.ndarray
    its: np.ndarray
    y: np.ndarray
    said: np.ndarray
    coming_y: np.ndarray
    coming_said: np.ndarray


def right(y: Tensor, said: Tensor) -> Tensor:
    """Accuracy [s, c] of answers [s, c, q]; NaN without questions."""
    there = y >= 0
    return ((y == said) & there).sum(2).double() / there.sum(2)


def recency_bias(found: Asked | Look) -> np.ndarray:
    """The recency bias [s] of answers; see RecencyBias."""
    y, said = (np.asarray(part) for part in (found.y, found.said))
    old = ((found.contexts >= 0) & (found.contexts != found.newest[:, None]))[..., None] & (y >= 0)
    wrong = old & (said != y)
    rows = np.arange(len(y))[:, None, None]
    newer = wrong & found.its[rows, np.maximum(said, 0)]
    overlap = (old & found.its[rows, np.maximum(y, 0)]).any((1, 2))  # contexts share their classes
    count = wrong.sum((1, 2)).astype(float)
    count[(count == 0) | overlap] = np.nan
    return newer.sum((1, 2)) / count
