"""Semantic knowledge of the cortex about items in a tree: beliefs, errors, distinctions, schema consistency, modes."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import svd, unique, vector_norm
from cls_sim.probes.base import Measured, NumericProbe, Probe, of_world
from cls_sim.probes.evaluations import CORTEX, questions, scores

SELDOM = ("day.end", "context.end", "life.end")


class Belief(Probe):
    """Strength of a belief [s]: the output of the cortex for an attribute of an item, such as "robin can fly".

    item, relation, attribute  words of the world Semantic

    1 is a firm belief, 0 a firm disbelief; chance is the base rate of the attribute.

    >>> Belief().attribute
    'fly'
    """

    moments = SELDOM

    def __init__(self, *, item: str = "robin", relation: str = "can", attribute: str = "fly"):
        self.item, self.relation, self.attribute = item, relation, attribute

    def measure(self, life: Measured) -> Tensor:
        asked = of_world(life, "question", "Belief needs questions in words", "use world=semantic")
        row, unit = asked(self.item, self.relation, self.attribute)
        x = life.world.next(life.clock).x[:, row : row + 1]
        return life.neocortex.scores(x)[:, 0, unit]


class Distance(Settings, Probe):
    """Distance of the cortex' answers from the targets in the evaluation of a context [s]: mean |y - ŷ|.

    context  number of the context, from 0

    >>> Distance(context=1).context
    1
    """

    moments = SELDOM

    context: int = setting(0, 0)

    def measure(self, life: Measured) -> Tensor:
        off = scores(life, CORTEX, "evaluation", self.context) - questions(life, "evaluation", self.context).y
        return vector_norm(off, dim=2).mean(1)


class Residual(Settings, NumericProbe):
    """Remaining error over the evaluations of all contexts [s]: Σ_items |y - ŷ|² / |y_new|².

    The unit is the squared norm of the targets of the last context (the new item).

    each  one value per item [s, items] instead of the sum, without the new item

    Source: the dependent variable of McClelland, McNaughton & Lampinen 2020.

    >>> Residual(each=True).axis
    'item'
    """

    axis = "item"
    moments = SELDOM

    each: bool = setting(False)

    def measure(self, life: Measured) -> Tensor:
        exams = [questions(life, "evaluation", context) for context in range(life.spec.contexts)]
        asked = enumerate(exams[:-1] if self.each else exams)
        off = [(scores(life, CORTEX, "evaluation", k) - one.y).double().square().sum(2) for k, one in asked]
        share = torch.cat(off, 1) / exams[-1].y.double().square().sum((1, 2))[:, None]
        return share if self.each else share.sum(1)


class Distinctions(Probe):
    """Distinctions at each level of the world's tree [s, levels], the coarsest level first.

    The mean Euclidean distance, in the last hidden layer (mean over the questions of an item), between the means of
    sister branches.  In development, coarse distinctions appear first.

    Source: Rumelhart & Todd 1993; Saxe, McClelland & Ganguli 2019.

    >>> Distinctions().axis
    'level'
    """

    axis = "level"
    moments = ("day.end", "life.end")

    def measure(self, life: Measured) -> Tensor:
        tree: Tensor = of_world(life, "tree", "needs items in a tree", "use world=semantic")
        features = life.neocortex.features(questions(life).x)
        items = torch.unflatten(features, 1, (len(tree), -1)).mean(2)  # [s, items, f]
        return torch.stack([_apart(items, tree, level) for level in range(tree.shape[1])], 1)


class SchemaConsistency(Settings, Probe):
    """Schema consistency of a new context with what the cortex knows about context 0 [s], in [0, 1]:

        |P y| / |y|, with P the projection on the first k right singular vectors of its answers to context 0

    1: nothing is new, 0: nothing is known.  y are the targets of the new context's evaluation, all questions together.

    rank  k, the number of directions of the old answers, from 1

    Source: McClelland 2013; McClelland, McNaughton & Lampinen 2020.

    >>> SchemaConsistency(rank=4).rank
    4
    """

    rank: int = setting(8)

    def measure(self, life: Measured) -> Tensor:
        known, new = scores(life, CORTEX), questions(life, "evaluation", 1)
        profile = torch.unflatten(known, 1, (-1, new.rows)).flatten(2).double()  # an item's answers to its questions
        wanted = new.y.flatten(1).double()
        axes = svd(profile, full_matrices=False)[2][:, : self.rank]
        inside = torch.einsum("skf,sf->sk", axes, wanted)
        return vector_norm(inside, dim=1) / vector_norm(wanted, dim=1)


def _apart(items: Tensor, tree: Tensor, level: int) -> Tensor:
    """The mean distance [s] between the means of sister branches at a level."""
    branches = unique(tree[:, level])
    means = torch.stack([items[:, tree[:, level] == branch].mean(1) for branch in branches], 1)  # [s, branches, f]
    parent = torch.stack([tree[tree[:, level] == b][0, level - 1] if level else b * 0 for b in branches])
    sisters = (parent[:, None] == parent).triu(1)
    return torch.cdist(means, means)[:, sisters].mean(1)


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
        u, size, v = svd(exam.y.double(), full_matrices=False)
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
        items = torch.unflatten(life.neocortex.features(questions(life).x).double(), 1, (len(tree), -1)).mean(2)
        first, second = torch.triu_indices(len(tree), len(tree), 1, device=tree.device)
        apart = vector_norm(items[:, first] - items[:, second], dim=2)
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
