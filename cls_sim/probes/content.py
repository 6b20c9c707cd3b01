"""The content of a night: which memories are replayed, how evenly, and how similar dreams are to known patterns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Flags
from cls_sim.core.batch import DREAMED, LIVED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec, View
from cls_sim.core.settings import Settings, setting
from cls_sim.core.tensors import entr, from_numpy
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.probes.accuracy import lived_contexts
from cls_sim.probes.base import Measured, Probe, labelled, undefined
from cls_sim.probes.evaluations import questions, shared, stored
from cls_sim.probes.night import counts, evenness, named
from cls_sim.probes.priority import correlation, weakness
from cls_sim.replay.base import Replay, Within

LOOKS = 32  # number of batches of a night, evenly spread, whose inputs are kept for analysis
OF = "entropy coverage recency class_bias weakness dreamed pure mixed spurious silent distance"


class Content(Settings, Probe):
    """The content of replay from now until the next waking, or for one day awake [s], recorded in a copy of the life.

    Random numbers are functions of seed and tick, so the copy replays exactly what the life will replay.  At day.end
    the probe measures the night that begins.

    of  entropy     H / ln P of the P stored episodes in replay (Miller-Madow corrected): 1 if all are equally frequent
        coverage    share of the stored episodes that are replayed at least once
        recency     1 - (mean age of replayed rows) / (mean age of stored episodes), for rows with a date: 0 if unbiased
        class_bias  ln k - H of the replayed labels, in nats, with k known classes: 0 if all are equally frequent
        weakness    correlation, over stored episodes, of replay frequency with 1 - the probability that the cortex
                    gives to the label now: above 0 if weak memories are replayed more
        dreamed     share of generated rows
        pure, mixed, spurious, silent  shares of dreams that overlap with one known pattern, with several, with none,
                    and that have no activity
        distance    distance of a dream to the nearest known pattern, divided by the mean distance of known patterns to
                    their nearest neighbours: 0 for a copy, 1 for the distance between known patterns

    The overlap of dream z with pattern ξ is 1 - |z - ξ|² / d², with d the distance of ξ to its nearest neighbour: 1 for
    a copy, 0 at distance d.  Known patterns are the stored episodes; if there are none, the training data of the
    contexts met so far.

    threshold  in (0, 1), above which an overlap counts
    items      largest number of known patterns that are compared, evenly spread, from 2

    NaN if no row counts; comparisons with known patterns are NaN if there are fewer than two.  class_bias and weakness
    raise ConfigError in regression.  All probes of this class together cost the time of one more night.

    >>> Content(of="coverage").moments
    ('day.end',)
    """

    moments = ("day.end",)

    of: str = setting("coverage", OF.split())
    threshold: float = setting(0.5, 0.0, 1.0)
    items: int = setting(500, 2)

    def setup(self, spec: Spec) -> Spec:
        if self.of in ("class_bias", "weakness"):
            return labelled(spec, "of", f"{self.of} needs labels", "choose another")
        return spec

    def measure(self, life: Measured) -> Tensor:
        if not ahead(life).rows:
            return undefined(life)
        if self.of in ("pure", "mixed", "spurious", "silent", "distance"):
            return self._kinds(life) if dreams(life) else undefined(life)
        return getattr(self, f"_{self.of}")(life, notes(life))

    # -- replayed memories ------------------------------------------------------------------------------

    def _entropy(self, life: Measured, notes: Batch) -> Tensor:
        name, there = named(notes)
        return evenness(name, there, life.hippocampus.traces().alive.sum(1))

    def _coverage(self, life: Measured, notes: Batch) -> Tensor:
        episodes = life.hippocampus.traces().alive.sum(1)
        return torch.where(episodes > 0, (counts(*named(notes)) > 0).sum(1) / episodes.double(), torch.nan)

    def _recency(self, life: Measured, notes: Batch) -> Tensor:
        now = from_numpy(life.clock.experience).to(notes.born.device)[:, None]
        traces = life.hippocampus.traces()
        replayed = _mean(now - notes.born, notes.present() & (notes.born >= 0))
        return 1 - replayed / _mean(now - traces.born, traces.alive)

    def _class_bias(self, life: Measured, notes: Batch) -> Tensor:
        known = _known(life)
        if known is None:
            return undefined(life)
        classes = (counts(known.y, known.present()) > 0).sum(1)
        count = counts(notes.y, notes.present())
        entropy = entr(count / count.sum(1, keepdim=True)).sum(1)
        return torch.where(classes > 0, classes.double().log() - entropy, torch.nan)

    def _weakness(self, life: Measured, notes: Batch) -> Tensor:
        episodes = stored(life)
        if notes.slot is None or episodes.rows < 2:
            return undefined(life)
        count = counts(*named(notes), episodes.rows)
        return correlation(count, weakness(life), episodes.present() & (count.sum(1, keepdim=True) > 0))

    def _dreamed(self, life: Measured, notes: Batch) -> Tensor:
        return _mean(notes.source == DREAMED, notes.present())

    # -- generated rows ---------------------------------------------------------------------------------

    def _kinds(self, life: Measured) -> Tensor:
        """The share of one kind of dream, or their distance: [s]."""
        seen = looks(life)
        dreamt, z = seen.source == DREAMED, seen.x.flatten(2)
        active = seen.present() & (z != 0).any(2)
        if self.of == "silent":
            return _mean(~active, dreamt)
        known = _known(life, self.items)
        if known is None or known.rows < 2:
            return undefined(life)
        there, (nearest, away) = known.present(), _distances(life, self.items)
        dreamt = dreamt & (there.sum(1) > 1)[:, None]
        if self.of == "distance":
            return _mean(away.amin(2), dreamt & active) / _mean(nearest, there)
        overlaps = (1 - (away / nearest[:, None]).square() > self.threshold).sum(2)
        kind = {"pure": overlaps == 1, "mixed": overlaps > 1, "spurious": overlaps == 0}[self.of]
        return _mean(kind & active, dreamt)


class Noted(NamedTuple):
    """A batch that was replayed, and for which subjects that counts: `who`, bool [s]."""

    batch: Batch
    who: Flags
    awake: bool  # then lived rows do not count


class Watched(Within):
    """A policy whose batches are recorded: all without their inputs, and some, evenly spread, with their inputs."""

    null = None

    def __init__(self, policy: Replay, subjects: int):
        super().__init__(policy)
        self.open = np.ones(subjects, bool)  # subjects that are still recorded: [s]
        self.rows: list[Noted] = []
        self.looks: list[Noted] = []
        self._every = 1

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        return self._note(batch, clock.asleep, awake=False)

    def training_batch(
        self, lived: Batch, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock
    ) -> Batch:
        batch = self.policy.training_batch(lived, hippocampus, neocortex, view, clock)
        return batch if batch is lived else self._note(batch, ~clock.asleep, awake=True)

    def _note(self, batch: Batch, who: Flags, awake: bool) -> Batch:
        """Record a batch for the subjects `who` [s]; the batch is returned unchanged."""
        who = who & self.open
        if len(self.rows) % self._every == 0:
            self.looks.append(Noted(batch, who, awake))
            if len(self.looks) == 2 * LOOKS:
                self.looks, self._every = self.looks[::2], 2 * self._every
        self.rows.append(Noted(batch.without_inputs(scores=None, features=None), who, awake))
        return batch


class _ReadCortex(Exception):
    """A part has read the cortex."""


class _Unread:
    """In place of a cortex and its consolidation in a night without learning: any use of them raises `_ReadCortex`."""

    def __getattribute__(self, name: str) -> Callable[..., Any]:
        if name in ("step", "elapse", "context_end", "attach"):  # what the life itself calls
            return _nothing
        if name == "__deepcopy__":

            def same(_: object) -> _Unread:
                return self

            return same
        raise _ReadCortex


def _nothing(*_: object) -> None:
    """No effect on other parts."""


@shared
def ahead(life: Measured) -> Watched:
    """The replay of a life until each subject wakes next, or until one day has passed.

    The copy learns only if it must: as long as no part reads the cortex, what it learns cannot change its replay.
    """
    try:
        return _recorded(life, learns=False)
    except _ReadCortex:
        return _recorded(life, learns=True)


@shared
def notes(life: Measured) -> Batch:
    """All rows of that replay, without their inputs."""
    return _joined(ahead(life).rows, inputs=False)


@shared
def dreams(life: Measured) -> bool:
    """Whether any of these rows is generated."""
    return bool((notes(life).source == DREAMED).any())


@shared
def looks(life: Measured) -> Batch:
    """The rows of some of its batches, evenly spread, with their inputs."""
    return _joined(ahead(life).looks)


def _recorded(life: Measured, learns: bool) -> Watched:
    watched: list[Watched] = []

    def watch(policy: Replay) -> Watched:
        watched.append(Watched(policy, life.spec.subjects))
        return watched[0]

    unread: Any = None if learns else _Unread()
    if unread is not None:
        life = copy.copy(life)
        vars(life).update(neocortex=unread, consolidation=unread)
    twin: Any = life.twin(replay=watch)
    twin.probes = {}  # nobody asks it
    if unread is not None:
        twin.view = replace(twin.view, neocortex=unread)
    slept, end = twin.clock.asleep.copy(), twin.clock.experience + twin.clock.per_day
    with torch.enable_grad():
        while watched[0].open.any() and not twin.over:
            twin.step()
            asleep = twin.clock.asleep
            watched[0].open &= ~(slept & ~asleep) & (asleep | (twin.clock.experience < end))
            slept = asleep.copy()
    return watched[0]


@shared
def _distances(life: Measured, items: int) -> tuple[Tensor, Tensor]:
    """From each known pattern to its nearest neighbour [s, n], and from each dream to each known pattern [s, b, n]."""
    known, seen = _known(life, items), looks(life)
    assert known is not None
    there, patterns = known.present(), known.x.flatten(2)
    away = patterns.new_full((seen.subjects, seen.rows, known.rows), torch.inf)  # for rows that are not dreams
    dreamt = (seen.source == DREAMED).any(0)
    away[:, dreamt] = _away(seen.x[:, dreamt].flatten(2), patterns).masked_fill(~there[:, None], torch.inf)
    return _neighbours(patterns, there), away


def _joined(noted: list[Noted], inputs: bool = True) -> Batch:
    """The rows of all batches, with or without their inputs.

    Optional fields are dropped, except slots, which are -1 for batches without them.  Rows that do not count have
    weight 0 and the source LIVED; a silent dream has weight 0, and keeps its source.
    """
    batches = [one.batch for one in noted]
    names = ["y", "context", "born", "item", "source", *(["x"] if inputs else [])]
    joined: dict[str, Any] = {name: torch.cat([getattr(batch, name) for batch in batches], 1) for name in names}
    if not inputs:
        joined["x"] = torch.empty(*joined["y"].shape[:2], 0, device=joined["y"].device)
    if any(batch.slot is not None for batch in batches):
        slots = [torch.full_like(batch.item, -1) if batch.slot is None else batch.slot for batch in batches]
        joined["slot"] = torch.cat(slots, 1)
    rows, source = [batch.rows for batch in batches], joined["source"]
    here = from_numpy(np.stack([one.who for one in noted], 1).repeat(rows, 1)).to(source.device)
    there = here
    if any(batch.weight is not None for batch in batches):
        there = there & torch.cat([batch.present() for batch in batches], 1)
    if any(one.awake for one in noted):
        awake = from_numpy(np.array([one.awake for one in noted]).repeat(rows)).to(source.device)
        there = there & ~(awake & (source == LIVED))
    joined |= {"weight": there.float(), "source": torch.where(here, source, LIVED)}
    return Batch(**joined)


@shared
def _known(life: Measured, most: int | None = None) -> Batch | None:
    """The stored episodes, or else the training data of the contexts met, at most `most`, evenly spread: [s, n, …]."""
    batch = stored(life)
    if not bool(batch.present().any()):
        if not hasattr(life.world, "train"):
            return None
        met, batch = lived_contexts(life), None
        for context in range(life.spec.contexts):
            part = questions(life, "train", context)
            part = part.with_(weight=part.weights() * met[:, context, None])
            batch = part if batch is None else batch.join(part)
    if batch is None or most is None or batch.rows <= most:
        return batch
    order = torch.argsort(~batch.present(), dim=1, stable=True)  # rows that are present come first
    count = batch.present().sum(1, keepdim=True).clamp(min=1)
    places = torch.arange(most, device=order.device) * count // most
    rows = torch.arange(len(order), device=order.device)[:, None]
    chosen = order.gather(1, places)
    few = torch.arange(most, device=order.device) < count  # no pattern twice
    chosen = torch.where(count > most, chosen, order[:, :most])
    weight = batch.weights()[rows, chosen] * few
    return Batch.lived(batch.x[rows, chosen], batch.y[rows, chosen], weight=weight)


def _neighbours(patterns: Tensor, there: Tensor) -> Tensor:
    """The distance [s, n] of each pattern [s, n, f] to the nearest present pattern that is not equal to it.

    >>> x = torch.tensor([[[0.0], [1.0], [4.0], [9.0]]])
    >>> _neighbours(x, torch.tensor([[True, True, True, False]]))[0, :3].tolist()
    [1.0, 1.0, 3.0]
    """
    away = _away(patterns, patterns)
    return torch.where((away > 0) & there[:, None], away, torch.inf).amin(2)


def _away(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances [s, n, m], exactly 0 between equal rows."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """The mean over the selected values [s, n]: float64 [s]; NaN if there are none."""
    return torch.where(there, values.double(), 0.0).sum(1) / there.sum(1)
