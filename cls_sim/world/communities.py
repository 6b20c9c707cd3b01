"""A stream of items whose order has communities: statistical learning without labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from cls_sim.core.batch import Batch
from cls_sim.core.draws import generator
from cls_sim.core.errors import refuse_if, whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed

EPISODES, REGULARITIES = 0, 1


class Communities(Settings, Listed):
    """A walk on a graph of communities: each experience has an item in its scene, and the answer is the next item.

    communities  c, number of communities, even, from 2
    members      n, items in each community, from 4
    features     entries ±1 of an item, drawn at random
    scene        entries ±1 of the scene of an occasion, drawn at random each time
    missing      0 to 1, share of the entries of a scene that are missing (0) from questions about it
    steps        t, experiences in a life, one step of the walk each
    asked        number of occasions in the evaluation of episodes, up to t; they are spread evenly over the life
    ordered      True: the next item is one of the n - 1 neighbours of the item, with equal probability; False: any
                 other item (control: there is nothing regular)

    The communities form a ring.  Within a community every item is the neighbour of every other one, except that its two
    boundary items, left and right, never follow one another.  Each of these has one neighbour in the next or the
    previous community: left joins left, and right joins right, in turn.

    Evaluation 0 asks for episodes, by the item and a part of its scene: which item came next on this occasion?  x
    [s, asked, features + scene].  A guess among the neighbours of the item is right with probability 1 / (n - 1).
    Evaluation 1 asks for regularities, by a left boundary item without a scene: which of the c right boundary items
    belongs to it?  None of them has ever followed it.  Chance is 1 / c.

    Source: the graph of Schapiro, Rogers, Cordova, Turk-Browne & Botvinick (2013), with an even number of communities;
    episodes and regularities, Schapiro, Turk-Browne, Botvinick & Norman (2017).

    >>> world = Communities(communities=4, members=6, steps=100, asked=20)
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.outputs, world.evaluation(0).rows, world.evaluation(1).rows, int(spec.heads[0, 1].sum())
    (24, 20, 4, 4)
    """

    communities: int = setting(4, 2)
    members: int = setting(6, 4)
    features: int = setting(60, 2)
    scene: int = setting(20)
    missing: float = setting(0.25, 0.0, 1.0)
    steps: int = setting(2500)
    asked: int = setting(200)
    ordered: bool = setting(True)

    def _ready(self) -> None:
        reason = f"{self.communities} is odd, and they form a ring of pairs"
        refuse_if(self.communities % 2, "communities", reason, "give an even one")
        whole("asked", self.asked, 1, self.steps)

    def setup(self, spec: Spec) -> Spec:
        self.length, self.ends = self.steps, (self.steps,)
        drawn = [self._drawn(generator(seed, "communities")) for seed in spec.seeds]
        x, y, right = (torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True))
        outputs = self.communities * self.members
        heads = torch.ones(spec.subjects, 2, outputs, dtype=torch.bool)
        heads[:, REGULARITIES] = torch.zeros(spec.subjects, outputs, dtype=torch.bool).scatter(1, right, True)
        spec = self._keep(
            spec,
            x,
            y,
            torch.tensor([EPISODES, REGULARITIES]).repeat_interleave(torch.tensor([self.steps, self.communities])),
            outputs=outputs,
            batch=1,
            contexts=2,
            task_id_known=True,
            heads=heads.to(spec.device),
        )
        steps = torch.arange(self.steps, device=spec.device).expand(spec.subjects, -1)
        self._plan, self._some = steps[..., None], steps[:, torch.arange(self.asked) * self.steps // self.asked]
        return spec

    def _drawn(self, source: Generator) -> tuple[np.ndarray, ...]:
        """Cues [t + c, x] and answers [t + c] of the walk and of the questions, and the right boundary items [c]."""
        c, n = self.communities, self.members
        names = source.permutation(c * n)  # the item at each node
        items = source.choice(np.array([-1, 1], np.float32), (c * n, self.features))  # by node
        scenes = source.choice(np.array([-1, 1], np.float32), (self.steps, self.scene))
        graph = neighbours(c, n) if self.ordered else ~np.eye(c * n, dtype=bool)
        following = [np.flatnonzero(row) for row in graph]
        walk = [int(source.integers(c * n))]
        for chance in source.random(self.steps):
            options = following[walk[-1]]
            walk.append(int(options[int(chance * len(options))]))
        left = np.arange(c) * n
        now = np.concatenate((items[walk[:-1]], scenes), 1)
        alone = np.concatenate((items[left], np.zeros((c, self.scene), np.float32)), 1)
        right = names[left + n - 1]
        return np.concatenate((now, alone)), np.concatenate((names[walk[1:]], right)), right

    def evaluation(self, context: int = 0) -> Batch:
        """What came next on some occasions (0), or which items belong together (1)."""
        if whole("context", context, 0, 1) == REGULARITIES:
            return self.train(REGULARITIES)
        kept = self.features + self.scene - round(self.missing * self.scene)
        some = self._presented(self._some)
        return some.with_(x=torch.cat((some.x[..., :kept], torch.zeros_like(some.x[..., kept:])), 2))


def neighbours(communities: int, members: int) -> np.ndarray:
    """Which nodes follow one another, communities one after the other: bool [c · n, c · n], symmetric.

    >>> neighbours(2, 4).sum(1).tolist()
    [3, 3, 3, 3, 3, 3, 3, 3]
    """
    c, n = communities, members
    graph = np.kron(np.eye(c, dtype=bool), np.ones((n, n), bool))
    np.fill_diagonal(graph, False)
    for k in range(c):
        left, right, end = k * n, k * n + n - 1, (k % 2) * (n - 1)
        graph[left, right] = graph[right, left] = False
        here, there = left + end, (k + 1) % c * n + end
        graph[here, there] = graph[there, here] = True
    return graph
