"""Associative inference: overlapping pairs A-B and B-C, and the question whether A belongs to C."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.world.base import World
from cls_sim.world.plan import epochs


class Chains(World):
    """Chains of items in which only neighbours are presented together: A-B, B-C, … never A-C.

    chains  n, number of chains, from 2
    links   pairs in a chain, from 2; A-B, B-C are two
    epochs  how often each pair is presented
    batch   pairs in each experience

    An item is one input and one output, x one-hot [n · (links + 1)].  Every pair is presented in both directions, one
    row each, in context 0.  Evaluation 0 asks for the neighbour of each first item, among all items; evaluation 1 asks
    for the last item of its chain, among the last items of all chains (subjects know which one is asked).  Chance is
    1 / items and 1 / n.  The items of each chain are drawn for each subject.

    Source: associative inference, Preston et al. 2004; Kumaran & McClelland (2012).

    >>> world = Chains(chains=3)
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(1).rows, int(spec.heads[0, 1].sum())
    ((9,), 9, 3, 3)
    """

    derived = frozenset({"_items", "_pairs", "_plan", "_rows", "_eye"})

    def __init__(self, *, chains: int = 8, links: int = 2, epochs: int = 2, batch: int = 4):
        self.chains, self.links = whole("chains", chains, 2), whole("links", links, 2)
        self.epochs, self.batch = whole("epochs", epochs), whole("batch", batch, 1, chains * links)

    def setup(self, spec: Spec) -> Spec:
        count, pairs = self.chains * (self.links + 1), self.chains * self.links
        order = np.stack([generator(seed, "chains.items").permutation(count) for seed in spec.seeds])
        self._items = torch.from_numpy(order).view(-1, self.chains, self.links + 1).to(spec.device)
        both = torch.stack((self._items[..., :-1], self._items[..., 1:]), -1)
        self._pairs = both.flatten(1, 2)  # [s, pairs, 2]
        self.length = -(-pairs * self.epochs // self.batch)
        plan = [
            epochs(generator(seed, "chains.order"), np.arange(pairs), self.length * self.batch) for seed in spec.seeds
        ]
        self._plan = torch.from_numpy(np.stack(plan)).view(spec.subjects, self.length, self.batch).to(spec.device)
        self._rows = torch.arange(spec.subjects, device=spec.device)[:, None]
        self._eye = torch.eye(count, device=spec.device)
        self.ends = (self.length,)
        heads = torch.ones(spec.subjects, 2, count, dtype=torch.bool, device=spec.device)
        heads[:, 1] = torch.zeros_like(heads[:, 1]).scatter(1, self._items[..., -1], True)
        return replace(
            spec,
            inputs=(count,),
            outputs=count,
            regression=False,
            batch=2 * self.batch,
            contexts=2,
            items=2 * pairs,  # both directions
            ends=(),
            task_id_known=True,
            heads=heads,
            quantum=1.0,
        )

    def next(self, clock: Clock) -> Batch:
        """The pairs of each subject at its `clock.experience`, in both directions."""
        now = torch.from_numpy(np.minimum(clock.experience, self._plan.shape[1] - 1)).to(self._rows.device)
        which = self._plan[self._rows[:, 0], now]
        pair = self._pairs[self._rows, which]  # [s, b, 2]
        there, back = (self._asked(pair[..., i], pair[..., 1 - i], 0) for i in (0, 1))
        batch = there.join(back)
        item = torch.cat((which, which + self._pairs.shape[1]), 1)
        return batch.with_(born=now[:, None].expand_as(batch.born), item=item)

    def _asked(self, cue: Tensor, answer: Tensor, context: int) -> Batch:
        return Batch.lived(self._eye[cue], answer, context=torch.full_like(answer, context))

    def evaluation(self, context: int) -> Batch:
        """Questions about first items: their neighbour (0), or the last item of their chain (1)."""
        place = -1 if whole("context", context, 0, 1) else 1
        return self._asked(self._items[..., 0], self._items[..., place], context)

    def revisit(self, clock: Clock, size: int) -> Iterator[Batch]:
        """Nothing: no context ends."""
        return iter(())
