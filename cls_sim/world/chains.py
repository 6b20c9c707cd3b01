"""Associative inference: overlapping pairs A-B and B-C, and the question whether A belongs to C."""

from __future__ import annotations

import torch

from cls_sim.core.batch import Batch
from cls_sim.core.draws import each
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.world.listed import Listed


class Chains(Listed):
    """Chains of items in which only neighbours are presented together: A-B, B-C, … never A-C.

    chains  n, number of chains, from 2
    links   pairs in a chain, from 2; A-B, B-C are two
    epochs  how often each pair is presented
    batch   pairs in each experience

    An item is one input and one output, x one-hot [n · (links + 1)].  Every pair is presented in both directions, one
    row each, in context 0.  Evaluation 0 asks for the neighbour of each first item, among all items; evaluation 1 asks
    for the last item of its chain, among the last items of all chains (subjects know which of the two is asked for).
    Chance is 1 / items and 1 / n.  The items of each chain are drawn for each subject.

    Source: associative inference, Preston et al. 2004; Kumaran & McClelland (2012).

    >>> world = Chains(chains=3)
    >>> spec = world.setup(Spec(seeds=(0,)))
    >>> spec.inputs, spec.outputs, world.evaluation(1).rows, int(spec.heads[0, 1].sum())
    ((9,), 9, 3, 3)
    """

    def __init__(self, *, chains: int = 8, links: int = 2, epochs: int = 2, batch: int = 4):
        self.chains, self.links = whole("chains", chains, 2), whole("links", links, 2)
        self.epochs, self.batch = whole("epochs", epochs), whole("batch", batch, 1, chains * links)

    def setup(self, spec: Spec) -> Spec:
        count, pairs = self.chains * (self.links + 1), self.chains * self.links
        order = each(spec.seeds, "chains.items", lambda source: source.permutation(count)).to(spec.device)
        chains, eye = order.view(-1, self.chains, self.links + 1), torch.eye(count, device=spec.device)
        left, right = chains[..., :-1].flatten(1), chains[..., 1:].flatten(1)
        heads = torch.ones(spec.subjects, 2, count, dtype=torch.bool, device=spec.device)
        heads[:, 1] = torch.zeros_like(heads[:, 1]).scatter(1, chains[..., -1], True)
        spec = self._keep(
            spec,
            eye[torch.cat((left, right), 1)],  # both directions
            torch.cat((right, left), 1),
            outputs=count,
            batch=2 * self.batch,
            contexts=2,
            task_id_known=True,
            heads=heads,
            quantum=1.0,
        )
        self._plan_pairs("chains.order", pairs, self.epochs, self.batch)
        self._exams = [  # about first items: their neighbour (0), or the last item of their chain (1)
            Batch.lived(eye[chains[..., 0]], chains[..., last], context=torch.full_like(chains[..., 0], k))
            for k, last in enumerate((1, -1))
        ]
        return spec

    def train(self, context: int = 0) -> Batch:
        """All pairs in both directions, whichever question is asked."""
        return self._presented()
