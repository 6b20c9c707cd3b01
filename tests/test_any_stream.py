"""Parts that fit any stream: the rate, the day and the night follow from sizes and from what the subject has met."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.trees import fingerprint
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


def test_the_rate_of_a_convolution_follows_from_what_its_cells_receive():
    """A cell of the third layer receives 16 x 3 x 3 numbers, and not the 256 pixels of the image."""
    cortex, rule = cs.Cnn4(channels=[4, 16, 2, 2]), cs.ScaledToInput(cs.Descent(optimizer=cs.Sgd()))
    plain, other = cs.Cnn4(channels=[4, 16, 2, 2]), cs.Descent(optimizer=cs.Sgd())
    x = torch.rand(1, 8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = cs.Batch.lived(x, torch.arange(8)[None] % 4)
    for part, net in ((rule, cortex), (other, plain)):
        part.setup(net.setup(cs.Spec(inputs=(1, 16, 16), outputs=4, batch=8)))
    size = x.flatten(2).abs().sum(2).mean().item() * 144 / 256
    rule.step(cortex, batch, np.array([0.1]), None)  # type: ignore[arg-type]
    other.step(plain, batch, np.array([0.1 / size]), None)  # type: ignore[arg-type]
    for name, w in values(plain).items():
        torch.testing.assert_close(values(cortex)[name], w)


def test_the_rate_of_a_perceptron_does_not_depend_on_its_hidden_layers():
    narrow, wide = (cs.ScaledToInput(cs.Descent()) for _ in range(2))
    for rule, hidden in ((narrow, 4), (wide, 400)):
        rule.setup(cs.Mlp(hidden=[hidden]).setup(cs.Spec(inputs=(6,), outputs=4, batch=8)))
    assert narrow._part == wide._part == 1.0  # pyright: ignore[reportPrivateUsage]


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
    st.one_of(st.none(), st.integers(1, 10**4)),
    st.integers(1, 200),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.integers(1, 200),
)
def test_lengths_follow_from_sizes(days: int | None, experience: int, share: float, batch: int):
    rhythm = cs.ProportionalNights(experiences_per_day=days, replayed_per_lived=share, batch=batch)
    day, night = sizes(rhythm, batch=experience)
    assert day == days if days else 500 <= day * experience < 500 + experience
    replayed = share * day * experience
    assert night == 0 if not share else night * batch <= max(replayed, batch) and (night + 1) * batch > replayed - 1e-6
    due = rhythm.due(np.arange(0, 6 * day, day))
    assert (np.diff(due) == night).all(), "nights have the same length at every age"


def test_a_day_has_500_rows_at_any_budget():
    stated = ("experiment=digits", "method=cls_brain", "rhythm.experiences_per_day=null")
    lives = [cs.build(*stated, f"budget={size}") for size in ("9.2kB", "90kB")]
    assert {life.clock.per_day for life in lives} == {math.ceil(500 / lives[0].spec.batch)}


def test_the_rate_falls_within_nights_of_any_length():
    rhythm = cs.ProportionalNights(experiences_per_day=2, batch=4)
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
        "rhythm": cs.ProportionalNights(experiences_per_day=2, batch=8),
        "plasticity": cs.NightlyDecay(start=0.2, floor=0.1, wake_rate=0.1),
        "consolidation": cs.ScaledToInput(),
        "replay": cs.AwakeAsleep(
            cs.Interleaved(cs.Uniform(batch=20), share=1 / 3, only_old=False), cs.Uniform(batch=8)
        ),
    }
    return small(subjects, **usual | parts)


def test_at_every_age_a_day_and_its_night_replay_at_most_three_rows_per_lived_row():
    night = cs.Edited(cs.Uniform(batch=8), neighbours=3, rare=0.0)
    life = brain(
        rhythm=cs.ProportionalNights(experiences_per_day=2, batch=8, held_out=0.1),
        replay=cs.AwakeAsleep(cs.Interleaved(cs.Uniform(batch=20), share=1 / 3, only_old=False), night),
        readout=cs.FittedSum(),
    )
    before, nights, held = life_costs(life), [], set()
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
        rhythm=cs.ProportionalNights(experiences_per_day=2, replayed_per_lived=0.0),
        replay=cs.Interleaved(cs.Uniform(batch=30), share=0.25, only_old=False),
    )
    live(by_day)
    assert not by_day.clock.replay.any() and by_day.clock.day[0] >= 30
    lived, replayed = life_costs(by_day)
    assert 2.9 * lived <= replayed <= 3 * lived


# -- the repair of a memory ------------------------------------------------------------------------------------------------


def clouds(labels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Inputs around the direction of each class: [s, n, 8]."""
    gen = torch.Generator().manual_seed(seed)
    return torch.eye(8)[labels] + 0.1 * torch.randn(*labels.shape, 8, generator=gen)


LABELS = torch.arange(60) % 4
VECTORS = clouds(LABELS)


class Knowing(cs.Linear):
    """A cortex that knows the classes of `clouds`."""

    def scores(self, x: torch.Tensor, context: Any = None, weights: Any = None) -> torch.Tensor:
        return 9 * x[..., :4]


def repaired(wrong: list[int], rows: int = 60, **settings: Any) -> tuple[cs.Store, cs.Edited, cs.Life]:
    """One subject for each number of wrong labels among its stored rows, at its first night."""
    s = len(wrong)
    truth = torch.arange(rows).expand(s, -1) % 4
    y = torch.where(torch.arange(rows) < torch.tensor(wrong)[:, None], (truth + 1) % 4, truth)
    store, edited = cs.Store(capacity=rows + 5), cs.Edited(cs.Uniform(batch=4), **settings)
    life = cs.Life(
        world=cs.Arrays(x=VECTORS.numpy(), y=LABELS.numpy(), contexts=1, per_context=9, batch=4),
        neocortex=Knowing(),
        hippocampus=store,
        rhythm=cs.Nights(experiences_per_day=2, steps_per_night=3),
        plasticity=0.0,
        replay=edited,
        subjects=s,
    )
    store.encode(cs.Batch.lived(clouds(truth), y), life.view, life.clock)
    return store, edited, life


def night(life: cs.Life, count: int = 1) -> None:
    life.clock.asleep[:] = True
    life.clock.night[:] = count
    life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)


def left(store: cs.Store) -> list[int]:
    return store.traces().alive.sum(1).tolist()


def test_a_memory_with_many_wrong_labels_loses_them_and_a_clean_one_loses_nothing():
    store, edited, life = repaired([0, 1, 12])
    night(life)
    assert left(store) == [60, 60, 48] and edited.dropped.tolist() == [0, 0, 12]
    alive = store.traces().alive[2]
    assert not alive[:12].any() and alive[12:60].all(), "the wrong ones"
    always, _, life = repaired([0, 1, 12], rare=0.0)
    night(life)
    assert left(always) == [60, 59, 48]


def test_a_night_edits_once_and_a_look_ahead_never():
    store, _, life = repaired([12])
    life.clock.asleep[:] = True
    cs.NightContent().measure(life)
    assert left(store) == [60], "a probe changes nothing"
    night(life)
    assert left(store) == [48]
    y = torch.tensor([[1, 2, 3, 1]])
    store.encode(cs.Batch.lived(clouds(torch.zeros(1, 4, dtype=torch.int64), 1), y), life.view, life.clock)
    night(life)
    assert left(store) == [52]
    night(life, 2)
    assert left(store) == [48]


def test_the_cortex_must_contradict_the_label_too_and_few_are_examined():
    class Agreeing(Knowing):
        def scores(self, x: torch.Tensor, context: Any = None, weights: Any = None) -> torch.Tensor:
            return super().scores(x).roll(1, 2)  # what the wrong labels say

    store, _, life = repaired([12])
    life.neocortex = Agreeing()
    assert left(store) == [60]
    night(life)
    assert left(store) == [60]
    store, _, life = repaired([12], looked_at=20)
    night(life)
    assert 48 < left(store)[0] < 60


def test_a_small_memory_is_left_alone():
    store, _, life = repaired([4], rows=10)
    night(life)
    assert left(store) == [10]


def test_the_brain_learns_numbers_too():
    """It was refused in regression: repair, balance and new classes had no meaning there."""
    own = ["experiment=dogs_and_parrots", "method=cls_brain", "budget=9kB", "world.similarity=0", "subjects=2"]
    whole = live(cs.build(*own, "world.per_context=50"))
    memory: Any = whole.hippocampus
    assert memory.eviction == "reservoir" and (memory.traces().alive.sum(1) == memory.slots()).all()
    slots = torch.arange(int(memory.slots()[0])).expand(2, -1)
    assert 0.3 < (memory.fetch(slots).context == 0).double().mean() < 0.7  # as many of each half of the life
    half, again = live(cs.build(*own, "world.per_context=50"), 60), cs.build(*own, "world.per_context=50")
    again.load(half.state())
    assert fingerprint(live(again).state()) == fingerprint(whole.state())


def test_without_classes_nothing_competes():
    batch, scores = cs.Batch.lived(torch.randn(1, 4, 3), torch.randn(1, 4, 2)), torch.randn(1, 4, 2)
    squared = cs.SupervisedLoss().row_losses(scores, batch)
    assert torch.equal(cs.AsymmetricLoss(smoothing=0.1).row_losses(scores, batch), squared)


def test_editing_resumes_bit_for_bit_and_does_not_depend_on_the_company():
    def noisy(subjects: int, seed: int = 0) -> cs.Life:
        return brain(
            subjects,
            10,
            seed=seed,
            world=cs.Digits(per_context=10, batch=10, label_noise=0.3, contexts=2, boundaries_known=False),
            replay=cs.Edited(cs.Uniform(batch=8), neighbours=3, rare=0.0, looked_at=30),
        )

    whole = live(noisy(3))
    half = live(noisy(3), 14)
    resumed = noisy(3)
    resumed.load(half.state())
    live(resumed)
    alone = live(noisy(1, 2))
    assert whole.replay.dropped.min() > 0  # type: ignore[attr-defined]
    for one, rows in ((resumed, slice(None)), (alone, slice(2, 3))):
        assert torch.equal(whole.replay.dropped[rows], one.replay.dropped)  # type: ignore[attr-defined]
        for name, column in one.hippocampus.state().items():
            assert torch.equal(whole.hippocampus.state()[name][rows], column), name


# -- the fitted answer -------------------------------------------------------------------------------------------------------


def asked(memory_right: bool, cortex_right: bool, held: float = 0.3, **settings: Any) -> tuple[Any, ...]:
    """A readout, a memory and a cortex, of which each may know nothing."""
    spec = cs.Spec(inputs=(8,), outputs=4, batch=40, held_out=held)
    truth = torch.arange(40)[None] % 4
    store, cortex, readout = cs.Store(capacity=40), Knowing(), cs.FittedSum(**settings)
    x = clouds(truth)
    if not memory_right:
        truth = torch.randint(4, (1, 40), generator=torch.Generator().manual_seed(0))
    if not cortex_right:
        cortex.scores = lambda x, context=None, weights=None: torch.zeros(*x.shape[:2], 4)  # type: ignore[method-assign]
    readout.setup(store.setup(cortex.setup(spec)))
    store.encode(cs.Batch.lived(x, truth), None, Clock(1, 1))  # type: ignore[arg-type]
    return readout, store, cortex


def test_the_weight_is_that_of_the_best_answers_to_held_out_memories():
    assert asked(True, False)[0].weight(*asked(True, False)[1:]).item() == 16
    readout, store, cortex = asked(True, False)
    answer = readout.answer(clouds(torch.tensor([[0, 3, 1]]), 1), None, store, cortex)
    assert answer.scores.argmax(2).tolist() == [[0, 3, 1]]
    readout, store, cortex = asked(False, False)
    assert readout.weight(store, cortex).item() == 0, "a memory does not find itself"
    readout, store, cortex = asked(True, False, held=0.0)
    assert readout.weight(store, cortex).item() == 0, "without held-out memories the cortex answers"


def test_fitting_changes_nothing_and_follows_what_has_changed():
    readout, store, cortex = asked(True, False)
    before = {name: value.clone() for name, value in store.state().items()}
    changed = store.changed
    assert readout.weight(store, cortex).item() == 16
    assert store.changed == changed and store.filled() is not None
    assert all(torch.equal(before[name], value) for name, value in store.state().items())
    store.forget(torch.ones(1, 40, dtype=torch.bool))
    assert readout.weight(store, cortex).item() == 0, "nothing is stored"
    assert readout.state() == {}


POLICIES = {
    "by day": lambda: cs.Interleaved(cs.Uniform(batch=20), share=0.3, only_old=False),
    "by night": lambda: cs.Uniform(batch=8),
    "at once": lambda: cs.FullBatch(),
    "in order": lambda: cs.InOrder(batch=8),
    "preferred": lambda: cs.Preferred(batch=8),
    "the recent": lambda: cs.Recent(batch=8),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_replay_by_day_and_by_night_leaves_held_out_memories_out(policy: str):
    rhythm = cs.ProportionalNights(experiences_per_day=2, batch=8, held_out=0.25)
    life, seen = brain(1, 4, rhythm=rhythm, replay=POLICIES[policy]()), set[int]()
    step = life.consolidation.step

    def watched(cortex: Any, batch: cs.Batch, rate: Any, view: Any) -> None:
        if batch.slot is not None:
            seen.update(batch.slot[batch.present()].tolist())
        step(cortex, batch, rate, view)

    life.consolidation.step = watched  # type: ignore[method-assign]
    live(life)
    assert {slot % 4 for slot in seen - {-1}} == {0, 1, 2}
