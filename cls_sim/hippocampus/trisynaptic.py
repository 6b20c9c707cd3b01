"""The trisynaptic path: separation in the dentate gyrus, completion in CA3, output through CA1."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.contract import of_kind
from cls_sim.core.draws import Draws, each
from cls_sim.core.errors import ConfigError, choice
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.hippocampus.base import Recall, Stages, nothing
from cls_sim.hippocampus.ca3 import Ca3, Engrams, linear
from cls_sim.hippocampus.dentate import Dentate, active
from cls_sim.hippocampus.fading import Fading
from cls_sim.hippocampus.slots import EVICTION

PURE = 0.9  # cosine with a stored pattern at which a generated state counts as its reactivation
STAGES = ("dg", "ca3", "ca1")


class Trisynaptic(Fading):
    """Stores an episode in one exposure in the synapses of CA3, and recalls it from a cue or, in sleep, from noise.

        x ──dentate──► code ──ca3──► state z ──ca1──► Σ_p c_p x_p, Σ_p c_p y_p

    capacity       episodes a subject can hold, from 1
    dentate        KWinners (codes of inputs) or Index (a random code for each slot); null: no dentate gyrus, CA3 stores
                   the cortical patterns themselves
    ca3            Attractor, ModernHopfield or DreamingHopfield; null: no CA3, no completion
    ca1            linear: stored contents, weighted by their overlap c_p with z (Hebbian synapses); best: only the
                   trace with the largest overlap; null: no CA1, no output to the neocortex
    learning_rate  in (0, 1], the initial strength w_p of a trace
    fade           in [0, 1): fraction of its strength that a trace loses in each replay step; below 0.1 it is deleted
    eviction       which episodes stay when the memory is full; see Slots

    learning_rate and fade are one number, or one per subject.  In sleep it generates rows: CA3 converges from noise,
    and CA1 decodes the state.  The `slot` of a row is the trace that it reactivates (cosine of the states at least
    0.9), or -1 for a mixture; its weight is 0 where CA3 is silent; in classification its label is the label of the
    trace with the largest overlap.  Lesions of a stage (dg, ca3, ca1) silence cells; a lesion of CA1 also scales the
    answer down by the lesioned fraction.

    Source: Treves & Rolls 1992; O'Reilly & McClelland 1994; dreams, Sun et al. 2023.

    >>> from cls_sim.hippocampus.attractor import Attractor
    >>> from cls_sim.hippocampus.dentate import Index
    >>> memory = Trisynaptic(capacity=5, dentate=Index(units=100, activity=0.1), ca3=Attractor())
    >>> spec = memory.setup(Spec(seeds=(0,), inputs=(6,), outputs=2))
    >>> memory.recall(torch.ones(1, 1, 6)).slot.tolist()
    [[-1]]
    """

    columns = (*Fading.columns, "code", "strength")

    dentate: Dentate | None = setting(None, Dentate, "give a Dentate, or null", check=of_kind)
    ca3: Ca3 | None = setting(None, Ca3, "give a Ca3, or null", check=of_kind)
    ca1: str | None = setting("linear", ("linear", "best"))
    eviction: str = setting("reservoir", EVICTION)

    def setup(self, spec: Spec) -> Spec:
        spec = super().setup(spec)
        self._units, self._k = int(torch.Size(spec.inputs).numel()), 0
        if self.dentate is not None:
            self.dentate.wire(spec, self.capacity)
            self._units, self._k = self.dentate.units, self.dentate.winners
            self.code = torch.zeros(*self.strength.shape, self._k, dtype=torch.int16, device=spec.device)
        if self.ca3 is not None:
            self.setup_inside("ca3", spec)
            self.ca3.fit(spec, self._units, self._k)
        self._engrams: tuple[Trisynaptic, int, Engrams] | None = None
        self._noise: Draws | None = None
        self._lost: Tensor | None = None  # lesioned cells of CA3, and of CA1
        self._mute: Tensor | None = None
        return spec

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        slot, key = self._choose(batch, self._fresh(batch, who), clock, view)
        x = batch.x.flatten(2)
        if self.dentate is not None:
            self.code[self._rows, slot] = self.dentate.new(x, slot).to(torch.int16)
        self.strength[self._rows, slot] = self._rate.expand_as(slot)
        self._write(slot, key, x, batch, clock)

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        super().sleep(batch, clock, who)
        if self.ca3 is not None and self.ca3.unlearns:
            there = batch.weights() * (batch.source == DREAMED)
            self.ca3.unlearn(batch.x.flatten(2), there if who is None else there * who[:, None])

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        if self.ca3 is None:
            raise ConfigError("ca3", "is null, so nothing can be reactivated", "choose a CA3")
        if self._noise is None or self._noise.shape[0] != n:
            self._noise = Draws(self.spec.seeds, "hippocampus.dream", (n, self._units), device=self.spec.device)
        engrams = self.engrams()
        noise = self.ca3.noise(self._noise.at(clock.replay).float(), engrams)
        z = self.ca3.settle(noise, engrams, free=True)
        x, y, slot, pure = self._spoken(z, engrams)
        heard = (engrams.weight > 0).any(1, keepdim=True) & (z != 0).any(2) & (self.ca1 is not None)
        label = self.fetch(slot.clamp(min=0)).y
        x, y = x.view(*slot.shape, *self.spec.inputs), y if self.spec.regression else label
        source = torch.full(slot.shape, DREAMED, dtype=torch.uint8, device=slot.device)
        return Batch.lived(x, y, source=source, weight=heard.float(), slot=torch.where(pure >= PURE, slot, -1))

    def recall(self, x: Tensor) -> Recall:
        engrams = self.engrams()
        if self.ca1 is None:
            return nothing(x, self.spec.outputs)
        cue = self._cue(x, engrams)
        spoken, scores, slot, _ = self._spoken(self._completed(cue, engrams), engrams)
        best, there = slot.clamp(min=0), (slot >= 0)[..., None].float()
        fit = torch.cosine_similarity(cue, self.patterns(best), dim=2).clamp_(0, 1) * engrams.weight.gather(1, best)
        return Recall(scores * there, (spoken * there).view(x.shape), fit * there[..., 0], slot)

    def stages(self, x: Tensor) -> Stages:
        engrams = self.engrams()
        cue = self._cue(x, engrams)
        z = self._completed(cue, engrams)
        return Stages(cue, z, self._spoken(z, engrams)[0].view(x.shape))

    def patterns(self, slot: Tensor) -> Tensor:
        at = self._at(slot)
        if self.dentate is None:
            return self._input(self.content.flatten(0, 1)[at]).flatten(2)
        return self._kept(active(self.code.flatten(0, 1)[at].long(), self._units))

    def complete(self, cue: Tensor, first: Tensor) -> Tensor:
        engrams, most = self.engrams(), int(first.max())
        there = torch.arange(most, device=cue.device) < first[:, None]
        few = replace(engrams, n=most, weight=engrams.weight[:, :most] * there)
        return self._completed(self._kept(cue), few)

    @contextmanager
    def without(self, slots: Tensor) -> Generator[None]:
        kept, self._engrams = self._engrams, None
        try:
            with super().without(slots):
                yield
        finally:
            self._engrams = kept

    def engrams(self) -> Engrams:
        """The content of CA3, computed again only after a change."""
        if self._engrams is None or self._engrams[0] is not self or self._engrams[1] != self.changed:
            weight = self._strength() * self._heard()
            if self.dentate is None:
                keys = self._contents
            else:
                cells = self._kept(active(self.code[:, : self.capacity].long(), self._units))
                keys = lambda chunk: cells[:, chunk]  # noqa: E731
            engrams = Engrams(keys, self.capacity, self._units, weight, self._k, self._lost)
            self._engrams = (self, self.changed, engrams)
        return self._engrams[2]

    def _contents(self, chunk: slice) -> Tensor:
        content = self._plain(self.content[:, : self.capacity][:, chunk])
        return self._kept(content) if self.dentate is None else content  # with a dentate gyrus, CA3 has separate cells

    def _kept(self, z: Tensor) -> Tensor:
        """The activity of CA3 [s, b, m] without its lesioned cells."""
        return z if self._lost is None else z.masked_fill(self._lost[:, None], 0.0)

    def _cue(self, x: Tensor, engrams: Engrams) -> Tensor:
        """The input of cues [s, b, …] to CA3, through the dentate gyrus if there is one: [s, b, m]."""
        x = x.flatten(2)
        if self.dentate is None:
            return self._kept(x)
        return self._kept(active(self.dentate.cue(x, lambda: self._seed(x, engrams)), self._units))

    def _seed(self, x: Tensor, engrams: Engrams) -> Tensor:
        """The drive to CA3 from stored inputs that resemble x:  Σ_p w_p (x·x_p) (ξ_p - a)."""
        stored = self._plain(self.content[:, : self.capacity])
        like = (x @ stored.mT) * engrams.weight[:, None]
        return like @ engrams.all() - engrams.activity * like.sum(2, keepdim=True)

    def _completed(self, cue: Tensor, engrams: Engrams) -> Tensor:
        return cue if self.ca3 is None else self.ca3.settle(self.ca3.prepare_cue(cue, engrams), engrams)

    def _spoken(self, z: Tensor, engrams: Engrams) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode a state by CA1.

        Returns an input [s, b, x], an answer [s, b, o], the trace with the largest overlap, and the share of the state
        that is its pattern [s, b].
        """
        decode = linear if self.ca3 is None else self.ca3.decode
        if self.ca1 == "linear":
            values = (self._contents, lambda chunk: self._votes(self._y()[:, : self.capacity][:, chunk]))
            (x, y), slot, pure = decode(z, engrams, values, (self.content.shape[2], self.spec.outputs))
        else:
            _, slot, pure = decode(z, engrams, (), ())
            at = self._at(slot.clamp(min=0))
            x, y = self._plain(self.content.flatten(0, 1)[at]), self._votes(self._y().flatten(0, 1)[at])
        if self.dentate is None and (self.ca3 is None or self.ca3.spells):
            x = z
        if self._mute is not None:
            x, y = x.masked_fill(self._mute[:, None], 0.0), y * (1 - self._mute.float().mean(1))[:, None, None]
        return x, y, slot, pure

    def impair(self, stage: str, fraction: np.ndarray) -> None:
        if stage == "dg" and self.dentate is None:
            raise ConfigError("stage", "is the dentate gyrus, and this memory has none", "choose ca3 or ca1")
        n = self.content.shape[2] if choice("stage", stage, STAGES) == "ca1" else self._units
        order = each(self.spec.seeds, f"hippocampus.lesion.{stage}", lambda g: g.permutation(n))
        lost = (order < torch.from_numpy(np.round(fraction * n))[:, None]).to(self.spec.device)
        cells = lost if bool(lost.any()) else None
        if stage == "ca1":
            self._mute = cells
        elif stage == "ca3":
            self._lost = cells
        elif self.dentate is not None:
            self.dentate.lose(cells)
        self.changed += 1
