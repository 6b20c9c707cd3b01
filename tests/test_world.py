"""Worlds: what subjects live, what they are asked, and that both are a function of seed and clock alone."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.batch import LIVED
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.world import plan
from cls_sim.world.arrays import Arrays
from cls_sim.world.digits import Digits, Mnist
from cls_sim.world.features import Features
from cls_sim.world.files import DataFileError
from cls_sim.world.stream import Stream
from cls_sim.world.teacher import Teacher

CONF = Path(__file__).parents[1] / "conf" / "world"
ORDERS = ("sharp", "fuzzy", "recurring", "iid", "cumulative")


def at(*experience):
    clock = Clock(len(experience), 1)
    clock.experience = np.array(experience, np.int64)
    return clock


def begun(world, seeds=(0,)):
    return world, world.setup(Spec(seeds=tuple(seeds)))


def life(world, subjects=1):
    """All rows of a life: contexts, items and labels [s, e, b]."""
    batches = [world.next(at(*[e] * subjects)) for e in range(world.length)]
    return (torch.stack([getattr(batch, name) for batch in batches], 1) for name in ("context", "item", "y"))


def same(one, other):
    return all(
        (a is None and b is None) or torch.equal(a, b)
        for a, b in (
            (getattr(one, f), getattr(other, f)) for f in ("x", "y", "context", "born", "item", "source", "weight")
        )
    )


def rows(batch, subject):
    """What one subject got, without padding."""
    there = batch.present()[subject]
    return [getattr(batch, f)[subject][there] for f in ("x", "y", "context", "born", "item", "source")]


# -- in company, and at any time ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [{"order": order} for order in ORDERS]
    + [
        {"scenario": "domain", "shuffle_classes": True, "label_noise": 0.2, "validation": 0.1},
        {"scenario": "task", "shuffle_classes": True, "order": "fuzzy", "fuzziness": 1.0},
    ],
    ids=str,
)
def test_a_subject_lives_the_same_alone_and_in_a_cohort_of_16(setting):
    seeds, world = range(16), Digits(per_context=20, batch=8, **setting)
    cohort, _ = begun(world, seeds)
    alone, _ = begun(copy.deepcopy(world), [11])
    for e in (0, 13, 39, 99):
        together, single = cohort.next(at(*[e] * 16)), alone.next(at(e))
        for name in ("x", "y", "context", "born", "item", "source"):
            assert torch.equal(getattr(together, name)[11], getattr(single, name)[0]), name
    for context in range(5):
        for ask in ("evaluation", "train"):
            together, single = getattr(cohort, ask)(context), getattr(alone, ask)(context)
            assert all(map(torch.equal, rows(together, 11), rows(single, 0)))
    together, single = list(cohort.revisit(at(*[60] * 16), 50)), list(alone.revisit(at(60), 50))
    mine = [torch.cat(part) for part in zip(*(rows(batch, 11) for batch in together), strict=True)]
    assert all(map(torch.equal, mine, [torch.cat(part) for part in zip(*(rows(b, 0) for b in single), strict=True)]))


def test_teacher_is_the_same_alone_and_in_a_cohort_of_16():
    cohort, _ = begun(Teacher(items=30, features=20, batch=7), range(16))
    alone, _ = begun(Teacher(items=30, features=20, batch=7), [11])
    for e in (0, 4, 100):
        assert torch.equal(cohort.next(at(*[e] * 16)).y[11], alone.next(at(e)).y[0])
    assert torch.equal(cohort.evaluation(0).x[11], alone.evaluation(0).x[0])
    assert torch.equal(cohort.evaluation(0).y[11], alone.evaluation(0).y[0])


@pytest.mark.parametrize("make", [lambda: Digits(order="fuzzy", label_noise=0.1), lambda: Teacher(batch=30)])
def test_next_depends_on_the_clock_alone(make):
    first, _ = begun(make(), (3, 4))
    again, _ = begun(make(), (3, 4))
    lived = [first.next(at(e, e)) for e in range(40)]
    for e in (39, 2, 17):
        assert same(again.next(at(e, e)), lived[e])
    assert first.state() == {}


@pytest.mark.parametrize(
    "make", [lambda: Digits(order="fuzzy", shuffle_classes=True), lambda: Teacher(items=100, batch=30)]
)
def test_subjects_with_different_clocks_get_their_own_rows(make):
    world, _ = begun(make(), range(4))
    mixed = world.next(at(0, 7, 7, 90))
    for subject, e in enumerate((0, 7, 7, 90)):
        own = world.next(at(e, e, e, e))
        for name in ("x", "y", "context", "born", "item"):
            assert torch.equal(getattr(mixed, name)[subject], getattr(own, name)[subject]), name


def test_born_is_the_time_itself_and_does_not_follow_the_clock():
    world, _ = begun(Digits(), (0, 1))
    clock = at(4, 9)
    batch = world.next(clock)
    clock.advance(np.array([True, True]), np.array([False, False]))
    assert batch.born[:, 0].tolist() == [4, 9]
    assert (batch.source == LIVED).all()


def test_a_world_that_has_ended_repeats_its_last_experience():
    world, _ = begun(Digits(per_context=4), (0, 1))
    assert torch.equal(world.next(at(20, 50)).item, world.next(at(19, 19)).item)


def test_a_twin_shares_the_data():
    world, _ = begun(Digits())
    assert copy.deepcopy(world)._learnt is world._learnt


# -- splits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("examined", ["test", "validation"])
def test_what_is_asked_is_never_lived(examined):
    world, _ = begun(Digits(validation=0.2, test=0.1, eval_split=examined, per_context=50), range(3))
    _, items, _ = life(world, 3)
    for subject in range(3):
        lived = set(items[subject].flatten().tolist())
        learnt = {i for k in range(5) for i in rows(world.train(k), subject)[4].tolist()}
        asked = [i for k in range(5) for i in rows(world.evaluation(k), subject)[4].tolist()]
        assert lived == learnt
        assert not learnt & set(asked)
        assert len(asked) == len(set(asked)) == pytest.approx(1797 * (0.1 if examined == "test" else 0.2), abs=6)
        assert len(learnt) == pytest.approx(1797 * 0.7, abs=12)


def test_test_questions_do_not_depend_on_the_validation_part():
    without, _ = begun(Digits())
    with_, _ = begun(Digits(validation=0.3))
    assert same(without.evaluation(2), with_.evaluation(2))


def test_every_class_is_held_out_equally_and_subjects_differ():
    world, _ = begun(Digits(), (0, 1))
    for k in range(5):
        exam = world.evaluation(k)
        assert torch.equal(torch.bincount(exam.y[0]), torch.bincount(exam.y[1]))
        assert not torch.equal(exam.item[0], exam.item[1])
        assert (exam.context == k).all() and (exam.born == -1).all() and exam.weight is None


def test_exams_are_padded_where_a_subject_has_fewer():
    world, _ = begun(Digits(shuffle_classes=True, test=0.5), range(6))
    exam = world.evaluation(0)
    assert exam.weight is not None
    sizes = exam.present().sum(1)
    assert len(set(sizes.tolist())) > 1 and sizes.max() == exam.rows
    for subject in range(6):
        assert len(rows(exam, subject)[1].unique()) == 2


def test_digits_are_the_uci_digits():
    data = Digits().data()
    assert data.x.shape == (1797, 64) and data.x.max() == 16 and data.quantum == 1 / 16
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    world, spec = begun(Digits())
    batch = world.next(at(0))
    assert spec.quantum == 1 / 16 and batch.x.dtype == torch.float32 and batch.x.max() == 1
    assert torch.equal((batch.x[0] * 16).to(torch.uint8), torch.from_numpy(data.x)[batch.item[0]])


# -- orders ------------------------------------------------------------------------------------------------


def test_sharp_order_is_context_after_context():
    world, spec = begun(Digits(per_context=30, batch=16))
    context, _, y = life(world)
    assert torch.equal(context[0], torch.arange(5).repeat_interleave(30)[:, None].expand(150, 16))
    assert torch.equal(y // 2, context)
    assert world.length == 150 and world.ends == spec.ends == (30, 60, 90, 120, 150)


def test_within_a_context_items_come_epoch_by_epoch_in_fresh_orders():
    world, _ = begun(Digits(per_context=100, batch=16))
    _, items, _ = life(world)
    n = world.train(2).rows
    lived = items[0, 200:300].flatten()
    first, second = lived[:n], lived[n : 2 * n]
    assert len(first.unique()) == n and torch.equal(first.sort()[0], second.sort()[0])
    assert not torch.equal(first, second)


def test_recurring_order_comes_back_and_goes_on_in_the_epoch():
    world, spec = begun(Digits(order="recurring", per_context=10, cycles=2, batch=16))
    context, items, _ = life(world)
    assert context[0, :, 0].tolist() == [k for _ in range(2) for k in range(5) for _ in range(5)]
    assert spec.ends == world.ends == tuple(range(5, 51, 5))
    assert len(items[0][context[0] == 3].unique()) == 160  # two visits of 80 rows, no item twice


def test_fuzzy_boundaries_shift_linearly():
    world, spec = begun(Digits(order="fuzzy", per_context=100, fuzziness=0.4, batch=64), range(8))
    context, _, _ = life(world, 8)
    assert spec.ends == () and world.ends == (100, 200, 300, 400, 500)
    new = (context[:, 60:140] == 1).double().mean((0, 2))
    assert (new[:20] == 0).all() and (new[-20:] == 1).all()
    expected = (torch.arange(40) + 0.5) / 40
    assert torch.allclose(new[20:60], expected.double(), atol=0.1)
    assert (new[20:60] - expected).mean().abs() < 0.02
    assert ((context == 0) | (context == 1))[:, :140].all()


@pytest.mark.parametrize("fuzziness", [0.0, 1.0])
def test_fuzziness_reaches_from_sharp_to_no_plateau(fuzziness):
    contexts = plan.fuzzy_contexts(np.random.default_rng(0), 4, 50, 20, fuzziness).reshape(200, 20)
    middle = contexts[50:150]
    assert (np.ptp(middle, 1) > 0).mean() == pytest.approx(0.0 if fuzziness == 0 else 1.0, abs=0.1)
    assert (np.repeat(np.arange(4), 50)[:, None] == contexts).all() == (fuzziness == 0)


def test_iid_order_mixes_all_data():
    world, spec = begun(Digits(order="iid", batch=32))
    context, items, _ = life(world)
    share = torch.bincount(context.flatten()) / context.numel()
    assert torch.allclose(share, torch.full((5,), 0.2), atol=0.01)
    total = sum(world.train(k).rows for k in range(5))
    assert len(items.flatten()[:total].unique()) == total
    assert spec.ends == () and len(world.ends) == 5


def test_cumulative_order_draws_from_all_contexts_so_far():
    world, spec = begun(Digits(order="cumulative", batch=32))
    context, _, _ = life(world)
    for k in range(5):
        share = torch.bincount(context[0, 100 * k : 100 * (k + 1)].flatten(), minlength=5) / 3200
        assert torch.allclose(share[: k + 1], torch.full((k + 1,), 1 / (k + 1)), atol=0.02)
        assert (share[k + 1 :] == 0).all()
    assert spec.ends == world.ends


@pytest.mark.parametrize("order", ORDERS)
def test_ends_are_told_only_if_wanted_and_exams_happen_anyway(order):
    world, spec = begun(Digits(order=order, boundaries_known=False))
    assert spec.ends == () and set(range(100, 501, 100)) <= set(world.ends)


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(ORDERS),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    visit=st.integers(1, 12),
    cycles=st.integers(1, 3),
    batch=st.integers(1, 9),
    fuzziness=st.floats(0, 1),
)
def test_any_plan_is_a_fair_walk_through_its_pools(order, sizes, visit, cycles, batch, fuzziness):
    edges = np.cumsum([0, *sizes])
    pools = [np.arange(a, b) for a, b in itertools.pairwise(edges)]
    items = plan.item_plan(
        lambda purpose, block: np.random.default_rng([len(purpose), block]),
        order,
        pools,
        per_context=visit * cycles,
        batch=batch,
        cycles=cycles,
        fuzziness=fuzziness,
    )
    assert items.shape == (visit * cycles * len(sizes), batch)
    assert items.min() >= 0 and items.max() < edges[-1]
    if order in ("sharp", "fuzzy", "recurring"):
        for pool in pools:
            times = np.bincount(items[np.isin(items, pool)] - pool[0], minlength=len(pool))
            assert np.ptp(times) <= 1


# -- labels ------------------------------------------------------------------------------------------------


def test_class_scenario_asks_for_one_of_all_classes():
    world, spec = begun(Digits(shuffle_classes=True), range(5))
    assert spec.outputs == 10 and spec.heads is None and not spec.task_id_known
    true = torch.from_numpy(world.data().y)
    for k in range(5):
        for batch in (world.evaluation(k), world.train(k), world.next(at(*[k * 100] * 5))):
            there = batch.present()
            assert torch.equal(batch.y, true[batch.item]) and (batch.context[there] == k).all()
    together = {tuple(world.next(at(*[0] * 5)).y[i].unique().tolist()) for i in range(5)}
    assert len(together) > 1


def test_domain_scenario_asks_for_the_place_in_the_context():
    world, spec = begun(Digits(scenario="domain", shuffle_classes=True), range(4))
    assert spec.outputs == 2 and spec.heads is None
    true = torch.from_numpy(world.data().y)
    for k in range(5):
        lesson, question = world.next(at(*[k * 100] * 4)), world.evaluation(k)
        for i in range(4):
            for place in (0, 1):
                meant = true[lesson.item[i]][lesson.y[i] == place].unique()
                assert len(meant) == 1
                there = question.present()[i]
                asked = true[question.item[i]][there & (question.y[i] == place)].unique()
                assert asked.tolist() == meant.tolist()


def test_task_scenario_tells_the_context_and_its_head():
    world, spec = begun(Digits(scenario="task", shuffle_classes=True), range(4))
    assert spec.outputs == 10 and spec.task_id_known and spec.heads.shape == (4, 5, 10)
    assert (spec.heads.sum(2) == 2).all() and (spec.heads.sum(1) == 1).all()
    for k in range(5):
        batch = world.next(at(*[k * 100] * 4))
        assert spec.heads[torch.arange(4)[:, None], batch.context, batch.y].all()


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_label_noise_is_exact_lasting_within_the_context_and_only_in_training(scenario):
    kind = {"scenario": scenario, "contexts": 2, "validation": 0.1}
    clean, _ = begun(Digits(**kind), (0, 1))
    noisy, _ = begun(Digits(**kind, label_noise=0.3), (0, 1))
    wrong = torch.cat([noisy.train(k).y != clean.train(k).y for k in range(2)], 1)
    assert wrong.double().mean(1).tolist() == pytest.approx([0.3, 0.3], abs=1e-3)
    assert not torch.equal(wrong[0], wrong[1])
    for k in range(2):
        assert same(noisy.evaluation(k), clean.evaluation(k))
        labels = set(clean.train(k).y.flatten().tolist())
        assert set(noisy.train(k).y.flatten().tolist()) == labels and len(labels) == 5
        known = dict(zip(noisy.train(k).item[0].tolist(), noisy.train(k).y[0].tolist(), strict=True))
        lived = noisy.next(at(100 * k + 50, 0))
        assert lived.y[0].tolist() == [known[i] for i in lived.item[0].tolist()]


def test_wrong_labels_are_spread_evenly_over_the_other_classes():
    y, context = np.repeat([3, 0, 7, 5], 1000), np.zeros(4000, np.int64)
    lists = [np.array([7, 0, 5, 3])]
    wrong = plan.mislabelled(np.random.default_rng(0), y, context, np.arange(4000), lists, 1.0)
    for c in (0, 3, 5, 7):
        counts = np.bincount(wrong[y == c], minlength=8)
        assert counts[c] == 0 and all(270 < counts[other] < 400 for other in {0, 3, 5, 7} - {c})


# -- revisits ----------------------------------------------------------------------------------------------


def test_revisit_gives_what_was_lived_of_the_last_context_once():
    world, _ = begun(Digits(per_context=10, batch=8, label_noise=0.2), range(3))
    batches = list(world.revisit(at(20, 25, 9), 32))
    assert [batch.rows for batch in batches] == [32, 32, 16]
    for subject in (0, 1):
        lived = [world.next(at(*[e] * 3)) for e in range(10, 20)]
        when = {int(i): e for e, batch in zip(range(10, 20), lived, strict=True) for i in batch.item[subject]}
        label = {int(i): int(y) for batch in lived for i, y in zip(batch.item[subject], batch.y[subject], strict=True)}
        items = torch.cat([rows(batch, subject)[4] for batch in batches]).tolist()
        assert sorted(items) == sorted(when)
        assert torch.cat([rows(b, subject)[3] for b in batches]).tolist() == [when[i] for i in items]
        assert torch.cat([rows(b, subject)[1] for b in batches]).tolist() == [label[i] for i in items]
        assert all((rows(batch, subject)[2] == 1).all() for batch in batches)
    assert not any(batch.present()[2].any() for batch in batches)  # no context has ended for this one


def test_revisit_goes_in_an_order_of_the_subjects_own_not_of_the_file():
    """Version 0.1 went in the order of the file: the first 50 rows of a file sorted by class were of one class."""
    y = np.repeat(np.arange(4), 60)
    x = np.random.default_rng(0).random((240, 5))
    world, _ = begun(Arrays(x=x, y=y, contexts=1, per_context=30, batch=20), (0, 1))
    first = next(world.revisit(at(30, 30), 50))
    assert all((torch.bincount(first.y[i], minlength=4) >= 6).all() for i in (0, 1))
    assert not torch.equal(first.item[0], first.item[1])
    assert torch.equal(next(world.revisit(at(30, 30), 50)).item, first.item)  # a pass is the same whenever it is made
    alone, _ = begun(Arrays(x=x, y=y, contexts=1, per_context=30, batch=20), (1,))
    assert torch.equal(next(alone.revisit(at(30), 50)).item[0], first.item[1])
    items = torch.cat([batch.item for batch in world.revisit(at(30, 30), 50)], 1)
    assert all(row.unique().numel() == items.shape[1] == 204 for row in items)


def test_revisit_draws_an_order_for_every_visit():
    world, _ = begun(Digits(contexts=1, order="recurring", cycles=2, per_context=200, batch=32))
    early, late = (torch.cat([b.item for b in world.revisit(at(e), 500)], 1)[0].tolist() for e in (100, 200))
    assert set(early) == set(late) and early != late


@pytest.mark.parametrize("world", [cs.Associations(items=12), cs.Patches(images=6, contexts=1, pixels=400)])
def test_other_worlds_mix_what_is_revisited_too(world):
    begun(world, (0, 1))
    whole = next(world.revisit(at(60, 60), 50))
    assert whole.y.shape == (2, world.evaluation(0).rows)
    assert not torch.equal(whole.item[0], whole.item[1])
    assert all(len({*row.tolist()}) == whole.rows and row.tolist() != sorted(row.tolist()) for row in whole.item)


def test_revisit_covers_a_context_lived_through_and_nothing_before_the_first_end():
    world, _ = begun(Digits())
    assert sum(batch.rows for batch in world.revisit(at(100), 64)) == world.train(0).rows
    assert list(world.revisit(at(99), 64)) == []


@pytest.mark.parametrize(("order", "contexts"), [("recurring", {0}), ("iid", {0, 1, 2, 3, 4}), ("cumulative", {0, 1})])
def test_revisit_knows_the_order(order, contexts):
    world, _ = begun(Digits(order=order, cycles=2, per_context=20))
    end = 60 if order == "recurring" else 40
    seen = {int(k) for batch in world.revisit(at(end), 100) for k in batch.context.unique()}
    assert seen == contexts


# -- what is refused, what is said -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Digits", "Chains", "Communities", "Associations", "Hierarchy", "Tree", "Semantic"])
def test_items_stay_below_the_number_that_is_told(name):
    world, spec = begun(getattr(cs, name)(), [0, 1])
    items = [world.next(at(e, e)).item.max() for e in range(min(world.length or 1, 60))]
    assert spec.items is not None and max(items) < spec.items


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("scenario", {"scenario": "clas"}),
        ("contexts", {"contexts": 3}),
        ("contexts", {"contexts": True}),
        ("order", {"order": "random"}),
        ("per_context", {"per_context": 0}),
        ("per_context", {"per_context": 5, "order": "recurring"}),
        ("batch", {"batch": 2.0}),
        ("boundaries_known", {"boundaries_known": 1}),
        ("fuzziness", {"fuzziness": 1.5}),
        ("cycles", {"cycles": 0}),
        ("label_noise", {"label_noise": math.nan}),
        ("label_noise", {"label_noise": 0.1, "contexts": 10}),
        ("validation", {"validation": 0.6, "test": 0.4}),
        ("validation", {"validation": 0.85}),
        ("test", {"test": 0.0}),
        ("test", {"test": "abc"}),
        ("eval_split", {"eval_split": "validation"}),
        ("eval_split", {"eval_split": "train", "validation": 0.1}),
    ],
    ids=str,
)
def test_settings_without_sense_are_refused_by_name(key, setting):
    with pytest.raises(ConfigError) as refusal:
        begun(Digits(**setting))
    assert refusal.value.key == key and "\n" not in str(refusal.value)


def test_an_exam_of_no_context_is_refused():
    world, _ = begun(Digits())
    with pytest.raises(ConfigError):
        world.evaluation(5)


def test_the_protocol_can_be_read():
    world, _ = begun(Digits(scenario="domain", label_noise=0.1, validation=0.1))
    text = world.describe()
    for words in (
        "domain-incremental",
        "sharp order",
        "raw/16",
        "2 outputs",
        "label noise 0.1",
        "classes 4 as 0, 5 as 1",
    ):
        assert words in text
    assert len(text.splitlines()) == 7
    world, _ = begun(Digits(shuffle_classes=True), [5])
    first = world.evaluation(0).y.unique().tolist()
    assert {f"classes {a} as {a}, {b} as {b}" in world.describe() for a, b in (first, first[::-1])} == {True, False}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("digits", Digits), ("mnist", Mnist), ("arrays", Arrays), ("features", Features), ("teacher", Teacher)],
)
def test_yaml_names_every_setting_with_its_default(name, kind):
    from omegaconf import OmegaConf

    written = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(written, dict) and written.pop("_target_") == f"cls_sim.{kind.__name__}"
    defaults = {key: p.default for key, p in inspect.signature(kind).parameters.items()}
    required = {key for key, value in defaults.items() if value is inspect.Parameter.empty}
    assert {key for key, value in written.items() if value == "???"} == required
    assert {k: v for k, v in written.items() if k not in required} == {
        k: v for k, v in defaults.items() if k not in required
    }


def test_arrays_takes_every_setting_of_a_stream():
    stream, arrays = (inspect.signature(kind).parameters for kind in (Stream, Arrays))
    assert all(arrays[key].default == one.default for key, one in stream.items() if key != "contexts")


# -- anybody's data ----------------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((120, 3, 2))
Y = np.arange(120) % 6


def test_arrays_in_three_lines():
    world = Arrays(x=X, y=Y, contexts=3, per_context=10, batch=4)
    spec = world.setup(Spec(seeds=(0, 1)))
    batch = world.next(at(10, 10))
    assert spec.inputs == (3, 2) and spec.outputs == 6 and spec.quantum is None and not spec.regression
    assert batch.x.shape == (2, 4, 3, 2) and set(batch.y.flatten().tolist()) <= {2, 3}
    assert torch.equal(batch.x[1], torch.from_numpy(X.astype(np.float32))[batch.item[1]])


def test_arrays_keep_a_copy():
    x = X.copy()
    world, _ = begun(Arrays(x=x, y=Y, contexts=2))
    before = world.next(at(0)).x.clone()
    x[:] = 0
    assert torch.equal(world.next(at(0)).x, before)
    assert copy.deepcopy(world).data() is world.data()


@pytest.mark.parametrize("targets", [X[:, 0, 0], X[:, 0]])
def test_arrays_regress(targets):
    world, spec = begun(Arrays(x=X, y=targets, per_context=10, batch=4), range(3))
    batch = world.next(at(0, 3, 5))
    wanted = torch.from_numpy(targets.reshape(120, -1).astype(np.float32))
    assert spec.regression and spec.outputs == wanted.shape[1] and spec.contexts == 1
    assert torch.equal(batch.y, wanted[batch.item])
    assert torch.equal(world.evaluation(0).y, wanted[world.evaluation(0).item])
    assert "regression" in world.describe()
    revisited = list(world.revisit(at(10, 10, 10), 100))
    assert torch.equal(revisited[0].y, wanted[revisited[0].item])


@pytest.mark.parametrize("regression", [False, True])
def test_contexts_may_come_with_the_data(regression):
    context = np.arange(120) // 40
    world, spec = begun(Arrays(x=X, y=X[:, 0, 0] if regression else Y, context=context, scenario="domain"), (0, 1))
    assert spec.contexts == 3 and spec.outputs == (1 if regression else 6)
    for k in range(3):
        batch = world.next(at(100 * k, 100 * k))
        assert (batch.context == k).all() and (batch.item // 40 == k).all()
        assert (world.evaluation(k).item // 40 == k).all()


def test_given_contexts_make_heads_of_their_classes():
    _, spec = begun(Arrays(x=X, y=Y, context=Y // 3, scenario="task"))
    assert spec.heads.int().tolist() == [[[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]]


def test_an_own_test_set_is_asked_and_everything_else_learnt():
    world, _ = begun(Arrays(x=X, y=Y, x_test=X[:30] + 1, y_test=Y[:30], contexts=3), (0, 1))
    assert sum(world.train(k).rows for k in range(3)) == 120
    exam = world.evaluation(1)
    assert exam.rows == 10 and (exam.item == -1).all() and set(exam.y.flatten().tolist()) == {2, 3}
    assert exam.x.stride(0) == 0  # one table, seen by both


def test_arrays_are_read_from_files(tmp_path):
    flat = X.reshape(120, 6)
    np.save(tmp_path / "x.npy", flat)
    np.savez(tmp_path / "both.npz", x=flat, y=Y)
    np.savetxt(tmp_path / "x.csv", flat, delimiter=",", header="a,b,c,d,e,f", comments="")
    np.savetxt(tmp_path / "y.csv", Y, fmt="%d")
    np.savetxt(tmp_path / "z.csv", X[:, 0], delimiter=",")
    wanted, _ = begun(Arrays(x=flat, y=Y, contexts=2))
    for x, y in (("x.npy", "y.csv"), ("both.npz", "both.npz"), ("x.csv", "y.csv")):
        read, _ = begun(Arrays(x=str(tmp_path / x), y=tmp_path / y, contexts=2))
        assert same(read.next(at(0)), wanted.next(at(0)))
    assert begun(Arrays(x=str(tmp_path / "x.csv"), y=str(tmp_path / "z.csv")))[1].outputs == 2


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("x", {"x": np.zeros(120)}),
        ("x", {"x": np.full((120, 2), np.nan)}),
        ("x", {"x": np.full((120, 2), 1e300)}),
        ("x", {"x": np.array([["a"] * 2] * 120)}),
        ("x", {"x": np.zeros((120, 2), complex)}),
        ("x", {"x": np.zeros((0, 2)), "y": Y[:0]}),
        ("x", {"x": [[1, 2], [3]]}),
        ("x", {"x": None}),
        ("y", {"y": Y[:-1]}),
        ("y", {"y": Y + 1}),
        ("y", {"y": Y - 1}),
        ("y", {"y": np.eye(6, dtype=int)[Y]}),
        ("y", {"y": np.full(120, np.inf)}),
        ("y", {"y": np.zeros((120, 2, 2))}),
        ("contexts", {"contexts": 5}),
        ("contexts", {"contexts": None}),
        ("contexts", {"contexts": 2, "context": Y}),
        ("contexts", {"contexts": 2, "y": X[:, 0, 0]}),
        ("context", {"context": Y * 2, "contexts": None}),
        ("context", {"context": Y * 0.5, "contexts": None}),
        ("y_test", {"x_test": X}),
        ("x_test", {"x_test": X[:, :2], "y_test": Y}),
        ("y_test", {"x_test": X, "y_test": Y + 1}),
        ("y_test", {"x_test": X, "y_test": X[:, 0, 0]}),
        ("context_test", {"x_test": X, "y_test": Y, "context": Y // 3, "contexts": None}),
        ("test", {"x_test": X, "y_test": Y, "test": 0.2}),
        ("x_test", {"x_test": X[:1], "y_test": Y[:1]}),
        ("shuffle_classes", {"context": Y // 3, "contexts": None, "shuffle_classes": True}),
        ("label_noise", {"y": X[:, 0, 0], "contexts": 1, "label_noise": 0.1}),
        ("scenario", {"context": Y // 3, "contexts": None, "scenario": "domain"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_arrays_without_sense_are_refused_by_name(key, setting):
    with pytest.raises(ConfigError) as refusal:
        begun(Arrays(**({"x": X, "y": Y, "contexts": 3} | setting)))
    assert refusal.value.key == key and "\n" not in str(refusal.value)


def test_array_files_without_sense_are_refused_by_path(tmp_path):
    files = {
        "objects.npy": None,
        "cut.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10, 10), }\n",
        "not.npz": b"PK",
        "words.csv": b"a,b\nc,d\n",
        "ragged.csv": b"1,2\n3\n",
        "data.mat": b"",
    }
    np.save(tmp_path / "objects.npy", np.array([[{}], [{}]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "names.npz", a=X, b=X)
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    for name in (*files, "names.npz", "absent.npy"):
        path = str(tmp_path / name)
        with pytest.raises(DataFileError) as refusal:
            Arrays(x=path, y=Y)
        assert refusal.value.key == path and "\n" not in str(refusal.value)
        assert refusal.value.under("world").key == path


# -- the teacher -------------------------------------------------------------------------------------------


def test_teachers_have_the_variances_of_their_snr():
    world, spec = begun(Teacher(items=400, features=100, snr=[0.0, 0.5, 4.0, math.inf] * 8, test=400), range(32))
    batch, exam = world.train(), world.evaluation(0)
    assert spec.regression and spec.outputs == 1 and spec.inputs == (100,) and spec.quantum is None
    assert batch.x.var().item() == pytest.approx(1 / 100, rel=0.01)
    for i, snr in enumerate((0.0, 0.5, 4.0, math.inf)):
        signal = 1.0 if snr == math.inf else snr / (1 + snr)
        who = slice(i, None, 4)
        assert world.weights[who].var().item() == pytest.approx(signal, rel=0.15, abs=1e-9)
        for part in (batch, exam):
            noise = part.y[who, :, 0] - (part.x[who] @ world.weights[who, :, None])[..., 0]
            assert noise.var().item() == pytest.approx(1 - signal, rel=0.1, abs=1e-9)
            assert part.y[who].var().item() == pytest.approx(1, rel=0.2)


def test_teachers_of_one_subject_agree_at_any_snr_but_for_scale():
    one, _ = begun(Teacher(snr=1.0, items=50))
    other, _ = begun(Teacher(snr=math.inf, items=80))
    assert torch.equal(one.train().x, other.train().x[:, :50]) and torch.equal(
        one.evaluation(0).x, other.evaluation(0).x
    )
    assert torch.allclose(one.weights * math.sqrt(2), other.weights)


def test_a_teacher_goes_round_its_pairs_without_end():
    world, spec = begun(Teacher(items=10, features=4, batch=4), (0, 1))
    assert spec.batch == 4 and world.length is None and world.ends == () and spec.ends == ()
    assert [world.next(at(e, e)).item[0].tolist() for e in (0, 2, 5)] == [[0, 1, 2, 3], [8, 9, 0, 1], [0, 1, 2, 3]]
    everything = world.train()
    for e in (0, 2, 1000001):
        batch = world.next(at(e, e))
        assert torch.equal(batch.x, everything.x.gather(1, batch.item[..., None].expand_as(batch.x)))
        assert (batch.born == e).all() and (batch.context == 0).all()
    assert everything.rows == 10 and (everything.born == -1).all()
    assert list(world.revisit(at(5, 5), 8)) == []
    whole, _ = begun(Teacher(items=10, features=4))
    assert whole.next(at(3)).rows == 10 and whole.next(at(3)).x.data_ptr() == whole.next(at(4)).x.data_ptr()


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("items", {"items": 0}),
        ("features", {"features": 1.5}),
        ("batch", {"batch": 101}),
        ("snr", {"snr": -1.0}),
        ("snr", {"snr": math.nan}),
        ("snr", {"snr": "high"}),
        ("snr", {"snr": [1.0, 2.0]}),
        ("snr", {"snr": []}),
    ],
    ids=str,
)
def test_teachers_without_sense_are_refused_by_name(key, setting):
    with pytest.raises(ConfigError) as refusal:
        begun(Teacher(**setting))
    assert refusal.value.key == key
