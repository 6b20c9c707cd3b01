"""Parts that fit any stream: the rate, the day and the night follow from sizes and from what the subject has met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from tests.lives import live, small
from tests.test_consolidation import lesson, settled, values

RULES = {"sgd": cs.Sgd, "momentum": cs.Momentum, "adam": cs.Adam}


# -- the rate ------------------------------------------------------------------------------------------------------


def stepped(rule: cs.Consolidation, *batches: cs.Batch, rate: tuple[float, ...] = (0.1,)) -> dict[str, torch.Tensor]:
    """The weights after a step with each of these batches."""
    cortex, rule = settled(*range(len(rate)), descent=rule)
    for batch in batches:
        rule.step(cortex, batch, np.array(rate), None)  # type: ignore[arg-type]
    return values(cortex)


@pytest.mark.parametrize("rule", RULES)
def test_the_rate_is_divided_by_the_mean_size_of_the_first_inputs(rule: str):
    batches = [lesson(0, step=i) for i in range(4)]
    scaled = stepped(cs.ScaledToInput(cs.Descent(optimizer=RULES[rule]()), rows=12), *batches)
    sizes = torch.cat([batch.x[0].abs().sum(1) for batch in batches]).double()
    plain, cortex = cs.Descent(optimizer=RULES[rule]()), None
    cortex, plain = settled(0, descent=plain)
    for batch, met in zip(batches, (8, 12, 12, 12), strict=True):  # rows met, the present batch included
        plain.step(cortex, batch, np.array([0.1 / sizes[:met].mean()]), None)  # type: ignore[arg-type]
    for name, w in values(cortex).items():
        torch.testing.assert_close(scaled[name], w)


@given(st.floats(1e-3, 1e3), st.integers(1, 40))
def test_with_adam_a_step_changes_the_drive_of_a_cell_by_about_the_rate_at_most(scale: float, width: int):
    """However many inputs there are, and whatever their scale."""
    gen = torch.Generator().manual_seed(width)
    x = torch.rand(1, 8, width, generator=gen) * scale
    batch = cs.Batch.lived(x, torch.randint(3, (1, 8), generator=gen))
    cortex, rule = cs.Linear(), cs.ScaledToInput()
    rule.setup(cortex.setup(cs.Spec(inputs=(width,), outputs=3, batch=8)))
    before = cortex.scores(x).detach()
    rule.step(cortex, batch, np.array([0.1]), None)  # type: ignore[arg-type]
    bias = 0.1 / (rule.total / rule.met)[0]  # the step of a bias
    largest = x.abs().sum(2).max() / x.abs().sum(2).mean()
    assert (cortex.scores(x).detach() - before).abs().max() <= 0.1 * largest * 1.001 + 1.001 * bias


def test_subjects_that_do_not_learn_meet_nothing_and_padding_does_not_count():
    cortex, rule = settled(0, 1, 2, descent=cs.ScaledToInput(rows=10))
    weight = torch.ones(3, 8)
    weight[1, 3:] = 0
    batch = lesson(0, 1, 2, weight=weight)
    rule.step(cortex, batch, np.array([0.1, 0.1, 0.0]), None)  # type: ignore[arg-type]
    sizes = batch.x.abs().sum(2).double()
    assert rule.met.tolist() == [8, 3, 0]  # type: ignore[attr-defined]
    assert np.allclose(rule.total, [sizes[0].sum(), sizes[1, :3].sum(), 0.0])  # type: ignore[attr-defined]
    before = {name: array.copy() for name, array in rule.state().items() if isinstance(array, np.ndarray)}
    rule.step(cortex, batch, np.zeros(3), None)  # type: ignore[arg-type]
    assert all((rule.state()[name] == array).all() for name, array in before.items())


def test_inputs_of_zeros_leave_the_rate_as_it_is():
    dark = cs.Batch.lived(torch.zeros(1, 8, 6), torch.arange(8)[None] % 4)
    one, other = (stepped(rule, dark) for rule in (cs.ScaledToInput(), cs.Descent()))
    assert all(torch.equal(one[name], other[name]) for name in one)


# -- the day and the night -------------------------------------------------------------------------------------------


def sizes(rhythm: cs.ProportionalNights, **spec: Any) -> tuple[int, int]:
    """Experiences a day, and replay steps a night."""
    said = rhythm.setup(cs.Spec(**spec))
    assert said.due is not None
    return said.per_day, int(said.due(np.array([said.per_day]))[0])


@given(
    st.integers(1, 3000),
    st.one_of(st.none(), st.integers(1, 10**7)),
    st.one_of(st.none(), st.integers(1, 10**4)),
    st.integers(1, 200),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.integers(1, 200),
)
def test_lengths_follow_from_sizes(
    inputs: int, budget: int | None, rows: int | None, experience: int, share: float, batch: int
):
    rhythm = cs.ProportionalNights(rows_per_day=rows, replayed_per_lived=share, batch=batch)
    day, night = sizes(rhythm, inputs=(inputs,), batch=experience, budget=budget)
    wanted = rows or max(500, (budget or 0) // (-(-inputs // 8) + 2))
    assert wanted <= day * experience < wanted + experience
    replayed = share * day * experience
    assert night == 0 if not share else night * batch <= max(replayed, batch) and (night + 1) * batch > replayed - 1e-6
    due = rhythm.due(np.arange(0, 6 * day, day))
    assert (np.diff(due) == night).all(), "nights have the same length at every age"


def test_days_of_the_two_budgets():
    rhythm = cs.ProportionalNights(batch=64)
    assert sizes(rhythm, inputs=(64,), batch=10, budget=9200) == (92, 14)
    assert sizes(rhythm, inputs=(784,), batch=10, budget=157_000) == (157, 24)
    assert sizes(rhythm, inputs=(64,), batch=10) == (50, 7), "500 rows without a budget"


def test_the_rate_falls_within_nights_of_any_length():
    rhythm = cs.ProportionalNights(rows_per_day=20, batch=4)
    plasticity = cs.NightlyDecay(start=0.2, floor=0.5, wake_rate=0.1)
    plasticity.setup(rhythm.setup(cs.Spec(batch=10)))
    clock, rates = Clock(1, 2), []
    for _ in range(21):
        clock.asleep = rhythm.asleep(clock, None)  # type: ignore[arg-type]
        rates.append(round(float(plasticity.rate(clock)[0]), 6))
        clock.advance(~clock.asleep, clock.asleep)
    assert rates == [0.1, 0.1, 0.2, 0.18, 0.16, 0.14, 0.12] * 3


def test_a_share_of_the_slots_is_held_out_of_replay():
    assert cs.ProportionalNights(held_out=0.1).setup(cs.Spec()).held_out == 0.1
    with pytest.raises(ConfigError, match="held_out"):
        cs.ProportionalNights(held_out=1.0)


# -- a whole life ------------------------------------------------------------------------------------------------------


def brain(subjects: int = 2, days: int = 30, **parts: Any) -> cs.Life:
    """Ten lived rows with twenty memories beside them, and one replayed row per lived row by night."""
    usual = {
        "world": cs.Digits(per_context=2 * days // 5 + 1, batch=10, boundaries_known=False),
        "hippocampus": cs.Store(capacity=40, eviction="balanced"),
        "rhythm": cs.ProportionalNights(rows_per_day=20, batch=8),
        "plasticity": cs.NightlyDecay(start=0.2, floor=0.1, wake_rate=0.1),
        "consolidation": cs.ScaledToInput(),
        "replay": cs.AwakeAsleep(
            cs.Interleaved(cs.Uniform(batch=20), share=1 / 3, only_old=False), cs.Uniform(batch=8)
        ),
    }
    return small(subjects, **usual | parts)


def test_at_every_age_a_day_and_its_night_replay_at_most_three_rows_per_lived_row():
    life, before, nights, held = brain(), life_costs(brain()), [], set()
    while not life.over:
        asleep = int(life.clock.replay[0])
        for moment in life.step():
            if moment.name == "night.end":
                now = life_costs(life)
                lived, replayed = (b - a for a, b in zip(before, now, strict=True))
                assert lived == 20 and replayed <= 3 * lived
                before, held = now, held | {int(life.hippocampus.stored_bytes()[0])}
        nights.append(int(life.clock.replay[0]) - asleep)
    assert life.clock.day[0] >= 30 and life.clock.night[0] >= 30
    assert life.clock.replay[0] == 2 * life.clock.night[0], "nights have the same length"
    assert len(held) == 1, "and the memory the same bytes"


def life_costs(life: cs.Life) -> tuple[float, float]:
    """Rows lived so far, and rows replayed: those of the training batches that were not lived, and those by night."""
    total = life.ledger.totals()
    return float(total["lived"][0]), float(total["passes"][0] - total["lived"][0])


def test_a_life_by_day_only_has_the_same_days_and_the_same_rows():
    """The control: no nights, and all replayed rows beside experience."""
    by_day = brain(
        rhythm=cs.ProportionalNights(rows_per_day=20, replayed_per_lived=0.0),
        replay=cs.Interleaved(cs.Uniform(batch=30), share=0.25, only_old=False),
    )
    live(by_day)
    assert not by_day.clock.replay.any() and by_day.clock.day[0] >= 30
    lived, replayed = life_costs(by_day)
    assert 2.9 * lived <= replayed <= 3 * lived
