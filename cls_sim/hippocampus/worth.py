"""The worth of rows at their arrival, for rules of eviction that keep episodes by what they are (see Slots)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import View, known_contexts
from cls_sim.hippocampus.slots import Slotted

COMPARED = 64  # number of stored episodes with which a gradient is compared


class Worth(Slotted):
    """A memory of `capacity` slots that computes the retention priority of rows.

    capacity  slots of a subject
    eviction  the rule: herding, surprise, coverage or gradients; others need no priority
    summed    [s, o, x]  with herding, the sum of the rows of each class so far
    met       [s, o]     and their number
    """

    capacity: int
    eviction: str
    summed: Tensor
    met: Tensor
    _rows: Tensor  # [s, 1], the numbers of the subjects

    @abstractmethod
    def _nearest(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Cosine (-2: none) and slot (-1) of the trace most similar to each cue [s, b, …], with label y if given."""

    @abstractmethod
    def _votes(self, y: Tensor) -> Tensor:
        """The answer of traces with these labels [s, c] (one-hot), or these targets: float [s, c, o]."""

    def _worth(self, batch: Batch, fresh: Tensor, view: View, clock: Clock) -> Tensor:
        """Retention priority of each row, [s, b] in [0, 1]; rows with the lowest values are kept."""
        if self.eviction == "surprise":
            return (-view.loss(batch).detach()).exp().clamp(0, 1)
        x = batch.x.flatten(2)
        if self.eviction == "coverage":
            cue = normalize(x, dim=2)
            together = (cue @ cue.mT).masked_fill(~fresh[:, None], -1.0).tril(-1)  # similarity to earlier rows
            return (torch.maximum(self._nearest(batch.x)[0], together.amax(2)) / 2 + 0.5).clamp(0, 1)
        if self.eviction == "gradients":
            return self._alike(batch, fresh, view, clock)
        rows = batch.y[..., None]
        self.met.scatter_add_(1, batch.y, fresh.to(self.met.dtype))
        self.summed.scatter_add_(1, rows.expand_as(x), x * fresh[..., None])
        mean = self.summed[self._rows, batch.y] / self.met[self._rows, batch.y].clamp(min=1)[..., None]
        apart = torch.linalg.vector_norm(x - mean, dim=2)
        return apart / (1 + apart)

    def _alike(self, batch: Batch, fresh: Tensor, view: View, clock: Clock) -> Tensor:
        """The largest similarity of a row's gradient to those of earlier and some stored rows: [s, b] in [0, 1].

        The gradient in the output weights is the outer product of δ (answer minus label) and the features f, so the
        cosine of two gradients is cos(δ, δ') cos(f, f').
        """
        if "_lot" not in vars(self):
            self._lot = Draws(self.spec.seeds, "hippocampus.compared", (COMPARED,), device=self.spec.device)
        some = self.fetch((self._lot.at(clock.experience) * self.capacity).long())
        (delta, f), (delta_old, f_old) = self._pushes(batch, view), self._pushes(some, view)
        stored = ((delta @ delta_old.mT) * (f @ f_old.mT)).masked_fill(~some.present()[:, None], -1.0)
        before = fresh[:, None] & torch.ones(batch.rows, batch.rows, dtype=torch.bool, device=f.device).tril(-1)
        together = ((delta @ delta.mT) * (f @ f.mT)).masked_fill(~before, -1.0)
        return (torch.maximum(stored.amax(2), together.amax(2)) / 2 + 0.5).clamp(0, 1)

    def _pushes(self, batch: Batch, view: View) -> tuple[Tensor, Tensor]:
        """The two factors of each row's gradient in the output weights, normalised: [s, b, o] and [s, b, f]."""
        context = known_contexts(self.spec, batch)
        answer = view.scores(batch.x, context)
        away = answer - batch.y if self.spec.regression else answer.softmax(2) - self._votes(batch.y)
        return normalize(away, dim=2), normalize(view.neocortex.features(batch.x, context).detach(), dim=2)
