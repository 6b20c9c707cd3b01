"""The limit: the same work in a minimal, specialised loop of plain PyTorch, one subject at a time."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, relu

from benchmarks.work import CONTEXTS, Work
from cls_sim.world.table import Data


class Loop:
    """Images in memory as floats, sampling by index, a reservoir, one forward and backward pass, fused Adam."""

    def __init__(self, work: Work, per_context: int, seed: int = 0):
        data = work.data()
        self.work, self.per_context, self.done, self.seen = work, per_context, 0, 0
        self.draw = torch.Generator().manual_seed(seed)
        (self.x, self.y), (self.test_x, self.test_y) = _tensors(data), _tensors(data.tests or data)
        self.pools = [torch.nonzero(self.y // 2 == k).flatten() for k in range(CONTEXTS)]
        self.kept_x = torch.zeros(work.capacity, self.x.shape[1])
        self.kept_y = torch.zeros(work.capacity, dtype=torch.int64)
        sizes = (self.x.shape[1], *work.hidden, 10)
        self.weights = []
        for n, m in pairwise(sizes):
            self.weights += [torch.empty(*shape).uniform_(-(n**-0.5), n**-0.5) for shape in ((m, n), (m,))]
        for weight in self.weights:
            weight.requires_grad_()
        self.adam = torch.optim.Adam(self.weights, work.rate, fused=True)

    def step(self) -> None:
        pool = self.pools[min(self.done // self.per_context, CONTEXTS - 1)]
        rows = pool[torch.randint(len(pool), (self.work.new,), generator=self.draw)]
        new_x, new_y = self.x[rows], self.y[rows]
        x, y = new_x, new_y
        if self.seen:
            slots = torch.randint(min(self.seen, self.work.capacity), (self.work.old,), generator=self.draw)
            x, y = torch.cat((new_x, self.kept_x[slots])), torch.cat((new_y, self.kept_y[slots]))
        cross_entropy(self.scores(x), y).backward()
        self.adam.step()
        self.adam.zero_grad()
        self.keep(new_x, new_y)
        self.done += 1

    def scores(self, x: Tensor) -> Tensor:
        for weight, bias in zip(self.weights[:-2:2], self.weights[1:-2:2], strict=True):
            x = relu(linear(x, weight, bias))
        return linear(x, *self.weights[-2:])

    def keep(self, x: Tensor, y: Tensor) -> None:
        """Store a batch in a reservoir (Vitter 1985)."""
        number = torch.arange(self.seen, self.seen + len(x))
        slot = torch.where(
            number < self.work.capacity, number, (torch.rand(len(x), generator=self.draw) * (number + 1)).long()
        )
        stays = slot < self.work.capacity
        self.kept_x[slot[stays]], self.kept_y[slot[stays]] = x[stays], y[stays]
        self.seen += len(x)

    @torch.no_grad()
    def accuracy(self) -> list[float]:
        """The accuracy on the test images of each context."""
        right = self.scores(self.test_x).argmax(1) == self.test_y
        return [right[self.test_y // 2 == k].float().mean().item() for k in range(CONTEXTS)]


def _tensors(data: Data) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(data.x).float().mul_(data.quantum or 1.0), torch.from_numpy(data.y)


class Products:
    """Only the matrix products of a step: forward, gradients of weights, gradients of hidden units."""

    def __init__(self, work: Work, inputs: int = 784):
        rows, sizes = work.new + work.old, (inputs, *work.hidden, 10)
        layers = list(pairwise(sizes))
        pairs = [((rows, n), (n, m)) for n, m in layers]
        pairs += [((n, rows), (rows, m)) for n, m in layers]
        pairs += [((rows, m), (m, n)) for n, m in layers[1:]]
        self.pairs = [(torch.rand(*left), torch.rand(*right)) for left, right in pairs]
        self.out = [torch.empty(a.shape[0], b.shape[1]) for a, b in self.pairs]

    def step(self) -> None:
        for (a, b), out in zip(self.pairs, self.out, strict=True):
            torch.mm(a, b, out=out)
