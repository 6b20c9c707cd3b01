"""Policies that replay what the hippocampus has stored."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Counts, alike, every
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.part import Spec, View, held_out, per_subject
from cls_sim.core.settings import Settings, fixed, setting
from cls_sim.core.tensors import from_numpy
from cls_sim.hippocampus.base import Filling, Hippocampus, Traces
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay


class Stored(Replay):
    """A policy over stored traces.  Results computed from the traces are cached until the traces change."""

    def setup(self, spec: Spec) -> Spec:
        self._kept: tuple[Hippocampus, tuple, Any] | None = None
        self._held_out = spec.held_out
        return spec

    @abstractmethod
    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        """Rows to interleave with the present experience; if `before` [s] is given, only traces born earlier."""

    def _allowed(self, traces: Traces, before: np.ndarray | None) -> Tensor:
        """Which traces may be replayed, bool [s, n]: alive, not held out and, if given, born before `before` [s]."""
        there = traces.alive
        if self._held_out:
            there = there & ~held_out(torch.arange(there.shape[1], device=there.device), self._held_out)
        if before is None:
            return there
        return there & (traces.born < torch.from_numpy(before).to(traces.born.device)[:, None])

    def _keep(self, hippocampus: Hippocampus, when: tuple, make: Callable[[], Any]) -> Any:
        """The cached result of `make`; computed again if the hippocampus, its contents or `when` have changed."""
        when = (hippocampus.changed, *when)
        if self._kept is None or self._kept[0] is not hippocampus or self._kept[1] != when:
            self._kept = (hippocampus, when, make())
        return self._kept[2]


@dataclass(frozen=True, eq=False)
class Plan:
    """How slots are drawn.

    cumulated  cumulative sampling weights of the traces for each group of rows, [s, g, n]; or the number of traces
               [s, 1], float64, if all of them are alike and fill the first slots
    weight     weight of each row, [s, b], 0 for subjects that have nothing to replay; None: every subject has something
    """

    cumulated: Tensor
    weight: Tensor | None


class Sampled(Settings, Stored):
    """Draws rows with replacement, in groups: row i of group g is trace j with probability w_gj / Σ_j w_gj.

    If all weights of a group are zero, the sum of the other groups' weights is used.
    """

    uniform: ClassVar[bool] = False
    """Whether every trace always has the same weight."""

    batch: int = setting(32)

    def _ready(self) -> None:
        self._groups: tuple[int, ...] = (self.batch,)  # rows of each group

    @abstractmethod
    def weights(self, traces: Traces, clock: Clock) -> Tensor | None:
        """The sampling weight of each trace: float64 [s, g, n]; None for uniform weights.

        The weights of traces that are not alive are ignored.
        """

    def setup(self, spec: Spec) -> Spec:
        self._spec = spec
        shape = (sum(self._groups),)
        self._night = Draws(spec.seeds, "replay.night", shape, device=spec.device)
        self._day = Draws(spec.seeds, "replay.day", shape, device=spec.device)
        self._coming: tuple[Filling, int, Sequence[Tensor]] | None = None  # slots of waking steps, from this one on
        self._asleep: tuple[Plan | None, int, Sequence[Tensor]] = None, 0, ()  # and of replay steps
        return super().setup(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        def make() -> tuple[Plan, Counts | None]:
            plan = self._plan(hippocampus, clock, None)
            # the only wait for the device, once per change of the traces
            count = None if plan.weight is None else (plan.weight > 0).sum(1).cpu().numpy()
            return plan, None if count is None or every(count > 0) else count

        plan, count = self._keep(hippocampus, (clock.experience.tobytes(),), make)
        batch = hippocampus.fetch(self._slots(plan, clock.replay))
        return batch.weighted(None if count is None else plan.weight, count)

    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        if before is None and (coming := self._planned(hippocampus, clock)) is not None:
            return hippocampus.fetch(coming).with_(weight=None)
        when = (clock.experience.tobytes(), None if before is None else before.tobytes())
        plan = self._keep(hippocampus, when, lambda: self._plan(hippocampus, clock, before))
        slot = _drawn(plan, self._day.at(clock.experience)[:, None], self._groups)[:, 0]
        return hippocampus.fetch(slot).with_(weight=plan.weight)

    def _slots(self, plan: Plan, ticks: Counts) -> Tensor:
        """The slots [s, b] that the draws of these replay steps select; a lasting plan draws for more steps at once."""
        if not alike(ticks):
            return _drawn(plan, self._night.at(ticks)[:, None], self._groups)[:, 0]
        now, (of, first, steps) = int(ticks[0]), self._asleep
        if of is not plan or not first <= now < first + len(steps):
            size = 2 * len(steps) if of is plan else 1
            slots = _drawn(plan, self._night.rest(now)[:, :size], self._groups)
            first, steps = now, slots.transpose(0, 1).contiguous().unbind()
            self._asleep = plan, first, steps
        return steps[now - first]

    def _planned(self, hippocampus: Hippocampus, clock: Clock) -> Tensor | None:
        """The slots [s, b] of this experience, drawn with those of the next ones; None: they must be drawn alone."""
        now = int(clock.experience[0])
        if not self.uniform or self._held_out or not alike(clock.experience):
            return None
        filling = hippocampus.filling(now)
        if filling is None or not every(filling.counts[:, now - filling.start] > 0):
            return None
        if self._coming is None or self._coming[0] is not filling or now - self._coming[1] >= len(self._coming[2]):
            draws, counts = self._day.rest(now), filling.counts[:, now - filling.start :, None]
            ticks = min(draws.shape[1], counts.shape[1])
            total = from_numpy(counts[:, :ticks].astype(np.float64)).to(draws.device)
            slots = torch.minimum(draws[:, :ticks] * total, _below(total)).long()
            self._coming = filling, now, slots.transpose(0, 1).contiguous().unbind()
        return self._coming[2][now - self._coming[1]]

    def _plan(self, hippocampus: Hippocampus, clock: Clock, before: np.ndarray | None) -> Plan:
        filled = hippocampus.filled()
        if self.uniform and before is None and not self._held_out and filled is not None and filled.all():
            return Plan(from_numpy(filled[:, None].astype(np.float64)).to(self._spec.device), None)
        traces = hippocampus.traces()
        there, weights = self._allowed(traces, before), self.weights(traces, clock)
        if weights is None:
            cumulated = there.cumsum(1, dtype=torch.float64)[:, None]
        else:
            weights = weights * there[:, None]
            empty = weights.sum(2, keepdim=True) == 0
            cumulated = torch.where(empty, weights.sum(1, keepdim=True), weights).cumsum(2)
        return Plan(cumulated, (cumulated[:, 0, -1:] > 0).float().expand(-1, sum(self._groups)))


def _drawn(plan: Plan, draws: Tensor, groups: tuple[int, ...]) -> Tensor:
    """The slots [s, t, b] selected by draws [s, t, b] in [0, 1); traces of weight 0 are never selected."""
    if plan.cumulated.dim() == 2:
        total = plan.cumulated[..., None]
        return torch.minimum(draws * total, _below(total)).long()
    each = [(plan.cumulated[:, g].contiguous(), some) for g, some in enumerate(draws.split(groups, 2)) if groups[g]]
    slots = [falling(cumulated, some.flatten(1)).view(some.shape) for cumulated, some in each]
    return slots[0] if len(slots) == 1 else torch.cat(slots, 2)


def falling(cumulated: Tensor, draws: Tensor) -> Tensor:
    """Inverse sampling: the index int64 [s, b] that each draw [s, b] in [0, 1) selects among cumulated weights [s, n].

    An index of weight 0 is never selected.

    >>> falling(torch.tensor([[0.0, 1.0, 1.0, 4.0]]), torch.tensor([[0.1, 0.2, 0.3, 0.9]])).tolist()
    [[1, 1, 3, 3]]
    """
    # A product may round up to the total; the largest number below it keeps the draw inside the last weight.
    total = cumulated[:, -1:]
    places = torch.minimum(draws * total, _below(total))
    return torch.searchsorted(cumulated, places.contiguous(), right=True).clamp_(max=cumulated.shape[1] - 1)


def _below(total: Tensor) -> Tensor:
    return total.nextafter(torch.zeros_like(total))


class Uniform(Sampled):
    """Uniform replay: every stored trace is drawn with the same probability, with replacement.

    batch  rows per replay step, from 1

    Source: rehearsal of random old items, Robins 1995; experience replay, Lin 1992.

    >>> Uniform(batch=32)
    Uniform(batch=32)
    """

    uniform = True

    def weights(self, traces: Traces, clock: Clock) -> None:
        return None


class UniformPerRow(Uniform):
    """Uniform replay beside experience, of a given number of memories for each row of it, whatever the batch.

        rows = max(1, round(per_row · b)) for experiences of b rows

    per_row  memories for each row of experience, above 0

    >>> policy = UniformPerRow(per_row=2.0)
    >>> policy.setup(Spec(batch=10)).subjects, policy.batch
    (1, 20)
    """

    batch: int = fixed(1)
    per_row: float = setting(2.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        self.batch = max(1, round(self.per_row * spec.batch))
        self._groups = (self.batch,)
        return super().setup(spec)


class Recent(Sampled):
    """Recency-weighted replay: the sampling weight of a trace halves with every half-life of its age.

        w_j = 2^(-age_j / half_life)

    batch           rows per replay step, from 1
    half_life_days  in days (of `per_day` experiences), above 0; one number, or one per subject

    Source: recent experience dominates hippocampal replay, Kudrimoti, Barnes & McNaughton 1999.
    """

    half_life_days: float | list[float] = setting(1.0, 0.0, open_low=True)

    def setup(self, spec: Spec) -> Spec:
        experiences = per_subject("half_life_days", self.half_life_days, spec) * spec.per_day
        self._half_life = torch.from_numpy(experiences).to(spec.device)[:, None]
        return super().setup(spec)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        # Ages are counted from the newest trace that is alive: the distribution is the same and cannot underflow to 0.
        newest = torch.where(traces.alive, traces.born, 0).amax(1, keepdim=True)
        return torch.exp2((traces.born - newest).clamp(max=0) / self._half_life)[:, None]


class OldNew(Sampled):
    """Draws a fixed fraction of the rows from memories older than the last day of experience, the rest from that day.

    batch  rows per replay step, from 1
    old    fraction of old rows, in [0, 1] (rounded to whole rows)

    If there are no old traces, all rows are new; if there are no new traces, all rows are old.

    Source: interleaving old with new, McClelland, McNaughton & O'Reilly 1995.
    """

    old: float = setting(0.5, 0.0, 1.0)

    def _ready(self) -> None:
        rows = round(self.old * self.batch)
        self._groups = (rows, self.batch - rows)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        today = (np.maximum(clock.experience, 1) - 1) // clock.per_day * clock.per_day  # its first experience
        old = traces.born < torch.from_numpy(today).to(traces.born.device)[:, None]
        return torch.stack((old, ~old), 1).double()


class FullBatch(Stored):
    """Replays all stored traces in one batch in every step: full-batch learning.

    The batch has as many rows as the hippocampus has slots; rows of empty slots have weight 0.

    Source: all memories are reactivated in every epoch, Sun et al. 2023.

    >>> FullBatch()
    FullBatch()
    """

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        return self._keep(hippocampus, (), lambda: self._all(hippocampus, None))

    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        when = (None if before is None else before.tobytes(),)
        return self._keep(hippocampus, when, lambda: self._all(hippocampus, before))

    def _all(self, hippocampus: Hippocampus, before: np.ndarray | None) -> Batch:
        there = self._allowed(hippocampus.traces(), before)
        slots = torch.arange(there.shape[1], device=there.device).expand_as(there).contiguous()
        batch = hippocampus.fetch(slots)
        return batch.with_(weight=None if bool(there.all()) else there.float())
