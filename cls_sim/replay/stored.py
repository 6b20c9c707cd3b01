"""Policies that replay what the hippocampus has stored."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws
from cls_sim.core.errors import real, reals, whole
from cls_sim.core.part import Spec, View, held_out, per_subject
from cls_sim.hippocampus.base import Hippocampus, Traces
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay


class Stored(Replay):
    """A policy over stored traces; what it works out of them is kept until they change."""

    derived = frozenset({"_kept", "_held_out"})

    def setup(self, spec: Spec) -> Spec:
        self._kept: tuple[Hippocampus, tuple, Any] | None = None
        self._held_out = spec.held_out
        return spec

    @abstractmethod
    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        """Rows to interleave with what is lived now; only of traces born before `before` [s], where given."""

    def _allowed(self, traces: Traces, before: np.ndarray | None) -> Tensor:
        """The traces that may be replayed: alive, not held out, and born before `before` [s], if given: bool [s, n]."""
        there = traces.alive
        if self._held_out:
            there = there & ~held_out(torch.arange(there.shape[1], device=there.device), self._held_out)
        if before is None:
            return there
        return there & (traces.born < torch.from_numpy(before).to(traces.born.device)[:, None])

    def _keep(self, hippocampus: Hippocampus, when: tuple, make: Callable[[], Any]) -> Any:
        """What `make` returns, made again only for another hippocampus, after a change in it, or for another `when`."""
        when = (hippocampus.changed, *when)
        if self._kept is None or self._kept[0] is not hippocampus or self._kept[1] != when:
            self._kept = (hippocampus, when, make())
        return self._kept[2]


@dataclass(frozen=True)
class Plan:
    """How slots are drawn: cumulated weights of each group of rows [s, g, n]; weight [s, b] is 0 for subjects with
    nothing to replay."""

    cumulated: Tensor
    weight: Tensor


class Sampled(Stored):
    """Draws rows with replacement, in groups: row i of group g is trace j with probability w_gj / Σ_j w_gj.

    Where a group's weights are all zero, the other groups' stand in for it.
    """

    derived = Stored.derived | {"_night", "_day", "_spec"}
    _groups: tuple[int, ...]  # rows of each group

    def __init__(self, *groups: int):
        self._groups = groups

    @abstractmethod
    def weights(self, traces: Traces, clock: Clock) -> Tensor | None:
        """How much each trace wants to be replayed: float64 [s, g, n] (those not alive are left out anyway).

        None: all alike.
        """

    def setup(self, spec: Spec) -> Spec:
        self._spec = spec
        shape = (sum(self._groups),)
        self._night = Draws(spec.seeds, "replay.night", shape, device=spec.device)
        self._day = Draws(spec.seeds, "replay.day", shape, device=spec.device)
        return super().setup(spec)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        def make() -> tuple[Plan, bool]:
            plan = self._plan(hippocampus, clock, None)
            return plan, bool((plan.weight > 0).all())  # the one wait for the device, once a change

        plan, everybody = self._keep(hippocampus, (clock.experience.tobytes(),), make)
        batch = hippocampus.fetch(_drawn(plan, self._night.at(clock.replay), self._groups))
        return batch.with_(weight=None if everybody else plan.weight)

    def awake(self, hippocampus: Hippocampus, view: View, clock: Clock, before: np.ndarray | None) -> Batch:
        when = (clock.experience.tobytes(), None if before is None else before.tobytes())
        plan = self._keep(hippocampus, when, lambda: self._plan(hippocampus, clock, before))
        slot = _drawn(plan, self._day.at(clock.experience), self._groups)
        return hippocampus.fetch(slot).with_(weight=plan.weight)

    def _plan(self, hippocampus: Hippocampus, clock: Clock, before: np.ndarray | None) -> Plan:
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
    """The slots [s, b] where draws [s, b] in [0, 1) fall; traces of weight 0 are never met."""
    slots = [falling(plan.cumulated[:, g].contiguous(), some) for g, some in enumerate(draws.split(groups, 1))]
    return slots[0] if len(slots) == 1 else torch.cat(slots, 1)


def falling(cumulated: Tensor, draws: Tensor) -> Tensor:
    """Where draws [s, b] in [0, 1) fall among cumulated weights [s, n]: int64 [s, b]; never on a weight of 0.

    >>> falling(torch.tensor([[0.0, 1.0, 1.0, 4.0]]), torch.tensor([[0.1, 0.2, 0.3, 0.9]])).tolist()
    [[1, 1, 3, 3]]
    """
    # The largest number below the total keeps what rounds up to it from falling behind the last weight.
    total = cumulated[:, -1:]
    places = torch.minimum(draws * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulated, places.contiguous(), right=True).clamp_(max=cumulated.shape[1] - 1)


class Uniform(Sampled):
    """Every trace is as likely as any other.

    batch  rows a replay step, from 1

    Source: rehearsal of random old items, Robins 1995; experience replay, Lin 1992.

    >>> Uniform(batch=32)
    Uniform(batch=32)
    """

    def __init__(self, *, batch: int = 32):
        self.batch = whole("batch", batch)
        super().__init__(self.batch)

    def weights(self, traces: Traces, clock: Clock) -> None:
        return None


class Recent(Sampled):
    """Recent episodes come up more often: the weight of a trace halves with every half-life of its age.

        w_j = 2^(-age_j / half_life)

    batch           rows a replay step, from 1
    half_life_days  above 0, in days (of `per_day` experiences); one number, or one a subject

    Source: recent experience dominates hippocampal replay, Kudrimoti, Barnes & McNaughton 1999.
    """

    derived = Sampled.derived | {"_half_life"}

    def __init__(self, *, batch: int = 32, half_life_days: float | list[float] = 1.0):
        self.batch = whole("batch", batch)
        self.half_life_days = reals("half_life_days", half_life_days, 0.0, open_low=True)
        super().__init__(self.batch)

    def setup(self, spec: Spec) -> Spec:
        experiences = per_subject("half_life_days", self.half_life_days, spec) * spec.per_day
        self._half_life = torch.from_numpy(experiences).to(spec.device)[:, None]
        return super().setup(spec)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        # Ages count from the newest trace that is alive: the distribution is the same and cannot vanish.
        newest = torch.where(traces.alive, traces.born, 0).amax(1, keepdim=True)
        return torch.exp2((traces.born - newest).clamp(max=0) / self._half_life)[:, None]


class OldNew(Sampled):
    """A fixed part of the rows comes from before the last day, the rest from the last day lived.

    batch  rows a replay step, from 1
    old    in [0, 1], the fraction of them that is old (rounded to rows)

    Where there is nothing old, or nothing new, the other fills all rows.

    Source: interleaving old with new, McClelland, McNaughton & O'Reilly 1995.
    """

    def __init__(self, *, batch: int = 32, old: float = 0.5):
        self.batch = whole("batch", batch)
        self.old = real("old", old, 0.0, 1.0)
        rows = round(self.old * self.batch)
        super().__init__(rows, self.batch - rows)

    def weights(self, traces: Traces, clock: Clock) -> Tensor:
        today = (np.maximum(clock.experience, 1) - 1) // clock.per_day * clock.per_day  # its first experience
        old = traces.born < torch.from_numpy(today).to(traces.born.device)[:, None]
        return torch.stack((old, ~old), 1).double()


class FullBatch(Stored):
    """The whole store in one batch, slot by slot, in every step: full-batch learning.

    Empty slots have weight 0.  The batch has as many rows as the hippocampus has slots.

    Source: the notebook that reactivates all its memories in every epoch, Sun et al. 2023.

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
