"""Plasticity: rates equal their formulas, doses their sums, and every subject may age at its own pace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.plasticity.base import Plasticity
from tests.lives import live, small, wraps

NEEDED: dict[str, dict[str, Any]] = {"WakeNight": {"night_rate": 0.1}}  # settings without a default
ROOM = [name for name, module in cs.VOCABULARY.items() if module.startswith("plasticity.") and name != "Plasticity"]
TENANTS = [name for name in ROOM if not wraps(name)]


def clock_at(*days: float, per_day: int = 100) -> Clock:
    clock = Clock(len(days), per_day)
    clock.experience += np.round(np.array(days) * per_day).astype(np.int64)
    return clock


def begun(schedule: Plasticity, subjects: int = 1) -> Plasticity:
    schedule.setup(cs.Spec(seeds=tuple(range(subjects)), stages=(3, 1), due=lambda lived: lived // 100 * 40))
    return schedule


def rates(schedule: Plasticity, *days: float) -> np.ndarray:
    """The rates of subjects of these ages."""
    return begun(schedule, len(days)).rate(clock_at(*days))


# -- the contract, for every option ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TENANTS)
def test_a_rate_for_each_subject(name: str):
    schedule = getattr(cs, name)(**NEEDED.get(name, {}))
    rate = rates(schedule, 0.0, 3.0, 1e6)
    assert rate.dtype == np.float64 and rate.shape == (3,)
    assert np.isfinite(rate).all() and (rate >= 0).all()


@pytest.mark.parametrize("name", TENANTS)
def test_a_schedule_is_a_function_of_the_clock(name: str):
    """Asked twice it says the same, nobody can write into it, it keeps no state, and company does not matter."""
    schedule = begun(getattr(cs, name)(**NEEDED.get(name, {})), 3)
    clock = clock_at(0.0, 3.0, 40.0)
    first = schedule.rate(clock)
    expected = first.copy()
    first *= 0
    assert (schedule.rate(clock) == expected).all()
    assert schedule.state() == {}
    for i, day in enumerate((0.0, 3.0, 40.0)):
        assert rates(getattr(cs, name)(**NEEDED.get(name, {})), day)[0] == expected[i]


@pytest.mark.parametrize("name", [name for name in TENANTS if name not in ("WakeNight", "StageRates")])
def test_numbers_may_be_one_a_subject(name: str):
    """Two subjects with their own numbers are two subjects simulated apart."""
    import inspect

    for key, parameter in inspect.signature(getattr(cs, name)).parameters.items():
        values = [parameter.default, parameter.default / 2]
        both = begun(getattr(cs, name)(**{key: values}), 2).rate(clock_at(4.0, 4.0))
        apart = [rates(getattr(cs, name)(**{key: value}), 4.0)[0] for value in values]
        assert both.tolist() == apart, key
        with pytest.raises(ConfigError, match=rf"^{key}: has 2 numbers for 3 subjects"):
            begun(getattr(cs, name)(**{key: values}), 3)


# -- the formulas ---------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0.1, 1e3), st.floats(0, 3), st.integers(0, 10_000))
def test_formulas(start: float, tau: float, exponent: float, experience: int):
    day = experience / 100
    assert rates(cs.Constant(rate=start), day)[0] == start
    assert rates(cs.Exponential(start=start, tau_days=tau), day)[0] == pytest.approx(start * math.exp(-day / tau))
    power = cs.PowerLaw(start=start, tau_days=tau, exponent=exponent)
    assert rates(power, day)[0] == pytest.approx(start * (1 + day / tau) ** -exponent)


@given(st.floats(0, 50), st.floats(0.01, 10), st.floats(0, 1))
def test_the_critical_period_closes_around_its_day(closes: float, width: float, floor: float):
    schedule = cs.CriticalPeriod(start=0.2, closes=closes, width=width, floor=floor)
    day = round(closes * 100) / 100
    by_hand = 0.2 * (floor + (1 - floor) / (1 + math.exp((day - closes) / width)))
    assert rates(schedule, day)[0] == pytest.approx(by_hand)
    assert rates(schedule, 1e9)[0] == pytest.approx(0.2 * floor), "no overflow at any age"


def test_a_critical_period_is_open_in_youth_and_falls_ever_after():
    rate = rates(cs.CriticalPeriod(start=0.1, closes=10.0, width=0.5, floor=0.1), *np.linspace(0, 20, 41))
    assert rate[0] == pytest.approx(0.1, rel=1e-6) and rate[-1] == pytest.approx(0.01, rel=1e-6)
    assert (np.diff(rate) <= 0).all() and rate[20] == pytest.approx(0.055)


def test_without_fading_a_schedule_is_constant():
    for schedule in (cs.Exponential(start=0.3, tau_days=math.inf), cs.PowerLaw(start=0.3, tau_days=math.inf)):
        assert rates(schedule, 0.0, 7.0, 1e6).tolist() == [0.3] * 3
    mixed = rates(cs.Exponential(start=0.3, tau_days=[1.0, math.inf]), 1.0, 1.0)
    assert mixed.tolist() == pytest.approx([0.3 / math.e, 0.3])


def test_wake_and_night_have_their_own_schedules():
    schedule = begun(cs.WakeNight(wake_rate=[0.0, 0.5], night_rate=cs.Exponential(start=0.1, tau_days=2.0)), 2)
    clock = clock_at(2.0, 2.0)
    assert schedule.rate(clock).tolist() == [0.0, 0.5]
    clock.asleep[:] = [True, False]
    assert schedule.rate(clock).tolist() == pytest.approx([0.1 / math.e, 0.5])
    clock.asleep[:] = True
    assert schedule.rate(clock).tolist() == pytest.approx([0.1 / math.e] * 2)


# -- the dose -------------------------------------------------------------------------------------------------


def test_the_dose_of_a_long_exponential_life_is_start_tau_steps_a_day():
    """S = Σ η over steps → start · τ · steps a day, with steps awake or asleep (age stands still by night)."""
    start, tau = 0.01, np.array([2.0, 5.0])
    awake = begun(cs.Exponential(start=start, tau_days=tau), 2)
    clock, dose = Clock(2, 20), np.zeros(2)
    for _ in range(20 * 60):
        dose += awake.rate(clock)
        clock.advance(np.ones(2, bool), np.zeros(2, bool))
    assert dose == pytest.approx(start * tau * 20, rel=0.02)
    nights = sum(5 * awake.rate(clock_at(float(day), float(day))) for day in range(1, 61))
    assert nights == pytest.approx(start * 5 / np.expm1(1 / tau), rel=1e-4)


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Constant(rate=-0.1), "rate"),
        (lambda: cs.Constant(rate=math.nan), "rate"),
        (lambda: cs.Constant(rate="0.1"), "rate"),
        (lambda: cs.Constant(rate=[]), "rate"),
        (lambda: cs.Exponential(tau_days=0), "tau_days"),
        (lambda: cs.Exponential(tau_days=-math.inf), "tau_days"),
        (lambda: cs.Exponential(tau_days=math.nan), "tau_days"),
        (lambda: cs.Exponential(tau_days="inf"), "tau_days"),
        (lambda: cs.Exponential(tau_days=[1.0, -1.0]), "tau_days[1]"),
        (lambda: cs.Exponential(tau_days=[math.inf, 0.0]), "tau_days[1]"),
        (lambda: cs.Exponential(start=math.inf), "start"),
        (lambda: cs.PowerLaw(exponent=-1), "exponent"),
        (lambda: cs.CriticalPeriod(width=0), "width"),
        (lambda: cs.CriticalPeriod(floor=1.1), "floor"),
        (lambda: cs.CriticalPeriod(closes=-1), "closes"),
        (lambda: cs.WakeNight(night_rate=-1), "night_rate"),
        (lambda: cs.WakeNight(wake_rate="never", night_rate=0.1), "wake_rate"),
    ],
)
def test_refusals_name_the_setting(make, key: str):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.key == key


def test_a_refusal_inside_wake_night_says_where():
    with pytest.raises(ConfigError, match=r"^night_rate\.start: has 2 numbers for 3 subjects"):
        begun(cs.WakeNight(night_rate=cs.Exponential(start=[0.1, 0.2])), 3)
    with pytest.raises(ConfigError, match=r"^night_rate\.rate: has 2 numbers for 3 subjects"):
        begun(cs.WakeNight(night_rate=cs.Constant(rate=[0.1, 0.2])), 3)


@pytest.mark.parametrize("made", [cs.WakeNight(night_rate=[0.1, 0.2]), cs.StageRates(rem=[0.1, 0.2])])
def test_a_number_given_in_place_of_a_schedule_is_refused_under_its_own_key(made: cs.Plasticity):
    with pytest.raises(ConfigError, match=r"^(night_rate|rem): has 2 numbers for 3 subjects"):
        made.setup(cs.Spec(seeds=(0, 1, 2), stages=(3, 1)))


def test_settling_is_high_at_nightfall_and_low_in_the_morning_however_long_the_night():
    rhythm, schedule, clock = (
        cs.GrowingNights(experiences_per_day=10, steps_per_night=5, growth=3.0),
        cs.NightlyDecay(start=0.2, floor=0.1, wake_rate=0.3),
        Clock(1, 10),
    )
    schedule.setup(rhythm.setup(cs.Spec()))
    nights: list[list[float]] = []
    while clock.experience[0] < 30 or rhythm.asleep(clock, None)[0]:  # pyright: ignore[reportArgumentType]
        asleep = clock.asleep = rhythm.asleep(clock, None)  # pyright: ignore[reportArgumentType]
        rate = float(schedule.rate(clock)[0])
        if asleep[0]:
            if clock.replay[0] in (0, 5, 20):
                nights.append([])
            nights[-1].append(rate)
        else:
            assert rate == 0.3
        clock.advance(~asleep, asleep)
    assert [len(night) for night in nights] == [5, 15, 45]
    for night in nights:
        assert night == pytest.approx(0.2 * (0.1 + 0.9 * (1 - np.arange(len(night)) / len(night))))


def test_settling_in_a_night_of_a_rhythm_that_comes_in_mid_life():
    """Steps before a change of rhythm do not count: the first night begins at the high rate and ends at the low one."""
    parts: dict[str, Any] = {"replay": cs.Uniform(batch=4), "plasticity": cs.NightlyDecay(start=0.2, floor=0.0)}
    waking = live(small(rhythm=cs.Nights(experiences_per_day=6, steps_per_night=7), **parts), 6 + 7 + 3)
    for steps in (4, 20):
        twin = waking.twin(rhythm=cs.Nights(experiences_per_day=6, steps_per_night=steps))
        while not twin.clock.asleep.all():
            twin.step()
        rates: list[float] = []
        while twin.clock.asleep.all():
            rates.append(float(twin.plasticity.rate(twin.clock)[0]))
            twin.step()
        assert rates == pytest.approx(0.2 * (1 - np.arange(steps) / steps))


def test_settling_asks_for_nights_of_known_length():
    with pytest.raises(ConfigError, match="does not know"):
        cs.NightlyDecay().setup(cs.Pressure().setup(cs.Spec()))
