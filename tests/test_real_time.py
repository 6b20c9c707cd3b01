"""A stream that does not wait: what passes by while a subject replays by day is neither lived nor revisited."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec

STREAM = {"per_context": 16, "batch": 10, "contexts": 2}


def at(*experience: int) -> Clock:
    clock = Clock(len(experience), 4)
    clock.experience = np.array(experience, np.int64)
    return clock


def begun(replayed: int = 22) -> tuple[cs.RealTime, Spec, cs.Digits]:
    world, plain = cs.RealTime(cs.Digits(**STREAM), replayed=replayed), cs.Digits(**STREAM)
    plain.setup(Spec(seeds=(3, 4)))
    return world, world.setup(Spec(seeds=(3, 4))), plain


def test_22_rows_by_day_cost_more_than_two_thirds_of_the_stream():
    world, spec, plain = begun()
    assert (world.length, world.ends, spec.ends) == (10, (5, 10), (5, 10))
    for e in range(10):
        lived, passing = world.next(at(e, e)), plain.next(at(e * 32 // 10, e * 32 // 10))
        assert torch.equal(lived.item, passing.item) and torch.equal(lived.x, passing.x)
        assert (lived.born == e).all()
        assert (world.contexts_at(at(e, e)) == e // 5).all()


def test_subjects_of_different_age_have_their_own_place_in_the_stream():
    world, _, plain = begun(replayed=5)
    assert torch.equal(world.next(at(2, 9)).item, plain.next(at(3, 13)).item)
    assert world.ended(at(10, 11)).tolist() == [-1, 0]


def test_what_has_passed_by_is_not_revisited():
    world, _, _ = begun()
    lived = {e: set(world.next(at(e, e)).item[0].tolist()) for e in range(10)}
    rows = list(world.revisit(at(10, 10), 50))
    found = {
        item: born
        for batch in rows
        for item, born, there in zip(batch.item[0].tolist(), batch.born[0].tolist(), batch.present()[0], strict=True)
        if there
    }
    assert set(found) == set.union(*(lived[e] for e in range(5, 10)))
    assert all(item in lived[born] for item, born in found.items())


def test_questions_do_not_depend_on_what_was_missed():
    world, _, plain = begun()
    assert torch.equal(world.evaluation(1).item, plain.evaluation(1).item)


def test_it_cannot_begin_in_mid_life():
    life = cs.Life(
        world=cs.Digits(**STREAM),
        neocortex=cs.Mlp(hidden=[4]),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=4),
        plasticity=0.0,
        replay=cs.Uniform(),
    )
    life.step()
    with pytest.raises(ConfigError, match="life that has begun"):
        life.twin(world=lambda world: cs.RealTime(world, replayed=10))
    with pytest.raises(ConfigError, match="replayed"):
        cs.RealTime(cs.Digits(**STREAM), replayed=-1)


def test_nights_replay_as_much_and_miss_nothing():
    """The two ways of experiment=nights_are_free: 10 of 32 experiences with 22 rows each, or all and 220 by night."""
    rows = {}
    for name, world, replay, rhythm in (
        (
            "day",
            cs.RealTime(cs.Digits(per_context=32, batch=10, contexts=2), replayed=22),
            cs.Interleaved(cs.Uniform(batch=22), share=0.3125, only_old=False),
            cs.Nights(experiences_per_day=10, steps_per_night=0),
        ),
        (
            "night",
            cs.Digits(per_context=32, batch=10, contexts=2),
            cs.Uniform(batch=22),
            cs.Nights(experiences_per_day=32, steps_per_night=10),
        ),
    ):
        life = cs.Life(
            world=world,
            neocortex=cs.Mlp(hidden=[4]),
            hippocampus=cs.Store(capacity=50),
            rhythm=rhythm,
            plasticity=cs.WakeNight(wake_rate=0.01, night_rate=0.01),
            replay=replay,
        )
        for _ in life.live():
            pass
        assert life.clock.day.tolist() == [2.0]
        rows[name] = int(life.ledger.totals()["passes"][0]) - int(life.ledger.totals()["lived"][0])
    assert rows == {"day": 19 * 22, "night": 20 * 22}  # beside its first experience a subject has nothing to replay
