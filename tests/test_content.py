"""What a night is made of: seen ahead bit for bit, and named as it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small
from torch import Tensor

import cls_sim as cs
from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.errors import ConfigError
from cls_sim.probes.content import LOOKS, looks, notes
from cls_sim.replay.base import Replay


def nightfall(**changes: Any) -> cs.Life:
    """Two subjects on the evening of their third day, which had two kinds of digits."""
    parts: dict[str, Any] = {
        "hippocampus": cs.Store(capacity=40),
        "rhythm": cs.Nights(experiences_per_day=6, steps_per_night=40),
    }
    life = small(2, **parts | changes)
    return live(life, 18 + 2 * 40)


def content(of: str, life: cs.Life, **settings: Any) -> Tensor:
    with torch.no_grad():
        return cs.Content(of=of, **settings).measure(life)


class Given(Replay):
    """Replays one batch again and again, and keeps what it showed."""

    def __init__(self, policy: Replay):
        self.policy, self.shown = policy, []

    def draw(self, *others: Any) -> Batch:
        self.shown.append(self.policy.draw(*others))
        return self.shown[-1]


class Dreamt(Replay):
    """Dreams what it is told: x [s, b, …], and weights."""

    derived = frozenset({"x", "weight"})

    def __init__(self, x: Tensor, weight: Tensor | None = None):
        self.x, self.weight = x, torch.ones(x.shape[:2]) if weight is None else weight

    def draw(self, *others: Any) -> Batch:
        y = torch.zeros(self.x.shape[:2], dtype=torch.int64)
        return Batch.lived(self.x, y, source=torch.full_like(y, DREAMED, dtype=torch.uint8), weight=self.weight)


@pytest.mark.parametrize("policy", [cs.Uniform(batch=4), cs.Preferred(cs.Weakness(), batch=4)], ids=str)
def test_what_is_seen_ahead_is_what_is_replayed(policy: Replay):
    """Even where the policy follows a cortex that learns all night."""
    life = nightfall(replay=policy)
    noted, seen = notes(life), looks(life)
    assert noted.rows == 40 * 4 and seen.rows == 40 * 4
    life = life.twin(replay=lambda part: Given(part))
    for _ in range(40):
        life.step()
    for name in ("item", "slot", "y", "born"):
        shown = torch.cat([getattr(batch, name) for batch in life.replay.shown], 1)
        assert torch.equal(getattr(noted, name), shown), name
    assert not life.clock.asleep.any(), "the whole night, and no more"


def test_of_a_long_night_some_steps_are_looked_at_evenly_spread():
    life = nightfall(replay=cs.Uniform(batch=1), rhythm=cs.Nights(experiences_per_day=6, steps_per_night=150))
    live(life, 18 + 3 * 150 - 150)
    noted, seen = notes(life), looks(life)
    assert noted.rows == 150 and LOOKS <= seen.rows < 2 * LOOKS
    assert torch.equal(seen.item, noted.item[:, ::4])


def test_nobody_asleep_and_nothing_interleaved_is_nothing_replayed():
    life = live(small(2, rhythm=cs.Sleepless(experiences_per_day=6)), 6)
    assert content("coverage", life).isnan().all()


def test_awake_it_is_what_joins_the_lessons_of_a_day():
    policy = cs.Interleaved(cs.Uniform(batch=4), share=0.5, only_old=False)
    life = live(
        small(2, rhythm=cs.Sleepless(experiences_per_day=6), replay=policy, plasticity=cs.Constant(rate=0.01)), 6
    )
    assert int(notes(life).present().sum()) == 2 * 6 * 4, "the lived rows do not count"
    assert (content("coverage", life) > 0.3).all()


def test_recent_policies_are_biased_to_the_recent_and_uniform_ones_are_not():
    recent, old, uniform = (
        content("recency", nightfall(replay=policy))
        for policy in (cs.Recent(batch=16, half_life_days=0.2), cs.OldNew(batch=16, old=1.0), cs.Uniform(batch=16))
    )
    assert (recent > 0.6).all() and (old < -0.1).all() and (uniform.abs() < 0.1).all()


def test_balanced_policies_show_all_classes_alike():
    few = {"hippocampus": cs.Store(capacity=40, eviction="ring"), "world": cs.Digits(per_context=8, batch=8)}
    balanced, uniform = (
        content("class_bias", nightfall(replay=policy, **few))
        for policy in (cs.Preferred(cs.Balanced(), batch=32), cs.Uniform(batch=32))
    )
    assert (balanced < 0.01).all() and (uniform > 2 * balanced).all()


def test_the_weakest_first_and_covering_less():
    weakest, uniform = (
        nightfall(replay=policy) for policy in (cs.Preferred(cs.Weakness(), batch=8, power=2.0), cs.Uniform(batch=8))
    )
    assert (content("weakness", weakest) > 0.4).all() and (content("weakness", uniform).abs() < 0.35).all()
    assert (content("coverage", weakest) <= content("coverage", uniform)).all()
    assert (content("entropy", weakest) < content("entropy", uniform)).all()


def test_dreams_by_what_they_are_near_to():
    life = nightfall()
    known = life.view.stored().x
    away = torch.cdist(known, known, compute_mode="donot_use_mm_for_euclid_dist")
    near, nearest = torch.where(away > 0, away, torch.inf).min(2)
    one = near.argmin(1)  # and its neighbour: each the other's nearest
    rows = torch.arange(2)
    between = (known[rows, one] + known[rows, nearest[rows, one]]) / 2
    kinds = {
        "pure": known[:, :1],
        "mixed": between[:, None],
        "spurious": 1.0 - known[:, :1],
        "silent": torch.zeros_like(known[:, :1]),
    }
    for name, x in kinds.items():
        dreaming = life.twin(replay=Dreamt(x))
        for other in kinds:
            assert content(other, dreaming).tolist() == [float(other == name)] * 2, (name, other)
    mute = life.twin(replay=Dreamt(known[:, :2], torch.tensor([[0.0, 1.0]] * 2)))
    assert content("silent", mute).tolist() == [0.5] * 2 and content("pure", mute).tolist() == [0.5] * 2


def test_a_copy_is_at_no_distance_and_a_new_digit_about_as_far_as_others():
    life = nightfall(hippocampus=cs.Store(capacity=144))
    stored = life.view.stored()
    assert content("distance", life.twin(replay=Dreamt(stored.x[:, :20]))).tolist() == [0.0, 0.0]
    new = content("distance", life.twin(replay=Dreamt(life.world.evaluation(0).x)))
    assert new == pytest.approx(np.ones(2), abs=0.2)
    mixed = cs.Mixed(cs.Uniform(batch=6), Dreamt(stored.x[:, :2]))
    mixed.setup(life.spec)
    assert content("dreamed", life.twin(replay=mixed)).tolist() == [0.25] * 2
    assert content("distance", life).isnan().all(), "nothing made up, nothing to say"


def test_who_keeps_no_episode_is_compared_with_what_there_was_to_live():
    life = nightfall(hippocampus=cs.Gaussians(units=20, dreams=True), replay=cs.Dreamed(batch=8))
    assert (content("distance", life, items=50) > 0.5).all()
    assert content("coverage", life).isnan().all() and (content("class_bias", life) < 0.1).all()


def test_labels_are_asked_for_where_there_are_some():
    world = cs.Teacher(items=20, features=10, snr=4.0, test=50)
    parts = {"world": world, "neocortex": cs.Linear(), "hippocampus": cs.Store(capacity=20, eviction="ring")}
    with pytest.raises(ConfigError, match=r"^probes.bias.of: class_bias needs labels"):
        small(2, probes={"bias": cs.Content(of="class_bias")}, **parts)
