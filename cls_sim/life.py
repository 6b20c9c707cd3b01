"""The whole life of a cohort.  Read this page first.

By day a subject lives experiences: its hippocampus encodes each in one shot, its cortex learns a little, or
nothing.  By night the hippocampus replays, and the cortex learns slowly, at a plasticity that decays with age.
Probes look at named moments and change nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from cls_sim import PART_KINDS
from cls_sim.consolidation.base import Consolidation
from cls_sim.consolidation.descent import Descent
from cls_sim.core.announce import begun, branched, hear, same
from cls_sim.core.arrays import Flags, Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.contract import Contract, device_of, of_kind, probes_of
from cls_sim.core.errors import ConfigError, real, whole
from cls_sim.core.ledger import Ledger
from cls_sim.core.part import Part, Spec, State, View, agree
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.plasticity.base import Plasticity
from cls_sim.plasticity.by_state import schedule
from cls_sim.probes.base import Probe, at
from cls_sim.probes.changes import Changes
from cls_sim.probes.evaluations import sharing
from cls_sim.readout.base import Readout
from cls_sim.readout.systems import CortexReadout
from cls_sim.replay.base import Replay
from cls_sim.rhythm.base import Rhythm
from cls_sim.world.base import World

KINDS = dict(
    zip(PART_KINDS, (World, Rhythm, Plasticity, Neocortex, Hippocampus, Replay, Consolidation, Readout), strict=True)
)


class Life:
    """One life of a cohort: the parts, the clock, and how they meet in a tick.

    plasticity  a schedule; or a number (a constant rate), or a function of the age in days
    subjects  how many; subject i has seed `seed + i`, and its life does not depend on who else is simulated
    consolidation, readout  where not given: gradient descent by Adam on labels; the cortex answers
    among     where these subjects are part of a cohort: the place of the first, and how many there are in all, so that
              a setting with a number for each is that of the cohort
    probes    name → Probe, or a plain function life → [s] (measured at night.end and life.end, or see `at`)

    `life.step()` makes one tick; `life.live(days=…)` lives so many days more and yields the moments it passes.
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
    ):
        self.world, self.rhythm, self.plasticity = world, rhythm, schedule("plasticity", plasticity)
        self.neocortex, self.hippocampus = neocortex, hippocampus
        self.replay, self.consolidation, self.readout = replay, consolidation or Descent(), readout or CortexReadout()
        for part_kind, kind in KINDS.items():
            of_kind(part_kind, getattr(self, part_kind), kind)
        self.probes = probes_of(probes, Probe)
        first = whole("seed", seed, 0, 2**63)
        self.seeds = tuple(range(first, first + whole("subjects", subjects)))

        self._told = begun(self._parts(), Spec(seeds=self.seeds, device=device_of(device), cohort=cohort))
        spec = self.spec = self._told[PART_KINDS[-1]][1]
        self._first = Contract(spec)
        hear({f"probes.{name}": probe for name, probe in self.probes.items()}, spec)
        self.clock = Clock(spec.subjects, spec.per_day)
        self.ledger = Ledger(spec.subjects)
        self._ending = np.ones(spec.subjects, bool)  # whose data are revisited: those whose context ends now
        self.horizon = self.world.length  # the experience at which this life ends; `live` may set it earlier
        self._look_around()

    def _parts(self) -> dict[str, Part]:
        return {part_kind: getattr(self, part_kind) for part_kind in PART_KINDS}

    def _look_around(self) -> None:
        """Introduce the parts to one another."""
        self.view = View(
            scores=lambda x, context=None: self.neocortex.scores(x, context).detach(),
            features=lambda x: self.neocortex.features(x).detach(),
            loss=lambda batch: self.consolidation.loss(self.neocortex, batch),
            recall=self.hippocampus.recall,
            revisit=self._revisit,
            neocortex=self.neocortex,
            answer=lambda x: self.readout.answer(x, None, self.hippocampus, self.neocortex),
            latest=self._latest,
            stored=self._stored,
            ended=lambda: self.world.ended(self.clock),
        )
        for part_kind in PART_KINDS:
            getattr(self, part_kind).attach(self.spec, self.clock)

    # -- one tick ---------------------------------------------------------------------------------------

    def step(self) -> list[Moment]:
        """One tick: those awake live an experience, those asleep replay.  Returns what ended; Refused where all has."""
        self._going_on()
        if self.clock.tick == 0:
            self.clock.asleep = self._first("rhythm.asleep", self.rhythm.asleep(self.clock, self.view))
        asleep = self.clock.asleep
        awake = ~asleep & ~self._ended()
        rate = self._first("plasticity.rate", self.plasticity.rate(self.clock))
        if awake.any():
            self._wake(awake, rate * awake)
        if asleep.any():
            self._sleep(asleep, rate * asleep)
        self.consolidation.elapse(self.neocortex, self.clock)
        self.clock.advance(awake, asleep)
        return self._moments(awake, asleep)

    def _wake(self, awake: Flags, rate: Numbers) -> None:
        """By day: encode in one shot; learn slowly, often not at all."""
        lived = self._first("world.next", self.world.next(self.clock))
        self.ledger.add("lived", lived.rows, awake)
        if rate.any():
            lesson = self.replay.training_batch(lived, self.hippocampus, self.neocortex, self.view, self.clock)
            self._first("replay.training_batch", lesson, self.replay, self.hippocampus)
            self.consolidation.step(self.neocortex, lesson, rate, self.view)
            self.ledger.add("wake_passes", lesson.count(), rate > 0)
            self.ledger.add("wake_dose", rate)
        self.hippocampus.encode(lived, self.view, self.clock, self._some(awake))
        self._first("awake", self, lived)

    def _sleep(self, asleep: Flags, rate: Numbers) -> None:
        """By night: replay to the cortex; the hippocampus fades, or dreams itself into shape."""
        batch = self.replay.draw(self.hippocampus, self.neocortex, self.view, self.clock)
        self._first("replay.draw", batch, self.replay, self.hippocampus)
        if rate.any():
            self.consolidation.step(self.neocortex, batch, rate, self.view)
            self.ledger.add("night_passes", batch.count(), rate > 0)
            self.ledger.add("night_dose", rate)
        self.hippocampus.sleep(batch, self.clock, self._some(asleep))

    def _moments(self, awake: Flags, asleep: Flags) -> list[Moment]:
        """What this tick has ended.  A context ends when the nights that follow its last experience are over."""
        clock = self.clock
        clock.asleep = self._first("rhythm.asleep", self.rhythm.asleep(clock, self.view))
        fell_asleep = clock.asleep & ~asleep
        clock.night += fell_asleep
        up_next = ~clock.asleep & (awake | asleep)
        moments = [
            Moment("day.end", awake & (clock.experience % clock.per_day == 0)),
            Moment("night.end", asleep & ~clock.asleep),
            Moment("context.end", up_next & np.isin(clock.experience, self.world.ends)),
        ]
        if self.spec.ends and moments[2].who.any():
            self._ending = moments[2].who
            for part_kind in PART_KINDS:
                getattr(self, part_kind).context_end(self.view, clock, self._ending)
        return [moment for moment in moments if moment.who.any()]

    def _ended(self) -> Flags:
        """Who has lived all there is to live: bool [s]."""
        return np.zeros(len(self.seeds), bool) if self.horizon is None else self.clock.experience >= self.horizon

    def _some(self, who: Flags) -> Tensor | None:
        """`who` for the device, or None when it is everybody."""
        return None if who.all() else torch.as_tensor(who, device=self.spec.device)

    def _revisit(self, size: int) -> Iterator[Batch]:
        """The data of the context that has just ended, for those whose context it was; every pass is counted."""
        who = self._some(self._ending)
        for batch in self.world.revisit(self.clock, size):
            batch = batch if who is None else batch.with_(weight=batch.weights() * who[:, None])
            if np.any(count := batch.count()):
                self.ledger.add("revisited", count)
                yield batch.with_(sizes=None if isinstance(count, int) else count)

    def _latest(self) -> Batch:
        """What each subject has lived last (its first experience, before any)."""
        clock = copy.copy(self.clock)
        clock.experience = np.maximum(clock.experience - 1, 0)
        return self.world.next(clock)

    def _stored(self) -> Batch:
        """All that the hippocampus holds, slot by slot."""
        alive = self.hippocampus.traces().alive
        slots = torch.arange(alive.shape[1], device=alive.device).expand_as(alive).contiguous()
        return self.hippocampus.fetch(slots).with_(weight=alive.float())

    # -- many ticks -------------------------------------------------------------------------------------

    def live(self, days: float | None = None) -> Iterator[Moment]:
        """Live `days` more from now (None: until the world ends), yielding every moment as it passes.

        A life broken off goes on where it was.  Raises ConfigError where the world has not so many days left.
        """
        everybody = np.ones(len(self.seeds), bool)
        self.horizon = self.ahead(days)
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
        """Whether everybody has lived to the horizon and slept the night after."""
        return self.clock.tick > 0 and bool((self._ended() & ~self.clock.asleep).all())

    def _going_on(self) -> None:
        if self.over:
            raise ConfigError(
                "life", f"is over at {self.clock.day.min():g} days", "begin another one, in a longer world"
            )

    def ahead(self, days: float | None) -> int:
        """The experience `days` from now (None: the end of the world), counted from the youngest subject's age."""
        self._going_on()
        return self.until(days, int(self.clock.experience.min()))

    def until(self, days: float | None, lived: int = 0) -> int:
        """The experience at which `days` end that begin after so many experiences lived (0: an age)."""
        length = self.world.length
        if days is None:
            if length is None:
                raise ConfigError("days", "is not given and this world never ends", "give a number of days")
            return length
        end = lived + round(real("days", days, 0.0) * self.clock.per_day)
        if length is not None and end > length:
            most = f"give up to {(length - lived) / self.clock.per_day:g}"
            raise ConfigError("days", f"{days:g} is more than this world has{' left' if lived else ''}", most)
        return end

    # -- looking, leaving, coming back ------------------------------------------------------------------

    @torch.no_grad()
    def measure(self, moment: Moment) -> dict[str, Tensor]:
        """What the probes attached to this moment read: name → [s] or [s, k]; they share what they compute."""
        probes = {name: at(probe) for name, probe in self.probes.items()}
        with sharing(self):
            read = {name: probe.measure(self) for name, probe in probes.items() if moment.name in probe.moments}
        return {name: self._first.reading(name, value) for name, value in read.items()}

    def known_contexts(self, batch: Batch) -> Tensor | None:
        """The contexts of a batch, where this world tells them."""
        return batch.context if self.spec.task_id_known else None

    def state(self) -> State:
        """The whole life as one tree of tensors."""
        tree = {part_kind: getattr(self, part_kind).state() for part_kind in PART_KINDS}
        return tree | {"clock": self.clock.state(), "ledger": self.ledger.state()}

    def load(self, tree: State) -> None:
        """Go on from a state saved by a life of the same parts."""
        agree("checkpoint", self.state(), tree)
        for part_kind in PART_KINDS:
            getattr(self, part_kind).load(tree[part_kind])
        self.clock.load(tree["clock"])
        self.ledger.load(tree["ledger"])

    def twin(self, **changes: Unpack[Changes]) -> Life:
        """A life with the same past and, from now on, other parts.

        A change is a part (it begins fresh), or a function part → part (a wrap: `hippocampus=Lesion`).  What the new
        part announces is heard by all others; their state stays as it is.  Raises ConfigError where that cannot be.
        """
        twin = copy.copy(self)
        for name in ("clock", "ledger", "probes"):
            setattr(twin, name, copy.deepcopy(getattr(self, name)))
        parts, twin._told = branched(self._parts(), self._told, {**changes}, KINDS)
        vars(twin).update(parts)
        twin.spec = twin._told[PART_KINDS[-1]][1]
        twin._first = self._first.without(changes)
        twin.horizon = twin.world.length if self.horizon == self.world.length else self.horizon
        if not same(twin.spec, self.spec):
            hear({f"probes.{name}": probe for name, probe in twin.probes.items()}, twin.spec, again=True)
        twin._look_around()
        return twin
