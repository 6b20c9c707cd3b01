"""A hippocampus with a dentate gyrus: sparse codes for pattern separation and completion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Recall, Stages
from cls_sim.hippocampus.dentate import active, largest
from cls_sim.hippocampus.episodes import WORK
from cls_sim.hippocampus.fading import Fading, column
from cls_sim.hippocampus.repeats import LARGE, Repeats
from cls_sim.hippocampus.signs import IN_CACHE, Signs, signs_of
from cls_sim.hippocampus.slots import EVICTION

ROUNDING = 1e-3  # of the least number of common cells


class Sparse(Fading):
    """Stores an episode in one exposure under a sparse code, and completes cues to whole episodes.

    Separation: the code c(x) of an input is the set of the k = `winners` among `units` cells with the largest drive
    h = x W.  W is drawn once for each subject: signs, as many 1 as -1 for each cell, so that the mean of an input
    drives no cell.  Codes overlap less than inputs: for inputs of correlation r,
    |c ∩ c'| / k = Φ₂(-θ, -θ; r) / a with a = k / units and θ = Φ⁻¹(1 - a).

    Completion: the fit of trace t to a cue x is  fit(t, x) = strength(t) · |c(x) ∩ c(t)| / k.  The completed input
    is the content of the best trace, match is its fit, and the answer is the vote of all traces (labels one-hot, or
    targets) with weights  exp(sharpness · fit) / Σ exp(sharpness · fit).

    capacity       episodes a subject can hold, from 1
    units          number of coding cells, up to 32768
    winners        k, number of active cells, from 1
    merge          in (0, 1]: an experience repeats an episode if its code overlaps the code of the most similar trace
                   (of the same label, if there are labels) by this fraction of k.  It then takes no new slot: it
                   renews the age and strength of that trace.  null: every experience is a new episode
    learning_rate  in (0, 1]: how far the content of a renewed trace moves toward the new experience; its code stays
    sharpness      sharpness of the vote, from 0 to 80
    fade           in [0, 1): fraction of its strength that a trace loses in each replay step.  A repeated experience
                   renews it, replay does not; a trace below 0.1 is deleted, after about ln 10 / fade steps
    eviction       which episodes stay when the memory is full; see Slots

    merge, learning_rate and fade are one number, or one for each subject.  If rows of a batch repeat one another, the
    last one is stored.  From 4,096 slots on (on a CPU, if merge is large enough, .75 for 50 winners), the traces whose
    codes overlap a new one enough are found by an index, whatever the capacity, and the most similar of these is the
    one that is repeated; smaller memories ask whether the most similar of all traces overlaps enough, which can differ
    only if it does not and another does.

    Content is stored as in Store, but as float32 if the learning rate is below 1.

    Source: O'Reilly & McClelland 1994; Treves & Rolls 1992 (separation and completion); the vote is one step of a
    modern Hopfield network, Ramsauer et al. 2021.

    >>> sparse = Sparse(capacity=5, units=20, winners=2)
    >>> spec = sparse.setup(Spec(seeds=(0,), inputs=(6,), outputs=2))
    >>> sparse.recall(torch.ones(1, 1, 6)).slot.tolist()
    [[-1]]
    """

    derived = Fading.derived | {"_wiring", "_signs", "_threshold", "_rate", "_stay"}
    columns = (*Fading.columns, "code", "strength")

    units: int = setting(1000, 1, 2**15)
    winners: int = setting(50, 1, lambda sparse: sparse.units)
    merge: float | list[float] | None = setting(0.9, 0.0, 1.0, open_low=True)
    sharpness: float = setting(30.0, 0.0, 80.0)
    eviction: str = setting("balanced", EVICTION)

    def setup(self, spec: Spec) -> Spec:
        width = int(torch.Size(spec.inputs).numel())
        reason = "need inputs of two numbers or more, and inputs of this world have one"
        refuse_if(width < 2, "units", reason, "use Store")
        self._threshold = None if self.merge is None else column("merge", self.merge, spec) * self.winners
        self._blends = self.merge is not None and bool((column("learning_rate", self.learning_rate, spec) < 1).any())
        self._wiring, self._signs = None, None
        if spec.quantum is None:
            signs = each(spec.seeds, "hippocampus.wiring", lambda g: signs_of(g, width, self.units))
            self._wiring = signs.to(spec.device)
        else:
            self._signs = Signs(spec, self.units, self.winners)
        shape = (spec.subjects, self.capacity + 1, self.winners)
        self.code = torch.zeros(shape, dtype=torch.int16, device=spec.device)
        self._repeats = self._index() if spec.device.type == "cpu" and self.capacity >= LARGE else None
        return super().setup(spec)

    def _index(self) -> Repeats | None:
        """An index of codes for `merge`, if it finds repeats faster than a look at all traces."""
        if self._threshold is None:
            return None
        index = Repeats(self.units, self.winners, math.ceil(float(self._threshold.min()) - ROUNDING))
        return index if index.useful else None

    def _exact(self, spec: Spec) -> bool:
        return super()._exact(spec) and not self._blends

    # -- encoding -----------------------------------------------------------------------------

    def encode(self, batch: Batch, view: View, clock: Clock, who: Tensor | None = None) -> None:
        fresh, code = self._fresh(batch, who), self._code(batch.x)
        x, known = batch.x.flatten(2), torch.zeros_like(fresh)
        if self._threshold is None:
            slot, key = self._choose(batch, fresh, clock, view)
        else:
            near = self._near(batch, code)
            alike, same = self._compared(code, near)
            fresh, same = fresh & ~self._repeated(alike, batch.y, fresh), torch.where(same, near, -1)
            known = fresh & (same >= 0)
            slot, key = self._choose(batch, fresh & ~known, clock, view)
            slot, key, same = self._renewed(slot, key, same, known)
            if self._blends:
                x, batch = self._blended(x, batch, same, known)
        place = slot.masked_fill(known, self.capacity)
        self.code[self._rows, place] = code.to(torch.int16)
        if self._repeats is not None:
            self._repeats.wrote(self.code, place)
        self.strength[self._rows, slot] = 1.0
        self._write(slot, key, x, batch, clock)

    def _near(self, batch: Batch, code: Tensor) -> Tensor:
        """The trace [s, b] that each row may repeat; -1: none."""
        y = None if self.spec.regression else batch.y
        if self._repeats is None:
            return self._nearest(batch.x, y)[1]
        near, heard = torch.full(batch.x.shape[:2], -1), self._heard_at
        cue = normalize(batch.x.flatten(2), dim=2)
        for i, (row, slot) in enumerate(self._repeats.find(self.code, code)):
            known = heard(i, slot) if y is None else heard(i, slot) & (y[i, row] == self.what[i, slot, 0])
            row, slot = row[known.numpy()], slot[known.numpy()]
            trace = self._plain(self.content[i : i + 1, slot])[0]
            like = (normalize(trace, dim=1) * cue[i, row]).sum(1)
            best = torch.full((len(cue[i]),), -torch.inf).scatter_reduce_(0, from_numpy(row), like, "amax")
            top = np.flatnonzero((like == best[row]).numpy())
            rows, first = np.unique(row[top], return_index=True)  # the first of equal ones
            near[i, rows] = from_numpy(slot[top[first]])
        return near

    def _heard_at(self, subject: int, slot: np.ndarray) -> Tensor:
        """Which of these slots of a subject hold a trace that is not lesioned."""
        there = self.strength[subject, slot] > 0
        inside = from_numpy(slot < self.capacity)
        if self._silent is None:
            return there & inside
        return there & inside & ~self._silent[subject, slot.clip(max=self.capacity - 1)]

    def _compared(self, code: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows have so much of their codes in common that they are one episode.

        code, near  the codes [s, b, k] of a batch, and the slot [s, b] of the trace nearest to each row
        Returns for rows of the batch [s, b, b], and for each row and its trace [s, b].
        """
        assert self._threshold is not None
        least = self._threshold - ROUNDING  # so that rounding does not put 0.9 · 50 above 45
        stored, rows, traces = self.code[self._rows, near.clamp(min=0)].long(), list[Tensor](), list[Tensor]()
        for some in self._groups(4 * code.shape[1]):
            cells = active(code[some], self.units)
            rows.append(torch.bmm(cells, cells.mT))
            traces.append(cells.gather(2, stored[some]).sum(2))
        return torch.cat(rows) >= least[..., None], torch.cat(traces) >= least

    def _repeated(self, alike: Tensor, y: Tensor, fresh: Tensor) -> Tensor:
        """The rows that a later row of the same batch repeats: bool [s, b]."""
        if not self.spec.regression:
            alike = alike & (y[:, :, None] == y[:, None, :])
        return (alike & fresh[:, None, :]).triu(1).any(2)

    def _renewed(self, slot: Tensor, key: Tensor, same: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slots and keys after known rows are sent to their traces; a renewed trace is not overwritten by a new row."""
        same = same.clamp(min=0)
        slot, key = torch.where(known, same, slot), torch.where(known, self.mark[self._rows, same, 2].long(), key)
        rows = slot.shape[1]
        turn = torch.arange(1, rows + 1, device=slot.device) + known * rows
        later = turn[:, None] > turn[:, :, None]  # [s, b, b]
        return slot.masked_fill(((slot[:, None] == slot[:, :, None]) & later).any(2), self.capacity), key, same

    def _blended(self, x: Tensor, batch: Batch, same: Tensor, known: Tensor) -> tuple[Tensor, Batch]:
        """Contents and targets of known rows, moved from those of the trace toward the new ones."""
        here, rate = known[..., None], self._rate[..., None]
        x = torch.where(here, torch.lerp(self.content[self._rows, same], x, rate), x)
        if self.spec.regression:
            y = batch.y.to(self.target.dtype)
            batch = batch.with_(y=torch.where(here, torch.lerp(self.target[self._rows, same], y, rate), y))
        return x, batch

    # -- codes and recall -------------------------------------------------------------------------------

    def _code(self, x: Tensor) -> Tensor:
        """The winners for inputs [s, b, …]: int64 [s, b, k]."""
        x = x.flatten(2)
        if self._wiring is not None:
            return largest(x @ self._wiring, self.winners)
        assert self._signs is not None and self.spec.quantum is not None
        return self._signs.code((x * (1 / self.spec.quantum)).round_())

    def _groups(self, rows: int) -> list[slice]:
        """The subjects in groups, so that `rows` numbers for each cell of a group fit into the cache of a processor."""
        s = self.spec.subjects
        size = max(1, IN_CACHE // (rows * self.units)) if self._rows.device.type == "cpu" else s
        return [slice(i, i + size) for i in range(0, s, size)]

    def _overlaps(self, cells: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The number of active cells that each cue shares with each trace, one chunk of slots at a time: [s, b, c]."""
        for chunk in self._chunks(cells.shape[1], self.units):
            yield chunk, cells @ active(self.code[:, chunk].long(), self.units).mT

    def stages(self, x: Tensor) -> Stages:
        recall = self.recall(x)
        ca3 = self.patterns(recall.slot.clamp(min=0)) * (recall.slot >= 0)[..., None]
        return Stages(active(self._code(x), self.units), ca3, recall.x)

    def patterns(self, slot: Tensor) -> Tensor:
        return active(self.code[self._rows, slot].long(), self.units)

    def recall(self, x: Tensor) -> Recall:
        size = max(64, WORK // (len(x) * self.units))
        parts = [self._complete(some) for some in x.split(size, 1)]
        return Recall(*(torch.cat([getattr(part, f.name) for part in parts], 1) for f in fields(Recall)))

    def _complete(self, x: Tensor) -> Recall:
        match = torch.full(x.shape[:2], -1.0, device=x.device)
        slot = torch.full(x.shape[:2], -1, dtype=torch.int64, device=x.device)
        ballot = torch.zeros(*x.shape[:2], self.spec.outputs + 1, device=x.device)  # the votes, and their sum
        heard, strength, answers = self._heard(), self._strength() / self.winners, self._votes(self._y())
        answers = torch.cat((answers, torch.ones_like(answers[..., :1])), 2)
        for chunk, overlap in self._overlaps(active(self._code(x), self.units)):
            fit = overlap * strength[:, None, chunk]
            vote = (self.sharpness * (fit - 1)).exp_() * heard[:, None, chunk]
            ballot += vote @ answers[:, chunk]
            best, where = fit.masked_fill(~heard[:, None, chunk], -1.0).max(2)
            slot = torch.where(best > match, where + chunk.start, slot)
            match = torch.maximum(match, best)
        scores = ballot[..., :-1] / ballot[..., -1:].clamp(min=1e-38)
        return self._recalled(x, match.clamp(0, 1), slot, scores)
