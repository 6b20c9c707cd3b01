"""A hippocampus that infers which of several contexts it is in, and keeps the statistics of each apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall, nothing
from cls_sim.hippocampus.slotless import Slotless


class Causes(Settings, Slotless):
    """Contexts that nobody names: each experience belongs to the latent cause that explains it best, or to a new one.

        p(k) ∝ n_k + λ [k was the last one],  a new cause: α
        k* = argmax_k p(k) p_k(cue) Π_rows p_k(y | state),   p_k from counts with β added to each

    The rows of an experience belong together.  The first `cue` inputs are what tells a context, if anything does; the
    other inputs are the state, and y is what follows it.  The counts of k* are updated: c ← (1 - f) c + 1.

    causes         largest number of causes, from 1; 1: all experience is one
    cue            inputs of the cue, from 1
    stickiness     λ, from 0: the last cause stays; one number, or one per subject
    spread         standard deviation of ln λ between subjects, from 0
    concentration  α, above 0; one number, or one per subject
    sparsity       β, above 0
    fade           f, 0 to 1

    Recall infers the cause from the cue and the last cause, and gives ln p_k(y | state); match is the probability of
    that cause.  Raises ConfigError for regression, and if there are no inputs after the cue.

    Source: sticky Chinese restaurant process of event models, Franklin, Norman, Ranganath, Zacks & Gershman 2020, and
    Beukers et al. 2024, with counts in place of networks.

    >>> memory = Causes(cue=2)
    >>> spec = memory.setup(Spec(seeds=(0, 1), inputs=(8,), outputs=6))
    >>> memory.moves.shape, memory.count.sum().item()
    (torch.Size([2, 6, 6, 6]), 0.0)
    """

    causes: int = setting(6)
    cue: int = setting(2)
    stickiness: float | list[float] = setting(10.0, 0.0)
    spread: float = setting(0.0, 0.0)
    concentration: float | list[float] = setting(1.0, 0.0, open_low=True)
    sparsity: float = setting(0.1, 0.0, open_low=True)
    fade: float = setting(0.0, 0.0, 1.0)

    def setup(self, spec: Spec) -> Spec:
        refuse_if(spec.regression, "", "needs class labels, and this is regression", "use another hippocampus")
        s, k, device = spec.subjects, self.causes, spec.device
        states = int(torch.Size(spec.inputs).numel()) - self.cue
        refuse_if(states < 1, "cue", f"{self.cue} leaves no inputs for the state", "give fewer")
        lot = each(spec.seeds, "causes.stickiness", lambda g: g.standard_normal(1))[:, 0].double()
        sticky = torch.from_numpy(per_subject("stickiness", self.stickiness, spec))
        self._sticky = (sticky * torch.exp(self.spread * lot)).to(device)
        self._new = torch.from_numpy(per_subject("concentration", self.concentration, spec)).to(device)
        self.cues = torch.zeros(s, k, self.cue, dtype=torch.float64, device=device)
        self.moves = torch.zeros(s, k, states, spec.outputs, dtype=torch.float64, device=device)
        self.count = torch.zeros(s, k, dtype=torch.float64, device=device)
        self.last = torch.zeros(s, dtype=torch.int64, device=device)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        there = batch.present() & (batch.y >= 0)
        if who is not None:
            there = there & who[:, None]
        weight, (cue, state) = there.double(), self._parts(batch.x)
        seen = (cue * weight[..., None]).sum(1) / weight.sum(1).clamp(min=1)[:, None]  # [s, c]
        answer = one_hot(batch.y.clamp(min=0), self.spec.outputs).double()
        fits = (self._cue_fit() * seen[:, None]).sum(2)  # [s, k]
        fits = fits + torch.einsum("sbm,skmo,sbo,sb->sk", state, self._move_fit(), answer, weight)
        chosen = (self._prior(new=True) + fits).argmax(1)
        mine = one_hot(chosen, self.causes).double() * there.any(1)[:, None]
        stay = 1.0 - self.fade * mine
        self.cues = stay[..., None] * self.cues + mine[..., None] * seen[:, None]
        made = torch.einsum("sbm,sbo,sb->smo", state, answer, weight)
        self.moves = stay[..., None, None] * self.moves + mine[..., None, None] * made[:, None]
        self.count = self.count + mine
        self.last = torch.where(there.any(1), chosen, self.last)
        self.changed += 1

    def recall(self, x: Tensor) -> Recall:
        empty, (cue, state) = nothing(x, self.spec.outputs), self._parts(x)
        known = self._prior(new=False)[:, None] + torch.einsum("sbc,skc->sbk", cue, self._cue_fit())  # [s, b, k]
        chance = torch.nan_to_num(known.softmax(2))
        mine = one_hot(chance.argmax(2), self.causes).double()
        scores = torch.einsum("sbk,skmo,sbm->sbo", mine, self._move_fit(), state)
        any_ = (self.count.sum(1) > 0)[:, None]
        scores, match = scores * any_[..., None], chance.amax(2) * any_
        return Recall(scores.to(empty.scores.dtype), x, match.clamp(0.0, 1.0).to(x.dtype), empty.slot)

    def stored_bytes(self) -> Tensor:
        size = sum(part[0].nbytes for part in (self.cues, self.moves, self.count, self.last))
        return torch.full((self.spec.subjects,), size, dtype=torch.int64)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cue [s, b, c] and state [s, b, m], float64."""
        flat = x.flatten(2).double()
        return flat[..., : self.cue], flat[..., self.cue :]

    def _prior(self, *, new: bool) -> Tensor:
        """ln p(k) up to a constant [s, k]; -∞ for causes not met, of which the first is the new one."""
        met = self.count > 0
        prior = self.count + self._sticky[:, None] * one_hot(self.last, self.causes)
        prior = torch.where(met, prior, torch.zeros_like(prior))
        if new:
            first = (~met).double().cumsum(1) * ~met == 1
            prior = torch.where(first, self._new[:, None], prior)
        return prior.log()

    def _cue_fit(self) -> Tensor:
        """ln p_k(cue) [s, k, c]."""
        counts = self.cues + self.sparsity
        return (counts / counts.sum(2, keepdim=True)).log()

    def _move_fit(self) -> Tensor:
        """ln p_k(y | state) [s, k, m, o]."""
        counts = self.moves + self.sparsity
        return (counts / counts.sum(3, keepdim=True)).log()
