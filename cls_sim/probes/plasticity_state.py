"""The plasticity of a cortex: effective learning rate, Fisher information, dormant units, rank and weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.draws import Draws
from cls_sim.core.errors import choice, whole
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import entr, svdvals, unique, vector_norm
from cls_sim.probes.accuracy import last_lived
from cls_sim.probes.base import Measured, Probe, undefined
from cls_sim.probes.evaluations import CORTEX, graded, shared

DORMANT = 0.025  # a unit is dormant below this share of its layer's mean activity (Sokar et al. 2023)


class CurrentAccuracy(Settings, Probe):
    """Accuracy (or R²) of the cortex in the evaluation of the context met last [s].

    error  measure 1 - accuracy instead

    >>> CurrentAccuracy(error=True).error
    True
    """

    moments = ("day.end", "life.end")

    error: bool = setting(False)

    def measure(self, life: Measured) -> Tensor:
        now = last_lived(life).context[:, -1].clamp(min=0)
        found = undefined(life)
        for context in map(int, unique(now)):
            found = torch.where(now == context, graded(life, CORTEX, context), found)
        return 1 - found if self.error else found


class PlasticityState(Probe):
    """A measure of the plasticity of the cortex [s], on at most `rows` rows of its latest experience.

    of    rate     effective learning rate: |ΔW| / |W| of one step of the consolidation rule at the present rate
          fisher   trace of the Fisher information E_x E_ŷ |∂ log p(ŷ|x) / ∂W|², with ŷ drawn from the cortex' answers
                   (in regression with unit noise); it rises while a network learns and falls afterwards
          dormant  share of units of the last hidden layer whose mean |activity| is below 2.5 % of the layer's mean
          rank     effective rank of the last hidden layer: exp of the entropy of its normalised singular values,
                   from 1 to the smaller of rows and units
          norm     root mean square of all weights
          size     mean |w| of all weights
          spread   standard deviation of ln |w| over the weights that are not 0: 0.5 to 1.5 is near log-normal
    rows  from 1

    Source: Fisher trace, Achille et al. 2019; dormant units, Sokar et al. 2023; effective rank, Roy & Vetterli 2007,
    Dohare et al. 2024.

    >>> PlasticityState(of="dormant").rows
    64
    """

    moments = ("day.end", "life.end")

    def __init__(self, *, of: str = "dormant", rows: int = 64):
        self.of, self.rows = choice("of", of, KINDS), whole("rows", rows)

    def measure(self, life: Measured) -> Tensor:
        return KINDS[self.of](life, last_lived(life).part(slice(self.rows))).double()


def _rate(life: Measured, batch: Batch) -> Tensor:
    cortex, rule = copy.deepcopy(life.neocortex), copy.deepcopy(life.consolidation)
    with torch.enable_grad():
        rule.step(cortex, batch, life.plasticity.rate(life.clock), life.view)
    moved = [(w - life.neocortex.weights[name]).flatten(1) for name, w in cortex.weights.items()]
    return vector_norm(torch.cat(moved, 1), dim=1) / vector_norm(_weights(life), dim=1)


def _fisher(life: Measured, batch: Batch) -> Tensor:
    spec, weights = life.spec, list(life.neocortex.weights.values())
    told = life.known_contexts(batch)
    total = torch.zeros(spec.subjects, dtype=torch.float64, device=spec.device)
    kind = "normal" if spec.regression else "uniform"
    shape = (batch.rows, spec.outputs) if spec.regression else (batch.rows,)
    draws = Draws(spec.seeds, "probe.fisher", shape, kind, spec.device).at(life.clock.experience)
    with torch.enable_grad():
        scores = life.neocortex.scores(batch.x, told)
        if spec.regression:
            rows = (scores * draws).sum(2)
        else:
            steps = scores.detach().softmax(2).double().cumsum(2)
            answer = (steps < draws[..., None]).sum(2).clamp(max=spec.outputs - 1)
            rows = scores.log_softmax(2).gather(2, answer[..., None])[..., 0]
        for row in range(batch.rows):
            found = torch.autograd.grad(rows[:, row].sum(), weights, retain_graph=True, materialize_grads=True)
            total += sum(g.flatten(1).double().square().sum(1) for g in found)
    return total / batch.rows


def _dormant(life: Measured, batch: Batch) -> Tensor:
    activity = life.neocortex.features(batch.x).abs().mean(1)
    return (activity <= DORMANT * activity.mean(1, keepdim=True)).double().mean(1)


def _rank(life: Measured, batch: Batch) -> Tensor:
    sizes = svdvals(life.neocortex.features(batch.x).double())
    share = sizes / sizes.sum(1, keepdim=True).clamp(min=1e-300)
    return entr(share).sum(1).exp()


def _spread(life: Measured, batch: Batch) -> Tensor:
    sizes = _weights(life).abs().double()
    logs = torch.where(sizes > 0, sizes.log(), torch.nan)
    middle = logs.nanmean(1, keepdim=True)
    return (logs - middle).square().nanmean(1).sqrt()


@shared
def _weights(life: Measured) -> Tensor:
    """All weights of each cortex: [s, n]."""
    return torch.cat([w.detach().flatten(1) for w in life.neocortex.weights.values()], 1)


KINDS: dict[str, Callable[[Measured, Batch], Tensor]] = {
    "rate": _rate,
    "fisher": _fisher,
    "dormant": _dormant,
    "rank": _rank,
    "norm": lambda life, batch: _weights(life).square().mean(1).sqrt(),
    "size": lambda life, batch: _weights(life).abs().double().mean(1),
    "spread": _spread,
}
