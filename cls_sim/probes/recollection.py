"""Pattern separation, pattern completion, recall error and spontaneous reactivation of a hippocampus."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError, real, several
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import entr
from cls_sim.probes.base import Measured, NumericProbe, Probe, labelled
from cls_sim.probes.evaluations import questions, shared
from cls_sim.probes.night import counts

TOGETHER = 256  # cues or dreams at once


class Separation(Settings, Probe):
    """Pattern separation: overlap of the dentate codes of two similar inputs [s, k], a profile over their correlation.

        |c ∩ c'| / k  for Gaussian inputs of correlation ρ, the mean over pairs

    rho    correlations of the inputs, in [-1, 1]
    pairs  number of pairs for each correlation

    Raises ConfigError for a hippocampus without a dentate gyrus.

    Source: O'Reilly & McClelland 1994.

    >>> Separation(rho=[0.0, 0.9]).pairs
    200
    """

    axis = "correlation"
    moments = ("life.end",)

    rho: Sequence[float] = setting(
        (0.0, 0.5, 0.8, 0.9, 0.95, 0.99), "numbers", "[0.0, 0.9]", real, -1.0, 1.0, check=several
    )
    pairs: int = setting(200)

    def measure(self, life: Measured) -> Tensor:
        shape = (2, self.pairs, *life.spec.inputs)
        drawn = each(life.spec.seeds, "probe.separation", lambda g: g.standard_normal(shape, np.float32))
        one, other = drawn.to(life.spec.device).unbind(1)
        code, shared = life.hippocampus.stages(one).dentate, list[Tensor]()
        for r in self.rho:
            like = life.hippocampus.stages(r * one + math.sqrt(1 - r * r) * other).dentate
            shared.append((code * like).sum(2).mean(1) / code.sum(2).mean(1))
        return torch.stack(shared, 1).double()


def _draws(source: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal and uniform random numbers: [2, b, …]."""
    return np.stack((source.standard_normal(shape[1:], np.float32), source.random(shape[1:], np.float32)))


def _occluded(x: Tensor, level: float, draws: Tensor) -> Tensor:
    side = round(math.sqrt(x[0, 0].numel()))
    image = x.flatten(2).clone()
    image[..., (side - round(level * side)) * side :] = 0.0  # the lowest rows of a square image
    return image.view_as(x)


def _scattered(x: Tensor, level: float, draws: Tensor) -> Tensor:
    flat, some = x.flatten(2), draws[:, 1].flatten(2)
    return torch.where(some < level, flat.roll(1, 2).flip(2), flat).view_as(x)


DAMAGES: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {  # (inputs, level, draws) → damaged inputs
    "correlation": lambda x, level, draws: level * x + math.sqrt(1 - level * level) * draws[:, 0],
    "mask": lambda x, level, draws: x.masked_fill(draws[:, 1] < level, 0.0),
    "occlusion": _occluded,
    "noise": lambda x, level, draws: x + level * draws[:, 0],
    "random": _scattered,
    "flip": lambda x, level, draws: torch.where(draws[:, 1] < level, -x, x),
}


class Completion(Settings, Probe):
    """Pattern completion: recall from a damaged cue [s, k], a profile over the damage, the mean over traces.

    damage  correlation: the cue is ρ x + sqrt(1 - ρ²) noise; mask: a random share of the numbers is 0; occlusion: a
            share of the rows of an image is 0, from the bottom; noise: Gaussian noise of this standard deviation is
            added; random: a share of the numbers is replaced by other numbers of the same pattern; flip: a random
            share of the numbers changes its sign
    levels  of the damage
    of      code: cosine of the state of CA3 and the stored pattern; cue: the same before CA3; pattern: cosine of the
            recalled and the stored input; exact: share of recalls with all signs right; item: share that recalls the
            same trace; label: share of right answers of the readout of the life
    traces  largest number of traces per subject, in the order of slots

    NaN for a subject with nothing stored.

    >>> Completion(damage="mask", levels=[0.0, 0.5], of="exact").traces
    256
    """

    moments = ("life.end",)

    damage: str = setting("mask", DAMAGES)
    levels: Sequence[float] = setting((0.0, 0.25, 0.5, 0.75, 0.9), "numbers", "[0.0, 0.5]", real, 0.0, check=several)
    of: str = setting("pattern", ("code", "cue", "pattern", "exact", "item", "label"))
    traces: int = setting(256)

    def _ready(self) -> None:
        if self.damage != "noise":
            several("levels", self.levels, "numbers", "[0.0, 0.5]", real, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        return labelled(spec, "of", "asks for labels", "give of=pattern") if self.of == "label" else spec

    def measure(self, life: Measured) -> Tensor:
        alive = life.hippocampus.traces().alive
        slots = torch.argsort(~alive, dim=1, stable=True)[:, : self.traces]  # traces that are alive come first
        stored = life.hippocampus.fetch(slots)
        there = alive.gather(1, slots).double()
        shape = (2, *stored.x.shape[1:])
        draws = each(life.spec.seeds, "probe.completion", lambda g: _draws(g, shape)).to(stored.x.device)
        right: list[Tensor] = []
        for level in self.levels:
            cue = DAMAGES[self.damage](stored.x, level, draws)
            some = [slice(i, i + TOGETHER) for i in range(0, slots.shape[1], TOGETHER)]
            parts = [self._right(life, cue[:, rows], stored.part(rows), slots[:, rows]) for rows in some]
            right.append((torch.cat(parts, 1).double() * there).sum(1) / there.sum(1))
        return torch.stack(right, 1)

    def _right(self, life: Measured, cue: Tensor, stored: Batch, slots: Tensor) -> Tensor:
        """The score of the recall from each cue: [s, b]."""
        if self.of in ("code", "cue"):
            stages = life.hippocampus.stages(cue)
            state = stages.ca3 if self.of == "code" else stages.dentate
            return torch.cosine_similarity(state, life.hippocampus.patterns(slots), dim=2)
        if self.of == "label":
            answer = life.readout.answer(cue, life.known_contexts(stored), life.hippocampus, life.neocortex)
            return (answer.scores.argmax(2) == stored.y) & (answer.scores != 0).any(2)
        recall = life.hippocampus.recall(cue)
        if self.of == "item":
            return recall.slot == slots
        ours, theirs = recall.x.flatten(2), stored.x.flatten(2)
        if self.of == "pattern":
            return torch.cosine_similarity(ours, theirs, dim=2)
        return (ours.sign() == theirs.sign()).all(2)


class Recollection(NumericProbe):
    """Squared error of the hippocampus on the training data [s], in units of their variance, in regression.

    It is (P - 1) / (M - 1) for a sparse Hebbian attractor, and 0 for an exact store (Sun et al. 2023).

    >>> Recollection().moments
    ('life.end',)
    """

    moments = ("life.end",)

    refusal = "is a squared error", "measure Completion"

    def measure(self, life: Measured) -> Tensor:
        lived = questions(life, "train")
        said = [life.hippocampus.recall(part).scores for part in torch.split(lived.x, TOGETHER, 1)]
        error = (torch.cat(said, 1) - lived.y).double().square().mean((1, 2))
        return error / lived.y.double().square().mean((1, 2))


class Dreams(Settings, Probe):
    """Content of the dreams that the hippocampus would generate now [s]; the dreams are discarded.

    of     retrieved: share of dreams that are a stored trace; silent: share without any activity; spurious: all others
           (mixtures, states that were never stored); entropy: of the retrieved traces, H / ln P (0 if it is always the
           same one, 1 if all are equally frequent; uncorrected); coverage: share of the traces retrieved at least once
    draws  number of dreams, from 1

    NaN if nothing is stored; entropy is also NaN if nothing is retrieved or P < 2.  Raises ConfigError for a
    hippocampus that cannot dream.

    >>> Dreams(of="entropy").draws
    2000
    """

    moments = ("life.end",)

    of: str = setting("retrieved", ("retrieved", "silent", "spurious", "entropy", "coverage"))
    draws: int = setting(2000)

    def setup(self, spec: Spec) -> Spec:
        if "hippocampus" not in spec.dreams:
            raise ConfigError("", "needs a hippocampus that can dream", "choose another hippocampus, or leave it out")
        return spec

    def measure(self, life: Measured) -> Tensor:
        slot, heard = dreamt(life, self.draws)
        alive = life.hippocampus.traces().alive
        pure, episodes = heard & (slot >= 0), alive.sum(1).double()
        shares = {"retrieved": pure, "silent": ~heard, "spurious": heard & (slot < 0)}
        if self.of in shares:
            return torch.where(episodes > 0, shares[self.of].double().mean(1), torch.nan)
        count = counts(slot, pure, alive.shape[1])
        if self.of == "coverage":
            return (count > 0).sum(1) / episodes
        entropy = entr(count / count.sum(1, keepdim=True)).sum(1)
        return torch.where((episodes > 1) & (count.sum(1) > 0), entropy / episodes.log(), torch.nan)


@shared
def dreamt(life: Measured, draws: int) -> tuple[Tensor, Tensor]:
    """The trace of each of `draws` dreams (-1: none), and whether the dream has any activity: [s, draws] both."""
    clock = copy.deepcopy(life.clock)
    slots, there = list[Tensor](), list[Tensor]()
    for start in range(0, draws, TOGETHER):
        batch = life.hippocampus.dream(min(TOGETHER, draws - start), clock, life.view)
        slots.append(batch.slot if batch.slot is not None else torch.full_like(batch.item, -1))
        there.append(batch.present())
        clock.replay = clock.replay + 1
    return torch.cat(slots, 1), torch.cat(there, 1)
