"""How a cortex comes to tell things apart: mode by mode, and as the branches of a tree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cls_sim.core.errors import Refused
from cls_sim.core.part import Spec
from cls_sim.probes.base import Probe

DAYS = ("life.begin", "day.end", "life.end")


class Modes(Probe):
    """How much of each singular mode of what is to be learnt the cortex answers: a_k / a_k(∞), [s, k].

    y = Σ_k u_k σ_k v_k over the questions of the exam, the strongest first; a_k = u_kᵀ ŷ v_k.  0 at birth, 1 learnt.
    Modes of equal strength share their place, so each is the mean over them.

    at  moments

    Source: Saxe, McClelland & Ganguli 2013, 2019.

    >>> Modes().axis
    'mode'
    """

    axis = "mode"

    def __init__(self, *, at: str | list[str] | tuple[str, ...] = DAYS):
        super().__init__(at=at)

    def begin(self, spec: Spec) -> Spec:
        if not spec.regression:
            raise Refused("", "is of numbers to learn, and this world asks for labels", "use world=hierarchy")
        return spec

    def measure(self, life: Any) -> Tensor:
        self.begin(life.spec)
        exam = life.world.exam(0)
        u, size, v = torch.linalg.svd(exam.y.double(), full_matrices=False)
        answered = torch.einsum("sbk,sbo,sko->sk", u, life.neocortex.scores(exam.x).double(), v)
        known = size > 1e-6 * size[:, :1]
        share = torch.where(known, answered / size, torch.nan)
        equal = ((size[:, :, None] - size[:, None]).abs() < 1e-6 * size[:, :1, None]) & known[:, None]
        return torch.where(known, (equal * share.nan_to_num()[:, None]).sum(2) / equal.sum(2), torch.nan)


class Differentiation(Probe):
    """Mantel's r [s]: the correlation of the distances of items in the cortex with their distances in the tree.

    Over all pairs of items: Euclidean distances of last hidden layers (each item's mean over its questions) against the
    number of levels at which two items part.  Its chance level is 0; NaN where all distances are equal.

    at  moments

    Source: Mantel 1967; progressive differentiation, Rumelhart & Todd 1993; Saxe et al. 2019.

    >>> Differentiation(at="day.end").at
    ('day.end',)
    """

    def __init__(self, *, at: str | list[str] | tuple[str, ...] = DAYS):
        super().__init__(at=at)

    def measure(self, life: Any) -> Tensor:
        if not hasattr(life.world, "tree"):
            raise Refused("", "asks for items in a tree, and this world has none", "use world=hierarchy or semantic")
        tree = life.world.tree
        items = life.neocortex.features(life.world.exam(0).x).double().unflatten(1, (len(tree), -1)).mean(2)
        first, second = torch.triu_indices(len(tree), len(tree), 1, device=tree.device)
        apart = torch.linalg.vector_norm(items[:, first] - items[:, second], dim=2)
        levels = (tree[first] != tree[second]).double().sum(1).expand_as(apart)
        return correlated(apart, levels)


def correlated(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over the last axis; NaN where one does not vary.

    >>> correlated(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])).item()
    1.0
    """
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    spread = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(spread > 1e-12, (a * b).sum(-1) / spread, torch.nan)
