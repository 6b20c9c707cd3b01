"""Typed names of functions of torch, and gradients of weighted sums."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import torch
from numpy.typing import NDArray
from torch import Tensor

_torch = cast(Any, torch)  # which has no types for these functions
from_numpy: Callable[[NDArray[Any]], Tensor] = _torch.from_numpy
"""`torch.from_numpy` with a type annotation: the tensor shares the memory of the array."""

unique: Callable[[Tensor], Tensor] = _torch.unique
entr: Callable[[Tensor], Tensor] = _torch.special.entr
svdvals: Callable[[Tensor], Tensor] = _torch.linalg.svdvals
svd: Callable[..., tuple[Tensor, Tensor, Tensor]] = _torch.linalg.svd
vector_norm: Callable[..., Tensor] = _torch.linalg.vector_norm
matrix_norm: Callable[..., Tensor] = _torch.linalg.matrix_norm


def among(labels: Tensor, there: Tensor, count: int) -> Tensor:
    """Which of the numbers 0 … count - 1 are labels of a row that is there ([s, b] each): bool [s, count].

    >>> among(torch.tensor([[0, 2, 1]]), torch.tensor([[True, True, False]]), 3).tolist()
    [[True, False, True]]
    """
    found = torch.zeros(len(labels), count, device=labels.device)
    return found.scatter_add_(1, labels.clamp(min=0), there.float()) > 0


P = ParamSpec("P")
R = TypeVar("R")


def without_gradient(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator like `torch.no_grad()` that is free where gradients are off already."""

    @functools.wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        with torch.no_grad():
            return function(*args, **kwargs)

    return quiet


def gradients(outputs: Tensor, share: Tensor, inputs: Sequence[Tensor], retain_graph: bool = False) -> Sequence[Tensor]:
    """The gradients of Σ share · outputs in each of the inputs; zeros for an input without influence.

    The sum is part of the graph, because the argument `grad_outputs` of autograd imports a package for a second.

    >>> x = torch.ones(2, requires_grad=True)
    >>> gradients(x * x, torch.tensor([1.0, 0.5]), [x])[0].tolist()
    [2.0, 1.0]
    """
    with torch.enable_grad():
        total = (outputs * share).sum()
    return torch.autograd.grad(total, inputs, retain_graph=retain_graph, materialize_grads=True)
