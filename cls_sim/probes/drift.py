"""Representational drift: what is left of an index of cortical patterns when the cortex has changed."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.errors import choice, real
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import matrix_norm, svdvals, vector_norm
from cls_sim.probes.base import Measured, Probe, of_part
from cls_sim.probes.evaluations import questions, shared


class IndexValidity(Probe):
    """Validity of the hippocampal index [s]: recall of the stored episodes through the present neocortex.

        1 - Σ_j |x̂_j - x_j|² / Σ_j |x_j - x̄|²   over the stored episodes j, whose lived inputs are x_j

    of    recalled    the cue is x_j with a part set to its mean; its cortical pattern chooses the index with the
                      largest correlation; x̂_j is the input that the neocortex reinstates from that index
          reinstated  x̂_j is the input that the neocortex reinstates from the index of episode j itself
          found       (share found - chance) / (1 - chance): an episode is found if the pattern of its whole input has
                      the largest correlation with its own index; chance is 1 / (number of stored episodes)
    lost  share of a cue that is lost, in [0, 1]: the last numbers of the input

    1: every episode is reinstated exactly; 0: no better than the mean of all episodes for each.  NaN with fewer than
    two episodes.  Raises ConfigError for a hippocampus without an index, and for a neocortex without feedback
    connections (found needs none).

    Source: episodic recall from a part, Káli & Dayan 2004.

    >>> IndexValidity().of
    'recalled'
    """

    moments = ("life.end",)

    def __init__(self, *, of: str = "recalled", lost: float = 0.2):
        self.of, self.lost = choice("of", of, ("recalled", "reinstated", "found")), real("lost", lost, 0.0, 1.0)

    def measure(self, life: Measured) -> Tensor:
        x, index, _, alive = _patterns(life)
        stored, flat = alive.sum(1).double(), x.flatten(2)
        if self.of == "found":
            own = torch.arange(alive.shape[1], device=alive.device)
            share = ((_chosen(life, x, index, alive) == own) & alive).sum(1) / stored
            return torch.where(stored > 1, (share - 1 / stored) / (1 - 1 / stored), torch.nan)
        middle = _mean(flat, alive)
        if self.of == "recalled":
            kept = flat.shape[2] - round(self.lost * flat.shape[2])
            cue = torch.cat((flat[..., :kept], middle.expand_as(flat)[..., kept:]), 2).view_as(x)
            index = index.gather(1, _chosen(life, cue, index, alive)[..., None].expand_as(index))
        wrong = (life.neocortex.reinstate(index).flatten(2) - flat).double().square() * alive[..., None]
        spread = (flat - middle).double().square() * alive[..., None]
        return torch.where(stored > 1, 1 - wrong.sum((1, 2)) / spread.sum((1, 2)), torch.nan)


class RepresentationalDrift(Settings, Probe):
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

    of: str = setting("cka", ("cka", "procrustes", "rsa"))

    def measure(self, life: Measured) -> Tensor:
        x, _, birth, alive = _patterns(life)
        then, now = (_centred(one.double(), alive) for one in (birth, life.neocortex.features(x)))
        found = {"cka": _cka, "procrustes": _procrustes, "rsa": _rsa}[self.of](then, now, alive)
        return torch.where(alive.sum(1) > 2, found, torch.nan)


@shared
def _patterns(life: Measured) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the episodes in all slots: lived inputs [s, n, …], indices now and when first stored [s, n, f], alive [s, n].

    Lived inputs are those of the world, because the hippocampus does not store them.
    """
    memory = of_part(life.hippocampus, "needs a hippocampus with an index", "use hippocampus=indexed", "birth")
    traces = life.hippocampus.traces()
    x = torch.zeros(*traces.item.shape, *life.spec.inputs, device=traces.item.device)
    for context in range(life.spec.contexts):
        rows, item = questions(life, "train", context), traces.item.long()
        most = 1 + int(torch.maximum(rows.item.max(), item.max()))
        place = torch.full((len(item), most + 1), -1, device=item.device)  # item → row; the last entry: absent rows
        place.scatter_(1, torch.where(rows.present(), rows.item, most), torch.arange(rows.rows).expand_as(rows.item))
        row = place.gather(1, torch.where(item < 0, most, item))
        there = ((row >= 0) & (item >= 0)).view(*row.shape, *[1] * len(life.spec.inputs))
        x = torch.where(there, rows.at(row.clamp(min=0)).x, x)
    slots = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    index = life.hippocampus.fetch(slots).features
    assert index is not None  # a hippocampus with an index gives patterns
    return x, index, memory.birth[:, : x.shape[1]], traces.alive


def _chosen(life: Measured, x: Tensor, index: Tensor, alive: Tensor) -> Tensor:
    """The episode whose index has the largest correlation with the present pattern of each input: int64 [s, n]."""
    alike = _unit(life.neocortex.features(x)) @ _unit(index).mT  # [s, inputs, indices]
    return alike.masked_fill(~alive[:, None], -2.0).argmax(2)


def _mean(x: Tensor, alive: Tensor) -> Tensor:
    """The mean of x [s, n, f] over the episodes that are alive: [s, 1, f]."""
    there = alive[..., None]
    return (x * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)


def _unit(x: Tensor) -> Tensor:
    x = x.double() - x.double().mean(2, keepdim=True)
    return x / vector_norm(x, dim=2, keepdim=True).clamp(min=1e-12)


def _centred(x: Tensor, alive: Tensor) -> Tensor:
    """Patterns [s, n, f] minus their mean over the episodes that are alive; zero for the others."""
    return (x - _mean(x, alive)) * alive[..., None]


def _cka(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    def size(a: Tensor, b: Tensor) -> Tensor:
        return matrix_norm(a.mT @ b)

    return size(x, y).square() / (size(x, x) * size(y, y)).clamp(min=1e-300)


def _procrustes(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    x, y = (a / matrix_norm(a, keepdim=True).clamp(min=1e-150) for a in (x, y))
    return 2.0 - 2.0 * svdvals(x.mT @ y).sum(1)


def _rsa(x: Tensor, y: Tensor, alive: Tensor) -> Tensor:
    n = alive.shape[1]
    first, second = torch.triu_indices(n, n, 1, device=alive.device)
    both = (alive[:, first] & alive[:, second]).double()
    total = both.sum(1, keepdim=True).clamp(min=1)
    apart: list[Tensor] = []
    for one in (x, y):
        distance = torch.cdist(one, one)[:, first, second]
        apart.append((distance - (distance * both).sum(1, keepdim=True) / total) * both)
    spread = (apart[0].square().sum(1) * apart[1].square().sum(1)).sqrt().clamp(min=1e-300)
    return (apart[0] * apart[1]).sum(1) / spread
