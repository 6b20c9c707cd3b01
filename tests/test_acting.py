"""Worlds that act: a step is an experience, actions come from the readout, and replay has an order."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.probes.accuracy import lived_contexts
from cls_sim.probes.answers import coming
from tests.lives import live, small

LANE = ("a...A",)


def life(subjects: int = 3, seed: int = 0, **changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Maze(plan=("a...B", "#####", "A...b"), episodes=6),
        "neocortex": cs.Linear(),
        "hippocampus": cs.CognitiveMap(capacity=10),
        "rhythm": cs.Pauses(experiences_per_day=50, steps=6),
        "plasticity": 1.0,
        "replay": cs.Ordered(cs.GainNeed(longest=8), cells=3),
        "consolidation": cs.Descent(optimizer=cs.Sgd(), objective=cs.TemporalDifference(), reduction="sum"),
        "readout": cs.Softmax(beta=5.0),
    }
    return cs.Life(subjects=subjects, seed=seed, **parts | changes)


def leaves(tree: Any, name: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {name: np.array(tree)}
    return {k: v for key, branch in tree.items() for k, v in leaves(branch, f"{name}.{key}").items()}


def assert_same(one: Any, other: Any, rows: Any = slice(None)) -> None:
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name != ".clock.tick" and value.ndim:
            assert np.array_equal(value[rows], other[name], equal_nan=value.dtype.kind == "f"), name


def test_a_subject_runs_the_same_alone_and_in_company():
    together = live(life(4), 180)
    for subject in (0, 3):
        alone = life(1, subject)
        while alone.clock.experience[0] < together.clock.experience[subject]:
            alone.step()
        while alone.clock.replay[0] < together.clock.replay[subject]:
            alone.step()
        assert_same(together.world.state(), alone.world.state(), slice(subject, subject + 1))
        assert_same(together.hippocampus.state(), alone.hippocampus.state(), slice(subject, subject + 1))
        assert_same(together.replay.state(), alone.replay.state(), slice(subject, subject + 1))
    assert len(set(together.clock.replay.tolist())) > 1, "subjects are out of phase"


PARTS: dict[str, dict[str, Any]] = {
    "CognitiveMap": {"hippocampus": lambda: cs.CognitiveMap(capacity=10)},
    "Pauses": {"rhythm": lambda: cs.Pauses(experiences_per_day=50, steps=6)},
    "GainNeed": {"replay": lambda: cs.GainNeed(longest=8)},
    "Ordered": {"replay": lambda: cs.Ordered(cs.GainNeed(longest=8), cells=3)},
    "Unfolded": {"replay": lambda: cs.Unfolded(noise=0.3), "hippocampus": lambda: followed()},
    "Events": {"replay": lambda: cs.Events(cs.Unfolded(), cells=3, longest=5), "hippocampus": lambda: followed()},
}


def followed() -> cs.Follows:
    return cs.Follows(cs.Store(capacity=30, eviction="ring"), steps=True)


@pytest.mark.parametrize("name", PARTS)
def test_the_state_of_each_part_comes_back_and_is_that_of_each_subject(name: str):
    """What the lists of the contract ask of other parts: saved, resumed, branched, and alone as in company."""
    (part_kind, _), *_ = PARTS[name].items()

    def born(subjects: int = 2, seed: int = 0) -> cs.Life:
        parts = {kind: make() for kind, make in PARTS[name].items()}
        features = 40 if name in ("Unfolded", "Events") else None
        return life(subjects, seed, world=cs.Maze(plan=LANE, episodes=6, features=features), **parts)

    def part_of(one: cs.Life) -> Any:
        return getattr(one, part_kind)

    whole, first, resumed = live(born(), 70), live(born(), 40), born()
    saved = copy.deepcopy(first.state())
    resumed.load(copy.deepcopy(saved))
    assert_same(part_of(first).state(), part_of(resumed).state())
    twin = first.twin(**{part_kind: lambda part: part})
    assert_same(part_of(whole).state(), part_of(live(twin, 70)).state())
    assert_same(saved, first.state())  # a branch leaves what it comes from as it is
    assert_same(whole.state(), live(resumed, 70).state())
    assert whole.clock.replay.all()
    for subject in range(2):
        alone = born(1, subject)
        while not (
            alone.clock.experience[0] == whole.clock.experience[subject]
            and alone.clock.replay[0] == whole.clock.replay[subject]
        ):
            assert alone.clock.tick < 70
            alone.step()
        assert_same(part_of(whole).state(), part_of(alone).state(), slice(subject, subject + 1))


def test_a_life_goes_on_and_branches_bit_for_bit():
    whole = live(life(), 200)
    first = live(life(), 111)
    again = life()
    again.load(copy.deepcopy(first.state()))
    twin = first.twin()
    for other in (again, twin):
        assert_same(whole.state(), live(other, 200).state())
    changed = live(first.twin(replay=cs.GainNeed(need=False)), 200)
    assert not torch.equal(changed.neocortex.weights["weight0"], whole.neocortex.weights["weight0"])


def test_exploration_tries_each_action_once_and_earns_nothing():
    world, clock = cs.Maze(plan=("a..", "#.A")), Clock(1, 10)
    world.setup(Spec())
    lived = []
    for _ in range(world.exploring):
        lived.append(world.next(clock, torch.tensor([2])))
        clock.experience += 1
    tried = [(int(b.x.argmax()), int(b.action)) for b in lived]
    assert len(set(tried)) == len(tried) == 4 * 4 + 1 and all(float(b.reward) == 0 for b in lived)
    assert tried[-1] == (4, -1) and int(lived[-1].after.argmax()) == 0  # carried from the goal to the start
    assert int(world.place) == 0 and int(world.episode) == 0


def test_walls_stop_goals_end_and_the_next_start_follows():
    world, clock = (
        cs.Maze(plan=("a#B", "..#", "A.b"), explored=False, rewards=cs.AtGoals(sizes=[1.0, 3.0])),
        Clock(1, 9),
    )
    world.setup(Spec())
    right, down = torch.tensor([2]), torch.tensor([1])
    bump = world.next(clock, right)
    assert torch.equal(bump.x, bump.after) and int(bump.steps) == 1
    world.next(clock, down)
    end = world.next(clock, down)
    assert int(end.steps) == 0 and float(end.reward) == 1.0 and int(world.taken[0, 0]) == 3
    assert int(world.observe(clock).argmax()) == int(world.next(clock, right).x.argmax()) == 0


def test_looking_moves_nobody_and_those_asleep_stay():
    world, clock = cs.Maze(plan=LANE, explored=False), Clock(2, 9)
    world.setup(Spec(seeds=(0, 1)))
    world.next(clock, torch.tensor([2, -1]))
    assert world.place.tolist() == [1, 0]
    before = copy.deepcopy(world.state())
    seen, batch = world.observe(clock), world.next(clock)
    assert_same(before, world.state())
    assert seen.argmax(2).tolist() == [[1], [0]] and batch.action.tolist() == [[2], [-1]]


def test_those_who_are_done_rest():
    run = life()
    while run.world.episode.min() < 6:
        run.step()
    assert run.world.episode.tolist() == [6, 6, 6]
    batch = run.world.next(run.clock, torch.tensor([0, 0, 0]))
    assert not batch.present().any()
    before = leaves(copy.deepcopy(run.world.state()))
    after = leaves(live(run, run.clock.tick + 100).world.state())
    for name in (".place", ".episode", ".step", ".taken"):
        assert np.array_equal(before[name], after[name]), name
    assert run.ledger.counts["lived"].max() < run.clock.tick


def test_a_readout_that_does_not_act_is_refused():
    with pytest.raises(ConfigError, match="CortexReadout does not act"):
        life(readout=cs.CortexReadout()).step()


@pytest.mark.parametrize(
    "change",
    [
        {"rhythm": cs.Pauses()},
        {"hippocampus": cs.CognitiveMap()},
        {"consolidation": cs.Descent(objective=cs.TemporalDifference())},
    ],
    ids=["rhythm", "hippocampus", "consolidation"],
)
def test_parts_of_acting_worlds_are_refused_elsewhere(change: dict[str, Any]):
    with pytest.raises(ConfigError) as refusal:
        small(**change)
    assert "world" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("plan", [("...A",), ("a...",), ("a.", "..A"), "a..A", ("a.?A",), ()])
def test_plans_without_sense_are_refused(plan: Any):
    with pytest.raises(ConfigError) as refusal:
        cs.Maze(plan=plan)
    assert refusal.value.key == "plan"


def test_a_store_keeps_deeds():
    run = live(life(hippocampus=cs.Store(capacity=40, eviction="ring"), replay=cs.InOrder(batch=6)), 90)
    stored = run.view.stored()
    there = stored.present()
    assert there.any() and (stored.action[there] >= -1).all() and stored.after.shape == stored.x.shape
    batch = run.replay.draw(run.hippocampus, run.neocortex, run.view, run.clock)
    assert (batch.born.diff(dim=1) > 0).all()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 12), batch=st.integers(1, 6), direction=st.sampled_from(["forward", "reverse", "either"]))
def test_in_order_replays_stretches_of_the_past(count: int, batch: int, direction: str):
    spec = Spec(seeds=(0, 1), inputs=(2,), outputs=3, batch=1)
    store = cs.Store(capacity=12, eviction="ring")
    store.setup(spec)
    clock, view = Clock(2, 5), None
    for i in range(count):
        x = torch.full((2, 1, 2), float(i))
        store.encode(Batch.lived(x, torch.zeros(2, 1, dtype=torch.int64)), view, clock)  # pyright: ignore[reportArgumentType]
        clock.experience += 1
    policy = cs.InOrder(batch=batch, direction=direction)
    policy.setup(spec)
    clock.replay += 7
    drawn = policy.draw(store, None, view, clock)  # pyright: ignore[reportArgumentType]
    for subject in range(2):
        born = drawn.born[subject][drawn.present()[subject]].tolist()
        assert len(born) == min(count, batch)
        steps = set(np.diff(born).tolist())
        assert steps <= {1} if direction == "forward" else steps <= {-1} if direction == "reverse" else len(steps) <= 1


def learnt(plan: tuple[str, ...], runs: int, **settings: Any) -> cs.Life:
    """A subject that ran along a track so many times and knows its rewards."""
    return live(life(1, world=cs.Maze(plan=plan, episodes=runs, rewards=cs.AtGoals(sizes=[1.0])), **settings), 400)


def test_the_first_reward_is_replayed_in_reverse_and_reaches_the_start():
    run = learnt(("a.....A",), 1, replay=cs.Ordered(cs.GainNeed(need=False), cells=5))
    counts = run.replay.counts.sum(1)[0]
    assert counts[1, 1] == 1 and counts[1, 0] == 0
    best = run.neocortex.scores(run.world.evaluation(0).x).argmax(2)[0]
    assert (best == 2).all()  # to the right, in each place
    values = run.neocortex.scores(run.world.evaluation(0).x).amax(2)[0]
    assert torch.allclose(values, 0.9 ** torch.arange(5, -1, -1.0), atol=1e-5)


def test_without_gain_nothing_runs_in_reverse():
    run = learnt(("a.....A",), 6, replay=cs.Ordered(cs.GainNeed(gain=False), cells=4))
    assert run.replay.counts.sum(1)[0, 1, 1] == 0


def test_values_of_a_sequence_are_its_returns():
    """A batch of n steps moves each value to the discounted reward that follows, as single steps from the end would."""
    cortex = cs.Linear()
    spec = cortex.setup(Spec(inputs=(4,), outputs=2, actions=2))
    rule = cs.Descent(optimizer=cs.Sgd(), objective=cs.TemporalDifference(gamma=0.5), reduction="sum")
    rule.setup(spec)
    x = torch.eye(4)[None, :3]
    batch = Batch.lived(x, torch.zeros(1, 3, dtype=torch.int64)).with_(
        action=torch.zeros(1, 3, dtype=torch.int64),
        reward=torch.tensor([[0.25, 0.5, 1.0]]),
        after=torch.eye(4)[None, 3:].expand(1, 3, 4),
        steps=torch.tensor([[3, 2, 0]]),
    )
    with torch.no_grad():
        cortex.weights["weight0"][0, 1, 3] = 8.0  # the value of the last place
    rule.step(cortex, batch, np.array([1.0]), None)
    assert torch.allclose(cortex.scores(x)[0, :, 0], torch.tensor([0.25 + 0.125 * 8, 0.5 + 0.25 * 8, 1.0]))


def test_asleep_need_is_where_a_subject_will_be_in_the_long_run():
    policy = cs.GainNeed(where="anywhere")
    run = live(life(1, replay=policy), 200)
    known = run.hippocampus.map()
    need = policy._needed(known, run.view)[0]
    flow = known.transitions[0]
    assert torch.allclose(need @ flow, need * flow.sum(1).max(), atol=0.02) and need.min() >= 0


def test_measuring_order_changes_nothing():
    plain = live(life(replay=cs.GainNeed(longest=8)), 200)
    counted = live(life(), 200)
    assert torch.equal(plain.neocortex.weights["weight0"], counted.neocortex.weights["weight0"])
    forward = cs.ReplayOrder(direction="forward", place="start").measure(counted)
    assert forward.shape == (3,) and (forward >= 0).all()
    with pytest.raises(ConfigError):
        cs.ReplayOrder().measure(plain)
    with pytest.raises(ConfigError):
        cs.EpisodeSteps(episode=99).measure(plain)


def test_noise_in_the_input_reaches_a_subject_that_acts():
    noisy = cs.NoisyWorld(cs.Maze(plan=LANE), sd=0.1)
    run = live(life(world=noisy, hippocampus=cs.Store(capacity=10), replay=cs.Uniform(batch=2)), 60)
    x = run.view.stored().x
    assert bool(((x != 0) & (x != 1)).any())


def test_probes_of_experience_know_that_the_next_one_is_not_there_yet():
    run = live(life(world=cs.Maze(plan=LANE, episodes=1), probes={"next": cs.Prequential()}), 120)
    assert (run.world.episode == 1).all()  # all rest: the most recent experience is an absent row
    assert lived_contexts(run).all(), "every subject has met the one context"
    assert (coming(run, None).y == -1).all(), "what comes depends on an action that is not yet taken"
    assert cs.Prequential().measure(run).isnan().all()
