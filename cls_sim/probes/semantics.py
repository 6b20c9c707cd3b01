"""What a cortex knows of items in a tree: single beliefs, error, distinctions, and how well something new fits."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import flag, whole
from cls_sim.core.part import Spec
from cls_sim.probes.base import Measured, Probe, numeric, of_world
from cls_sim.probes.evaluations import CORTEX, questions, scores

SELDOM: tuple[str, ...] = ("day.end", "context.end", "life.end")


class Belief(Probe):
    """How strongly the cortex answers a question with an attribute [s]: the output "robin can fly".

    item, relation, attribute  words of the world (Semantic)

    Chance is the base rate of the attribute; a firm belief is 1, a firm disbelief 0.

    >>> Belief().attribute
    'fly'
    """

    moments = SELDOM

    def __init__(self, *, item: str = "robin", relation: str = "can", attribute: str = "fly"):
        self.item, self.relation, self.attribute = item, relation, attribute

    def measure(self, life: Measured) -> Tensor:
        asked = of_world(life, "question", "Belief asks by words", "use the world semantic")
        row, unit = asked(self.item, self.relation, self.attribute)
        x = life.world.next(life.clock).x[:, row : row + 1]
        return life.neocortex.scores(x)[:, 0, unit]


class Distance(Probe):
    """How far the cortex' answers to a context's exam are from the truth [s]: mean over questions of |y - ŷ|.

    context  whose exam

    >>> Distance(context=1).context
    1
    """

    moments = SELDOM

    def __init__(self, *, context: int = 0):
        self.context = whole("context", context, 0)

    def measure(self, life: Measured) -> Tensor:
        off = scores(life, CORTEX, "evaluation", self.context) - questions(life, "evaluation", self.context).y
        return torch.linalg.vector_norm(off, dim=2).mean(1)


class Residual(Probe):
    """What is still wrong with everything there is to know [s]: Σ_items |y - ŷ|² / |y_new|².

    Over the exams of all contexts, in units of the energy of the last context's answers (a newcomer's).

    each  item by item [s, items] instead of their sum, the newcomer left out

    Source: the dependent variable of McClelland, McNaughton & Lampinen 2020.

    >>> Residual(each=True).axis
    'item'
    """

    axis = "item"
    moments = SELDOM

    def __init__(self, *, each: bool = False):
        self.each = flag("each", each)

    def setup(self, spec: Spec) -> Spec:
        return numeric(spec)

    def measure(self, life: Measured) -> Tensor:
        exams = [questions(life, "evaluation", context) for context in range(life.spec.contexts)]
        asked = enumerate(exams[:-1] if self.each else exams)
        off = torch.cat(
            [(scores(life, CORTEX, "evaluation", k) - one.y).double().square().sum(2) for k, one in asked], 1
        )
        share = off / exams[-1].y.double().square().sum((1, 2))[:, None]
        return share if self.each else share.sum(1)


class Distinctions(Probe):
    """How far apart items lie that part at each level of the world's tree [s, levels], the coarsest first.

    The mean Euclidean distance of last hidden layers (each item's mean over its questions) between the branches of
    one branch: the distance of the means of sister branches.  In development broad distinctions come first.

    Source: Rumelhart & Todd 1993; Saxe, McClelland & Ganguli 2019.

    >>> Distinctions().axis
    'level'
    """

    axis = "level"
    moments = ("day.end", "life.end")

    def measure(self, life: Measured) -> Tensor:
        tree: Tensor = of_world(life, "tree", "asks for items in a tree", "use the world semantic")
        features = life.neocortex.features(questions(life).x)
        items = features.unflatten(1, (len(tree), -1)).mean(2)  # [s, items, f]
        return torch.stack([_apart(items, tree, level) for level in range(tree.shape[1])], 1)


class SchemaConsistency(Probe):
    """How much of what is to be learnt of a new context lies in what the cortex already tells of the old [s]:

        |P y| / |y|, with P the projection on the first k right singular vectors of its answers to context 0

    1: nothing new, 0: nothing known.  y are the answers to the new context's exam, all its questions together.

    rank  k, from 1; the directions of the old answers that count

    Source: McClelland 2013; McClelland, McNaughton & Lampinen 2020.

    >>> SchemaConsistency(rank=4).rank
    4
    """

    def __init__(self, *, rank: int = 8):
        self.rank = whole("rank", rank)

    def measure(self, life: Measured) -> Tensor:
        known, new = scores(life, CORTEX), questions(life, "evaluation", 1)
        profile = known.unflatten(1, (-1, new.rows)).flatten(2).double()  # an item's answers to all its questions
        wanted = new.y.flatten(1).double()
        axes = torch.linalg.svd(profile, full_matrices=False).Vh[:, : self.rank]
        inside = torch.einsum("skf,sf->sk", axes, wanted)
        return torch.linalg.vector_norm(inside, dim=1) / torch.linalg.vector_norm(wanted, dim=1)


def _apart(items: Tensor, tree: Tensor, level: int) -> Tensor:
    """The mean distance [s] of sister branches' means at a level."""
    branches = tree[:, level].unique()
    means = torch.stack([items[:, tree[:, level] == branch].mean(1) for branch in branches], 1)  # [s, branches, f]
    parent = torch.stack([tree[tree[:, level] == b][0, level - 1] if level else b * 0 for b in branches])
    sisters = (parent[:, None] == parent).triu(1)
    return torch.cdist(means, means)[:, sisters].mean(1)
