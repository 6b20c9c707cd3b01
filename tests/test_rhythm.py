"""Rhythm: when sleep comes and how long it lasts, followed tick by tick on a clock."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import View
from cls_sim.rhythm.base import Rhythm
from cls_sim.running.finite import FiniteCheck
from tests.lives import small, wraps

ROOM = [name for name, module in cs.VOCABULARY.items() if module.startswith("rhythm.") and name != "Rhythm"]
TENANTS = [name for name in ROOM if not wraps(name) and name != "Pauses"]  # which needs a world that acts: test_acting
ROWS = cs.Batch.lived(torch.zeros(1, 20, 1), torch.zeros(1, 20, dtype=torch.int64))
VIEW = View(*(lambda *_: None,) * 5, stored=lambda: ROWS)  # type: ignore[arg-type]
VIEW = replace(VIEW, loss=lambda batch: torch.ones(batch.x.shape[:2]))


def made(name: str) -> Rhythm:
    """A rhythm of days of 25 experiences (of one row each, see `begun`)."""
    return getattr(cs, name)(experiences_per_day=25)


def begun(rhythm: Rhythm, ends: tuple[int, ...] = (150, 300), subjects: int = 1) -> Clock:
    """The clock of a cohort that lives by this rhythm."""
    return Clock(subjects, rhythm.setup(cs.Spec(seeds=tuple(range(subjects)), ends=ends, regression=True)).per_day)


def lived(rhythm: Rhythm, clock: Clock, experiences: int) -> str:
    """What subject 0 does tick by tick until so many experiences and the sleep after: w(ake), z(leep)."""
    story = ""
    clock.asleep = rhythm.asleep(clock, VIEW) if clock.tick == 0 else clock.asleep
    while clock.experience[0] < experiences or clock.asleep[0]:
        story += "z" if clock.asleep[0] else "w"
        clock.advance(~clock.asleep, clock.asleep)
        clock.asleep = rhythm.asleep(clock, VIEW)
        assert len(story) < 100_000
    return story


def spans(story: str) -> list[tuple[str, int]]:
    return [(kind, len(list(ticks))) for kind, ticks in groupby(story)]


# -- the contract, for every option ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_it_sets_the_day_and_answers_for_each_subject(name: str):
    rhythm = made(name)
    clock = begun(rhythm, subjects=3)
    assert clock.per_day == 25
    asleep = rhythm.asleep(clock, VIEW)
    assert asleep.dtype == bool and asleep.shape == (3,) and not asleep.any(), "a life begins awake"


@pytest.mark.parametrize("name", TENANTS)
def test_asking_twice_changes_nothing_and_sleep_ends(name: str):
    rhythm = made(name)
    clock = begun(rhythm)
    lived(rhythm, clock, 160)
    before = {k: v.copy() for k, v in rhythm.state().items()}
    assert (rhythm.asleep(clock, VIEW) == rhythm.asleep(clock, VIEW)).all()
    assert all((before[k] == v).all() for k, v in rhythm.state().items())
    assert clock.experience[0] == 160 and not clock.asleep[0]


@pytest.mark.parametrize("name", TENANTS)
def test_a_saved_rhythm_goes_on(name: str):
    whole, first, second = (made(name) for _ in range(3))
    clock, other, resumed = begun(whole), begun(first), begun(second)
    story = lived(whole, clock, 330)
    early = lived(first, other, 151)
    second.load(first.state())
    resumed.load(other.state())
    assert early + lived(second, resumed, 330) == story


@pytest.mark.parametrize("name", TENANTS)
def test_subjects_in_different_phases_sleep_at_their_own_time(name: str):
    """A cohort whose subjects are at different ticks does what each would do alone."""
    rng = np.random.default_rng(0)
    experience, replay = rng.integers(0, 400, 50), rng.integers(0, 2000, 50)
    rhythm = made(name)
    clock = begun(rhythm, subjects=50)
    rhythm.asleep(clock, VIEW)
    clock.experience, clock.replay = experience, replay
    together = rhythm.asleep(clock, VIEW)
    for i in range(50):
        alone = made(name)
        own = begun(alone)
        alone.asleep(own, VIEW)
        own.experience, own.replay = experience[i : i + 1], replay[i : i + 1]
        assert alone.asleep(own, VIEW)[0] == together[i]


# -- when ------------------------------------------------------------------------------------------------------


def test_the_sleepless_never_sleep():
    rhythm = cs.Sleepless(experiences_per_day=10)
    assert spans(lived(rhythm, begun(rhythm), 95)) == [("w", 95)]


@given(st.integers(1, 12), st.integers(0, 7), st.integers(1, 6))
def test_a_night_after_every_day(wake: int, night: int, days: int):
    rhythm = cs.Nights(experiences_per_day=wake, steps_per_night=night)
    clock = begun(rhythm)
    assert lived(rhythm, clock, wake * days) == ("w" * wake + "z" * night) * days
    assert clock.day.tolist() == [days], "by night age stands still"
    assert lived(rhythm, clock, wake * days + wake // 2) == "w" * (wake // 2), "half a day has no night"


def test_growing_nights():
    rhythm = cs.GrowingNights(experiences_per_day=10, steps_per_night=4, growth=2.0)
    clock = begun(rhythm)
    assert spans(lived(rhythm, clock, 30)) == [("w", 10), ("z", 4), ("w", 10), ("z", 8), ("w", 10), ("z", 16)]
    assert (np.diff(rhythm.due(np.arange(0, 10**6, 10**4))) >= 0).all(), "however old"


def test_nights_after_contexts():
    rhythm = cs.ContextNights(experiences_per_day=50, steps_per_night=7)
    clock = begun(rhythm, ends=(30, 40, 100))
    assert spans(lived(rhythm, clock, 100)) == [("w", 30), ("z", 7), ("w", 10), ("z", 7), ("w", 60), ("z", 7)]
    assert clock.day.tolist() == [2.0]


def test_nights_after_contexts_need_to_know_them():
    with pytest.raises(ConfigError, match="do not know the boundaries"):
        cs.ContextNights().setup(cs.Spec(ends=()))


def test_naps_do_not_end_the_day():
    rhythm = cs.Naps(experiences_per_day=10, experiences_between_naps=4, steps_per_nap=3)
    clock = begun(rhythm)
    assert spans(lived(rhythm, clock, 10)) == [("w", 4), ("z", 3), ("w", 4), ("z", 3), ("w", 2)]
    assert clock.day.tolist() == [1.0]


def test_naps_and_nights_can_replay_alike():
    """The matched control: the same replay steps a day, all at once or spread over the day."""
    nights, naps = (
        cs.Nights(experiences_per_day=20, steps_per_night=40),
        cs.Naps(experiences_per_day=20, experiences_between_naps=5, steps_per_nap=10),
    )
    stories = [lived(rhythm, begun(rhythm), 100) for rhythm in (nights, naps)]
    assert stories[0].count("z") == stories[1].count("z") == 200


# -- a twin takes up another rhythm ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "then"),
    [
        (
            cs.Sleepless(experiences_per_day=10),
            cs.Nights(experiences_per_day=10, steps_per_night=4),
            "w" * 10 + "z" * 4 + "w" * 10 + "z" * 4,
        ),
        (
            cs.Nights(experiences_per_day=10, steps_per_night=9),
            cs.Nights(experiences_per_day=10, steps_per_night=4),
            "w" * 10 + "z" * 4 + "w" * 10 + "z" * 4,
        ),
        (cs.Nights(experiences_per_day=10, steps_per_night=4), cs.Sleepless(experiences_per_day=10), "w" * 20),
        (
            cs.Naps(experiences_per_day=10, experiences_between_naps=1, steps_per_nap=9),
            cs.Nights(experiences_per_day=10, steps_per_night=4),
            "w" * 10 + "z" * 4 + "w" * 10 + "z" * 4,
        ),
        (
            cs.Sleepless(experiences_per_day=10),
            cs.Naps(experiences_per_day=10, experiences_between_naps=1, steps_per_nap=2),
            "wzz" * 20,
        ),
    ],
)
def test_a_new_rhythm_neither_makes_up_for_the_past_nor_counts_it(before: Rhythm, after: Rhythm, then: str):
    clock = begun(before)
    lived(before, clock, 30)
    begun(after)
    assert lived(after, clock, 50) == then


# -- stages, pressure, validation ------------------------------------------------------------------------------


def test_nights_of_stages_are_whole_cycles():
    rhythm = cs.NremRem(experiences_per_day=10, cycles=3, nrem=4, rem=2)
    clock = begun(rhythm)
    assert spans(lived(rhythm, clock, 20)) == [("w", 10), ("z", 18)] * 2
    assert rhythm.setup(cs.Spec()).stages == (4, 2)


def test_pressure_is_homeostatic_and_each_subject_has_its_own():
    rhythm = cs.Pressure(
        experiences_per_day=25, rise_per_experience=[0.05, 0.1, 0.0], fall_per_step=0.02, threshold=[1.0, 0.5, 1.0]
    )
    clock = begun(rhythm, subjects=3)
    stories = [""] * 3
    for _ in range(400):
        clock.asleep = rhythm.asleep(clock, VIEW)
        stories = [told + "wz"[int(sleeps)] for told, sleeps in zip(stories, clock.asleep, strict=True)]
        clock.advance(~clock.asleep, clock.asleep)
    assert spans(stories[0])[:4] == [("w", 20), ("z", 50)] * 2
    assert spans(stories[1])[:4] == [("w", 5), ("z", 25)] * 2
    assert stories[2] == "w" * 400


def test_what_is_new_or_wrong_makes_tired():
    match = torch.tensor([[0.0], [1.0]]).expand(2, 20)
    view = replace(VIEW, latest=lambda: ROWS, loss=lambda _: 1 - match, recall=lambda _: SimpleNamespace(match=match))
    for settings in ({"error_gain": 0.1}, {"novelty_gain": 0.1}):
        rhythm = cs.Pressure(rise_per_experience=0.0, fall_per_step=0.1, **settings)
        clock = begun(rhythm, subjects=2)
        for _ in range(10):
            clock.asleep = rhythm.asleep(clock, view)
            clock.advance(~clock.asleep, clock.asleep)
        assert rhythm.asleep(clock, view).tolist() == [True, False]


def test_a_night_ends_when_validation_no_longer_improves():
    asked = []

    def loss(batch):
        asked.append(float(len(asked)))
        return torch.full((1, 20), abs(3 - asked[-1]))  # falls in the looks 0 to 3, then rises

    rhythm = cs.Validated(experiences_per_day=10, steps_per_night=200, steps_between_checks=5, patience=2, held_out=0.1)
    clock, view = begun(rhythm), replace(VIEW, loss=loss)
    while clock.experience[0] < 10 or rhythm.asleep(clock, view)[0]:
        asleep = rhythm.asleep(clock, view)
        clock.advance(~asleep, asleep)
    assert clock.replay[0] == 25 and len(asked) == 6
    plain = cs.Validated(experiences_per_day=10, steps_per_night=8, steps_between_checks=5, patience=9)
    assert spans(lived(plain, begun(plain), 20)) == [("w", 10), ("z", 8)] * 2


@pytest.mark.parametrize("hippocampus", ["NoHippocampus", "Store"])
def test_a_validated_life_can_be_saved_from_birth_on(hippocampus: str):
    rhythm = cs.Validated(experiences_per_day=4, steps_per_night=6, steps_between_checks=2)
    life = small(2, rhythm=rhythm, hippocampus=getattr(cs, hippocampus)())
    for _ in range(12):  # into the second night
        FiniteCheck(life).examine()
        life.step()
    assert life.clock.night.min() > 0


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Sleepless(experiences_per_day=0), "experiences_per_day"),
        (lambda: cs.Nights(experiences_per_day=1.0), "experiences_per_day"),
        (lambda: cs.Nights(steps_per_night=-1), "steps_per_night"),
        (lambda: cs.Nights(steps_per_night=True), "steps_per_night"),
        (lambda: cs.ContextNights(steps_per_night="long"), "steps_per_night"),
        (lambda: cs.Naps(experiences_between_naps=0), "experiences_between_naps"),
        (lambda: cs.Naps(steps_per_nap=-1), "steps_per_nap"),
    ],
)
def test_refusals_name_the_setting(make, key: str):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.key == key


# -- nights that end when it is enough --------------------------------------------------------------------------


def lessons(snr: float, rhythm: Rhythm, subjects: int = 12) -> cs.Life:
    """One night with a noisy linear teacher."""
    return cs.Life(
        subjects=subjects,
        world=cs.Teacher(items=150, features=50, snr=snr, test=500),
        hippocampus=cs.Store(capacity=150, eviction="ring"),
        neocortex=cs.Linear(),
        replay=cs.FullBatch(),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=0.02),
        rhythm=rhythm,
        consolidation=cs.Descent(optimizer=cs.Sgd(), reduction="sum"),
    )


def slept(life: cs.Life) -> np.ndarray:
    for _ in life.live(days=1):
        pass
    return life.clock.replay


@pytest.mark.parametrize("by", ["likelihood", "speed"])
def test_the_more_predictable_the_world_the_longer_the_night(by: str):
    nights = [
        slept(lessons(snr, cs.Estimated(estimator=by, experiences_per_day=1, steps_per_night=400, rate=0.02), 6)).mean()
        for snr in (0.1, 1, 10)
    ]
    assert nights[0] < 0.7 * nights[1] < 0.7 * nights[2]


def test_the_estimated_dose_is_nearly_the_best_and_a_long_night_is_not():
    stopped = lessons(0.5, cs.Estimated(experiences_per_day=1, steps_per_night=400, rate=0.02))
    slept(stopped)
    long = lessons(0.5, cs.Nights(experiences_per_day=1, steps_per_night=400))
    slept(long)
    with torch.no_grad():
        regret = [cs.Regret().measure(life).mean().item() for life in (stopped, long)]
    assert 0 <= regret[0] < 0.05 and regret[1] > 0.15


def test_an_estimate_that_wants_more_than_a_night_goes_on_the_next():
    rhythm = cs.Estimated(experiences_per_day=1, steps_per_night=10, rate=0.02)
    life = lessons(16.0, rhythm, 2)
    for _ in life.live(days=3):
        pass
    assert life.clock.replay.tolist() == [30, 30] and life.clock.night.tolist() == [3, 3]


def test_to_estimate_one_asks_for_one_number():
    with pytest.raises(ConfigError, match="needs a regression with one output"):
        cs.Estimated().setup(cs.Spec(outputs=10))
