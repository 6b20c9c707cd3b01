"""A memory of order unfolds in replay, and the order and speed of its events are measured."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from tests.lives import live, small


def runs(subjects: int = 3, seed: int = 0, ticks: int = 500, **changes: Any) -> cs.Life:
    """Subjects on a track of one lane, whose steps are stored once."""
    parts: dict[str, Any] = {
        "world": cs.Maze(plan=("a.....A",), episodes=3, explored=False, features=100),
        "neocortex": cs.Linear(),
        "hippocampus": cs.Follows(cs.Store(capacity=200, eviction="ring"), steps=True),
        "rhythm": cs.Pauses(experiences_per_day=50, steps=9),
        "plasticity": 0.01,
        "replay": cs.Events(cs.Unfolded(), cells=4, longest=8),
        "consolidation": cs.Descent(optimizer=cs.Sgd(), objective=cs.TemporalDifference(), reduction="sum"),
        "readout": cs.Softmax(beta=5.0),
    }
    return live(cs.Life(subjects=subjects, seed=seed, **parts | changes), ticks)


@cache
def usual() -> cs.Life:
    """The three subjects without changes, for tests that only look."""
    return runs()


def read(life: cs.Life, of: str, place: str = "any") -> torch.Tensor:
    return cs.ReplayEvents(of=of, place=place).measure(life)


def test_a_run_is_replayed_in_reverse_after_reward_and_forward_before_the_next():
    life = usual()
    assert (life.world.episode == 3).all()
    assert (read(life, "score", "end") == -1).all() and (read(life, "score", "start") == 1).all()
    assert (read(life, "reverse", "end") == 1).all() and (read(life, "forward", "end") == 0).all()
    assert (read(life, "reverse", "start") == 0).all()
    assert (read(life, "compression") >= 1).all()


def test_without_reward_a_pause_at_the_end_has_no_reverse_event():
    life = runs(
        world=cs.Maze(plan=("a.....A",), episodes=2, explored=False, features=100, rewards=cs.AtGoals(sizes=[0.0]))
    )
    assert (read(life, "reverse", "end") == 0).all()


def test_each_place_of_the_first_run_is_replayed_once_from_its_end_without_loops():
    seen: list[list[int]] = []

    class Look(cs.Events):
        def draw(self, hippocampus: Any, neocortex: Any, view: Any, clock: Any) -> Batch:
            batch = super().draw(hippocampus, neocortex, view, clock)
            if clock.asleep[0] and batch.present()[0, 0]:
                seen.append(batch.item[0].tolist())
            return batch

    world = cs.Maze(plan=("a.....A",), episodes=1, explored=False, features=100)
    life = runs(1, world=world, replay=Look(cs.Unfolded()))
    assert int(life.world.taken[0, 0]) > 6, "the run had loops"
    assert seen == [[5], [4], [3], [2], [1], [0]]


def test_reverse_replay_of_one_run_carries_the_value_to_its_start():
    world = cs.Maze(plan=("a.....A",), episodes=1, explored=False, features=400, rewards=cs.AtGoals(sizes=[1.0]))
    life = runs(2, world=world, plasticity=1 / 400)
    best = life.neocortex.scores(life.world.evaluation(0).x)
    assert (best.argmax(2) == 2).all()  # to the right, in each place


def test_symmetric_synapses_have_no_events():
    memory = cs.Follows(cs.Store(capacity=200, eviction="ring"), steps=True, symmetric=True)
    assert (read(runs(hippocampus=memory), "reverse") == 0).all()


def test_an_event_is_the_same_alone_and_in_company():
    together, alone = usual(), runs(1, 2)
    for of in ("score", "forward", "reverse", "events", "compression"):
        assert torch.equal(read(together, of)[2:], read(alone, of))


def test_measuring_events_changes_nothing():
    plain, counted = runs(replay=cs.Unfolded()), usual()
    assert torch.equal(plain.neocortex.weights["weight0"], counted.neocortex.weights["weight0"])
    with pytest.raises(ConfigError, match="wrap it in Events"):
        read(plain, "score")


class Told(cs.Replay):
    """Replays rows that were lived at these times, one in each step; -1: none."""

    def __init__(self, times: list[int]):
        self.times = times

    def draw(self, hippocampus: Any, neocortex: Any, view: Any, clock: Clock) -> Batch:
        time = torch.full((1, 1), self.times[int(clock.replay[0])])
        batch = Batch.lived(torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64))
        return batch.with_(born=time, weight=(time >= 0).float())


def measured(times: list[int], **settings: Any) -> dict[str, torch.Tensor]:
    """The sums after a night that replays these times."""
    meter = cs.Events(Told(times), **settings)
    meter.setup(Spec())
    clock = Clock(1, 10)
    clock.asleep = np.ones(1, bool)
    from tests.test_replay import VIEW

    for step in range(len(times)):
        clock.replay = np.full(1, step)
        meter.draw(None, None, VIEW, clock)  # pyright: ignore[reportArgumentType]
    return {name: total.sum(1)[0] for name, total in meter.so_far().items()}


def test_a_chance_order_is_not_ordered_and_a_short_event_does_not_count():
    found = measured([3, 9, 1, 7, 5, 8, 2], cells=5)
    assert found["events"] == 1 and found["ordered"].sum() == 0
    assert measured([1, 2, 3, 4], cells=5)["events"] == 0


def test_steps_without_rows_end_an_event():
    found = measured([1, 2, 3, 4, 5, 6, 7, -1, 7, 6, 5, 4, 3, 2, 1], cells=7)
    assert found["ordered"].tolist() == [1, 1] and found["events"] == 2 and found["score"] == 0


def test_speed_is_the_lived_time_of_a_replay_step():
    found = measured([0, 4, 8, 12, 16, 20], cells=5)
    assert found["span"] / found["steps"] == 4


def test_share_of_chance_orders_below_p_is_p():
    source, ordered = np.random.default_rng(0), 0
    for _ in range(200):
        ordered += int(measured(source.permutation(8).tolist(), cells=5, p=0.2)["ordered"].sum())
    assert 20 <= ordered <= 60


def test_a_memory_of_steps_needs_a_world_that_acts_and_a_memory_of_order_an_order():
    with pytest.raises(ConfigError, match="in this world nobody acts"):
        small(hippocampus=cs.Follows(cs.Store(capacity=5), steps=True))
    with pytest.raises(ConfigError, match="does not keep the order"):
        runs(hippocampus=cs.Store(capacity=50))
