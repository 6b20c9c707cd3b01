"""A hippocampus that keeps no episode, only what the kinds of each class look like: mixtures of Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import ConfigError, real, whole
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless

WORK = 2**23  # numbers held at once while cues are compared with kinds


@dataclass(frozen=True)
class Fit:
    """What the sums come to: for each class and kind [s, o, k] the log of its share (-inf: there is none), Cholesky
    factors [s, o, k, f, f] of the covariances, their inverses, and log |Σ|^½ [s, o, k]."""

    share: Tensor
    factor: Tensor
    inverse: Tensor
    volume: Tensor


class Mixtures(Slotless):
    """Streaming mixtures of Gaussians for each class, on the coarse waves z = Bᵀ x of an image.

        p(z | c) = Σ_j π_cj N(m_cj, Σ_cj),   Σ_cj = (S_cj + ν P_c) / (n_cj + ν) + spread · σ² I

    components   k, components a class, from 1; with one it is a Gaussian for each class
    frequencies  f, the coefficients that are kept of the image's cosine transform, those of longest wave first; at most
                 one a pixel
    prior        ν, above 0, pseudo-rows that pull a kind's covariance to that of its class within kinds, P_c
    spread       from 0, of a sphere that is added to each; σ² is the mean variance of a wave within kinds

    The first k rows of a class begin its kinds; every later one joins the nearest, whose count n, mean m and scatter S
    [f, f] it changes (sequential k-means with covariances): one exposure, no learning rate, nothing forgotten.  A cue
    is answered by the posterior of classes that were met, all as likely; match = exp(-½ max(0, d²/f - 1)), d the
    Mahalanobis distance from the nearest kind.  It dreams: a class that was met, a kind by its share, z, the image B z
    (of any numbers, not cut to the range of inputs; what is finer than the waves is not dreamt).  Bytes: counts, means
    and triangles in float32; the waves are fixed wiring.  Refused in regression and for inputs that are not square
    images, flat or not.

    Source: sequential k-means, MacQueen 1967; mixtures for replay, Gepperth & Pfülb 2021; the shrunken covariance,
    Friedman 1989.

    >>> memory = Mixtures(components=20, frequencies=60)
    >>> spec = memory.setup(Spec(seeds=(0,), inputs=(28, 28), outputs=10))
    >>> memory.stored_bytes().tolist(), spec.dreams
    ([1512800], ('hippocampus',))
    """

    derived = Slotless.derived | {"_waves", "_draws", "_fit"}

    def __init__(self, *, components: int = 20, frequencies: int = 60, prior: float = 10.0, spread: float = 0.2):
        self.components, self.frequencies = whole("components", components), whole("frequencies", frequencies)
        self.prior = real("prior", prior, 0.0, open_low=True)
        self.spread = real("spread", spread, 0.0)

    def setup(self, spec: Spec) -> Spec:
        if spec.regression:
            raise ConfigError(
                "", "keeps mixtures for each class, and this world asks for numbers", "choose another one"
            )
        pixels = math.prod(spec.inputs)
        side = math.isqrt(pixels)
        if side**2 != pixels:
            raise ConfigError(
                "frequencies", f"are those of square images, and inputs are {spec.inputs}", "choose gaussians"
            )
        if self.frequencies > pixels:
            raise ConfigError(
                "frequencies",
                f"{self.frequencies} are more than images of {pixels} pixels have",
                f"give up to {pixels}",
            )
        s, o, k, f = spec.subjects, spec.outputs, self.components, self.frequencies
        self.count = torch.zeros(s, o, k, device=spec.device)
        self.mean = torch.zeros(s, o, k, f, device=spec.device)
        self.scatter = torch.zeros(s, o, k, f, f, device=spec.device)
        self._waves = waves_of(side, f).to(spec.device)
        self._draws: dict[tuple[str, int], Draws] = {}
        self._fit: tuple[int, Fit] | None = None
        return super().setup(spec)

    # -- one exposure -----------------------------------------------------------------------------------

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() & (batch.y >= 0)
        there = there if who is None else there & who[:, None]
        z, y = batch.x.flatten(2) @ self._waves, batch.y.clamp(min=0)
        rows = torch.arange(len(y), device=y.device)[:, None]
        # the first rows of a class begin its kinds, one each
        same = (y[:, :, None] == y[:, None]) & there[:, None]
        place = (self.count > 0).sum(2)[rows, y] + same.tril(-1).sum(2)
        first = there & (place < self.components)
        kind = place.clamp(max=self.components - 1)
        self._add(z, y, kind, first)
        # every other row joins the kind that is nearest
        far = (self.mean[rows, y] - z[:, :, None]).square().sum(3)
        far = far.masked_fill(self.count[rows, y] == 0, torch.inf)
        self._add(z, y, far.argmin(2), there & ~first)
        self.changed += 1

    def _add(self, z: Tensor, y: Tensor, kind: Tensor, who: Tensor) -> None:
        """Counts, means and scatters with these rows [s, b, f] in these kinds [s, b], those rows `who`."""
        s, o, k, f = self.mean.shape
        place = (torch.arange(s, device=z.device)[:, None] * o + y) * k + kind
        place, flat = place[who], self.mean.reshape(-1, f)
        off = z[who] - flat[place]
        new = torch.zeros(s * o * k, device=z.device).index_add(0, place, torch.ones_like(off[:, 0]))
        moved = torch.zeros_like(flat).index_add(0, place, off)
        step = moved / (self.count.reshape(-1) + new).clamp(min=1)[:, None]
        scatter = self.scatter.reshape(-1, f, f).index_add(0, place, off[:, :, None] * off[:, None])
        touched = new.nonzero()[:, 0]
        again = moved[touched, :, None] * step[touched, None]
        self.scatter = scatter.index_add(0, touched, again, alpha=-1).view(s, o, k, f, f)
        self.mean = (flat + step).view(s, o, k, f)
        self.count = self.count + new.view(s, o, k)

    # -- answering --------------------------------------------------------------------------------------

    def recall(self, x: Tensor) -> Recall:
        fit, z = self._fitted(), x.flatten(2) @ self._waves
        size = max(16, WORK // (z.shape[0] * self.spec.outputs * self.components * z.shape[2]))
        parts = [self._compared(fit, some) for some in z.split(size, 1)]
        likely, nearest = (torch.cat(several, 1) for several in zip(*parts, strict=True))
        met = (self.count > 0).any(2)
        known = met.any(1)[:, None]
        posterior = torch.where(known[..., None], likely, 0.0).softmax(2) * known[..., None]
        match = (-0.5 * (nearest / z.shape[2] - 1).clamp(min=0)).exp() * known
        blank = nothing(x, self.spec.outputs)
        return Recall(posterior, blank.x, match, blank.slot)

    def _compared(self, fit: Fit, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of cues [s, b, f] the log likelihood in each class [s, b, o], and d² from the nearest kind [s, b]."""
        off = (z[:, None, None] - self.mean[:, :, :, None]) @ fit.inverse.mT  # [s, o, k, b, f]
        far = off.square().sum(4)
        likely = fit.share[..., None] - fit.volume[..., None] - 0.5 * far
        none = (fit.share == -torch.inf)[..., None]
        return likely.logsumexp(2).mT, far.masked_fill(none, torch.inf).amin((1, 2))

    def _fitted(self) -> Fit:
        """The mixtures that the sums come to; made again when these have changed."""
        if self._fit is None or self._fit[0] != self.changed:
            self._fit = (self.changed, self._made())
        return self._fit[1]

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

    # -- dreaming ---------------------------------------------------------------------------------------

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        fit, now = self._fitted(), clock.experience + clock.replay
        met = (self.count > 0).any(2)
        known = met.any(1)
        rows = torch.arange(len(met), device=met.device)[:, None]
        lot = self._draw("kind", n, (n, 2), "uniform").at(now)
        y = _lot(torch.where(known[:, None], met, True).double(), lot[..., 0])
        kind = _lot(self.count[rows, y].double() + 1e-300, lot[..., 1, None])[..., 0]
        noise = self._draw("dream", n, (n, self.mean.shape[3]), "normal").at(now)
        z = self.mean[rows, y, kind] + (fit.factor[rows, y, kind] @ noise[..., None])[..., 0]
        x = (z @ self._waves.T).view(*y.shape, *self.spec.inputs)
        weight = known[:, None].float().expand(-1, n)
        return Batch.lived(x, y, source=torch.full_like(y, DREAMED, dtype=torch.uint8), weight=weight)

    def _draw(self, purpose: str, rows: int, shape: tuple[int, ...], kind: str) -> Draws:
        if (purpose, rows) not in self._draws:
            name = f"hippocampus.{purpose}"
            self._draws[purpose, rows] = Draws(self.spec.seeds, name, shape, kind, device=self.spec.device)
        return self._draws[purpose, rows]

    def stored_bytes(self) -> Tensor:
        o, k, f = self.mean.shape[1:]
        return torch.full((self.spec.subjects,), 4 * o * k * (1 + f + f * (f + 1) // 2), dtype=torch.int64)


def _lot(chances: Tensor, lot: Tensor) -> Tensor:
    """Places [..., b] drawn with these chances [..., n] by lots [..., b] in [0, 1)."""
    up_to = chances.cumsum(-1)
    found = torch.searchsorted(up_to, (lot * up_to[..., -1:]).contiguous(), right=True)
    return found.clamp_(max=chances.shape[-1] - 1)


def waves_of(side: int, waves: int) -> Tensor:
    """The first waves of the cosine transform of square images, those of longest wave first: [side², waves].

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
