"""A part that a branch brings in announces its sizes to all other parts, or is refused in one line.

Version 0.1 dropped it: one arm of singh_2022_stages lived the nights of the arm that it left, in all subjects.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.config import experiments
from cls_sim.config.experiments import Arm, Experiment
from cls_sim.core.announce import FOR_LIFE, same
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part
from cls_sim.running.identical import identical
from tests.lives import live, needs_data, small

BRANCHING = sorted(
    file.stem for file in (experiments.conf_dir() / "experiment").glob("*.yaml") if "branch_from: " in file.read_text()
)
TICKS = 12
SMALLER = {  # images of 64 pixels for those of 784, and a small autoencoder
    "spens_2024_semantic": (
        *("world=digits", "world.per_context=8", "world.batch=12", "neocortex.hidden=[16]", "neocortex.latent=4"),
    )
}


def test_the_experiments_that_branch_are_found():
    """A renamed key once left the test below without a case."""
    assert len(BRANCHING) >= 10 and {"singh_2022_stages", "digits"} <= set(BRANCHING)


def tables(part: Part) -> dict[str, Any]:
    """Everything that a part holds and that is no state, no draws and no function: settings and derived tables."""
    state, found = {**part.state(), "changed": None, "_latest": None}, {}  # no table: what was asked for last
    for name, value in vars(part).items():
        if isinstance(value, Part):
            found |= {f"{name}.{inner}": table for inner, table in tables(value).items()}
        elif name not in state and isinstance(value, (int, float, str, tuple, np.ndarray, torch.Tensor, cs.Spec)):
            found[name] = value
    return found


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, cs.Spec):
        return isinstance(b, cs.Spec) and same(plain(a), plain(b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, (np.ndarray, torch.Tensor)):
        return type(a) is type(b) and bool((torch.as_tensor(a) == torch.as_tensor(b)).all())
    return a == b


def plain(spec: cs.Spec) -> cs.Spec:
    """A spec without the functions of other parts."""
    return cs.Spec(**vars(spec) | {"due": None, "input_weights": None})


def settings(part_kind: str, cfg: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting of a kind of part, changed: its name, and the configuration."""
    for name, value in cfg.items():
        if isinstance(value, dict):
            for key, changed in settings(part_kind, value, (*path, name)):
                yield key, cfg | {name: changed}
        elif isinstance(value, bool):
            yield ".".join((part_kind, *path, name)), cfg | {name: not value}
        elif isinstance(value, (int, float)):
            yield ".".join((part_kind, *path, name)), cfg | {name: value * 2 if value else 1}


@pytest.mark.parametrize("experiment", BRANCHING)
def test_whatever_a_branch_announces_is_heard_by_all_or_refused(experiment: str, request: pytest.FixtureRequest):
    """Each setting of the arm that others leave, changed alone by a branch: where it changes what is announced, every
    other part has the tables of a life born with it, and the state that it had."""
    needs_data(experiment, request)
    arms = experiments.read([f"experiment={experiment}", "size=small", *SMALLER.get(experiment, ())]).arms
    origin = next(arms[arm.origin] for arm in arms.values() if arm.origin).cfg
    life, tried = live(experiments.make_life(origin, 2, origin["seed"]), TICKS), 0
    for part_kind in ("rhythm", "neocortex", "hippocampus"):
        for key, cfg in settings(part_kind, origin[part_kind]):
            try:
                born = experiments.make_life(origin | {part_kind: cfg}, 2, origin["seed"])
            except ConfigError:
                continue
            if same(plain(born.spec), plain(life.spec)):
                continue
            tried += 1
            change = {part_kind: experiments.make(part_kind, cfg)}
            if any(not equal(getattr(born.spec, name), getattr(life.spec, name)) for name in FOR_LIFE):
                with pytest.raises(
                    ConfigError, match=f"^{part_kind}: announces .* in a life with .*; keep .*, or run this arm"
                ):
                    life.twin(**change)
                continue
            twin = life.twin(**change)
            for other in set(cs.PART_KINDS) - {part_kind}:
                mine, its = getattr(twin, other), getattr(born, other)
                if isinstance(mine, cs.Compact):  # its limits follow from its state
                    its.load(life.hippocampus.state())
                assert equal(tables(mine), tables(its)), (key, other)
                assert equal(mine.state(), getattr(life, other).state()), (key, other)
            live(twin, life.clock.tick + TICKS)
    assert tried, "something that is announced was changed"


def test_other_nights_of_sleep_stages_are_other_lives():
    """The arm of singh_2022_stages, with half the subjects: one block a night is worse for the old list."""
    study = cs.study("experiment=singh_2022_stages", "subjects=4", "days=8", "arms=[cycles_10,cycles_1]", "figures={}")
    assert study.summary["identical"] == []
    old = {name: trace.last("accuracy")[:, 0] for name, trace in study.traces.items()}
    assert (old["cycles_1"] < old["cycles_10"] - 0.1).all()


def test_memories_kept_from_replay_are_kept_by_all():
    life = live(small(2, hippocampus=cs.Store(capacity=20)), 20)
    before = copy.deepcopy(life.state())
    twin = life.twin(rhythm=cs.Validated(experiences_per_day=6, held_out=0.25))
    assert twin.spec.held_out == twin.hippocampus.spec.held_out == twin.replay._held_out == 0.25  # pyright: ignore
    assert life.replay._held_out == life.spec.held_out == 0.0, "the life that was left has not changed"  # pyright: ignore
    for part_kind in set(cs.PART_KINDS) - {"rhythm"}:
        assert equal(getattr(twin, part_kind).state(), before[part_kind]), part_kind
    both = life.twin(
        rhythm=cs.Validated(experiences_per_day=6, held_out=0.25), hippocampus=lambda h: cs.Lesion(h, fraction=0.5)
    )
    assert both.hippocampus.hippocampus.spec.held_out == 0.25
    assert both.hippocampus.traces().alive.sum() < life.hippocampus.traces().alive.sum()
    live(both, 40)


def test_probes_hear_it_too():
    probe = cs.NightContent()
    life = live(small(1, probes={"night": probe}), 4)
    heard = []
    type(probe).setup, kept = lambda self, spec: heard.append(spec) or spec, type(probe).setup
    try:
        life.twin(hippocampus=cs.Lesion)
        assert not heard
        life.twin(rhythm=cs.Validated(experiences_per_day=6, held_out=0.25))
    finally:
        type(probe).setup = kept
    assert [spec.held_out for spec in heard] == [0.25]


@pytest.mark.parametrize(
    "change, told",
    [
        (
            {"rhythm": cs.Nights(experiences_per_day=12, steps_per_night=5)},
            "rhythm: announces per_day=12 in a life with per_day=6, but ages in",
        ),
        ({"world": cs.Digits(per_context=12, contexts=2)}, "world: announces contexts=2 in a life with contexts=5"),
        ({"neocortex": cs.Mlp(hidden=[16])}, "neocortex: announces features=16 in a life with features=32"),
        ({"world": cs.Digits(per_context=12, batch=8, scenario="domain")}, "world: announces outputs=2"),
        ({"dream": cs.Uniform()}, "dream: is not a kind of part; change one of world, rhythm"),
    ],
)
def test_what_holds_for_life_is_refused_in_one_line(change: dict[str, Part], told: str):
    with pytest.raises(ConfigError) as caught:
        live(small(2), 8).twin(**change)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_a_number_as_plasticity_is_a_constant_rate_in_a_branch():
    life = live(small(2), 8)
    numbers, schedules = life.twin(plasticity=0.01), life.twin(plasticity=cs.Constant(rate=0.01))
    for twin in (numbers, schedules):
        list(twin.live(1))
    for name, weights in numbers.neocortex.weights.items():
        assert torch.equal(weights, schedules.neocortex.weights[name])
    assert numbers.plasticity.rate(numbers.clock).tolist() == [0.01, 0.01]
    with pytest.raises(ConfigError, match=r"^plasticity: -1\.0 is out of range"):
        life.twin(plasticity=-1.0)


@pytest.mark.parametrize("function", [lambda day: 0.1, lambda day: 0.1 / (1 + day), lambda day: 0.1 if day < 2 else 0])
def test_a_function_of_the_age_as_plasticity_is_a_schedule_in_a_branch(function: Callable[[float], float]):
    twin = live(small(2), 8).twin(plasticity=function)
    assert twin.plasticity.rate(twin.clock).tolist() == [function(day) for day in twin.clock.day.tolist()]
    live(twin, 12)


def test_a_function_that_fails_with_a_part_and_with_an_age_fails_as_it_does():
    with pytest.raises(AttributeError, match="nothing"):
        small(2).twin(plasticity=lambda part: part.nothing)


@pytest.mark.parametrize(
    "kind, new",
    [("plasticity", cs.Constant(rate=0.3)), ("replay", cs.Recent(batch=8)), ("hippocampus", cs.Store(capacity=5))],
)
def test_a_function_may_return_a_part_without_a_past(kind: str, new: Part):
    """It was never set up: AttributeError at the next tick."""
    life = live(small(2), 8)
    change: dict[str, Any] = {kind: lambda part: copy.deepcopy(new)}
    given: dict[str, Any] = {kind: copy.deepcopy(new)}
    assert equal(live(life.twin(**change), 20).state(), live(life.twin(**given), 20).state())


# -- arms that are one life --------------------------------------------------------------------------------------


def test_arms_that_are_identical_are_reported_and_claims_about_them_fail(tmp_path):
    """Replay that is lost and a rate of 0 are the same but for the dose: nothing is learnt any more."""
    closed = (
        "arm.stiff={branch_from: intact, branch_at: 8d, overrides: ['plasticity=modulated', 'plasticity.factor=0']}"
    )
    small = ("experiment=interventions", "size=small", "subjects=2", "figures={}")
    found = cs.study(*small, "arms=[intact,disrupted,stiff]", closed)
    assert found.summary["identical"] == [{"arm": "stiff", "than": "disrupted", "subjects": 2}]
    assert "arm stiff: identical to disrupted in all 2 subjects" in repr(found)

    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "twice.yaml").write_text(
        "# @package _global_\n"
        "defaults: [digits]\n"
        "rhythm: {experiences_per_day: 12, steps_per_night: 20}\n"
        "arm: {again: {branch_from: cls, branch_at: 2d, overrides: [rhythm.steps_per_night=20]}, other: {branch_from: cls, branch_at: 2d, overrides: [rhythm.steps_per_night=5]}}\n"
        "claims:\n"
        "  same: {kind: better, arm: again, than: cls, by: -1.0}\n"
        "  another: {kind: better, arm: other, than: cls, by: -1.0}\n"
    )
    told = cs.study(
        *(
            "experiment=twice",
            "size=small",
            "subjects=3",
            "seed=1000",
            "days=3",
            "arms=[cls,again,other]",
            "figures={}",
        ),
        folders=[str(tmp_path)],
    )
    night = told.summary
    assert night["identical"] == [{"arm": "again", "than": "cls", "subjects": 3}], night["identical"]
    claims = {claim["name"]: claim for claim in night["claims"]}
    assert claims["same"]["passed"] is False
    assert claims["same"]["reason"] == "again and cls are identical in all 3 subjects"
    assert "reason" not in claims["another"]


def test_the_same_readings_of_other_lives_are_not_identical():
    """Two arms may both be perfect: what was learnt tells them apart."""
    trace = cs.run(small(2, probes={"accuracy": cs.Accuracy()}), days=1, progress=False)
    arms = {
        name: Arm(name, {"probes": {}}, origin) for name, origin in (("one", None), ("other", "one"), ("third", "one"))
    }
    learnt = {"one": ["a"], "other": ["b"], "third": ["b"]}
    found = identical(Experiment("x", {}, arms), dict.fromkeys(arms, trace), learnt)
    assert found == [{"arm": "third", "than": "other", "subjects": 2}]
