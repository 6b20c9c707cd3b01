"""A hippocampus that stores a Gaussian for each class instead of episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, updated
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall, for_classes
from cls_sim.hippocampus.densities import Densities, drawn

WORK = 2**24  # limit of the numbers in memory while cues are compared with classes
SQUASH = {"linear": lambda drive: drive, "tanh": torch.tanh, "relu": torch.relu}


@dataclass(frozen=True)
class Fit:
    """The fitted Gaussians.

    Which classes exist [s, o], means [s, o, f], Cholesky factors [s, o | 1, f, f] of the covariances, log |Σ|^½
    [s, o | 1], and, to generate rows, the map back to inputs [s, f + 1, x].
    """

    there: Tensor
    mean: Tensor
    factor: Tensor
    volume: Tensor
    back: Tensor | None


class Gaussians(Settings, Densities):
    """Streaming class-conditional Gaussians: counts, means and covariances of features f = nonlinearity(W x).

        p(f | c) = N(μ_c, Σ_c),   P = (Σ_c S_c + ν σ² I) / (n + ν),   Σ_c = (S_c + ν P) / (n_c + ν), or P if
        shared_covariance

    features           random: a fixed random projection W, drawn for each subject; input: x itself; cortex: a copy of
                       the first hidden layer of the neocortex at the end of the first context, with relu (the data of
                       that context is then read once more, and the ledger counts it)
    units              number of features of a random projection, from 1
    nonlinearity       linear, tanh or relu
    shared_covariance  True: one covariance for all classes (linear discriminant); False: one for each (quadratic)
    prior              ν, above 0, pseudo-rows that shrink each covariance toward the pooled one, and the pooled one
                       toward a sphere with its variance σ²
    dreams             True: also store a linear map from features back to inputs (least squares over all rows so far),
                       which generates a row from a class and a draw of its features; features=input needs no map

    S_c [f, f] is the scatter of n_c rows about their mean μ_c, over the whole past in any order.  Answer and match are
    those of Densities.  Bytes: counts, means and triangles of symmetric matrices in float32; with dreams also x · f
    numbers; the copy of a layer; a random projection is fixed wiring.  Raises ConfigError in regression; with
    features=cortex also if subjects do not know the boundaries or the neocortex has no hidden layer on the inputs.

    Source: linear and quadratic discriminant analysis, Fisher 1936; streaming, Hayes & Kanan 2020; class Gaussians as
    a source of pseudo-rehearsal, Kemker & Kanan 2018.

    >>> gist = Gaussians(units=50)
    >>> spec = gist.setup(Spec(seeds=(0,), inputs=(28, 28), outputs=10))
    >>> gist.stored_bytes().tolist()
    [53040]
    """

    sized = "units"

    features: str = setting("random", ("random", "input", "cortex"))
    units: int = setting(100)
    nonlinearity: str = setting("linear", SQUASH)
    shared_covariance: bool = setting(False)
    prior: float = setting(10.0, 0.0, open_low=True)
    dreams: bool = setting(False)

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "stores a Gaussian for each class")
        s, o, x = spec.subjects, spec.outputs, math.prod(spec.inputs)
        f = x if self.features == "input" else self._layer(spec, x) if self.features == "cortex" else self.units
        self.count = torch.zeros(s, o, device=spec.device)
        self.total = torch.zeros(s, o, f, device=spec.device)
        self.second = torch.zeros(s, 1 if self.shared_covariance else o, f, f, device=spec.device)
        if self.features == "cortex":
            self.layer = torch.zeros(s, x, f, device=spec.device)
            self.offset = torch.zeros(s, 1, f, device=spec.device)
            self.settled = np.zeros(s, bool)  # subjects whose first context has ended
        if self.dreams and self.features != "input":
            self.cross = torch.zeros(s, f + 1, x, device=spec.device)
        self._wiring = None
        if self.features == "random":
            wiring = each(spec.seeds, "hippocampus.wiring", lambda g: g.standard_normal((x, f), np.float32))
            self._wiring = wiring.to(spec.device) / math.sqrt(x)
        spec = super().setup(spec)
        if not self.dreams:
            spec = self.spec = replace(spec, dreams=tuple(part for part in spec.dreams if part != "hippocampus"))
        return spec

    def _layer(self, spec: Spec, x: int) -> int:
        """The width of the first hidden layer of the neocortex."""
        reason = "needs the end of the first context, which subjects do not know"
        refuse_if(not spec.ends, "features", reason, "give random")
        shape, reason = spec.weights.get("weight0", ()), "this cortex has no hidden layer on the inputs"
        layered = len(shape) == 3 and shape[2] == x and "weight1" in spec.weights
        refuse_if(not layered, "features", reason, "give random, or neocortex=mlp")
        return shape[1]

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        if self.features != "cortex" or not (new := who & ~self.settled).any():
            return
        now = view.neocortex.weights
        self.layer = updated(new, now["weight0"].mT, self.layer).detach()
        offset = now["bias0"].reshape(self.offset.shape) if "bias0" in now else self.offset
        self.offset = updated(new, offset, self.offset).detach()
        self.settled = self.settled | new
        for batch in view.revisit(512):
            self.encode(batch, view, clock, torch.from_numpy(new).to(self.layer.device))

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() if who is None else batch.present() & who[:, None]
        if self.features == "cortex":
            there = there & torch.from_numpy(self.settled).to(there.device)[:, None]
        f = self._features(batch.x)
        classes = torch.arange(self.spec.outputs, device=f.device)[:, None]
        belongs = ((batch.y[:, None] == classes) & there[:, None]).to(f)  # [s, o, b]
        self.count = self.count + belongs.sum(2)
        self.total = self.total + belongs @ f
        share = belongs.sum(1, keepdim=True) if self.shared_covariance else belongs
        self.second = self.second + (share[:, :, None] * f.mT[:, None]) @ f[:, None]
        if "cross" in vars(self):
            self.cross = self.cross + (_with_one(f) * share.sum(1)[..., None]).mT @ batch.x.flatten(2)
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        fit, f = self._fitted(), self._features(x)
        size = max(64, WORK // (f.shape[0] * self.spec.outputs * f.shape[2]))
        far = torch.cat([self._far(fit, some) for some in f.split(size, 1)], 1)  # [s, b, o]
        there = fit.there[:, None]
        scores = (-0.5 * far - fit.volume[:, None]).masked_fill(~there, -torch.inf)
        nearest = far.masked_fill(~there, torch.inf).amin(2)
        return self._recalled(x, scores, nearest / f.shape[2], fit.there.any(1))

    def _far(self, fit: Fit, f: Tensor) -> Tensor:
        """Squared Mahalanobis distances of features [s, b, f] from the classes: [s, b, o]."""
        off = (f[:, None] - fit.mean[:, :, None]).mT  # [s, o, f, b]
        factor = fit.factor.expand(-1, off.shape[1], -1, -1)
        return torch.linalg.solve_triangular(factor, off, upper=False).square().sum(2).mT

    def _features(self, x: Tensor) -> Tensor:
        """Features [s, b, f] of inputs [s, b, …]."""
        x = x.flatten(2)
        if self.features == "cortex":
            return (x @ self.layer + self.offset).relu()
        return SQUASH[self.nonlinearity](x if self._wiring is None else x @ self._wiring)

    def _made(self) -> Fit:
        count, total, second = self.count.double(), self.total.double(), self.second.double()
        mean = total / count.clamp(min=1)[..., None]
        n, eye = count.sum(1)[:, None, None], torch.eye(mean.shape[2], dtype=torch.float64, device=mean.device)
        scatter = second.sum(1) - total.mT @ mean
        variance = scatter.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] / (n.clamp(min=1) * mean.shape[2])
        pooled = (scatter + self.prior * variance.clamp(min=1e-8) * eye) / (n + self.prior)
        covariance = pooled[:, None]
        if not self.shared_covariance:
            own = second - total[..., None] * mean[:, :, None]
            covariance = (own + self.prior * covariance) / (count + self.prior)[..., None, None]
        factor = torch.linalg.cholesky(covariance)
        volume = factor.diagonal(dim1=2, dim2=3).log().sum(2)
        return Fit(count > 0, mean.float(), factor.float(), volume.float(), self._back(total, second, n))

    def _back(self, total: Tensor, second: Tensor, n: Tensor) -> Tensor | None:
        """The least-squares map from features (and a constant 1) to inputs: [s, f + 1, x]."""
        if "cross" not in vars(self):
            return None
        rows, sums = second.sum(1), total.sum(1)[..., None]
        gram = torch.cat((torch.cat((rows, sums), 2), torch.cat((sums.mT, n), 2)), 1)
        size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-8)[:, None, None]
        ridge = 1e-6 * size * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        return torch.linalg.solve(gram + ridge, self.cross.double()).float()

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        refuse_if(not self.dreams, "dreams", "is false, so there is no map from features back to inputs", "give true")
        fit, now = self._fitted(), clock.experience + clock.replay
        known = fit.there.any(1)
        y = drawn(torch.where(known[:, None], fit.there, True).double(), self._draws["class"].at(now, (n,)))
        noise = self._draws["dream"].at(now, (n, fit.mean.shape[2]))
        rows = torch.arange(len(y), device=y.device)[:, None]
        if self.shared_covariance:
            off = noise @ fit.factor[:, 0].mT
        else:  # compute every class for every row, then select
            mine = (y[:, None] == torch.arange(self.spec.outputs, device=y.device)[:, None]).to(noise)
            off = ((noise[:, None] * mine[..., None]) @ fit.factor.mT).sum(1)
        x = fit.mean[rows, y] + off
        if fit.back is not None:
            x = _with_one(x) @ fit.back
        return self._dreamt(x.clamp(0, 1) if self.spec.quantum is not None else x, y, known)

    def stored_bytes(self) -> Tensor:
        o, f = self.total.shape[1:]
        numbers = o + o * f + self.second.shape[1] * f * (f + 1) // 2
        numbers += self.cross[0].numel() if "cross" in vars(self) else 0
        numbers += self.layer[0].numel() + f if self.features == "cortex" else 0
        return torch.full((self.spec.subjects,), 4 * numbers, dtype=torch.int64)


def _with_one(f: Tensor) -> Tensor:
    """Features [s, b, f] with a constant 1 appended: [s, b, f + 1]."""
    return torch.cat((f, torch.ones_like(f[..., :1])), 2)
