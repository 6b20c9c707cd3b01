"""The fast paths of a step give the bits of the general ones: closed-form gradients, slots planned in blocks."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.consolidation.objectives import Objective
from cls_sim.core.batch import LIVED, STORED, Batch
from cls_sim.core.part import Spec
from cls_sim.core.trees import leaves as tree_leaves
from cls_sim.hippocampus.planned import _all_stored, _stored
from cls_sim.hippocampus.slots import Slots
from cls_sim.neocortex.base import has_closed_form
from cls_sim.neocortex.mlp import ACTIVATIONS

OBJECTIVES = [
    name
    for name in cs.VOCABULARY
    if inspect.isclass(kind := getattr(cs, name)) and issubclass(kind, Objective) and kind.losses is Objective.losses
]


def batch_of(spec: Spec, rows: int = 12) -> Batch:
    """Random rows: some without a label, some without soft targets, of all sources, with unequal weights."""
    draw = torch.Generator().manual_seed(3)
    s, o = spec.subjects, spec.outputs
    x = torch.rand(s, rows, *spec.inputs, generator=draw)
    y = torch.randn(s, rows, o, generator=draw) if spec.regression else torch.randint(-1, o, (s, rows), generator=draw)
    scores = torch.randn(s, rows, o, generator=draw)
    scores[:, ::3] = torch.nan
    return Batch.lived(
        x,
        y,
        context=torch.randint(0, 2, (s, rows), generator=draw),
        source=torch.where(torch.rand(s, rows, generator=draw) < 0.5, LIVED, STORED).to(torch.uint8),
        weight=torch.rand(s, rows, generator=draw) * (torch.rand(s, rows, generator=draw) < 0.8),
        scores=scores,
    )


def both(monkeypatch: pytest.MonkeyPatch, descent: cs.Descent, cortex: Any, batch: Batch) -> list[dict[str, Any]]:
    closed = descent.gradient(cortex, batch)
    monkeypatch.setattr(cs.Descent, "_closed_form", lambda *_: None)
    return [closed, descent.gradient(cortex, batch)]


def test_the_objectives_are_found():
    assert {"SupervisedLoss", "DistillationLoss", "AsymmetricLoss", "DarkExperienceLoss"} <= set(OBJECTIVES)


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_closed_form_gradients_are_those_of_autograd(monkeypatch, name, regression):
    spec = Spec(seeds=(0, 1, 2), inputs=(3, 2), outputs=4, regression=regression)
    objective = getattr(cs, name)()
    try:
        objective.setup(spec)
    except cs.ConfigError:
        pytest.skip(f"{name} refuses this task")
    descent = cs.Descent(objective=objective)
    for cortex in [cs.Linear(bias=True), *(cs.Mlp(hidden=[5, 7], activation=f) for f in ACTIVATIONS)]:
        told = descent.setup(cortex.setup(spec))
        one, other = both(monkeypatch, descent, cortex, batch_of(told))
        monkeypatch.undo()
        assert one.keys() == other.keys() == dict(told.weights).keys()
        assert any(g.abs().sum() > 0 for g in one.values())
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("settings", [{"outputs": "met"}, {"bias": False}, {"hidden": []}])
def test_closed_form_knows_masks_and_layers(monkeypatch, settings):
    heads = torch.tensor([[[True, True, False, False], [False, False, True, True]]]).expand(2, -1, -1)
    spec = Spec(seeds=(0, 1), inputs=(6,), outputs=4, contexts=2, task_id_known=True, heads=heads)
    cortex, descent = cs.Mlp(**({"hidden": [5]} | settings)), cs.Descent()
    told = descent.setup(cortex.setup(spec))
    batch = batch_of(told)
    cortex.before_step(batch, np.array([True, True]))
    one, other = both(monkeypatch, descent, cortex, batch)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_classes_out_of_the_question_do_not_make_subnormal_gradients():
    """e^-90 is subnormal in float32, and a processor computes with such numbers up to a hundred times slower."""
    cortex, descent = cs.Linear(), cs.Descent()
    descent.setup(cortex.setup(cs.Spec(inputs=(1,), outputs=3)))
    with torch.no_grad():
        cortex.weights["weight0"][0, :, 0] = torch.tensor([90.0, 0.0, 89.0])
    batch = cs.Batch.lived(torch.ones(1, 2, 1), torch.zeros(1, 2, dtype=torch.int64))
    found = descent.gradient(cortex, batch)["weight0"][0, :, 0]
    p = torch.tensor([90.0, 0.0, 89.0], dtype=torch.float64).softmax(0)
    assert 0 < p[1] < 2.0**-126
    assert torch.allclose(found.double(), p - torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), rtol=1e-5, atol=1e-37)
    assert not ((found != 0) & (found.abs() < 2.0**-126)).any()


def test_a_changed_forward_pass_has_no_closed_form():
    class Louder(cs.Mlp):
        def features(self, x, context=None, weights=None):
            return 2 * super().features(x, context, weights)

    assert has_closed_form(cs.Mlp) and has_closed_form(cs.Linear)
    assert not has_closed_form(Louder)
    assert cs.CortexLesion(cs.Mlp(hidden=[4]), fraction=0.5).closed_form(None, None) is None  # pyright: ignore
    for name in cs.VOCABULARY:
        kind = getattr(cs, name)
        if inspect.isclass(kind) and issubclass(kind, cs.Neocortex) and kind not in (cs.Mlp, cs.Linear):
            assert not has_closed_form(kind)


# -- slots planned in blocks ------------------------------------------------------------------------------


def life_of(**parts: Any) -> cs.Life:
    """A cohort whose memory fills in mid-block, with a batch that does not divide its capacity."""
    settings: dict[str, Any] = {
        "world": cs.Digits(per_context=40, batch=6),
        "neocortex": cs.Mlp(hidden=[8]),
        "hippocampus": cs.Store(capacity=50),
        "rhythm": cs.Nights(experiences_per_day=25, steps_per_night=10),
        "plasticity": 0.01,
        "replay": cs.Interleaved(cs.Uniform(batch=6), share=0.5, only_old=False),
        "subjects": 3,
    }
    return cs.Life(**(settings | parts))


def leaves(life: cs.Life) -> dict[tuple[Any, ...], Any]:
    return {key: torch.as_tensor(value) for key, value in tree_leaves(life.state()) if not isinstance(value, dict)}


def equal(one: cs.Life, other: cs.Life) -> bool:
    mine, its = leaves(one), leaves(other)
    return mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine)


MEMORIES = {
    "reservoir": {"hippocampus": cs.Store(capacity=50)},
    "ring": {"hippocampus": cs.Store(capacity=50, eviction="ring")},
    "small": {"hippocampus": cs.Store(capacity=4)},  # smaller than a batch
    "scores": {"hippocampus": cs.Store(capacity=50, keep_scores=True)},
    "coarse": {"hippocampus": cs.Store(capacity=50, code=cs.Coarse())},
    "pressure": {"rhythm": cs.Pressure(experiences_per_day=25)},  # subjects fall asleep at different times
}


@pytest.mark.parametrize("name", MEMORIES)
def test_planned_slots_are_those_of_the_tick(monkeypatch, name):
    lives = []
    for planned in (True, False):
        if not planned:
            monkeypatch.setattr(Slots, "upcoming", lambda *_: None)
        life = life_of(**{k: type(v)(**settings_of(v)) for k, v in MEMORIES[name].items()})
        for _ in life.live(days=6):
            pass
        lives.append(life)
    assert all(equal(lives[0], life) for life in lives[1:])


def settings_of(part: Any) -> dict[str, Any]:
    return {name: vars(part)[name] for name in inspect.signature(type(part)).parameters}


def test_slots_of_many_subjects_are_those_of_each():
    """Full memories are planned together, unless keys are equal or most rows could stay."""
    draw, planned_together = np.random.default_rng(0), 0
    for trial in range(30):
        s, n, ticks, rows = (int(draw.integers(low, high)) for low, high in ((4, 9), (3, 60), (1, 20), (1, 8)))
        keys, stored = draw.integers(0, 2**31, (s, ticks, rows)), draw.integers(0, 2**31 >> trial % 4 + 1, (s, n))
        one = _all_stored(keys, stored)
        each = [_stored(*of_one, n) for of_one in zip(keys, stored, strict=True)]
        other = np.column_stack((np.repeat(np.arange(s), [len(found) for found in each]), np.concatenate(each)))
        if one is not None:
            planned_together += 1
            assert np.array_equal(one, other[np.argsort(other[:, 1], kind="stable")])
    assert planned_together > 10
    keys, stored = np.full((4, 2, 3), 2**30), draw.permuted(np.tile(np.arange(9), (4, 1)), axis=1)
    assert _all_stored(keys, stored).shape == (0, 5)  # no row can stay
    keys[:, 1, :2] = 5  # the key of a stored trace
    assert _all_stored(keys, stored) is None


WORLDS = {
    "classes": {"world": cs.Digits(per_context=40, batch=6, label_noise=0.2)},
    "domain": {"world": cs.Digits(per_context=40, batch=6, scenario="domain", order="fuzzy")},
    "targets": {
        "world": cs.Arrays(
            per_context=120,
            x=np.random.default_rng(0).random((90, 5), np.float32),
            y=np.arange(180.0).reshape(90, 2) / 90,
            batch=4,
        )
    },
    "pressure": {"rhythm": cs.Pressure(experiences_per_day=25)},
}


@pytest.mark.parametrize("name", WORLDS)
def test_rows_and_slots_in_blocks_are_those_of_the_tick(monkeypatch, name):
    lives = []
    for in_blocks in (True, False):
        if not in_blocks:
            monkeypatch.setattr("cls_sim.world.stream.gathered", lambda *_: None)
            monkeypatch.setattr("cls_sim.replay.stored.alike", lambda *_: False)
        life = life_of(**copy.deepcopy(WORLDS[name]))
        list(life.live(days=2))
        for context in (life.world.next(life.clock), life.view.latest()):  # the next one, and one before
            assert context.columns().keys() >= {"x", "y", "context", "born", "item", "source"}
        twin = life.twin()
        list(life.live(days=2))
        list(twin.live(days=2))
        assert equal(life, twin)
        lives.append(life)
    assert all(equal(lives[0], life) for life in lives[1:])


def test_sparse_codes_do_not_depend_on_the_groups_in_which_they_are_made(monkeypatch):
    lives = []
    for numbers, few in ((1, 0), (2**30, 0), (1, 2**22)):  # one by one, all at once, and widened once for all
        monkeypatch.setattr("cls_sim.hippocampus.sparse.IN_CACHE", numbers)
        monkeypatch.setattr("cls_sim.hippocampus.signs.IN_CACHE", numbers)
        monkeypatch.setattr("cls_sim.hippocampus.signs.FEW", few)
        life = life_of(hippocampus=cs.Sparse(capacity=30))
        list(life.live(days=3))
        lives.append(life)
    assert all(equal(lives[0], life) for life in lives[1:])


def test_a_plan_is_made_again_after_a_load_a_branch_and_a_lesion():
    life, other = life_of(), life_of()
    list(life.live(days=3))
    other.load(life.state())
    twin = life.twin()
    lesion = life.twin(hippocampus=lambda memory: cs.Lesion(memory, fraction=0.0))
    for one in (life, other, twin, lesion):
        list(one.live(days=2))
    assert life.hippocampus.filled() is not None and (life.hippocampus.filled() == 50).all()
    assert equal(life, other) and equal(life, twin)
    assert torch.equal(life.neocortex.weights["weight0"], lesion.neocortex.weights["weight0"])
    assert lesion.hippocampus.filled() is None  # a wrap may hide traces


def test_traces_that_are_silent_are_not_drawn_by_number():
    life = life_of()
    list(life.live(days=3))
    slots = torch.zeros(3, 50, dtype=torch.bool)
    slots[:, :30] = True
    life.hippocampus.silence(slots)
    assert life.hippocampus.filled() is None
    drawn = life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock).slot
    assert drawn is not None and (drawn >= 30).all()


def test_inputs_stay_bytes_until_they_are_read():
    life = life_of(hippocampus=cs.Store(capacity=50))
    list(life.live(days=1))
    lived = life.world.next(life.clock)
    lesson = life.replay.training_batch(lived, life.hippocampus, life.neocortex, life.view, life.clock)
    old = life.hippocampus.fetch(lesson.slot[:, lived.rows :])
    assert lived.raw is not None and old.raw is not None and "x" not in vars(lesson)
    assert lesson.rows == lived.rows + old.rows and lesson.subjects == 3
    assert torch.equal(lesson.x, torch.cat((lived.x, old.x), 1))
    assert lived.with_(x=lived.x + 1).raw is None  # other inputs are not those bytes
    assert lived.with_(x=lived.x + 1).join(old).raw is None


def test_columns_of_a_joined_batch_are_made_when_read():
    one = batch_of(Spec(seeds=(0, 1), inputs=(3,), outputs=4), rows=3)
    other = one.with_(slot=torch.ones(2, 3, dtype=torch.int64), weight=None)
    both = one.join(other)
    assert "context" not in vars(both)
    assert torch.equal(both.context, torch.cat((one.context, other.context), 1))
    assert both.slot is not None and both.slot.tolist() == [[-1, -1, -1, 1, 1, 1]] * 2
    assert both.with_(slot=None).slot is None and both.with_(slot=None).join(one).slot is None
    assert both.part(slice(1, 4)).slot.tolist() == [[-1, -1, 1]] * 2
    assert set(both.columns()) == {"x", "y", "context", "born", "item", "source", "weight", "scores", "slot"}
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = both.colour
