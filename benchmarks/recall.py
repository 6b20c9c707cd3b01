"""The cost of a search through all stored episodes: `python -m benchmarks --recall`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cls_sim as cs
from benchmarks.steps import Figure
from cls_sim.core.part import Spec

CUES, WIDTH, CHUNK, BETA = 256, 64, 4096, 20.0


def recall_figures(stored: tuple[int, ...] = (10_000, 100_000, 1_000_000), repeats: int = 3) -> list[Figure]:
    """Nearest neighbour and softmax of 256 cues among codes of 64 numbers, against a chunked product by hand."""
    return [figure for n in stored for figure in _figures(n, repeats)]


def _figures(n: int, repeats: int) -> list[Figure]:
    codes, cues = _codes(n)
    store = _remembering(cs.Store(capacity=n), codes)
    hopfield = _remembering(cs.Trisynaptic(capacity=n, ca3=cs.ModernHopfield(beta=BETA, updates=1)), codes)
    works = [lambda: _by_hand(codes[0], cues[0]), lambda: store.recall(cues), lambda: hopfield.recall(cues)]
    limit, nearest, softmax = _in_turns(works, repeats)
    return [
        Figure(f"recall, {name} of {n:,}", "s", ours, limit, ours / limit, target)
        for name, ours, target in (("nearest", nearest, 1.2), ("softmax", softmax, 2.6))
    ]


def _remembering(memory: Any, codes: Tensor) -> Any:
    """A memory that stores these codes [1, n, x]."""
    memory.setup(Spec(inputs=(WIDTH,), outputs=2))
    n = codes.shape[1]
    memory.content[:, :n], memory.mark[:, :n, 0], memory.what[:, :n] = codes, 0, 0
    if hasattr(memory, "strength"):
        memory.strength[:, :n] = 1.0
    return memory


def _codes(n: int) -> tuple[Tensor, Tensor]:
    source = np.random.default_rng(0)
    codes = torch.from_numpy(source.standard_normal((1, n, WIDTH), np.float32))
    codes /= torch.linalg.vector_norm(codes, dim=2, keepdim=True)
    return codes, codes[:, : CUES * 7 : 7] + 0.05 * torch.from_numpy(
        source.standard_normal((1, CUES, WIDTH), np.float32)
    )


def _by_hand(codes: Tensor, cues: Tensor) -> tuple[Tensor, Tensor]:
    """The limit: matrix products by chunk, and a running maximum."""
    best, place = torch.full((len(cues),), -torch.inf), torch.zeros(len(cues), dtype=torch.int64)
    for start in range(0, len(codes), CHUNK):
        value, where = (cues @ codes[start : start + CHUNK].T).max(1)
        higher = value > best
        best, place = torch.where(higher, value, best), torch.where(higher, where + start, place)
    return best, place


def _in_turns(works: list[Callable[[], Any]], repeats: int) -> list[float]:
    """The median CPU seconds of each, measured alternately; the first turn is not counted."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, mine in zip(works, seconds, strict=True):
            start = time.process_time()
            work()
            if turn:
                mine.append(time.process_time() - start)
    return [statistics.median(mine) for mine in seconds]
