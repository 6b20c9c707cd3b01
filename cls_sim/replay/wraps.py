"""Policies that wrap other policies: a shuffled control, interleaved replay, and mixtures of two policies."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.clock import Clock, in_rem
from cls_sim.core.draws import BatchDraws
from cls_sim.core.errors import ConfigError, flag, real, refuse_if
from cls_sim.core.part import Spec, View, stretch, stretches
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay, Within
from cls_sim.replay.dreamed import Dreamed
from cls_sim.replay.stored import Stored


class Shuffled(Within):
    """A control: replay in which the answers are permuted, so that inputs and answers are no longer related.

    policy  the policy that chooses the rows

    In every step the answers (y and scores) of a subject's replayed rows are permuted among these rows.  Rows of
    experience are never changed.

    >>> from cls_sim.replay.stored import Uniform
    >>> Shuffled(Uniform(batch=8)).setup(Spec()).subjects
    1
    """

    null = None

    def _settle(self, spec: Spec) -> None:
        names = {part: f"replay.shuffled.{part}" for part in ("night", "day")}
        self._draws = {part: BatchDraws(spec.seeds, name, device=spec.device) for part, name in names.items()}

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        return self._shuffled(batch, "night", clock.replay)

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        batch = self.policy.training_batch(lived, hippocampus, neocortex, view, clock)
        return batch if batch is lived else self._shuffled(batch, "day", clock.experience)

    def _shuffled(self, batch: Batch, part: str, ticks: np.ndarray) -> Batch:
        moves = batch.present() & (batch.source != LIVED)
        stay = torch.arange(1.0, batch.rows + 1, dtype=torch.float64, device=moves.device)
        # Both orders list first the rows that move (by position, and in random order), then the rows that stay.
        place = torch.where(moves, stay - batch.rows - 1, stay).argsort(1)
        draws = self._draws[part].at(ticks, (batch.rows,), sizes=batch.sizes)
        lot = torch.where(moves, draws - 1, stay).argsort(1)
        source = torch.empty_like(place).scatter_(1, place, lot)  # [s, b]: the row whose answer each row gets
        rows = torch.arange(len(source), device=source.device)[:, None]
        scores = None if batch.scores is None else batch.scores[rows, source]
        return batch.with_(y=batch.y[rows, source], scores=scores)


class Interleaved(Within):
    """Experience replay while awake: each training batch holds the present experience and replayed memories.

        loss = share · (mean loss of the new rows) + (1 - share) · (mean loss of the replayed rows)

    policy    the policy that chooses the memories: one over stored traces, or Dreamed.  At night it is used unchanged
    share     contexts: 1/k, where k is the number of different contexts met so far, the present one included, so that
              all contexts have the same weight (van de Ven et al. 2022);
              items: n / (n + memories) for the n items of the present context, as if the memories were added to its
              data (iCaRL);
              or a number in [0, 1]
    only_old  replay only traces from before the present stretch of a context began

    A subject without memories learns from the new rows alone.  Row weights are scaled to a mean of 1 over the rows
    that are present.

    Raises ConfigError in `setup` if share=contexts, share=items or only_old is given and the context boundaries of the
    world are unknown; in the constructor if the policy cannot be used while awake.

    Source: van de Ven, Tuytelaars & Tolias 2022; experience replay, Chaudhry et al. 2019.

    >>> from cls_sim.replay.stored import Uniform
    >>> Interleaved(Uniform(batch=8), share=0.5, only_old=False).setup(Spec()).subjects
    1
    """

    inside, null = "policy", {"share": 1.0, "only_old": False}

    def __init__(self, policy: Replay, *, share: str | float = "contexts", only_old: bool = True):
        reason = f"{type(policy).__name__} cannot replay while awake"
        refuse_if(not isinstance(policy, (Stored, Dreamed)), "policy", reason, "give a stored policy, or Dreamed")
        if isinstance(share, str) and share not in ("contexts", "items"):
            raise ConfigError("share", f"cannot be {share!r}", "give contexts, items, or a number from 0 to 1")
        if share == "items" and isinstance(policy, Dreamed):
            raise ConfigError("share", "counts stored memories, and Dreamed has none", "give contexts, or a number")
        super().__init__(policy)
        self.share = share if isinstance(share, str) else real("share", share, 0.0, 1.0)
        self.only_old = flag("only_old", only_old)

    def _settle(self, spec: Spec) -> None:
        refuse_if(not spec.ends and self.only_old, "only_old", "needs known context boundaries", "give only_old=false")
        if not spec.ends and isinstance(self.share, str):
            raise ConfigError("share", "needs known context boundaries", "give a number from 0 to 1")
        if spec.context_sizes is None and self.share == "items":
            raise ConfigError("share", "counts the items of a context, and this world has no items", "give contexts")
        self._spec, self._starts = spec, np.array([0, *spec.ends], np.int64)
        self._context, self._met = stretches(spec)

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        if isinstance(self.share, float) and not self.only_old and isinstance(self.policy, Stored):
            return self._of_all(lived, self.policy, self.share, hippocampus, view, clock)
        share, now = np.full(lived.subjects, self.share), None
        if self.only_old or isinstance(self.share, str):
            now = stretch(self._spec, clock)  # [s], from 0
            if isinstance(self.share, str):
                of_items = self.share == "items"
                share = self._of_items(hippocampus, self._context[now]) if of_items else 1 / self._met[now]
            share = np.where(now == 0, 1.0, share) if self.only_old else share
        if (share == 1).all():
            return lived
        if isinstance(self.policy, Dreamed):
            old = self.policy.draw(hippocampus, neocortex, view, clock)
        else:
            before = self._starts[now] if self.only_old and now is not None else None
            assert isinstance(self.policy, Stored)
            old = self.policy.awake(hippocampus, view.after(lived), clock, before)
        if (alone := share == 1).any():  # these subjects learn from the new rows alone, as without memories
            old = old.with_(weight=old.weights() * torch.from_numpy(~alone).to(self._spec.device)[:, None])
            old = old.with_(sizes=np.where(alone, 0, old.rows))
        if lived.weight is None and old.weight is None and (share * (lived.rows + old.rows) == lived.rows).all():
            return lived.join(old)  # every row has the same weight
        return _in_shares(lived, old, share)

    def _of_all(
        self, lived: Batch, policy: Stored, share: float, hippocampus: Hippocampus, view: View, clock: Clock
    ) -> Batch:
        """The training batch if all subjects have the same share at all times."""
        if share == 1:
            return lived
        old = policy.awake(hippocampus, view.after(lived), clock, None)
        if lived.weight is None and old.weight is None and share * (lived.rows + old.rows) == lived.rows:
            return lived.join(old)
        return _in_shares(lived, old, np.full(lived.subjects, share))

    def _of_items(self, hippocampus: Hippocampus, context: np.ndarray) -> np.ndarray:
        """The share [s] that the items of these contexts [s] have among these items and all stored memories."""
        assert self._spec.context_sizes is not None
        items = self._spec.context_sizes[np.arange(len(context)), context]
        return items / (items + hippocampus.traces().alive.sum(1).cpu().numpy())


class _Two(Settings, Wrap, Replay):
    """Two policies: the first, `inside`, makes the training batches of the day; the subclass defines the nights."""

    other: ClassVar[str]

    def setup(self, spec: Spec) -> Spec:
        spec = super().setup(spec)
        return self.setup_inside(self.other, spec)


class Mixed(_Two):
    """Replays the rows of two policies together, such as stored and generated rows.

        loss = (1 - share) · (mean loss of the stored rows) + share · (mean loss of the dreamed rows)

    stored   a policy, such as Uniform; awake, it makes the training batches
    dreamed  another policy, such as Dreamed
    share    weight of the dreamed rows in the loss, in [0, 1]; None: all rows have the same weight

    A replay step has the rows of both policies.  If one policy has no rows for a subject, the other one has all the
    weight.

    Source: generative beside stored replay, van de Ven, Siegelmann & Tolias 2020.

    >>> from cls_sim.replay.stored import Recent, Uniform
    >>> Mixed(Uniform(batch=8), Recent(batch=24), share=0.5).setup(Spec()).subjects
    1
    """

    inside, other, null = "stored", "dreamed", None

    stored: Replay = part(Replay, kw_only=False)
    dreamed: Replay = part(Replay, kw_only=False)
    share: float | None = setting(None, 0.0, 1.0)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        stored, dreamed = (p.draw(hippocampus, neocortex, view, clock) for p in (self.stored, self.dreamed))
        if self.share is None:
            return stored.join(dreamed)
        there = (stored.weights().sum(1, keepdim=True) > 0).float()
        return _mixed(stored, dreamed, (1 - self.share) * there)


class Staged(_Two):
    """One policy for NREM sleep and another for REM sleep; the rhythm NremRem sets the length of the stages.

    nrem  the policy of NREM sleep, such as Recent; awake, it makes the training batches
    rem   the policy of REM sleep, such as OldNew(old=1.0) or Dreamed

    In the first step of a night both policies draw, so that each can keep what it needs of the cortex as it then is.

    Raises ConfigError in `setup` if nights have no stages.

    Source: NREM replays recent memories faithfully, REM replays remote ones, Singh, Norman & Schapiro 2022.

    >>> from cls_sim.replay.stored import OldNew, Recent
    >>> Staged(Recent(batch=8), OldNew(batch=8, old=1.0)).setup(Spec(stages=(4, 1))).subjects
    1
    """

    inside, other, null = "nrem", "rem", None

    nrem: Replay = part(Replay, kw_only=False)
    rem: Replay = part(Replay, kw_only=False)

    def _settle(self, spec: Spec) -> None:
        if spec.stages is None:
            raise ConfigError("", "needs nights with NREM and REM stages", "use rhythm=nrem_rem")
        self._stages = spec.stages
        # Not state: after a resume both policies see the night begin again, and a policy keeps its first copy.
        self._night = np.full(spec.subjects, -1)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        rem, begins = in_rem(clock, self._stages), clock.asleep & (self._night != clock.night)
        self._night = np.where(begins, clock.night, self._night)
        if (rem.all() or not rem.any()) and begins.any():  # the other policy only sees this step
            (self.nrem if rem.all() else self.rem).draw(hippocampus, neocortex, view, clock)
        if rem.all() or not rem.any():
            return (self.rem if rem.all() else self.nrem).draw(hippocampus, neocortex, view, clock)
        batches = [policy.draw(hippocampus, neocortex, view, clock) for policy in (self.nrem, self.rem)]
        one, other = (
            batch.with_(
                weight=batch.weights() * torch.from_numpy(who).to(batch.x)[:, None],
                sizes=who * (batch.rows if batch.sizes is None else batch.sizes),
            )
            for batch, who in zip(batches, (~rem, rem), strict=True)
        )
        return one.join(other)


class AwakeAsleep(_Two):
    """One policy while awake and another one while asleep.

    awake   the policy that makes the training batches of the day, such as Interleaved(Uniform(batch=10))
    asleep  the policy of the nights, such as Uniform(batch=64)

    >>> from cls_sim.replay.stored import Uniform
    >>> AwakeAsleep(Interleaved(Uniform(batch=8), share=0.5, only_old=False), Uniform(batch=64)).setup(Spec()).subjects
    1
    """

    inside, other, null = "awake", "asleep", None

    awake: Replay = part(Replay, kw_only=False)
    asleep: Replay = part(Replay, kw_only=False)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        return self.asleep.draw(hippocampus, neocortex, view, clock)


def _in_shares(lived: Batch, old: Batch, shares: np.ndarray) -> Batch:
    """Both batches joined in these shares [s]; the host counts the rows if none is absent."""
    both = _mixed(lived, old, torch.from_numpy(shares).to(lived.y.device)[:, None])
    whole = lived.weight is None and old.weight is None
    return both.weighted(both.weight, lived.rows * (shares > 0) + old.rows * (shares < 1)) if whole else both


def _mixed(lived: Batch, old: Batch, share: Tensor) -> Batch:
    """Both batches joined, with total weights in the proportion `share` [s, 1] to 1 - share.

    Rows that are present have a mean weight of 1.
    """
    new_w, old_w = lived.weights(), old.weights()
    new_sum, old_sum = new_w.sum(1, keepdim=True), old_w.sum(1, keepdim=True)
    share = torch.where(old_sum > 0, share.to(new_w.dtype), 1.0)
    there, least = new_sum + old_sum, torch.finfo(new_w.dtype).tiny
    new_w = new_w * (there * share / new_sum.clamp(min=least))
    old_w = old_w * (there * (1 - share) / old_sum.clamp(min=least))
    return lived.with_(weight=new_w).join(old.with_(weight=old_w))
