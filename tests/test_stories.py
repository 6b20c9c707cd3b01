"""The worlds of the stories: candies on a line, two species, abalone; and labels that are wrong for a while."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.world import species
from cls_sim.world.candies import COLOURS, HUES, pictures
from cls_sim.world.files import DataFileError
from cls_sim.world.species import Abalone, Species


def at(*experience):
    clock = Clock(len(experience), 10)
    clock.experience = np.array(experience, np.int64)
    return clock


def begun(world, seeds=(0,)):
    return world, world.setup(Spec(seeds=tuple(seeds)))


# -- candies -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(8, 24), st.floats(0, 3), st.sampled_from(COLOURS))
def test_a_picture_is_a_function_of_its_seed_and_shows_a_candy_of_its_colour(seed, side, variation, colour):
    hues = np.full(40, HUES[colour])
    images = pictures(np.random.default_rng(seed), hues, side, variation)
    assert images.shape == (40, side, side, 3) and images.dtype == np.uint8
    assert np.array_equal(images, pictures(np.random.default_rng(seed), hues, side, variation))
    if variation <= 1 and colour in ("red", "green", "blue"):
        third = slice(side // 3, side - side // 3)
        middle = images[:, third, third].mean((0, 1, 2))
        assert middle.argmax() == ("red", "green", "blue").index(colour)


def test_pictures_differ_more_the_more_they_may():
    spread = [pictures(np.random.default_rng(0), np.zeros(200), 20, v).std(0).mean() for v in (0.0, 0.5, 1.0)]
    assert spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize("make", [lambda: cs.Candies(candies=20, per_context=10), lambda: Species(animals=20)])
def test_every_subject_has_its_own_and_the_same_in_company(make):
    (cohort, _), (alone, _) = begun(make(), range(4)), begun(make(), [2])
    for e in (0, 9, 15):
        together, single = cohort.next(at(*[e] * 4)), alone.next(at(e))
        for name in ("x", "y", "context", "item"):
            assert torch.equal(getattr(together, name)[2], getattr(single, name)[0]), name
    for ask in ("evaluation", "train"):
        assert torch.equal(getattr(cohort, ask)(1).x[2], getattr(alone, ask)(1).x[0])
    assert not torch.equal(cohort.train(0).x[0], cohort.train(0).x[1])
    mixed = cohort.next(at(0, 3, 3, 12))
    assert torch.equal(mixed.x[3], cohort.next(at(*[12] * 4)).x[3])
    again = next(iter(cohort.revisit(at(*[cohort.ends[0]] * 4), 8)))
    assert torch.equal(again.x[2], next(iter(alone.revisit(at(alone.ends[0]), 8))).x[0])
    assert copy.deepcopy(cohort)._learnt is cohort._learnt and cohort.state() == {}


def test_green_comes_alone_after_red_and_blue():
    world, spec = begun(cs.Candies(candies=20, colours=4, per_context=5))
    assert spec.outputs == 4 and spec.contexts == 3 and spec.quantum == 1 / 255
    assert [world.next(at(e)).y.unique().tolist() for e in (0, 5, 10)] == [[0, 1], [2], [3]]
    assert [world.evaluation(k).y.unique().tolist() for k in range(3)] == [[0, 1], [2], [3]]
    asked, learnt = world.evaluation(0).item[0].tolist(), world.train(0).item[0].tolist()
    assert not set(asked) & set(learnt) and len(asked) + len(learnt) == 40


def test_wrong_labels_end_and_are_never_right():
    world, _ = begun(cs.Mislabelled(cs.Candies(candies=20, per_context=30), until=2.0), (0, 1))
    right = world.world
    for e in (0, 19, 20, 40):
        same = world.next(at(e, e)).y == right.next(at(e, e)).y
        assert same.all() if e >= 20 else not same.any()
    given_ = torch.cat([world.next(at(e, e)).y for e in range(15)], 1)
    assert given_.unique().tolist() == [0, 1, 2]
    assert torch.equal(world.evaluation(0).y, right.evaluation(0).y)
    half, _ = begun(cs.Mislabelled(cs.Candies(candies=20, per_context=30), fraction=0.5))
    wrong = torch.cat([half.next(at(e)).y != right.next(at(e, e)).y[:1] for e in range(30)], 1)
    assert wrong.double().mean().item() == pytest.approx(0.5, abs=0.1)


# -- ages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", [1.0, 0.4, -1.0])
def test_two_rules_are_as_alike_as_the_knob_says(similarity):
    world, spec = begun(Species(similarity=similarity, animals=2000, noise=0.0, features=5, mark=0.0), range(3))
    assert spec.regression and spec.inputs == (7,) and spec.outputs == 1
    for subject in range(3):
        rules = []
        for k in range(2):
            batch = world.train(k)
            x, y = batch.x[subject, :, :5].numpy(), batch.y[subject, :, 0].numpy()
            rules.append(np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0][:5])
        one, other = rules
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert cosine == pytest.approx(similarity, abs=1e-3)
    assert world.unit == pytest.approx(np.full(3, 3.0), rel=0.1)


def test_targets_are_in_units_of_the_first_species():
    world, _ = begun(Species(similarity=0.0, animals=500), (3,))
    dogs = torch.cat([world.train(0).y, world.evaluation(0).y], 1)
    assert dogs.mean().item() == pytest.approx(0, abs=1e-5) and dogs.std(correction=0).item() == pytest.approx(1)


def test_the_error_is_in_years():
    life = cs.Life(
        subjects=2,
        world=Species(animals=100, per_context=5),
        neocortex=cs.Linear(),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=5),
        plasticity=cs.Constant(rate=0.0),
        replay=cs.Uniform(),
        probes={"years": cs.AbsoluteError()},
    )
    trace = cs.run(life, progress=False)
    exam = life.world.evaluation(1)
    wanted = exam.y.abs().mean((1, 2)).numpy() * life.world.unit  # a cortex that answers 0
    assert trace.last("years")[:, 1] == pytest.approx(wanted, rel=1e-6) and wanted.min() > 1.5


@pytest.fixture
def abalone(data_dir, monkeypatch):
    if not (data_dir / "abalone").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{data_dir} has no folder abalone")
        pytest.skip(f"{data_dir} has no folder abalone")
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(data_dir))
    return data_dir / "abalone" / "abalone.data"


def test_abalones_are_infants_then_females_then_males(abalone):
    context, numbers = species._read()
    assert np.bincount(context).tolist() == [1342, 1307, 1528] and numbers.shape == (4177, 8)
    assert numbers[:, -1].min() == 1 and numbers[:, -1].max() == 29
    world, spec = begun(Abalone(), (0, 1))
    assert spec.inputs == (7,) and spec.contexts == 3 and spec.regression
    infants = torch.cat([world.train(0).y[0], world.evaluation(0).y[0]])
    assert infants.mean().item() == pytest.approx(0, abs=1e-5) and infants.std(correction=0).item() == pytest.approx(1)
    assert world.train(2).y.mean() > 0.5  # grown ones are older


def test_a_file_of_abalones_that_is_not_theirs_is_refused_in_one_line(abalone, tmp_path, monkeypatch):
    content = abalone.read_text()
    (tmp_path / "abalone").mkdir()
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(tmp_path))
    path = tmp_path / "abalone" / "abalone.data"
    for fault in (None, "", content[: len(content) // 2], content.replace("M,0.455", "F,0.455", 1), "M,a,b\n" * 9):
        if fault is not None:
            path.write_text(fault)
        with pytest.raises(DataFileError) as refusal:
            begun(Abalone())
        assert refusal.value.key == str(path) and "\n" not in str(refusal.value)
    monkeypatch.delenv("CLS_SIM_DATA_DIR")
    with pytest.raises(ConfigError, match="is not on this machine"):
        begun(Abalone())


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("colours", lambda: cs.Candies(colours=1)),
        ("colours", lambda: cs.Candies(colours=7)),
        ("candies", lambda: cs.Candies(candies=5)),
        ("side", lambda: cs.Candies(side=4)),
        ("variation", lambda: cs.Candies(variation=-0.1)),
        ("scenario", lambda: cs.Candies(scenario="domain")),
        ("similarity", lambda: Species(similarity=1.5)),
        ("features", lambda: Species(features=1)),
        ("animals", lambda: Species(animals=3)),
        ("mark", lambda: Species(mark=-1)),
        ("noise", lambda: Species(noise=float("nan"))),
        ("order", lambda: Abalone(order="random")),
        ("fraction", lambda: cs.Mislabelled(cs.Candies(), fraction=2)),
        ("world", lambda: cs.Mislabelled(Species(animals=20))),
    ],
)
def test_settings_without_sense_are_refused_by_name(key, make):
    with pytest.raises(ConfigError) as refusal:
        begun(make())
    assert refusal.value.key == key and "\n" not in str(refusal.value)


def test_an_absolute_error_of_labels_is_refused():
    with pytest.raises(ConfigError, match="labels"):
        cs.AbsoluteError().setup(Spec(outputs=3))
