"""Random draws as a function of seed, purpose and tick, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cls_sim.core.arrays import Counts, alike
from cls_sim.core.tensors import from_numpy

BLOCK = 64  # draws are planned this many ticks at once


def generator(seed: int, purpose: str, block: int = 0) -> np.random.Generator:
    """The random generator of a subject for one purpose (and block of ticks): Philox, without history.

    >>> bool(generator(7, "init").random() == generator(7, "init").random())
    True
    """
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    key = np.array([seed, name], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, block, 0], np.uint64)))


class Draws:
    """Draws of a fixed shape for every subject and tick: `at(ticks)` is a function of (seed, purpose, tick).

    kind is `uniform` (float64 in [0, 1)) or `normal` (float32).  A block of ticks is drawn at once and cached.  The
    cache is not state: a tick always gives the same numbers, whatever the other subjects are.

    >>> draws = Draws((0, 1), "demo", (3,))
    >>> draws.at(np.array([5, 5])).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        seeds: Sequence[int],
        purpose: str,
        shape: tuple[int, ...],
        kind: str = "uniform",
        device: torch.device | str = "cpu",
    ):
        self.seeds, self.purpose, self.shape, self.kind, self.device = tuple(seeds), purpose, shape, kind, device
        self.length = max(1, min(BLOCK, 2**20 // max(1, int(np.prod(shape)))))
        self._block = np.full(len(self.seeds), -1, np.int64)
        self._together = -1  # the block, if it is the same for all subjects
        self._numbers: Tensor | None = None
        self._rows = torch.arange(len(self.seeds), device=device)

    def _draw(self, subject: int, block: int) -> NDArray[Any]:
        source = generator(self.seeds[subject], self.purpose, block)
        if self.kind == "uniform":
            return source.random((self.length, *self.shape))
        return source.standard_normal((self.length, *self.shape), dtype=np.float32)

    def rest(self, tick: int) -> Tensor:
        """The draws of all subjects from this tick to the end of its block: [s, t, *shape]."""
        self.at(np.full(len(self.seeds), tick))
        assert self._numbers is not None
        return self._numbers[:, tick % self.length :]

    def at(self, ticks: Counts) -> Tensor:
        """The draws [s, *shape] of each subject at its tick in `ticks` [s]."""
        first, together = int(ticks[0]), alike(ticks)
        if together and self._together == first // self.length:
            assert self._numbers is not None
            return self._numbers[:, first % self.length]
        block = ticks // self.length
        stale = np.flatnonzero(block != self._block)
        if len(stale):
            fresh = from_numpy(np.stack([self._draw(int(i), int(block[i])) for i in stale])).to(self.device)
            if self._numbers is None or len(stale) == len(self.seeds):
                self._numbers = fresh
            else:
                self._numbers[from_numpy(stale).to(self.device)] = fresh
            self._block = block.copy()
            self._together = int(block[0]) if alike(block) else -1
        assert self._numbers is not None
        if together:
            return self._numbers[:, first % self.length]
        return self._numbers[self._rows, from_numpy(ticks % self.length).to(self.device)]


class BatchDraws:
    """Draws for batches of any number of rows; padding of a batch does not change a subject's draws.

    >>> draws = BatchDraws((0, 1), "demo")
    >>> both = draws.at(np.array([5, 5]), (3,), sizes=np.array([3, 2]))
    >>> bool((both[1, :2] == draws.at(np.array([5, 5]), (2,))[1]).all()), both[1, 2].item()
    (True, 0.0)
    """

    def __init__(self, seeds: Sequence[int], purpose: str, kind: str = "uniform", device: torch.device | str = "cpu"):
        self.seeds, self.purpose, self.kind, self.device = tuple(seeds), purpose, kind, device
        self._of: dict[tuple[int, ...], Draws] = {}

    def at(self, ticks: np.ndarray, shape: tuple[int, ...], axis: int = 0, sizes: np.ndarray | None = None) -> Tensor:
        """The draws [s, *shape] of each subject at its tick in `ticks` [s].

        axis   the axis of `shape` that counts the rows of the batch
        sizes  [s], the number of each subject's rows (see Batch.sizes); draws of the padding are 0; None: all rows
        """
        if sizes is None:
            return self._drawn(ticks, shape)
        drawn = None
        for size in np.unique(np.minimum(sizes, shape[axis])):
            some = self._drawn(ticks, (*shape[:axis], int(size), *shape[axis + 1 :]))
            drawn = some.new_zeros(len(some), *shape) if drawn is None else drawn
            mine = from_numpy(sizes == size).to(some.device)
            drawn.narrow(axis + 1, 0, int(size))[mine] = some[mine]
        assert drawn is not None
        return drawn

    def _drawn(self, ticks: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        if shape not in self._of:
            self._of[shape] = Draws(self.seeds, self.purpose, shape, self.kind, self.device)
        return self._of[shape].at(ticks)


def named(
    seeds: Sequence[int],
    purpose: str,
    shapes: Mapping[str, tuple[int, ...]],
    kind: str = "uniform",
    device: Any = "cpu",
) -> dict[str, Draws]:
    """Draws for tensors of these shapes, name → [s, …], each with a purpose of its own.

    >>> named((0, 1), "noise", {"weight0": (2, 3)})["weight0"].at(np.array([0, 0])).shape
    torch.Size([2, 3])
    """
    return {name: Draws(seeds, f"{purpose}.{name}", shape[1:], kind, device) for name, shape in shapes.items()}


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Seed the global generator of the CPU inside, not those of the devices, and restore it."""
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.default_generator.manual_seed(seed)
        yield


def each(seeds: Sequence[int], purpose: str, draw: Callable[[np.random.Generator], ArrayLike]) -> Tensor:
    """One draw for each subject, stacked to [s, …]: `draw(generator)` returns an array.

    >>> each((0, 1), "weights", lambda g: g.standard_normal((4, 2), dtype=np.float32)).shape
    torch.Size([2, 4, 2])
    """
    return from_numpy(np.stack([np.asarray(draw(generator(seed, purpose))) for seed in seeds]))


def over(numbers: Tensor, like: Tensor) -> Tensor:
    """Reshape numbers [s] to [s, 1, …] so that they broadcast over `like` [s, …].

    >>> over(torch.ones(2), torch.zeros(2, 4, 3)).shape
    torch.Size([2, 1, 1])
    """
    return numbers.reshape(-1, *[1] * (like.dim() - 1))


def updated(who: np.ndarray, new: Tensor, old: Tensor) -> Tensor:
    """`new` [s, …] for the subjects in `who` (bool [s]) and `old` for the others; always a new tensor.

    >>> updated(np.array([True, False]), torch.ones(2, 1), torch.zeros(2, 1)).tolist()
    [[1.0], [0.0]]
    """
    return new.clone() if who.all() else torch.where(over(from_numpy(who).to(new.device), new), new, old)


def pick(lot: Tensor, there: Tensor) -> Tensor:
    """Choose an index uniformly among the true entries of `there` (bool [s, k]) for each draw `lot` [s, n] in [0, 1).

    If a subject has no true entry, the choice is among all k.

    >>> pick(torch.tensor([[0.1, 0.6]], dtype=torch.float64), torch.tensor([[True, False, True]])).tolist()
    [[0, 2]]
    """
    chances = torch.where(there.any(1)[:, None], there, True).double().cumsum(1)
    place = torch.searchsorted(chances, (lot * chances[:, -1:]).contiguous(), right=True)
    return place.clamp_(max=there.shape[1] - 1)
