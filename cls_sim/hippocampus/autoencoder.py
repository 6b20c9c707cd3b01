"""A hippocampus that stores no episodes and learns to generate them: deep generative replay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, one_hot

from cls_sim.core.batch import DREAMED, STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import BatchDraws, over, pick
from cls_sim.core.errors import refuse_if, several, whole
from cls_sim.core.optimizers import Adam
from cls_sim.core.part import Spec, State, View, zeros
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import gradients
from cls_sim.core.variational import divergence, down, drawn, latents, layers, misfit, shown, up
from cls_sim.hippocampus.base import Recall, for_classes, nothing
from cls_sim.hippocampus.slotless import Slotless


class Autoencoder(Settings, Slotless):
    """A variational autoencoder that learns from experience together with rows that it has generated itself.

        z = μ(x) + σ(x) ε,   x̂ = down(z),   loss of a row = misfit(x̂, x) + KL(q(z|x) ‖ N(0, 1)) / x-numbers
        loss = (1/k) · (mean over experienced rows) + (1 - 1/k) · (mean over generated rows), after k - 1 updates

    hidden       widths of the hidden layers, from 1 each; the decoder has the same in reverse order
    latent       number of latent units z, from 1
    rate         learning rate of the autoencoder (Adam), from 0
    batch        generated rows beside each experience, from 1
    targets      the targets of generated rows: hard (the label that the copied neocortex gives) or soft (also its
                 scores)
    renew_every  when the generating copy is updated: null: at the ends of contexts; or a number of experiences

    A copy of the weights generates rows, and a copy of the neocortex labels them; before their first update nothing is
    generated.  In sleep the autoencoder learns from stored episodes that are replayed, not from generated rows.  Inputs
    that are multiples of a quantum count as levels in [0, 1] (cross-entropy), others as any numbers (squared error).
    Recall is the reconstruction of a cue, without a label.  Bytes: the weights, their copy, and the copy of the
    neocortex's weights.  Raises ConfigError in regression, and if subjects do not know the boundaries and `renew_every`
    is null.

    Source: Shin, Lee, Kim & Kim 2017, Continual learning with deep generative replay; as in van de Ven et al. 2022.

    >>> dreamer = Autoencoder(hidden=[8], latent=3)
    >>> spec = dreamer.setup(Spec(seeds=(0, 1), inputs=(2, 2), outputs=3, ends=(5,)))
    >>> spec.dreams, dreamer.stored_bytes().tolist()
    (('hippocampus',), [1272, 1272])
    """

    hidden: Sequence[int] = setting((400, 400), "widths", "[400, 400]", whole, check=several, least=1)
    latent: int = setting(100)
    rate: float = setting(0.001, 0.0)
    batch: int = setting(128)
    targets: str = setting("hard", ("hard", "soft"))
    renew_every: int | None = setting(None)

    def _ready(self) -> None:
        self.rule = Adam()

    def setup(self, spec: Spec) -> Spec:
        for_classes(spec, "labels generated rows by class")
        reason = "is null, and subjects do not know the boundaries"
        refuse_if(self.renew_every is None and not spec.ends, "renew_every", reason, "give a number of experiences")
        shapes = coder((math.prod(spec.inputs), *self.hidden), self.latent, bias=False)
        self.weights = drawn(spec, "hippocampus", shapes)
        self.before = {name: w.detach().clone() for name, w in self.weights.items()}
        self.namer = zeros(spec)
        self.rule.setup(replace(spec, weights={name: tuple(w.shape) for name, w in self.weights.items()}))
        self.steps, self.lived, self.renewals = (np.zeros(spec.subjects, np.int64) for _ in range(3))
        self.met = torch.zeros(spec.subjects, spec.contexts, dtype=torch.bool, device=spec.device)  # contexts so far
        self.past = torch.zeros_like(self.met)  # contexts before the last update of the copy
        kinds = {"taught": "normal", "dream": "normal", "context": "uniform"}
        self._draws = {p: BatchDraws(spec.seeds, f"hippocampus.{p}", kind, spec.device) for p, kind in kinds.items()}
        self._dreamt: tuple[tuple, Tensor] | None = None
        return super().setup(replace(spec, recall_answers=False))

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        active = np.ones(len(batch.y), bool) if who is None and batch.weight is None else _there(batch.weights(), who)
        self._learn(batch, batch.weights(), active, clock)
        self.lived = self.lived + active
        if self.spec.task_id_known:
            alive = torch.from_numpy(active).to(self.met.device)[:, None] & (batch.weights() > 0)
            self.met = self.met | (one_hot(batch.context, self.spec.contexts).bool() & alive[..., None]).any(1)
        if self.renew_every is not None and (due := active & (self.lived % self.renew_every == 0)).any():
            self._renew(due, view)

    def sleep(self, batch: Batch, clock: Clock, who: Tensor | None = None) -> None:
        if self.rate:
            weight = batch.weights() * (batch.source == STORED)
            if (active := _there(weight, who)).any():
                self._learn(batch, weight, active, clock)

    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        if self.renew_every is None:
            self._renew(who, view)

    def _learn(self, batch: Batch, weight: Tensor, active: np.ndarray, clock: Clock) -> None:
        """One step on these rows and on generated rows, for the subjects in `active` (bool [s])."""
        x, share = batch.x, torch.from_numpy(1 / (1 + self.renewals)).to(weight)[:, None]
        weight = share * weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        sizes = batch.sizes
        if (dreams := self.renewals > 0).any():
            own = np.full(len(active), batch.rows) if sizes is None else sizes
            sizes = None if sizes is None and dreams.all() else own + dreams * self.batch
            x = torch.cat((x, self._made(self.batch, clock)), 1)
            weight = torch.cat((weight, (1 - share).expand(-1, self.batch) / self.batch), 1)
        names, weights = zip(*self.weights.items(), strict=True)
        with torch.enable_grad():
            noise = self._noise("taught", x.shape[1], self.steps, sizes)
            if batch.sizes is not None:  # generated rows follow each subject's rows, before the padding
                place = np.arange(x.shape[1])
                place = np.where(place < batch.rows, place, place - batch.rows + batch.sizes[:, None])
                noise = noise.gather(2, torch.from_numpy(place).to(noise.device)[:, None].expand_as(noise))
            rows = self._rows(x.flatten(2).mT, noise)
            found = dict(zip(names, gradients(rows, weight, weights), strict=True))
        self.rule.update(self.weights, found, np.full(len(active), self.rate), active)
        self.steps = self.steps + active
        self.changed += 1

    def _rows(self, x: Tensor, noise: Tensor) -> Tensor:
        """The loss of each row [s, b] of x [s, x, b]."""
        mean, spread, z = latents(up(x, self.weights, "up", len(self.hidden)), self.weights, noise)
        wrong = misfit(down(z, self.weights, "down", len(self.hidden)), x, self._levels())
        return wrong + divergence(mean, spread) / x.shape[1]

    @torch.no_grad()
    def _renew(self, due: np.ndarray, view: View) -> None:
        """Copy the weights and those of the neocortex to the generating copies, for the subjects in `due`."""
        who = torch.from_numpy(due).to(self.spec.device)
        for mine, now in ((self.before, self.weights), (self.namer, view.neocortex.weights)):
            for name in mine:
                mine[name] = torch.where(over(who, now[name]), now[name], mine[name])
        self.past = torch.where(who[:, None], self.met, self.past)
        self.renewals = self.renewals + due
        self.changed += 1

    @torch.no_grad()
    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        x = self._made(n, clock)
        context = None  # if contexts are known, each row is of a past context and labelled by its head
        if self.spec.task_id_known:
            lot = self._draws["context"].at(clock.experience + clock.replay, (n,))
            context = pick(lot, self.past)
        scores = view.neocortex.scores(x, context, weights=self.namer)
        there = torch.from_numpy(self.renewals > 0).to(x.device)[:, None].float()
        source = torch.full(x.shape[:2], DREAMED, dtype=torch.uint8, device=x.device)
        batch = Batch.lived(x, scores.argmax(2), source=source, weight=there.expand(-1, n))
        batch = batch if context is None else batch.with_(context=context)
        return batch.with_(scores=scores) if self.targets == "soft" else batch

    @torch.no_grad()
    def _made(self, n: int, clock: Clock) -> Tensor:
        """The inputs [s, n, …] generated at this tick; neocortex and hippocampus learn from the same rows."""
        now = clock.experience + clock.replay
        key = (n, now.tobytes(), self.renewals.tobytes())
        if self._dreamt is not None and self._dreamt[0] == key:
            return self._dreamt[1]
        received = down(self._noise("dream", n, now), self.before, "down", len(self.hidden))
        x = shown(received, self._levels()).mT.reshape(len(now), n, *self.spec.inputs)
        self._dreamt = (key, x)
        return x

    @torch.no_grad()
    def recall(self, x: Tensor) -> Recall:
        known = torch.from_numpy(self.steps > 0).to(x.device)[:, None]
        z = latents(up(x.flatten(2).mT, self.weights, "up", len(self.hidden)), self.weights, None)[2]
        again = shown(down(z, self.weights, "down", len(self.hidden)), self._levels()).mT
        match = cosine_similarity(again, x.flatten(2), dim=2).clamp(0, 1) * known
        again = again.reshape(x.shape) * known.view(-1, 1, *[1] * (x.ndim - 2))
        return replace(nothing(x, self.spec.outputs), x=again, match=match)

    def stored_bytes(self) -> Tensor:
        held = sum(w[0].nbytes for tree in (self.weights, self.before, self.namer) for w in tree.values())
        return torch.full((self.spec.subjects,), held, dtype=torch.int64)

    def _levels(self) -> bool:
        return self.spec.quantum is not None

    def _noise(self, purpose: str, rows: int, ticks: np.ndarray, sizes: np.ndarray | None = None) -> Tensor:
        return self._draws[purpose].at(ticks, (self.latent, rows), 1, sizes)

    def load(self, tree: State) -> None:
        super().load(tree)
        self._dreamt = None


def coder(sizes: tuple[int, ...], latent: int, bias: bool = True) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The shapes of an encoder with layers of these sizes and its mirror image; `bias`: of the log-variance."""
    shapes = layers("up", sizes) | layers("mean", (sizes[-1], latent)) | layers("spread", (sizes[-1], latent), bias)
    return shapes | layers("down", (latent, *reversed(sizes)))


def _there(weight: Tensor, who: Tensor | None) -> np.ndarray:
    """The subjects of `who` that have a row of weight above 0: bool [s], read from the device."""
    there = (weight > 0).any(1)
    return (there if who is None else there & who).cpu().numpy()
