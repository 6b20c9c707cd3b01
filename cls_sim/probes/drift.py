"""Representational drift: the change of cortical patterns since the hippocampus indexed or stored them."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import ConfigError, choice
from cls_sim.probes.base import Measured, Probe, inside
from cls_sim.probes.evaluations import shared, stored


class IndexValidity(Probe):
    """Validity of the hippocampal index [s]: (share of episodes found - chance) / (1 - chance).

    The present cortical pattern of each stored input is compared with all indices.  An episode is found if its own
    index has the largest correlation.  Chance is 1 / (number of stored episodes).  NaN with fewer than two episodes.
    Raises ConfigError for a hippocampus without an index.

    Source: Káli & Dayan 2004.

    >>> IndexValidity().moments
    ('life.end',)
    """

    moments = ("life.end",)

    def measure(self, life: Measured) -> Tensor:
        now, index, _, alive = _patterns(life)
        alike = _unit(now) @ _unit(index).mT  # [s, today's, index]
        best = alike.masked_fill(~alive[:, None], -2.0).argmax(2)
        own = torch.arange(best.shape[1], device=best.device)
        stored = alive.sum(1).double()
        share = ((best == own) & alive).sum(1) / stored
        return torch.where(stored > 1, (share - 1 / stored) / (1 - 1 / stored), torch.nan)


class RepresentationalDrift(Probe):
    """Similarity of the cortical patterns of stored episodes when they were stored and now [s].

    of  cka         linear CKA, |X'ᵀY'|² / (|X'ᵀX'| |Y'ᵀY'|) of the centred patterns then and now; 1: no drift
        procrustes  distance after the best rotation, min_R |X' - Y'R|² of patterns scaled to norm 1; 0: no drift
        rsa         correlation of the two matrices of distances between episodes; 1: no drift

    With many units, unrelated patterns give about 0, 2 and 0.  NaN with fewer than three episodes.  Raises ConfigError
    for a hippocampus without an index.

    Source: Kornblith et al. 2019; Schönemann 1966; Kriegeskorte, Mur & Bandettini 2008.

    >>> RepresentationalDrift(of="rsa").of
    'rsa'
    """

    moments = ("life.end",)

    def __init__(self, *, of: str = "cka"):
        self.of = choice("of", of, ("cka", "procrustes", "rsa"))

    def measure(self, life: Measured) -> Tensor:
        now, _, birth, alive = _patterns(life)
        then, now = (_centred(one.double(), alive) for one in (birth, now))
        found = {"cka": _cka, "procrustes": _procrustes, "rsa": _rsa}[self.of](then, now, alive)
        return torch.where(alive.sum(1) > 2, found, torch.nan)


@shared
def _patterns(life: Measured) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cortical patterns of episodes now, as indexed, and when first stored [s, n, f]; which slots are alive [s, n]."""
    memory = inside(life.hippocampus, "birth")
    if memory is None:
        raise ConfigError("", "needs a hippocampus with an index", "use hippocampus=indexed")
    alive = life.hippocampus.traces().alive
    now = life.neocortex.features(stored(life).x)
    return now, memory.index, memory.birth, alive


def _unit(x: Tensor) -> Tensor:
    x = x.double() - x.double().mean(2, keepdim=True)
    return x / torch.linalg.vector_norm(x, dim=2, keepdim=True).clamp(min=1e-12)


def _centred(x: Tensor, alive: Tensor) -> Tensor:
    """Patterns [s, n, f] minus their mean over the episodes that are alive; zero for the others."""
    there = alive[..., None]
    mean = (x * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
    return (x - mean) * there


def _cka(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    def size(a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(a.mT @ b)

    return size(x, y).square() / (size(x, x) * size(y, y)).clamp(min=1e-300)


def _procrustes(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    x, y = (a / torch.linalg.matrix_norm(a, keepdim=True).clamp(min=1e-150) for a in (x, y))
    return 2.0 - 2.0 * torch.linalg.svdvals(x.mT @ y).sum(1)


def _rsa(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    n = alive.shape[1]
    first, second = torch.triu_indices(n, n, 1, device=alive.device)
    both = (alive[:, first] & alive[:, second]).double()
    total = both.sum(1, keepdim=True).clamp(min=1)
    apart = []
    for one in (x, y):
        distance = torch.cdist(one, one)[:, first, second]
        apart.append((distance - (distance * both).sum(1, keepdim=True) / total) * both)
    spread = (apart[0].square().sum(1) * apart[1].square().sum(1)).sqrt().clamp(min=1e-300)
    return (apart[0] * apart[1]).sum(1) / spread
