"""The limit: the same work in a minimal, specialised loop of plain PyTorch, one subject at a time."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, relu

from benchmarks.work import CONTEXTS, Work
from cls_sim.world.table import Data


class Loop:
    """Images in memory as floats, sampling by index, a reservoir, one forward and backward pass, fused Adam.

    Everything is on `device`; nothing is read from it in a step.
    """

    def __init__(self, work: Work, per_context: int, seed: int = 0, device: str = "cpu"):
        data = work.data()
        self.work, self.per_context, self.done, self.seen, self.device = work, per_context, 0, 0, device
        self.draw = torch.Generator(device).manual_seed(seed)
        (self.x, self.y), (self.test_x, self.test_y) = (_tensors(d, device) for d in (data, data.tests or data))
        self.pools = [torch.nonzero(self.y // 2 == k).flatten() for k in range(CONTEXTS)]
        self.kept_x = torch.zeros(work.capacity + 1, self.x.shape[1], device=device)  # the last slot: what is not kept
        self.kept_y = torch.zeros(work.capacity + 1, dtype=torch.int64, device=device)
        sizes = (self.x.shape[1], *work.hidden, 10)
        self.weights = []
        for n, m in pairwise(sizes):
            drawn = [torch.empty(*shape).uniform_(-(n**-0.5), n**-0.5) for shape in ((m, n), (m,))]
            self.weights += [weight.to(device).requires_grad_() for weight in drawn]
        self.adam = torch.optim.Adam(self.weights, work.rate, fused=True)

    def step(self) -> None:
        pool = self.pools[min(self.done // self.per_context, CONTEXTS - 1)]
        rows = pool[torch.randint(len(pool), (self.work.new,), generator=self.draw, device=self.device)]
        new_x, new_y = self.x[rows], self.y[rows]
        x, y = new_x, new_y
        if self.seen:
            full = min(self.seen, self.work.capacity)
            slots = torch.randint(full, (self.work.old,), generator=self.draw, device=self.device)
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
        number = torch.arange(self.seen, self.seen + len(x), device=self.device)
        lot = torch.rand(len(x), generator=self.draw, device=self.device)
        slot = torch.where(number < self.work.capacity, number, (lot * (number + 1)).long())
        slot.clamp_(max=self.work.capacity)
        self.kept_x[slot], self.kept_y[slot] = x, y
        self.seen += len(x)

    @torch.no_grad()
    def accuracy(self) -> list[float]:
        """The accuracy on the test images of each context."""
        right = self.scores(self.test_x).argmax(1) == self.test_y
        return [right[self.test_y // 2 == k].float().mean().item() for k in range(CONTEXTS)]


def _tensors(data: Data, device: str) -> tuple[Tensor, Tensor]:
    x, y = torch.from_numpy(data.x).to(device), torch.from_numpy(data.y).to(device)
    return x.float().mul_(data.quantum or 1.0), y


class Prototype:
    """The same work for all subjects at once, as fast as a hand-written loop gets it: what is left is the limit.

    It keeps what a life keeps (bytes, label, context, time, item and key of each episode), draws in blocks of 64 steps,
    and has gradients in closed form in one flat buffer with one fused Adam.  It has no clock, ledger, moments, row
    weights, checks or parts that could be exchanged.  Everything is on `device`.
    """

    BLOCK = 64

    def __init__(self, work: Work, per_context: int, seed: int = 0, device: str = "cpu"):
        data, s = work.data(), work.subjects
        self.work, self.per_context, self.done, self.device = work, per_context, 0, device
        self.draw = torch.Generator(device).manual_seed(seed)
        self.bytes = torch.from_numpy(data.x).flatten(1).to(device)
        self.quantum, self.y = data.quantum or 1.0, torch.from_numpy(data.y).to(device)
        self.pools = [torch.nonzero(self.y // 2 == k).flatten() for k in range(CONTEXTS)]
        rows = s * (work.capacity + 1)
        self.content = torch.zeros(rows, self.bytes.shape[1], dtype=torch.uint8, device=device)
        self.what = torch.zeros(rows, 2, dtype=torch.int16, device=device)
        self.mark = torch.zeros(rows, 3, dtype=torch.int32, device=device)
        self.base = (torch.arange(s, device=device) * (work.capacity + 1))[:, None]
        sizes = (self.bytes.shape[1], *work.hidden, 10)
        shapes = [(s, m, k) for n, m in pairwise(sizes) for k in (n, 1)]
        total = sum(a * b * c for a, b, c in shapes)
        self.flat, self.slope, self.mean, self.square = (torch.zeros(total, device=device) for _ in range(4))
        self.weights, self.gradients = (
            [
                part.view(shape)
                for part, shape in zip(flat.split([a * b * c for a, b, c in shapes]), shapes, strict=True)
            ]
            for flat in (self.flat, self.slope)
        )
        for weight, bias, n in zip(self.weights[::2], self.weights[1::2], sizes, strict=False):
            for drawn in (weight, bias):
                drawn.uniform_(-(n**-0.5), n**-0.5)

    def plan(self) -> None:
        """The rows, slots and draws of the next steps."""
        work, shape = self.work, (self.BLOCK, self.work.subjects, self.work.new)
        pool = self.pools[min(self.done // self.per_context, CONTEXTS - 1)]
        self.items = pool[(self.lots(shape) * len(pool)).long()]
        step, row = (torch.arange(n, device=self.device) for n in (self.BLOCK, work.new))
        number = (self.done + step)[:, None, None] * work.new + row
        slot = torch.where(number < work.capacity, number, (self.lots(shape) * (number + 1)).long())
        self.slots = slot.clamp_(max=work.capacity) + self.base
        self.keys = (self.lots(shape) * 2**31).long()
        filled = (number[:, :, :1]).clamp(1, work.capacity)
        self.recalled = (self.lots((self.BLOCK, work.subjects, work.old)) * filled).long() + self.base

    def lots(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.draw, device=self.device)

    @torch.no_grad()
    def step(self) -> None:
        at = self.done % self.BLOCK
        if at == 0:
            self.plan()
        items, slots, old = self.items[at], self.slots[at], self.recalled[at]
        s, new = items.shape
        raw, label = self.bytes.index_select(0, items.view(-1)), self.y[items]
        x, y = raw.view(s, new, -1) * self.quantum, label
        if self.done:
            kept = self.content.index_select(0, old.view(-1)).view(s, self.work.old, -1) * self.quantum
            x, y = torch.cat((x, kept), 1), torch.cat((y, self.what[old, 0].long()), 1)
        self.learn(x.mT, y)
        self.content[slots] = raw.view(s, new, -1)
        self.what[slots] = torch.stack((label, label // 2), 2).to(torch.int16)
        self.mark[slots] = torch.stack((torch.full_like(items, self.done), items, self.keys[at]), 2).to(torch.int32)
        self.done += 1

    def learn(self, h: Tensor, y: Tensor) -> None:
        inputs = []
        for layer in range(0, len(self.weights), 2):
            inputs.append(h)
            h = torch.baddbmm(self.weights[layer + 1], self.weights[layer], h)
            h = h if layer == len(self.weights) - 2 else torch.relu_(h)
        delta = h.softmax(1)
        delta.scatter_add_(1, y[:, None], torch.full_like(delta[:, :1], -1.0)).div_(y.shape[1])
        for layer in reversed(range(0, len(self.weights), 2)):
            torch.bmm(delta, inputs[layer // 2].mT, out=self.gradients[layer])
            torch.sum(delta, 2, keepdim=True, out=self.gradients[layer + 1])
            if layer:
                delta = torch.bmm(self.weights[layer].mT, delta)
                delta = torch.ops.aten.threshold_backward(delta, inputs[layer // 2], 0)
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
            [self.flat],
            [self.slope],
            [self.mean],
            [self.square],
            [],
            [torch.tensor(self.done + 1.0, device=self.device)],
            lr=self.work.rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


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
