"""Binary synapses that learn stochastically: the cascade model and the partitioned memory model."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from cls_sim.consolidation.base import Synapses
from cls_sim.consolidation.copies import learners
from cls_sim.consolidation.descent import Descent
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, named, over, updated
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import Settings, fixed, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex
from cls_sim.theory.synapses import cascade


class BinarySynapses(Settings, Wrap, Synapses):
    """Weights of ± amplitude: a step gives each synapse, with probability min(1, gain · η |∇|), an event of sign -∇.

    The amplitude of a layer is the mean absolute value of its initial weights (1 if all are zero).  The initial sign is
    that of the initial weight, random if the weight is 0.  Random numbers are functions of the subject's seed and its
    number of steps.
    """

    inside = "consolidation"
    inner: dict[str, Tensor] = fixed({})
    consolidation: Descent = part(Descent, default_factory=Descent)
    gain: float | list[float] = setting(1.0, 0.0)

    @abstractmethod
    def first(self, name: str, sign: Tensor) -> Tensor:
        """The inner variables [s, …, m] of new synapses with these signs [s, …]."""

    @abstractmethod
    def event(self, name: str, inner: Tensor, toward: Tensor, chance: Tensor, lot: Tensor) -> Tensor:
        """The inner variables after an event.

        toward  sign of the event, [s, …]
        chance  probability of the event, [s, …]
        lot     uniform random numbers in [0, 1), [s, …]
        """

    @abstractmethod
    def shown(self, inner: Tensor) -> Tensor:
        """The weight that belongs to these inner variables, in units of the amplitude: [s, …] in [-1, 1]."""

    def _settle(self, spec: Spec) -> None:
        self.spec = spec
        self._gain = torch.from_numpy(per_subject("gain", self.gain, spec)).float().to(spec.device)
        self._draws = named(spec.seeds, "synapses", spec.weights, device=spec.device)

    def _fresh(self, spec: Spec) -> None:
        nothing = {name: torch.ones(shape, device=spec.device) for name, shape in spec.weights.items()}
        self.inner = {name: self.first(name, sign) for name, sign in nothing.items()}
        self.amplitude = {name: torch.ones(spec.subjects, device=spec.device) for name in spec.weights}
        self.born = np.zeros(spec.subjects, bool)
        self.steps = np.zeros(spec.subjects, np.int64)

    def step(self, neocortex: Neocortex, batch: Batch, rate: np.ndarray, view: View) -> None:
        active = learners(batch, rate)
        if not active.any():
            return
        self._meet(neocortex, active)
        neocortex.before_step(batch, active)
        gradient = self.consolidation.gradient(neocortex, batch)
        speed = torch.from_numpy(np.where(active, rate, 0.0)).float().to(self.spec.device) * self._gain
        with torch.no_grad():
            for name, w in neocortex.weights.items():
                chance = (gradient[name].abs() * over(speed, w)).clamp_(max=1.0)
                lot = self._draws[name].at(self.steps)
                self.inner[name] = self.event(name, self.inner[name], -gradient[name].sign(), chance, lot)
                self._show(name, w, active)
        self.steps = self.steps + active
        neocortex.after_step(batch, active)

    @torch.no_grad()
    def _meet(self, neocortex: Neocortex, active: np.ndarray) -> None:
        """Set the initial signs and amplitudes of the subjects that make their first step."""
        new = active & ~self.born
        if not new.any():
            return
        for name, w in neocortex.weights.items():
            shape = w.shape[1:]
            lot = each(self.spec.seeds, f"synapses.sign.{name}", lambda g, shape=shape: g.random(shape, np.float32))
            sign = torch.where(w == 0, (lot.to(w.device) < 0.5) * 2.0 - 1.0, w.sign())
            size = w.abs().flatten(1).mean(1)
            size = torch.where(size > 0, size, 1.0)
            self.amplitude[name] = updated(new, size, self.amplitude[name])
            self.inner[name] = updated(new, self.first(name, sign), self.inner[name])
        self.born = self.born | active

    def _show(self, name: str, w: Tensor, active: np.ndarray) -> None:
        w.copy_(updated(active, self.shown(self.inner[name]) * over(self.amplitude[name], w), w))


class Cascade(BinarySynapses):
    """Cascade synapses: binary synapses that become harder to switch with each event of the same sign.

    A synapse has 2n states (sign, depth i = 1 … n).  An event of the opposite sign switches it to depth 1 with
    probability q_i; an event of the same sign moves it one level deeper with probability p_i:

        q_i = x^(i-1),  q_n = x^(n-1) / (1 - x),  p_i = x^i / (1 - x),  x = 1/2

    At equilibrium all depths are equally occupied.  The initial signal of a memory is 2/n and decays as a power law.

    consolidation  the Descent whose gradient gives the events; default Descent()
    depth          n, from 1 to 60
    gain           factor on the event probability, from 0; one number, or one per subject

    `inner` is name → [s, …, 1], depth times sign; initial depths are uniformly random.

    Source: Fusi, Drew & Abbott 2005.

    >>> Cascade(depth=10).depth
    10
    """

    null = None

    depth: int = setting(8, 1, 60)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        pairs = torch.tensor(cascade(self.depth), dtype=torch.float32, device=spec.device)
        self._switch, self._deepen = pairs.unbind()

    def first(self, name: str, sign: Tensor) -> Tensor:
        shape, most = sign.shape[1:], self.depth + 1
        lot = each(self.spec.seeds, f"synapses.depth.{name}", lambda g: g.integers(1, most, shape, np.int8))
        return (lot.to(sign.device) * sign.to(torch.int8))[..., None]

    def event(self, name: str, inner: Tensor, toward: Tensor, chance: Tensor, lot: Tensor) -> Tensor:
        state = inner[..., 0]
        sign, at = state.sign(), state.abs().long() - 1
        same, other = toward == sign, toward == -sign
        switch = other & (lot < chance * self._switch[at])
        deepen = same & (lot < chance * self._deepen[at])
        return torch.where(switch, -sign, state + deepen * sign)[..., None]

    def shown(self, inner: Tensor) -> Tensor:
        return inner[..., 0].sign().float()


class Partition(BinarySynapses):
    """Partitioned memory: binary synapses in n regions of decreasing plasticity, each copying the region before it.

    Events change region 1.  In every tick, with or without learning, each synapse of region i > 1 copies the synapse of
    region i - 1 with probability r_i = transfer / (1 + slowing · (i - 1)).  The weight is the mean over the regions.

    consolidation  the Descent whose gradient gives the events; default Descent()
    regions        n, from 1 to 100
    transfer       in [0, 1]; one number, or one per subject
    slowing        from 0
    gain           factor on the event probability, from 0; one number, or one per subject

    `inner` is name → [s, …, n], the sign in each region.

    Source: Roxin & Fusi 2013.

    >>> Partition(regions=4).regions
    4
    """

    null = None

    regions: int = setting(4, 1, 100)
    transfer: float | list[float] = setting(0.2, 0.0, 1.0)
    slowing: float = setting(0.2, 0.0)

    def _settle(self, spec: Spec) -> None:
        super()._settle(spec)
        transfer = per_subject("transfer", self.transfer, spec)[:, None]
        copy = transfer / (1.0 + self.slowing * np.arange(1, self.regions))
        self._copy = torch.from_numpy(copy).float().to(spec.device)  # [s, n - 1]
        more = {name: (*shape, self.regions - 1) for name, shape in spec.weights.items()}
        self._copies = named(spec.seeds, "synapses.copy", more, device=spec.device)

    def first(self, name: str, sign: Tensor) -> Tensor:
        shape = (*sign.shape[1:], self.regions - 1)
        lot = each(self.spec.seeds, f"synapses.region.{name}", lambda g: g.integers(0, 2, shape, np.int8))
        return torch.cat((sign[..., None].to(torch.int8), (2 * lot - 1).to(sign.device)), -1)

    def event(self, name: str, inner: Tensor, toward: Tensor, chance: Tensor, lot: Tensor) -> Tensor:
        changed = inner.clone()
        changed[..., 0] = torch.where((toward != 0) & (lot < chance), toward.to(torch.int8), inner[..., 0])
        return changed

    def shown(self, inner: Tensor) -> Tensor:
        return inner.float().mean(-1)

    @torch.no_grad()
    def elapse(self, neocortex: Neocortex, clock: Clock) -> None:
        if self.regions == 1 or not self.born.any():
            return
        for name, w in neocortex.weights.items():
            inner = self.inner[name]
            lot = self._copies[name].at(clock.experience + clock.replay)
            copied = lot < self._copy.view(len(w), *[1] * (inner.ndim - 2), -1)
            rest = torch.where(copied, inner[..., :-1], inner[..., 1:])
            self.inner[name] = torch.cat((inner[..., :1], rest), -1)
            self._show(name, w, self.born)
