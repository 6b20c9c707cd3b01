"""Replay by gain and need."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Hippocampus, Map
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay

LEAST = 1e-10  # of a gain
CLOSE = 1e-6  # relative; values of the cortex are float32, so a target is reached up to rounding
PLACES = ("here", "anywhere")


class GainNeed(Settings, Replay):
    """Each replay step updates the values along the sequence of actions that is worth most: gain × need.

        gain = Σ_i max(Σ_a (π_new(a) - π(a)) Q_new(x_i, a), 0) or at least 1e-10,      π = softmax(β Q)
        need = (I - γ T)⁻¹[x_now, x_last]

    Candidates are the latest outcome of each action in each place, if it led elsewhere (one step), and the sequence of
    the step before, extended by the best action at its end (no place twice), up to `longest` steps.  A sequence of n
    steps updates each of its n values with the return from there to its end.  Equal candidates: the shorter one, then
    by lot.

    gamma    the discount γ, as the consolidation has it
    beta     inverse temperature β of the policy, as the readout has it
    alpha    the rate of learning that the gain assumes, as the plasticity has it
    gain     false: the gain of every candidate is 1
    need     false: the need of every place is 1
    where    the place from which the need counts.  here: where the subject took its latest action;
             anywhere: need is the stationary distribution of T (sleep)
    longest  steps of a sequence, from 1; 1: no sequences

    Needs a hippocampus with a map (`CognitiveMap`).  A batch holds the sequence in the order of its steps; absent rows
    have weight 0.  State: the sequence of the last step (`sequence` [s, longest], slots; -1: none).

    Source: Mattar & Daw 2018.

    >>> GainNeed(need=False).gain
    True
    """

    derived = frozenset({"_lot", "_spec", "_steps"})

    gamma: float = setting(0.9, 0.0, 0.9999)
    beta: float = setting(5.0, 0.0)
    alpha: float = setting(1.0, 0.0, 1.0)
    gain: bool = setting(True)
    need: bool = setting(True)
    where: str = setting("here", PLACES)
    longest: int = setting(20)

    def setup(self, spec: Spec) -> Spec:
        self._spec = spec
        self._lot = Draws(spec.seeds, "replay.ties", (1,), device=spec.device)
        self._steps = torch.arange(self.longest, device=spec.device)
        self.sequence = torch.full((spec.subjects, self.longest), -1, dtype=torch.int64, device=spec.device)
        self.night = torch.full((spec.subjects,), -1, dtype=torch.int64, device=spec.device)
        return spec

    @torch.no_grad()
    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        known, a = hippocampus.map(), self._spec.actions
        night = from_numpy(clock.night).to(self.night.device)
        going = (night == self.night)[:, None]
        before = torch.where(going, self.sequence, -1)
        values = neocortex.scores(known.x).double()  # [s, c, a]
        need = self._needed(known, view)
        worth, allowed = self._single(known, values, need), self._moves(known).flatten(1)
        longer, its_worth = self._extended(known, values, need, before)
        best = worth.masked_fill(~allowed, -1.0).amax(1)
        extend = its_worth > best
        among = (worth == best[:, None]) & allowed
        lot = (self._lot.at(clock.replay) * among.sum(1, keepdim=True)).long()
        slot = (among & (among.cumsum(1) == lot + 1)).int().argmax(1)
        short = torch.where(self._steps == 0, slot[:, None], -1)
        chosen = torch.where(extend[:, None], longer, short)
        chosen = torch.where(allowed.any(1)[:, None], chosen, -1)
        asleep = from_numpy(clock.asleep).to(self.night.device)
        self.sequence = torch.where(asleep[:, None], chosen, self.sequence)
        self.night = torch.where(asleep, night, self.night)
        return self._batch(hippocampus, known, chosen, a)

    def _batch(self, hippocampus: Hippocampus, known: Map, chosen: Tensor, a: int) -> Batch:
        there = chosen >= 0
        rows = hippocampus.fetch(chosen.clamp(min=0))
        returns, end = self._returns(known, chosen)
        length, s = there.sum(1, keepdim=True), torch.arange(len(chosen), device=chosen.device)
        last = chosen.gather(1, (length - 1).clamp(min=0)).clamp(min=0)
        steps = torch.where(known.ended.flatten(1).gather(1, last), 0, (length - self._steps).clamp(min=1))
        after = known.x[s[:, None], end.clamp(min=0)].expand_as(rows.x)
        return rows.with_(weight=there.float(), reward=returns.float(), after=after, steps=steps)

    @staticmethod
    def _moves(known: Map) -> Tensor:
        """The actions that led to another place: bool [s, c, a]."""
        here = torch.arange(known.leads.shape[1], device=known.leads.device)[:, None]
        return (known.leads >= 0) & (known.leads != here)

    def _needed(self, known: Map, view: View) -> Tensor:
        """The need of each place: float64 [s, c]."""
        flow = known.transitions
        if not self.need:
            return torch.ones_like(flow[:, 0])
        if self.where == "anywhere":
            chance = torch.full_like(flow[:, 0], 1.0 / flow.shape[1])[:, None]
            for _ in range(100):
                chance = 0.5 * (chance + chance @ flow)
            return chance[:, 0] / chance[:, 0].sum(1, keepdim=True).clamp(min=1e-300)
        assert view.latest is not None
        here = (known.x == view.latest().x[:, -1:]).flatten(2).all(2) & known.there
        eye = torch.eye(flow.shape[1], dtype=flow.dtype, device=flow.device)
        return torch.linalg.solve(eye - self.gamma * flow.mT, here.double()[..., None])[..., 0]

    def _single(self, known: Map, values: Tensor, need: Tensor) -> Tensor:
        """The worth of the latest outcome of each action in each place: [s, n]."""
        follows = values.amax(2).gather(1, known.leads.clamp(min=0).flatten(1)).view_as(values)
        target = known.reward.double() + torch.where(known.ended, 0.0, self.gamma * follows)
        gain = self._gain(values, values, target) if self.gain else torch.ones_like(target)
        return (gain * need[:, :, None]).flatten(1)

    def _gain(self, values: Tensor, own: Tensor, target: Tensor) -> Tensor:
        """The gain of moving one of the values [s, c, a], own [s, c, k], to its target [s, c, k].

        With e = exp(β Q) and its sum Z before and Z' after, gain = Σ e' Q' / Z' - Σ e Q' / Z.
        """
        away = target - own
        new = own + self.alpha * torch.where(away.abs() > CLOSE * (1.0 + own.abs()), away, 0.0)
        most = torch.maximum(values.amax(2, keepdim=True), new)
        others = (self.beta * (values[:, :, None] - most[..., None])).exp()  # [s, c, k, a]
        before, after = (self.beta * (own - most)).exp(), (self.beta * (new - most)).exp()
        total, worth = others.sum(3), (others * values[:, :, None]).sum(3)
        rest, rest_worth = total - before, worth - before * own
        gain = (rest_worth + after * new) / (rest + after) - (rest_worth + before * new) / total
        return gain.clamp(min=LEAST)

    def _returns(self, known: Map, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """The discounted rewards from each step of a sequence of slots to its end [s, n], and its last place [s, 1]."""
        there = sequence >= 0
        slot, length = sequence.clamp(min=0), there.sum(1, keepdim=True)
        reward = torch.where(there, known.reward.flatten(1).gather(1, slot).double(), 0.0)
        ahead = (self._steps - self._steps[:, None]).clamp(min=0)
        discount = torch.where(self._steps >= self._steps[:, None], self.gamma ** ahead.double(), 0.0)
        last = slot.gather(1, (length - 1).clamp(min=0))
        return (reward[:, None] * discount).sum(2), known.leads.flatten(1).gather(1, last)

    def _extended(self, known: Map, values: Tensor, need: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The sequence of the last step with the best action at its end [s, longest], and its worth [s] (-1: none)."""
        a, length = values.shape[2], (before >= 0).sum(1, keepdim=True)
        last = before.gather(1, (length - 1).clamp(min=0)).clamp(min=0)
        end = known.leads.flatten(1).gather(1, last)
        at = end.clamp(min=0)
        tried = self._moves(known).gather(1, at[..., None].expand(-1, -1, a))[:, 0]
        there = values.gather(1, at[..., None].expand(-1, -1, a))[:, 0].masked_fill(~tried, -torch.inf)
        action = there.argmax(1, keepdim=True)
        looped = ((before >= 0) & (before // a == at)).any(1, keepdim=True)
        ended = known.ended.flatten(1).gather(1, last)
        possible = (length > 0) & (length < self.longest) & ~ended & ~looped & tried.any(1, keepdim=True) & (end >= 0)
        longer = torch.where(self._steps == length, at * a + action, before)
        longer = torch.where(possible, longer, -1)
        returns, final = self._returns(known, longer)
        slot, n = longer.clamp(min=0), length + 1
        worth = values.amax(2).gather(1, final.clamp(min=0))
        over = known.ended.flatten(1).gather(1, slot.gather(1, (n - 1).clamp(max=self.longest - 1)))
        remaining = (n - self._steps).clamp(min=1).double()
        target = returns + torch.where(over, 0.0, self.gamma**remaining * worth)
        own = values.gather(1, (slot // a)[..., None].expand(-1, -1, a))
        gain = torch.ones_like(target[:, 0])
        if self.gain:
            mine = own.gather(2, (slot % a)[..., None])
            gain = torch.where(longer >= 0, self._gain(own, mine, target[..., None])[..., 0], 0.0).sum(1)
        return longer, torch.where(possible[:, 0], gain * need.gather(1, at)[:, 0], -1.0)
