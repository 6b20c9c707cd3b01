"""A hippocampus that selects exemplars of a context when it has ended, as iCaRL."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View, known_contexts
from cls_sim.core.settings import Settings, setting
from cls_sim.hippocampus.base import Recall
from cls_sim.hippocampus.episodes import Episodic
from cls_sim.hippocampus.slots import MOST

CHOICES = ("herding", "random", "informative")
AT_ONCE = 2000  # rows of the ended context in one batch


class Exemplars(Settings, Episodic):
    """Stores nothing during a context; when it ends, selects m exemplars of each of its classes from all of its data.

        herding      exemplar k is  argmin_x ‖ μ - (f(x) + Σ_{i<k} f(x_i)) / k ‖,   with features f of length 1 and the
                     mean μ of the class, scaled to length 1: the mean of the first few approximates μ
        random       a random sample
        informative  the rows with the largest entropy of the neocortex's answer
        m = min(per_class, capacity // groups),   where a group is a class of a context

    capacity   exemplars a subject can hold, from 1
    per_class  largest number for each class, from 1; null: as many as fit
    selection  herding, random or informative

    When the number of groups grows and m falls, the last selected exemplars of old groups are removed.  A group that is
    met again is selected again from all of its data so far.  The ledger counts the pass over the ended context as
    revisited.  Exemplars are stored and recalled as in Store.  Raises ConfigError in regression, and if subjects do not
    know the boundaries.

    Source: Rebuffi, Kolesnikov, Sperl & Lampert (2017), iCaRL; herding, Welling (2009).

    >>> Exemplars(capacity=20).selection
    'herding'
    """

    eviction = "ring"

    capacity: int = setting(1000, 1, MOST)
    per_class: int | None = setting(None)
    selection: str = setting("herding", CHOICES)

    def setup(self, spec: Spec) -> Spec:
        reason = "stores exemplars of classes, and in regression there are none"
        refuse_if(spec.regression, "", reason, "use hippocampus=store")
        reason = "needs the ends of contexts, which subjects do not know"
        refuse_if(not spec.ends, "", reason, "give order=sharp, boundaries_known=true")
        self.groups = torch.zeros(spec.subjects, spec.contexts, spec.outputs, dtype=torch.bool, device=spec.device)
        self.ended = np.zeros(spec.subjects, np.int64)
        return super().setup(spec)

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        """Store nothing: selection happens when the context ends."""

    def recall(self, x: Tensor) -> Recall:
        match, slot = self._nearest(x)
        return self._recalled(x, match.clamp(0, 1), slot)

    @torch.no_grad()
    def context_end(self, view: View, clock: Clock, who: np.ndarray) -> None:
        rows, seen = [], []
        for batch in view.revisit(AT_ONCE):
            context = known_contexts(self.spec, batch)
            features = view.neocortex.features(batch.x, context).detach()
            seen.append(normalize(features, dim=2) if self.selection == "herding" else self._sure(batch, view, context))
            flat = batch.x.flatten(2)
            rows.append((self._form.write(flat), batch.y, batch.context, batch.born, batch.item, batch.present()))
        content, y, context, born, item, there = (torch.cat(columns, 1) for columns in zip(*rows, strict=True))
        outputs, none = self.spec.outputs, self.groups[0].numel()
        group = torch.where(there & (y >= 0), context.clamp(min=0) * outputs + y, none)  # [s, n]
        new = torch.zeros(len(y), none + 1, dtype=torch.bool, device=y.device).scatter_(1, group, True)[:, :none]
        self.groups = self.groups | new.view_as(self.groups)
        belongs = group[..., None] == new.any(0).nonzero()[:, 0]  # [s, n, g]
        most = np.maximum(self.capacity // np.maximum(self.groups.sum((1, 2)).cpu().numpy(), 1), 1)
        most = torch.from_numpy(most if self.per_class is None else np.minimum(most, self.per_class)).to(y.device)

        label, where = self.what.long().clamp(min=0).unbind(-1)
        self.mark[..., 0].masked_fill_(new.gather(1, where * outputs + label), -1)  # groups met again: select again
        mine = torch.from_numpy(who).to(y.device)[:, None]
        self.mark[..., 0].masked_fill_(mine & (self.mark[..., 2] >= most[:, None]), -1)  # remove the last selected
        chosen, real = self._chosen(torch.cat(seen, 1), belongs, int(most.max()))
        real = real & (torch.arange(chosen.shape[1], device=y.device) < most[:, None])[..., None]  # [s, m, g]
        rank = torch.arange(chosen.shape[1], device=y.device)[:, None].expand_as(chosen)
        chosen, real, rank = chosen.flatten(1), real.flatten(1), rank.flatten(1)
        free = self._alive().to(torch.uint8).argsort(dim=1, stable=True)  # empty slots first
        room = (~self._alive()).sum(1, keepdim=True)
        place = real.cumsum(1) - 1
        slot = torch.where(real & (place < room), free.gather(1, place.clamp(0, self.capacity - 1)), self.capacity)
        at = self._rows, chosen
        batch = Batch.lived(content[at], y[at], context=context[at], born=born[at], item=item[at])
        self._lay(slot, rank, batch)
        self.ended = self.ended + who

    def _sure(self, batch: Batch, view: View, context: Tensor | None) -> Tensor:
        """The priority of each row, the largest first: [s, b, 1]."""
        if self.selection == "informative":
            p = view.scores(batch.x, context).softmax(2)
            return torch.special.entr(p).sum(2, keepdim=True)
        return torch.zeros(*batch.y.shape, 1, device=batch.y.device)

    def _chosen(self, seen: Tensor, belongs: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The selected rows of each group, the best first, and whether each exists: [s, m, g]."""
        most = min(most, belongs.shape[1])
        real = torch.arange(most, device=seen.device)[:, None] < belongs.sum(1, keepdim=True)
        if self.selection != "herding":
            if self.selection == "random":
                lots = [
                    each((seed,), f"hippocampus.exemplars.{count}", lambda g: g.random(seen.shape[1:], np.float32))
                    for seed, count in zip(self.spec.seeds, self.ended, strict=True)
                ]
                seen = torch.cat(lots).to(seen.device)
            return seen.masked_fill(~belongs, -math.inf).topk(most, 1).indices, real
        mean = normalize(belongs.float().mT @ seen, dim=2)  # [s, g, f]
        left, total, chosen = belongs.clone(), torch.zeros_like(mean), []
        for k in range(1, most + 1):
            # features have length 1, so the row nearest to k μ - Σ has the largest product with it
            like = (seen @ (k * mean - total).mT).masked_fill_(~left, -math.inf)
            best = like.argmax(1)  # [s, g]
            total = total + seen[self._rows, best]
            left = left.scatter(1, best[:, None], False)
            chosen.append(best)
        return torch.stack(chosen, 1), real

    def _lay(self, slot: Tensor, rank: Tensor, batch: Batch) -> None:
        """Write rows, whose x is already encoded, to their slots; slot `capacity` discards a row."""
        self.content[self._rows, slot] = batch.x
        self.what[self._rows, slot] = torch.stack((batch.y, batch.context), -1).to(torch.int16)
        self.mark[self._rows, slot] = torch.stack((batch.born, batch.item, rank), -1).to(torch.int32)
        self.changed += 1
