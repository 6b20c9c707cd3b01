"""A hippocampus that stores a mixture of Gaussians for each class instead of episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import real, refuse_if, whole
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Recall, for_classes
from cls_sim.hippocampus.densities import Densities, drawn

WORK = 2**23  # limit of the numbers in memory while cues are compared with components


@dataclass(frozen=True)
class Fit:
    """The fitted mixtures.

    For each class and component the log of its share [s, o, k] (-inf: unused), Cholesky factors [s, o, k, f, f] of the
    covariances, their inverses, and log |Σ|^½ [s, o, k].
    """

    share: Tensor
    factor: Tensor
    inverse: Tensor
    volume: Tensor


class Mixtures(Densities):
    """Streaming mixtures of Gaussians for each class, on low-frequency cosine coefficients z = Bᵀ x of an image.

        p(z | c) = Σ_j π_cj N(m_cj, Σ_cj),   Σ_cj = (S_cj + ν P_c) / (n_cj + ν) + spread · σ² I

    components   k, components for each class, from 1; with 1 there is a single Gaussian for each class
    frequencies  f, number of coefficients of the cosine transform that are used, lowest frequencies first, from 1 to
                 the number of pixels
    prior        ν, above 0, pseudo-rows that shrink the covariance of a component toward P_c, the covariance of its
                 class within components
    spread       from 0, size of a sphere added to each covariance; σ² is the mean variance of a coefficient within
                 components

    The first k rows of a class start its components; every later row joins the nearest component and updates its count
    n, mean m and scatter S [f, f] (sequential k-means with covariances).  Answer and match are those of Densities, with
    equal priors.  Generated rows are images B z, with z from a component of a class that was met; they are not clipped
    to the range of inputs and lack higher frequencies.  Bytes: counts, means and triangles in float32; the cosine basis
    is fixed wiring.  Raises ConfigError in regression, and for inputs that are not square images, flat or not.

    Source: sequential k-means, MacQueen 1967; mixtures for replay, Gepperth & Pfülb 2021; the shrunken covariance,
    Friedman 1989.

    >>> memory = Mixtures(components=20, frequencies=60)
    >>> spec = memory.setup(Spec(seeds=(0,), inputs=(28, 28), outputs=10))
    >>> memory.stored_bytes().tolist(), spec.dreams
    ([1512800], ('hippocampus',))
    """

    sized = "components"

    def __init__(self, *, components: int = 20, frequencies: int = 60, prior: float = 10.0, spread: float = 0.2):
        self.components, self.frequencies = whole("components", components), whole("frequencies", frequencies)
        self.prior = real("prior", prior, 0.0, open_low=True)
        self.spread = real("spread", spread, 0.0)

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "stores a mixture for each class")
        pixels = math.prod(spec.inputs)
        side, reason = math.isqrt(pixels), f"needs square images, and inputs are {spec.inputs}"
        refuse_if(side**2 != pixels, "frequencies", reason, "choose gaussians")
        reason = f"{self.frequencies} is more than the {pixels} pixels of an image"
        refuse_if(self.frequencies > pixels, "frequencies", reason, f"give up to {pixels}")
        s, o, k, f = spec.subjects, spec.outputs, self.components, self.frequencies
        self.count = torch.zeros(s, o, k, device=spec.device)
        self.mean = torch.zeros(s, o, k, f, device=spec.device)
        self.scatter = torch.zeros(s, o, k, f, f, device=spec.device)
        self._waves = waves_of(side, f).to(spec.device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() & (batch.y >= 0)
        there = there if who is None else there & who[:, None]
        z, y = batch.x.flatten(2) @ self._waves, batch.y.clamp(min=0)
        rows = torch.arange(len(y), device=y.device)[:, None]
        # the first rows of a class start its components, one each
        same = (y[:, :, None] == y[:, None]) & there[:, None]
        place = (self.count > 0).sum(2)[rows, y] + same.tril(-1).sum(2)
        first = there & (place < self.components)
        kind = place.clamp(max=self.components - 1)
        self._add(z, y, kind, first)
        # every other row joins the nearest component
        far = (self.mean[rows, y] - z[:, :, None]).square().sum(3)
        far = far.masked_fill(self.count[rows, y] == 0, torch.inf)
        self._add(z, y, far.argmin(2), there & ~first)
        self.changed += 1

    def _add(self, z: Tensor, y: Tensor, kind: Tensor, who: Tensor) -> None:
        """Add the rows `who` of z [s, b, f] to the counts, means and scatters of these components [s, b]."""
        s, o, k, f = self.mean.shape
        place = (torch.arange(s, device=z.device)[:, None] * o + y) * k + kind
        # the other rows add 0, so that no number of rows is read from the device
        first = who & ~((place[:, :, None] == place[:, None]) & who[:, None]).tril(-1).any(2)  # of its component
        (place, who, first), flat = (one.flatten() for one in (place, who, first)), self.mean.reshape(-1, f)
        off = torch.where(who[:, None], z.flatten(0, 1) - flat[place], 0.0)
        new = torch.zeros(s * o * k, device=z.device).index_add(0, place, who.float())
        moved = torch.zeros_like(flat).index_add(0, place, off)
        step = moved / (self.count.reshape(-1) + new).clamp(min=1)[:, None]
        scatter = self.scatter.reshape(-1, f, f).index_add(0, place, off[:, :, None] * off[:, None])
        again = (moved[place] * first[:, None])[:, :, None] * step[place][:, None]
        self.scatter = scatter.index_add(0, place, again, alpha=-1).view(s, o, k, f, f)
        self.mean = (flat + step).view(s, o, k, f)
        self.count = self.count + new.view(s, o, k)

    def recall(self, x: Tensor) -> Recall:
        fit, z = self._fitted(), x.flatten(2) @ self._waves
        size = max(16, WORK // (z.shape[0] * self.spec.outputs * self.components * z.shape[2]))
        parts = [self._compared(fit, some) for some in z.split(size, 1)]
        likely, nearest = (torch.cat(several, 1) for several in zip(*parts, strict=True))
        return self._recalled(x, likely, nearest / z.shape[2], (self.count > 0).flatten(1).any(1))

    def _compared(self, fit: Fit, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log likelihood of cues [s, b, f] in each class [s, b, o], and d² to the nearest component [s, b]."""
        off = (z[:, None, None] - self.mean[:, :, :, None]) @ fit.inverse.mT  # [s, o, k, b, f]
        far = off.square().sum(4)
        likely = fit.share[..., None] - fit.volume[..., None] - 0.5 * far
        none = (fit.share == -torch.inf)[..., None]
        return likely.logsumexp(2).mT, far.masked_fill(none, torch.inf).amin((1, 2))

    def _made(self) -> Fit:
        n, own = self.count.double()[..., None, None], self.scatter.double()
        of_class = n.sum(2, keepdim=True)
        inside = own.sum(2, keepdim=True) / of_class.clamp(min=1)
        eye = torch.eye(own.shape[3], dtype=n.dtype, device=n.device)
        all_ = own.sum((1, 2), keepdim=True) / of_class.sum(1, keepdim=True).clamp(min=1)
        size = all_.diagonal(dim1=3, dim2=4).mean(3)[..., None, None].clamp(min=1e-8)
        covariance = (own + self.prior * inside) / (n + self.prior) + (self.spread + 1e-6) * size * eye
        factor = torch.linalg.cholesky(covariance)
        inverse = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
        volume = factor.diagonal(dim1=3, dim2=4).log().sum(3)
        share = (self.count / self.count.sum(2, keepdim=True).clamp(min=1)).log()
        return Fit(share, factor.float(), inverse.float(), volume.float())

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        fit, now = self._fitted(), clock.experience + clock.replay
        met = (self.count > 0).any(2)
        known = met.any(1)
        rows = torch.arange(len(met), device=met.device)[:, None]
        lot = self._draws["kind"].at(now, (n, 2))
        y = drawn(torch.where(known[:, None], met, True).double(), lot[..., 0])
        kind = drawn(self.count[rows, y].double() + 1e-300, lot[..., 1, None])[..., 0]
        noise = self._draws["dream"].at(now, (n, self.mean.shape[3]))
        z = self.mean[rows, y, kind] + (fit.factor[rows, y, kind] @ noise[..., None])[..., 0]
        return self._dreamt(z @ self._waves.T, y, known)

    def stored_bytes(self) -> Tensor:
        o, k, f = self.mean.shape[1:]
        return torch.full((self.spec.subjects,), 4 * o * k * (1 + f + f * (f + 1) // 2), dtype=torch.int64)


def waves_of(side: int, waves: int) -> Tensor:
    """The first basis functions of the cosine transform of square images, lowest frequencies first: [side², waves].

    >>> w = waves_of(4, 3)
    >>> torch.allclose(w.T @ w, torch.eye(3), atol=1e-6), bool((w[:, 0] == w[0, 0]).all())
    (True, True)
    """
    place, step = torch.arange(side, dtype=torch.float64), torch.arange(side, dtype=torch.float64)[:, None]
    wave = torch.cos(math.pi * (place + 0.5) * step / side) * math.sqrt(2 / side)
    wave[0] = wave[0] / math.sqrt(2)
    both = torch.einsum("in,jm->ijnm", wave, wave).reshape(side**2, side**2)
    order = (step.square() + place.square()).flatten().argsort(stable=True)[:waves]
    return both[order].T.float().contiguous()
