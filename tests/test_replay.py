"""Replay policies: what each of them must do, and what each of them claims."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cls_sim as cs
from cls_sim.core.batch import LIVED, STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, View
from cls_sim.replay.base import Replay
from tests.lives import live, small

SEEDS, ROWS, DAY = (3, 4, 5, 6), 12, 5


def wrong(batch: Batch) -> torch.Tensor:
    """The loss of a cortex that is right about the label 0 and the more wrong the larger it is."""
    return batch.y.float() / 5 if batch.y.ndim == 2 else batch.y[..., 0].abs()


VIEW = View(
    scores=lambda x, _: torch.nn.functional.one_hot((x[..., 0] * 16).long().clamp(0, 9), 10).float() * x[..., 1:2] * 8,
    features=lambda x: x.flatten(2),
    loss=wrong,
    recall=lambda _: None,
    revisit=lambda _: iter(()),
)


def spec_of(seeds=SEEDS, **changes) -> Spec:
    known = {
        "inputs": (6,),
        "outputs": 10,
        "quantum": 1 / 16,
        "batch": ROWS,
        "per_day": DAY,
        "ends": (10, 20),
        "contexts": 3,
        "stages": (2, 1),
    }
    return Spec(**{"seeds": seeds} | known | changes)


def lived(spec: Spec, t: int) -> Batch:
    """Rows whose label can be read off their input: x[0] · 16 = y."""
    x = each(spec.seeds, f"x{t}", lambda g: g.integers(0, 10, (ROWS, *spec.inputs))).float() / 16
    item = torch.arange(t * ROWS, (t + 1) * ROWS).expand(spec.subjects, -1)
    return Batch.lived(x, (x[..., 0] * 16).long(), item=item, context=item * 0 + t // 10)


def clock_at(spec: Spec, experience: int = 0, replay: int = 0) -> Clock:
    clock = Clock(spec.subjects, DAY)
    clock.experience[:], clock.replay[:] = experience, replay
    return clock


def remembering(spec: Spec, times=range(8), capacity=200, keep="ring", who=None):
    store = cs.Store(capacity=capacity, eviction=keep)
    store.setup(spec)
    for t in times:
        store.encode(lived(spec, t), None, clock_at(spec, t), who)  # pyright: ignore[reportArgumentType]
    return store


def begun(policy: Replay, spec: Spec) -> Replay:
    policy.setup(spec)
    return policy


def draw(policy: Replay, hippocampus, clock: Clock) -> Batch:
    return policy.draw(hippocampus, None, VIEW, clock)  # pyright: ignore[reportArgumentType]


def lesson(policy: Replay, batch: Batch, hippocampus, clock: Clock) -> Batch:
    return policy.training_batch(batch, hippocampus, None, VIEW, clock)  # pyright: ignore[reportArgumentType]


def nights(policy: Replay, hippocampus, spec: Spec, steps: int, experience: int = 8) -> Batch:
    """The rows of many replay steps, one after the other."""
    batches = [draw(policy, hippocampus, clock_at(spec, experience, t)) for t in range(steps)]
    whole = batches[0]
    for batch in batches[1:]:
        whole = whole.join(batch)
    return whole


ELSEWHERE = (cs.Dreamed, cs.Pseudorehearsal, cs.Reencoded, cs.Rationed, cs.GainNeed, cs.Ordered, cs.Unfolded, cs.Events)
"""Policies that do not replay the rows of a store as they are: see test_generators, test_index, test_two_sources,
test_acting."""


def unfinished(option: type) -> bool:
    return any(getattr(getattr(option, name), "__isabstractmethod__", False) for name in dir(option))


MOVES = {"translation": 0.0, "rotation": 0.0, "scaling": 0.0, "noise": 0.1}  # inputs here are no images
STAGES = {"nrem": cs.Recent(), "rem": cs.OldNew(old=1.0)}
HOURS = {"awake": cs.Interleaved(cs.Uniform(batch=8)), "asleep": cs.Recent(batch=7)}
SETTINGS = {
    "Staged": STAGES,
    "AwakeAsleep": HOURS,
    "Mixed": {"stored": cs.Uniform(), "dreamed": cs.Recent(batch=7)},
    "Augmented": MOVES,
    "CropFlip": {"crop": 0, "flip": 0.0},  # inputs here are no images
}


def made(option: type) -> Replay:
    policy = [cs.Uniform()] if "policy" in inspect.signature(option).parameters else []
    return option(*policy, **copy.deepcopy(SETTINGS.get(option.__name__, {})))


def options() -> dict:
    classes = [getattr(cs, name) for name in cs.VOCABULARY if cs.VOCABULARY[name].startswith("replay")]
    classes = [c for c in classes if not c.__module__.endswith("disrupted")]  # tests/test_interventions.py has them
    classes = [c for c in classes if issubclass(c, Replay)]
    stored = [c for c in classes if not unfinished(c) and c not in ELSEWHERE]
    return {c.__name__: (lambda c=c: made(c)) for c in stored} | {
        "all old": lambda: cs.OldNew(old=1.0),
        "all new": lambda: cs.OldNew(old=0.0),
        "prioritised": lambda: cs.Preferred(power=0.6, correction=0.4),
        "weakest of a pool": lambda: cs.Preferred(cs.Weakness(), candidates=20),
        "novelty": lambda: cs.Preferred(cs.Novelty()),
        "balanced": lambda: cs.Preferred(cs.Balanced()),
        "similar": lambda: cs.Preferred(cs.Similar()),
        "thinned by similarity": lambda: cs.Thinned(cs.Similar(compare="answers")),
        "awake and prioritised": lambda: cs.Interleaved(cs.Preferred()),
        "shuffled everything": lambda: cs.Shuffled(cs.FullBatch()),
        "shuffled interleaved": lambda: cs.Shuffled(cs.Interleaved(cs.Recent(), share=0.5)),
    }


TENANTS = options()
option = pytest.mark.parametrize("make", TENANTS.values(), ids=TENANTS)


def assert_same(batch: Batch, other: Batch, rows=slice(None)):
    mine, its = batch.columns(), other.columns()
    assert mine.keys() == its.keys()
    assert all(torch.equal(value[rows], its[name]) for name, value in mine.items())


def test_the_room_has_tenants():
    assert {"Uniform", "Recent", "OldNew", "FullBatch", "Shuffled", "Interleaved"} <= set(TENANTS)


# -- the contract ---------------------------------------------------------------------------------------------


@option
def test_a_draw_is_a_function_of_the_clock(make):
    spec = spec_of()
    store, policy = remembering(spec), begun(make(), spec)
    first = draw(policy, store, clock_at(spec, 8, 5))
    draw(policy, store, clock_at(spec, 8, 200))
    assert_same(first, draw(policy, store, clock_at(spec, 8, 5)))
    assert_same(first, draw(begun(make(), spec), store, clock_at(spec, 8, 5)))
    assert_same(first, draw(copy.deepcopy(policy), copy.deepcopy(store), clock_at(spec, 8, 5)))
    assert policy.state() == {} or isinstance(policy, cs.Edited), "a policy that repairs the memory counts its nights"


@option
def test_alone_as_in_company(make):
    together = spec_of()
    store, policy = remembering(together), begun(make(), together)
    for i, seed in enumerate(SEEDS):
        alone = spec_of((seed,))
        mine, own = remembering(alone), begun(make(), alone)
        for night, day in ((0, 8), (3, 12)):
            batch = draw(policy, store, clock_at(together, 8, night))
            assert_same(batch, draw(own, mine, clock_at(alone, 8, night)), slice(i, i + 1))
            batch = lesson(policy, lived(together, day), store, clock_at(together, day))
            assert_same(batch, lesson(own, lived(alone, day), mine, clock_at(alone, day)), slice(i, i + 1))


@pytest.mark.parametrize("make", [m for n, m in TENANTS.items() if n not in ("Augmented", "Mixup", "Inferred")])
def test_what_is_replayed_is_what_is_stored(make):
    spec = spec_of()
    store, policy = remembering(spec, capacity=50), begun(make(), spec)
    traces, before, changed = store.traces(), copy.deepcopy(store.state()), store.changed
    for t in range(5):
        batch = draw(policy, store, clock_at(spec, 8, t))
        assert (batch.source == STORED).all() and batch.present().any(1).all()
        assert batch.slot is not None
        for name in ("item", "born", "context"):
            assert torch.equal(getattr(batch, name), getattr(traces, name).gather(1, batch.slot))
        assert torch.equal(batch.x, store.fetch(batch.slot).x)
    assert store.changed == changed
    assert all(torch.equal(before[name], value) for name, value in store.state().items())


@option
def test_who_remembers_nothing_gets_rows_of_weight_zero(make):
    spec = spec_of()
    who = torch.tensor([True, False, True, False])
    store, policy = remembering(spec, range(3), who=who), begun(make(), spec)
    batch = draw(policy, store, clock_at(spec, 3))
    assert torch.equal(batch.present().any(1), who)
    assert torch.equal(batch.weights() > 0, batch.present())
    assert (batch.item[batch.present()] >= 0).all()
    none = cs.NoHippocampus()
    none.setup(spec)
    batch = draw(policy, none, clock_at(spec, 3))
    assert not batch.present().any() and torch.isfinite(batch.x).all()


@option
def test_new_memories_are_replayed_from_the_next_step_on(make):
    spec = spec_of()
    store, policy = remembering(spec, range(2)), begun(make(), spec)
    nights(policy, store, spec, 3, experience=30)
    store.encode(lived(spec, 7), None, clock_at(spec, 7))  # pyright: ignore[reportArgumentType]
    assert all(7 in row for row in nights(policy, store, spec, 20, experience=30).born.tolist())
    patient = cs.Lesion(store, fraction=1.0)
    patient.attach(spec, clock_at(spec, 8))
    assert not draw(policy, patient, clock_at(spec, 8)).present().any()


# -- which traces ---------------------------------------------------------------------------------------------


def chance(counts: torch.Tensor, p: torch.Tensor) -> float:
    return stats.chisquare(counts.numpy(), (p.double() / p.double().sum() * counts.sum()).numpy()).pvalue


def test_uniform_is_uniform():
    spec = spec_of()
    store = remembering(spec, range(3))
    rows = nights(begun(cs.Uniform(batch=40), spec), store, spec, 200)
    for item in rows.item:
        assert chance(item.bincount(minlength=36), torch.ones(36)) > 0.001


@pytest.mark.parametrize("half_life", [0.4, 2.0])
def test_recent_halves_with_every_half_life(half_life):
    spec = spec_of()
    store = remembering(spec, range(8))
    policy = begun(cs.Recent(batch=40, half_life_days=[half_life, half_life, 0.001, 1e6]), spec)
    born = nights(policy, store, spec, 150).born
    age = 7 - torch.arange(8)
    for i in (0, 1):
        assert chance(born[i].bincount(minlength=8), 0.5 ** (age / (half_life * DAY))) > 0.001
    assert (born[2] == 7).all()
    assert chance(born[3].bincount(minlength=8), torch.ones(8)) > 0.001


def test_recent_is_not_afraid_of_great_ages():
    spec = spec_of()
    batch = draw(begun(cs.Recent(half_life_days=1e-9), spec), remembering(spec, range(4)), clock_at(spec, 10**6))
    assert batch.weight is None and (batch.born == 3).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.integers(1, 40))
def test_old_and_new_in_exact_proportion(old, batch):
    spec = spec_of((0, 1))
    store = remembering(spec, range(8))
    policy = begun(cs.OldNew(batch=batch, old=old), spec)
    rows = draw(policy, store, clock_at(spec, 8))
    assert ((rows.born < 5).sum(1) == round(old * batch)).all()
    assert draw(policy, store, clock_at(spec, 12)).weight is None  # nothing of the last day is stored: the old fills
    assert draw(policy, remembering(spec, range(3)), clock_at(spec, 5)).weight is None  # nothing is old yet


def test_everything_is_the_store_in_slot_order():
    spec = spec_of()
    store, policy = remembering(spec, range(4), capacity=50), begun(cs.FullBatch(), spec)
    batch = draw(policy, store, clock_at(spec, 4))
    assert batch.slot is not None and torch.equal(batch.slot, torch.arange(50).expand(4, -1))
    assert torch.equal(batch.present(), torch.arange(50).expand(4, -1) < 48)
    assert draw(policy, store, clock_at(spec, 4, 9)) is batch  # nothing is fetched twice
    assert draw(policy, remembering(spec, range(5), capacity=50), clock_at(spec, 4)).weight is None


# -- shuffled -------------------------------------------------------------------------------------------------


def test_shuffled_breaks_the_relation_and_keeps_the_counts():
    spec = spec_of()
    store = remembering(spec)
    plain, policy = begun(cs.Uniform(batch=200), spec), begun(cs.Shuffled(cs.Uniform(batch=200)), spec)
    for t in range(3):
        clock = clock_at(spec, 8, t)
        straight, mixed = draw(plain, store, clock), draw(policy, store, clock)
        assert torch.equal(straight.x, mixed.x) and torch.equal(straight.item, mixed.item)
        assert torch.equal(straight.y.sort(1).values, mixed.y.sort(1).values)
        kept = (mixed.y == (mixed.x[..., 0] * 16).long()).float().mean(1)
        assert (kept < 0.25).all()  # chance is 0.1
    first, second = (draw(policy, store, clock_at(spec, 8, t)).y for t in (0, 1))
    assert not torch.equal(first, second)


def test_shuffled_leaves_absent_and_lived_rows_alone():
    spec = spec_of()
    everything = begun(cs.Shuffled(cs.FullBatch()), spec)
    store = remembering(spec, range(2), capacity=40)
    batch = draw(everything, store, clock_at(spec, 2))
    assert torch.equal(batch.y[:, 24:], store.traces().y[:, 24:])
    assert torch.equal(batch.y[:, :24].sort(1).values, store.traces().y[:, :24].sort(1).values)

    awake = begun(cs.Shuffled(cs.Interleaved(cs.Uniform(batch=30))), spec)
    now = lived(spec, 12)
    assert lesson(awake, lived(spec, 3), store, clock_at(spec, 3)).rows == ROWS
    mixed = lesson(awake, now, store, clock_at(spec, 12))
    assert torch.equal(mixed.y[:, :ROWS], now.y) and (mixed.source[:, :ROWS] == LIVED).all()
    right = (mixed.x[:, ROWS:, 0] * 16).long()
    assert not torch.equal(mixed.y[:, ROWS:], right)
    assert torch.equal(mixed.y[:, ROWS:].sort(1).values, right.sort(1).values)


def test_shuffled_takes_targets_and_scores_along():
    spec = spec_of(regression=True, outputs=2)

    class Fixed(Replay):
        def draw(self, *_):
            rows = torch.arange(30.0).expand(4, -1)
            batch = Batch.lived(rows[..., None].expand(-1, -1, 6), torch.stack((rows, -rows), 2))
            return batch.with_(scores=10 * batch.y, source=batch.source + STORED)

    batch = draw(begun(cs.Shuffled(Fixed()), spec), None, clock_at(spec))
    assert batch.scores is not None and torch.equal(batch.scores, 10 * batch.y)
    assert not torch.equal(batch.y[..., 0], batch.x[..., 0])
    assert torch.equal(batch.y[..., 0].sort(1).values, batch.x[..., 0])
    assert torch.equal(batch.y[..., 0], -batch.y[..., 1])


# -- interleaved ----------------------------------------------------------------------------------------------


def share_of_lived(batch: Batch) -> torch.Tensor:
    weight = batch.weights()
    return (weight * (batch.source == LIVED)).sum(1) / weight.sum(1)


def test_interleaved_weighs_contexts_alike():
    spec = spec_of()
    store, policy = remembering(spec, range(25), capacity=400), begun(cs.Interleaved(cs.Uniform(batch=30)), spec)
    first = lived(spec, 9)
    assert lesson(policy, first, store, clock_at(spec, 9)) is first
    for t, k in ((10, 2), (19, 2), (20, 3), (24, 3)):
        batch = lesson(policy, lived(spec, t), store, clock_at(spec, t))
        assert batch.rows == ROWS + 30
        assert torch.allclose(share_of_lived(batch), torch.full((4,), 1 / k))
        assert torch.allclose(batch.weights().mean(1), torch.ones(4))
        assert (batch.born[:, ROWS:] < (k - 1) * 10).all()  # of past contexts only
        assert set((batch.born[:, ROWS:] // 10).flatten().tolist()) == set(range(k - 1))


def test_a_policy_for_the_day_and_another_for_the_night():
    """The lesson is that of the one, the night's rows are those of the other, bit for bit."""
    spec = spec_of(ends=())
    store = remembering(spec, range(12))
    day = begun(cs.Interleaved(cs.Uniform(batch=6), share=0.5, only_old=False), spec)
    night = begun(cs.Recent(batch=20), spec)
    both = begun(cs.AwakeAsleep(copy.deepcopy(day), copy.deepcopy(night)), spec)
    assert_same(draw(both, store, clock_at(spec, 8, 3)), draw(night, store, clock_at(spec, 8, 3)))
    now = lived(spec, 12)
    assert_same(lesson(both, now, store, clock_at(spec, 12)), lesson(day, now, store, clock_at(spec, 12)))
    with pytest.raises(ConfigError, match=r"awake\.only_old"):
        begun(cs.AwakeAsleep(cs.Interleaved(cs.Uniform()), cs.Uniform()), spec)


def test_interleaved_with_a_share_of_ones_own():
    spec = spec_of(ends=())
    store = remembering(spec, range(8))
    policy = begun(cs.Interleaved(cs.Uniform(batch=24), share=0.25, only_old=False), spec)
    now = lived(spec, 8).with_(weight=(torch.arange(ROWS) % 2).float().expand(4, -1))
    batch = lesson(policy, now, store, clock_at(spec, 8))
    assert torch.allclose(share_of_lived(batch), torch.full((4,), 0.25))
    assert torch.equal(batch.present()[:, :ROWS], now.present())
    empty = cs.NoHippocampus()
    empty.setup(spec)
    batch = lesson(policy, now, empty, clock_at(spec, 8))
    assert torch.allclose(batch.weights()[:, :ROWS], now.weights()) and not batch.weights()[:, ROWS:].any()


def test_subjects_in_different_contexts_each_have_their_mix():
    spec = spec_of()
    store, clock = remembering(spec, range(25), capacity=400), clock_at(spec)
    clock.experience = np.array([4, 12, 22, 22])
    policy = begun(cs.Interleaved(cs.OldNew(batch=30, old=0.5)), spec)
    batch = lesson(policy, lived(spec, 4), store, clock)
    assert torch.allclose(share_of_lived(batch), 1 / torch.tensor([1.0, 2, 3, 3]))
    assert torch.allclose((batch.weights() > 0).sum(1), torch.tensor([12, 42, 42, 42]))


def test_the_waking_draw_is_not_that_of_the_night():
    spec = spec_of()
    store, policy = remembering(spec, range(12)), begun(cs.Interleaved(cs.Uniform(batch=30), only_old=False), spec)
    awake = lesson(policy, lived(spec, 12), store, clock_at(spec, 12, 12))
    asleep = draw(policy, store, clock_at(spec, 12, 12))
    assert not torch.equal(awake.item[:, ROWS:], asleep.item)
    assert_same(asleep, draw(begun(cs.Uniform(batch=30), spec), store, clock_at(spec, 12, 12)))


def test_everything_can_be_remembered_awake():
    spec = spec_of()
    store, policy = remembering(spec, range(12), capacity=150), begun(cs.Interleaved(cs.FullBatch()), spec)
    batch = lesson(policy, lived(spec, 12), store, clock_at(spec, 12))
    assert (batch.present()[:, ROWS:].sum(1) == 10 * ROWS).all()  # those of the first context
    assert torch.allclose(share_of_lived(batch), torch.full((4,), 0.5))


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Uniform(batch=0), "batch"),
        (lambda: cs.Recent(half_life_days=0), "half_life_days"),
        (lambda: begun(cs.Recent(half_life_days=[1, 2]), spec_of()), "half_life_days"),
        (lambda: cs.OldNew(old=1.1), "old"),
        (lambda: cs.Interleaved(cs.Shuffled(cs.Uniform())), "policy"),
        (lambda: cs.Interleaved(cs.Uniform(), share="half"), "share"),
        (lambda: cs.Interleaved(cs.Uniform(), share=2.0), "share"),
        (lambda: begun(cs.Interleaved(cs.Uniform()), spec_of(ends=())), "only_old"),
        (lambda: begun(cs.Interleaved(cs.Uniform(), only_old=False), spec_of(ends=())), "share"),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key


# -- dreams ---------------------------------------------------------------------------------------------------


def test_who_cannot_dream_is_refused_before_life_begins():
    store = cs.Store(capacity=5)
    with pytest.raises(ConfigError, match="hippocampus cannot dream"):
        cs.Dreamed().setup(store.setup(spec_of()))
    with pytest.raises(ConfigError, match="neocortex cannot dream"):
        cs.Dreamed(dreamer="neocortex").setup(spec_of(dreams=("hippocampus",)))


def test_nobody_dreams_where_there_is_no_hippocampus():
    spec, none = spec_of(), cs.NoHippocampus()
    batch = draw(begun(cs.Dreamed(batch=7), none.setup(spec)), none, clock_at(spec))
    assert batch.rows == 7 and not batch.present().any()


def test_jittered_moves_images_that_tolerate_it_and_leaves_all_else():
    """Digits of 28 x 28 pixels move, whatever their shape; a table, permuted pixels and small digits stay as they are."""
    smooth = torch.linspace(0, 3, 28).sin().outer(torch.linspace(0, 3, 28).sin())
    for inputs, x, moves in (
        ((784,), smooth.reshape(1, 1, 784), True),
        ((1, 28, 28), smooth.reshape(1, 1, 1, 28, 28), True),
        (
            (784,),
            smooth.reshape(784)[torch.randperm(784, generator=torch.Generator().manual_seed(0))].view(1, 1, -1),
            False,
        ),
        ((13,), torch.rand(1, 1, 13), False),
        ((2, 3), torch.rand(1, 1, 2, 3), False),
    ):
        policy = cs.Jittered(cs.Uniform(batch=1))
        policy.setup(Spec(seeds=(0,), inputs=inputs))
        whole = torch.zeros(1, 1, dtype=torch.int64)
        batch = Batch(x, whole, context=whole, born=whole, item=whole, source=whole.to(torch.uint8))
        altered = policy.alter(batch, "night", np.zeros(1, np.int64))
        assert torch.equal(altered.x, x) != moves
        assert altered.x.shape == x.shape


@pytest.mark.parametrize("per_row, batch, rows", [(2.0, 10, 20), (0.6, 10, 6), (2.0, 5, 10), (0.01, 3, 1)])
def test_memories_are_as_many_as_asked_for_each_row(per_row: float, batch: int, rows: int):
    """A policy that counts memories for each lived row draws as one that is given their number."""
    lives = []
    for policy in (cs.UniformPerRow(per_row=per_row), cs.Uniform(batch=rows)):
        made = small(
            world=cs.Digits(per_context=12, batch=batch), replay=cs.Interleaved(policy, share=0.5, only_old=False)
        )
        lives.append(live(made, 6).neocortex.state_dict())
        assert made.ledger.counts["wake_passes"].tolist() == [6 * batch + 5 * rows] * 2
    assert all(torch.equal(lives[0][name], lives[1][name]) for name in lives[0])
