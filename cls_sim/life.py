"""The life of a cohort.  Read this page first.

By day the hippocampus encodes each experience in one exposure, and the neocortex learns little or nothing.  By night
the hippocampus replays, and the neocortex learns slowly, at the rate of its plasticity.  Probes only measure.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from cls_sim import PART_KINDS
from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core import portrait
from cls_sim.core.announce import begun, branched, hear, same
from cls_sim.core.arrays import Flags, Numbers, alike, every, some
from cls_sim.core.batch import Batch
from cls_sim.core.budget import within
from cls_sim.core.clock import Clock, Moment, end, with_dusk
from cls_sim.core.contract import Contract, device_of, of_kind, probes_of
from cls_sim.core.errors import ConfigError, bytes_of, whole
from cls_sim.core.ledger import Ledger
from cls_sim.core.part import Part, Spec, State, View, agree, old_names_refused
from cls_sim.hippocampus.base import Hippocampus, stored
from cls_sim.neocortex.base import Neocortex
from cls_sim.plasticity.base import Plasticity
from cls_sim.plasticity.by_state import schedule
from cls_sim.probes.base import Probe, at, intervals
from cls_sim.probes.changes import Changes, changed
from cls_sim.probes.evaluations import sharing
from cls_sim.readout.base import Readout, chosen
from cls_sim.readout.systems import CortexReadout
from cls_sim.replay.base import Replay
from cls_sim.rhythm.base import Rhythm
from cls_sim.world.base import World, latest

BASES = (World, Rhythm, Plasticity, Neocortex, Hippocampus, Replay, Consolidation, Readout)
KINDS = dict(zip(PART_KINDS, BASES, strict=True))


@old_names_refused
class Life:
    """One life of a cohort: `life.step()` advances it by one tick, `life.live(days=…)` by days.

    plasticity              a Plasticity, a number (a constant rate) or a function of the age in days
    consolidation, readout  default: Descent() (Adam on the labels) and CortexReadout()
    probes                  name → Probe, or a function life → [s] (measured at night.end and life.end; see `at`)
    subjects                their number; subject i has the seed `seed + i`, and its life does not depend on the others
    cohort                  (first index, size) of these subjects in a larger cohort; settings by subject have that size
    budget                  bytes beside a plain cortex, such as "157kB"; the hippocampus gets what other parts leave
    """

    def __init__(
        self,
        *,
        world: World,
        neocortex: Neocortex,
        hippocampus: Hippocampus,
        rhythm: Rhythm,
        plasticity: Plasticity | float | Callable[[float], float],
        replay: Replay,
        consolidation: Consolidation | None = None,
        readout: Readout | None = None,
        probes: Mapping[str, Probe | Callable[[Life], Tensor]] | None = None,
        subjects: int = 1,
        seed: int = 0,
        device: str = "cpu",
        cohort: tuple[int, int] | None = None,
        budget: int | str | None = None,
    ):
        self.world, self.rhythm, self.plasticity = world, rhythm, schedule("plasticity", plasticity)
        self.neocortex, self.hippocampus = neocortex, hippocampus
        self.replay, self.consolidation, self.readout = replay, consolidation or Descent(), readout or CortexReadout()
        for part_kind, kind in KINDS.items():
            of_kind(part_kind, getattr(self, part_kind), kind)
        self.probes = probes_of(probes, Probe)
        first = whole("seed", seed, 0, 2**63)
        self.seeds = tuple(range(first, first + whole("subjects", subjects)))
        self.budget = None if budget is None else bytes_of("budget", budget)
        self._told = begun(self._parts(), Spec(seeds=self.seeds, device=device_of(device), cohort=cohort), self.budget)
        spec = self.spec = self._told[PART_KINDS[-1]][1]
        self._first = Contract(spec)
        hear({f"probes.{name}": probe for name, probe in self.probes.items()}, spec)
        self.clock, self.ledger = Clock(spec.subjects, spec.per_day), Ledger(spec.subjects)
        self._ending = np.ones(spec.subjects, bool)  # the subjects whose context ends now; `_revisit` serves them
        self.horizon = self.world.length  # the experience at which this life ends; `live` may set it earlier
        self._look_around()

    def __repr__(self) -> str:
        return portrait.text("Life", portrait.rows(self._parts(), self.spec, self.clock, [*self.probes]))

    def _repr_html_(self) -> str:
        return portrait.page("Life", portrait.rows(self._parts(), self.spec, self.clock, [*self.probes]))

    def _parts(self) -> dict[str, Part]:
        return {part_kind: getattr(self, part_kind) for part_kind in PART_KINDS}

    def _look_around(self) -> None:
        """Make the view through which the parts read one another, and attach each part to this life."""
        self._ends_at = np.isin(np.arange(max(self.world.ends, default=0) + 2), self.world.ends)
        self.view = View(
            scores=lambda x, context=None: self.neocortex.scores(x, context).detach(),
            features=lambda x: self.neocortex.features(x).detach(),
            loss=lambda batch: self.consolidation.loss(self.neocortex, batch),
            recall=self.hippocampus.recall,
            revisit=self._revisit,
            neocortex=self.neocortex,
            answer=lambda x: self.readout.answer(x, None, self.hippocampus, self.neocortex),
            latest=lambda: latest(self.world, self.clock),
            stored=lambda: stored(self.hippocampus),
            ended=lambda: self.world.ended(self.clock),
        )
        for part_kind in PART_KINDS:
            getattr(self, part_kind).attach(self.spec, self.clock)

    def step(self) -> list[Moment]:
        """Advance one tick and return the moments reached.  Raises ConfigError if the life is over."""
        self._going_on()
        if self.clock.tick == 0:
            self.clock.asleep = self._first("rhythm.asleep", self.rhythm.asleep(self.clock, self.view))
        asleep = self.clock.asleep
        awake = ~asleep & ~self._ended()
        rate = self._first("plasticity.rate", self.plasticity.rate(self.clock))
        if some(awake):
            self._wake(awake, rate * awake)
        if some(asleep):
            self._sleep(asleep, rate * asleep)
        self.consolidation.elapse(self.neocortex, self.clock)
        self.clock.advance(awake, asleep)
        return self._moments(awake, asleep)

    def _wake(self, awake: Flags, rate: Numbers) -> None:
        """By day: the hippocampus encodes the experience; the neocortex learns it if its rate is above 0."""
        actions = chosen(self.world, self.readout, self.hippocampus, self.neocortex, self.clock, awake)
        lived = self._first("world.next", self.world.next(self.clock, *actions))
        self.ledger.add("lived", lived.rows, awake)
        if some(rate):
            lesson = self.replay.training_batch(lived, self.hippocampus, self.neocortex, self.view, self.clock)
            self._first("replay.training_batch", lesson, self.replay, self.hippocampus)
            self.consolidation.step(self.neocortex, lesson, rate, self.view)
            self.ledger.add("wake_passes", lesson.count(), rate > 0)
            self.ledger.add("wake_dose", rate)
        self.hippocampus.encode(lived, self.view, self.clock, self._some(awake))
        self._first("awake", self, lived)

    def _sleep(self, asleep: Flags, rate: Numbers) -> None:
        """By night: the neocortex learns a replayed batch; then the hippocampus decays or trains, if its model does."""
        batch = self.replay.draw(self.hippocampus, self.neocortex, self.view, self.clock)
        self._first("replay.draw", batch, self.replay, self.hippocampus)
        if some(rate):
            self.consolidation.step(self.neocortex, batch, rate, self.view)
            self.ledger.add("night_passes", batch.count(), rate > 0)
            self.ledger.add("night_dose", rate)
        self.hippocampus.sleep(batch, self.clock, self._some(asleep))

    def _moments(self, awake: Flags, asleep: Flags) -> list[Moment]:
        """The moments that this tick reaches.  A context ends after the night that follows its last experience."""
        clock = self.clock
        clock.asleep = self._first("rhythm.asleep", self.rhythm.asleep(clock, self.view))
        if every(asleep) and every(clock.asleep):
            return []
        up_next, roused = awake, asleep
        if some(asleep) or some(clock.asleep):
            up_next, roused = ~clock.asleep & (awake | asleep), asleep & ~clock.asleep
            clock.night += clock.asleep & ~asleep
        ended = self._who(up_next, lambda now: self._ends_at[np.minimum(now, len(self._ends_at) - 1)])
        if self.spec.ends and some(ended):
            self._ending = ended
            for part_kind in PART_KINDS:
                getattr(self, part_kind).context_end(self.view, clock, ended)
        reached = {f"every {n}": self._every(n, awake) for n in intervals(self.probes.values())}
        reached |= {"day.end": self._every(clock.per_day, awake), "night.end": roused, "context.end": ended}
        moments = [Moment(name, who) for name, who in reached.items() if some(who)]
        if moments and self.budget is not None:
            within(self._parts(), self.spec.subjects, self.budget)
        return moments

    def _every(self, n: int, who: Flags) -> Flags:
        """The subjects in `who` who have had a multiple of n experiences."""
        return self._who(who, lambda now: now % n == 0)

    def _who(self, who: Flags, test: Callable[[Any], Any]) -> Flags:
        """The subjects in `who` whose number of experiences passes a test: asked once if it is the same for all."""
        now = self.clock.experience
        if alike(now):
            return who if test(int(now[0])) else np.zeros(len(who), bool)
        return who & test(now)

    def _ended(self) -> Flags:
        """The subjects that have had their last experience: bool [s]."""
        return np.zeros(len(self.seeds), bool) if self.horizon is None else self.clock.experience >= self.horizon

    def _some(self, who: Flags) -> Tensor | None:
        """`who` as a tensor on the device, or None if it is all subjects."""
        return None if every(who) else torch.as_tensor(who, device=self.spec.device)

    def _revisit(self, size: int) -> Iterator[Batch]:
        """The data of the context that has just ended, for the subjects whose context ended; the ledger counts them."""
        who = self._some(self._ending)
        for batch in self.world.revisit(self.clock, size):
            batch = batch if who is None else batch.with_(weight=batch.weights() * who[:, None])
            if np.any(count := batch.count()):
                self.ledger.add("revisited", count)
                yield batch.with_(sizes=None if isinstance(count, int) else count)

    def live(self, days: float | None = None) -> Iterator[Moment]:
        """Live `days` more (None: to the end of the world); yield each moment.  ConfigError if the world is shorter."""
        self.horizon, everybody = self.ahead(days), np.ones(len(self.seeds), bool)
        try:
            if self.clock.tick == 0:
                yield Moment("life.begin", everybody)
            while not self.over:
                yield from self.step()
            yield Moment("life.end", everybody)
        finally:
            self.horizon = self.world.length

    @property
    def over(self) -> bool:
        """Whether all subjects have reached the horizon and finished the night that follows."""
        return self.clock.tick > 0 and every(self._ended() & ~self.clock.asleep)

    def _going_on(self) -> None:
        if self.over:
            raise ConfigError("life", f"is over at {self.clock.day.min():g} days", "make a new life in a longer world")

    def ahead(self, days: float | None) -> int:
        """The experience `days` from now (None: the end of the world), counted from the age of the youngest subject."""
        self._going_on()
        return self.until(days, int(self.clock.experience.min()))

    def until(self, days: float | None, lived: int = 0) -> int:
        """The experience at which `days` end, if they begin after `lived` experiences (0: `days` is an age)."""
        return end(days, lived, self.world.length, self.clock.per_day)

    @torch.no_grad()
    def measure(self, moment: Moment) -> dict[str, Tensor]:
        """The readings of the probes attached to this moment, name → [s] or [s, k]; evaluations are shared."""
        probes = {name: at(probe) for name, probe in self.probes.items()}
        with sharing(self):
            read = {name: probe.measure(self) for name, probe in probes.items() if moment.name in probe.moments}
        return {name: self._first.reading(name, value) for name, value in read.items()}

    def known_contexts(self, batch: Batch) -> Tensor | None:
        """The contexts [s, b] of a batch if the subjects know them (task-incremental), else None."""
        return batch.context if self.spec.task_id_known else None

    def state(self) -> State:
        """The whole life as one tree of tensors."""
        return {name: getattr(self, name).state() for name in (*PART_KINDS, "clock", "ledger")}

    def load(self, tree: State) -> None:
        """Continue from a state that a life with the same parts has saved."""
        agree("checkpoint", self.state(), tree := with_dusk(tree))
        for name in (*PART_KINDS, "clock", "ledger"):
            getattr(self, name).load(tree[name])

    def twin(self, **changes: Unpack[Changes]) -> Life:
        """A life with the same past and, from now on, other parts.

        A change is a part (it starts without a past), a function part → part (a wrap: `hippocampus=Lesion`), or, of
        plasticity, a constant rate or a function of the age in days.  The other parts keep their state; ConfigError if
        it does not fit the new spec.
        """
        twin = copy.copy(self)
        parts, twin._told = branched(self._parts(), self._told, changed(changes), KINDS, self.budget)
        vars(twin).update(parts | {name: copy.deepcopy(getattr(self, name)) for name in ("clock", "ledger", "probes")})
        twin.spec = twin._told[PART_KINDS[-1]][1]
        twin._first = self._first.without(changes)
        twin.horizon = twin.world.length if self.horizon == self.world.length else self.horizon
        if not same(twin.spec, self.spec):
            hear({f"probes.{name}": probe for name, probe in twin.probes.items()}, twin.spec, again=True)
        twin._look_around()
        return twin
