"""Progressive differentiation: learning of singular modes, and of the branches of a tree."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.probes.base import Measured, NumericProbe, Probe, of_world
from cls_sim.probes.evaluations import CORTEX, questions, scores

DAYS = ("life.begin", "day.end", "life.end")


class SingularModes(NumericProbe):
    """The learnt share of each singular mode of the targets: a_k / a_k(∞), [s, k]; 0 before learning, 1 after.

    The targets of the evaluation are y = Σ_k u_k σ_k v_k, the strongest mode first, and a_k = u_kᵀ ŷ v_k.  Modes of
    equal strength are averaged.

    Source: Saxe, McClelland & Ganguli 2013, 2019.

    >>> SingularModes().axis
    'mode'
    """

    axis = "mode"
    moments = DAYS

    refusal = "needs numbers as targets", "use world=hierarchy"

    def measure(self, life: Measured) -> Tensor:
        self.setup(life.spec)
        exam = questions(life)
        u, size, v = torch.linalg.svd(exam.y.double(), full_matrices=False)
        answered = torch.einsum("sbk,sbo,sko->sk", u, scores(life, CORTEX).double(), v)
        known = size > 1e-6 * size[:, :1]
        share = torch.where(known, answered / size, torch.nan)
        equal = ((size[:, :, None] - size[:, None]).abs() < 1e-6 * size[:, :1, None]) & known[:, None]
        return torch.where(known, (equal * share.nan_to_num()[:, None]).sum(2) / equal.sum(2), torch.nan)


class Differentiation(Probe):
    """Mantel's r [s]: the correlation between distances of items in the cortex and their distances in the tree.

    Over all pairs of items: Euclidean distances in the last hidden layer (mean over the questions of an item) against
    the number of levels at which the two items differ.  The chance level is 0; NaN if all distances are equal.

    Source: Mantel 1967; progressive differentiation, Rumelhart & Todd 1993; Saxe et al. 2019.

    >>> Differentiation().moments
    ('life.begin', 'day.end', 'life.end')
    """

    moments = DAYS

    def measure(self, life: Measured) -> Tensor:
        tree = of_world(life, "tree", "needs items in a tree", "use world=hierarchy or semantic")
        items = life.neocortex.features(questions(life).x).double().unflatten(1, (len(tree), -1)).mean(2)
        first, second = torch.triu_indices(len(tree), len(tree), 1, device=tree.device)
        apart = torch.linalg.vector_norm(items[:, first] - items[:, second], dim=2)
        levels = (tree[first] != tree[second]).double().sum(1).expand_as(apart)
        return correlated(apart, levels)


def correlated(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over the last axis; NaN if one of the two does not vary.

    >>> correlated(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])).item()
    1.0
    """
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    spread = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(spread > 1e-12, (a * b).sum(-1) / spread, torch.nan)
