"""The limit: the same work in a minimal, specialised loop of plain PyTorch, one subject at a time."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize, relu

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
        self.tests = data.tests or data
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
        x, y = raw.view(s, new, -1).float().mul_(self.quantum), label
        if self.done:
            kept = self.content.index_select(0, old.view(-1)).view(s, self.work.old, -1).float().mul_(self.quantum)
            x, y = torch.cat((x, kept), 1), torch.cat((y, self.what[old, 0].long()), 1)
        self.learn(x.mT, y)
        self.content[slots] = raw.view(s, new, -1)
        self.what[slots] = torch.stack((label, label // 2), 2).to(torch.int16)
        self.mark[slots] = torch.stack((torch.full_like(items, self.done), items, self.keys[at]), 2).to(torch.int32)
        self.done += 1

    @torch.no_grad()
    def accuracy(self) -> list[list[float]]:
        """The accuracy of each subject on the test images of each context."""
        y = torch.from_numpy(self.tests.y)
        h = (torch.from_numpy(self.tests.x).flatten(1) * self.quantum).T.expand(len(self.weights[0]), -1, -1)
        for layer in range(0, len(self.weights), 2):
            h = torch.baddbmm(self.weights[layer + 1], self.weights[layer], h)
            h = h if layer == len(self.weights) - 2 else torch.relu_(h)
        right = h.argmax(1) == y
        return [
            [(some & (y // 2 == k)).sum().item() / (y // 2 == k).sum().item() for k in range(CONTEXTS)]
            for some in right
        ]

    def learn(self, h: Tensor, y: Tensor) -> None:
        inputs = []
        for layer in range(0, len(self.weights), 2):
            inputs.append(h)
            h = torch.baddbmm(self.weights[layer + 1], self.weights[layer], h)
            h = h if layer == len(self.weights) - 2 else torch.relu_(h)
        delta = h.softmax(1)
        delta.scatter_add_(1, y[:, None], torch.full_like(delta[:, :1], -1.0)).div_(y.shape[1])
        delta = torch.hardshrink(delta, 1e-30)  # subnormal numbers make products slow
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


class SparsePrototype:
    """A sparse memory of every subject that encodes a batch, as a hand-written loop: what is left is the limit.

    It keeps what the memory of `digits` keeps (code, bytes, label, context, time, item, key and strength of each trace)
    and decides what it decides: the code of each row, the nearest trace, what repeats what, which slot is given up so
    that all classes keep as many.  It has no clock, ledger, moments, checks or parts that could be exchanged.
    """

    GROUP = 3  # subjects whose wiring is widened at once, so that it stays in the cache

    def __init__(
        self, subjects: int, rows: int = 10, inputs: int = 64, cells: int = 1000, k: int = 50, slots: int = 50
    ):
        self.draw, self.k, self.slots, self.done = torch.Generator().manual_seed(0), k, 50, 0
        half = torch.rand(subjects, inputs, cells, generator=self.draw).argsort(1) < inputs // 2
        self.wiring = half.to(torch.int8).mul_(2).sub_(1)
        self.room = torch.empty(self.GROUP, inputs + 1, cells)
        self.room[:, -1] = torch.arange(cells)
        self.x = torch.randint(0, 17, (64, subjects, rows, inputs), generator=self.draw).to(torch.uint8)
        self.y = torch.randint(0, 10, (64, subjects, rows), generator=self.draw)
        lots = (subjects, self.slots + 1)
        self.code = torch.zeros(*lots, k, dtype=torch.int16)
        self.content = torch.zeros(*lots, inputs, dtype=torch.uint8)
        self.what, self.mark = torch.full((*lots, 2), -1, dtype=torch.int16), torch.zeros(*lots, 3, dtype=torch.int32)
        self.strength = torch.zeros(lots)
        self.rows = torch.arange(subjects)[:, None]

    @torch.no_grad()
    def step(self) -> None:
        raw, y = self.x[self.done % 64], self.y[self.done % 64]
        code, near = self.codes(raw), self.nearest(raw, y)
        cells = torch.zeros(*code.shape[:2], self.room.shape[2]).scatter_(2, code, 1.0)
        alike = (torch.bmm(cells, cells.mT) >= 0.9 * self.k) & (y[:, :, None] == y[:, None])
        common = cells.gather(2, self.code[self.rows, near.clamp(min=0)].long()).sum(2)
        fresh, known = ~alike.triu(1).any(2), (common >= 0.9 * self.k) & (near >= 0)
        key = (torch.rand(y.shape, generator=self.draw) * 2**31).long()
        slot = torch.where(fresh & known, near, self.given_up(y, key, fresh & ~known))
        place = slot.masked_fill(known, self.slots)
        self.code[self.rows, place] = code.to(torch.int16)
        self.strength[self.rows, slot] = 1.0
        self.content[self.rows, slot] = raw
        self.what[self.rows, slot] = torch.stack((y, y // 2), 2).to(torch.int16)
        self.mark[self.rows, slot] = torch.stack((torch.full_like(y, self.done), y, key), 2).to(torch.int32)
        self.done += 1

    def codes(self, raw: Tensor) -> Tensor:
        """The k most driven cells: one product gives keys, whole numbers that hold drive and index."""
        level = torch.cat((raw.float() * 1024, torch.ones(*raw.shape[:2], 1)), 2)
        code = torch.empty(*raw.shape[:2], self.k, dtype=torch.int32)
        for i in range(0, len(raw), self.GROUP):
            signs = self.wiring[i : i + self.GROUP]
            room = self.room[: signs.shape[0]]
            room[:, :-1] = signs
            key = torch.bmm(level[i : i + self.GROUP], room).int()
            key.numpy().partition(-self.k, axis=-1)
            code[i : i + self.GROUP] = key[..., -self.k :]
        return code.bitwise_and_(1023).long()

    def nearest(self, raw: Tensor, y: Tensor) -> Tensor:
        """The trace of the same label with the largest cosine similarity; -1: none."""
        held = normalize(self.content[:, : self.slots].float(), dim=2)
        fit = torch.bmm(normalize(raw.float(), dim=2), held.mT)
        fit.masked_fill_(y[:, :, None] != self.what[:, None, : self.slots, 0], -1.0)
        best, slot = fit.max(2)
        return torch.where(best >= 0, slot, -1)

    def given_up(self, y: Tensor, key: Tensor, fresh: Tensor) -> Tensor:
        """The slots of new rows, so that all classes keep as many; `slots` for a row that is not stored."""
        n, rows = self.slots, y.shape[1]
        label = torch.cat((self.what[:, :n, 0].long(), torch.where(fresh, y, 11)), 1)
        keys = torch.cat((self.mark[:, :n, 2].long(), key), 1)
        order = ((label << 32) + keys).argsort(1)
        group, place = label.gather(1, order), torch.arange(n + rows).expand_as(keys)
        first = torch.where(group.diff(dim=1, prepend=group[:, :1] - 1) != 0, place, 0).cummax(1).values
        rank = torch.empty_like(order).scatter_(1, order, place - first)
        worth = ((rank << 32) + keys).masked_fill_(label < 0, 2**62).masked_fill_(label == 11, 2**63 - 1)
        out = worth.topk(rows, sorted=False).indices.sort().values
        stays = torch.ones_like(worth, dtype=torch.bool).scatter_(1, out, False)[:, n:] & fresh
        slot = out.gather(1, stays.cumsum(1).sub_(1).clamp_(min=0))
        return torch.where(stays, slot, n)
