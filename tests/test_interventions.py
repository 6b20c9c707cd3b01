"""Interventions: wraps round a part of a life that is under way, for good or until a day."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.life import Life
from tests.lives import live, small

Change = Callable[[Any], Any]
BEGINS = 2 * (6 + 5)  # ticks: two days and their nights
INTERVENTIONS: dict[str, tuple[str, Change]] = {
    "lesion": ("hippocampus", lambda p: cs.Lesion(p, until=4.0)),
    "half lesion": ("hippocampus", lambda p: cs.Lesion(p, fraction=0.5, until=4.0)),
    "units": ("neocortex", lambda p: cs.CortexLesion(p, fraction=0.5, until=4.0)),
    "synapses": ("neocortex", lambda p: cs.CortexLesion(p, fraction=0.5, of="weights", until=4.0)),
    "disrupted": ("replay", lambda p: cs.Disrupted(p, fraction=0.5, until=4.0)),
    "noisy replay": ("replay", lambda p: cs.NoisyReplay(p, sd=0.3, until=4.0)),
    "noisy world": ("world", lambda p: cs.NoisyWorld(p, sd=0.3, until=4.0)),
    "wrong labels": ("world", lambda p: cs.Mislabelled(p, fraction=0.5, until=4.0)),
    "deprived": ("rhythm", lambda p: cs.Deprived(p, until=4.0)),
    "deprived, rebound": ("rhythm", lambda p: cs.Deprived(p, until=4.0, rebound=True)),
    "modulated": ("plasticity", lambda p: cs.Modulated(p, factor=0.5, until=4.0)),
    "drift": ("consolidation", lambda p: cs.Drift(p, sd=0.05, until=4.0)),
}
intervention = pytest.mark.parametrize("part_kind, change", INTERVENTIONS.values(), ids=INTERVENTIONS)


@cache
def usual(subjects: int, seed: int) -> Life:
    """Two days of the usual life, lived once; tests go on with copies."""
    return live(small(subjects, seed), BEGINS)


def past(subjects: int = 2, seed: int = 0, **changes: Any) -> Life:
    return live(small(subjects, seed, **changes), BEGINS) if changes else copy.deepcopy(usual(subjects, seed))


def weights(life: Life) -> torch.Tensor:
    return torch.cat([w.detach().flatten(1) for w in life.neocortex.weights.values()], 1)


def until(life: Life, day: float) -> Life:
    while (life.clock.day < day).any() or life.clock.asleep.any():
        life.step()
    return life


@intervention
def test_the_past_is_shared_and_the_future_is_not(part_kind: str, change: Change):
    life = past()
    twin = life.twin(**{part_kind: change})
    assert torch.equal(weights(twin), weights(life))
    before = copy.deepcopy(life.state())
    until(twin, 4.0)
    assert _equal(life.state(), before), "the twin writes into the life it left"
    until(life, 4.0)
    told = [by.measure(one) for by in (cs.Accuracy(),) for one in (life, twin)]
    assert not torch.equal(weights(twin), weights(life)) or not torch.equal(*told)


@intervention
def test_alone_as_in_company(part_kind: str, change: Change):
    together = until(past(3, 5).twin(**{part_kind: change}), 5.0)
    alone = until(past(1, 6).twin(**{part_kind: change}), 5.0)
    assert torch.allclose(weights(together)[1], weights(alone)[0], atol=2e-4)
    assert together.clock.replay[1] == alone.clock.replay[0]


@intervention
def test_a_saved_twin_goes_on_bit_for_bit(part_kind: str, change: Change):
    twin = live(past().twin(**{part_kind: change}), BEGINS + 15)
    heir = small().twin(**{part_kind: change})
    heir.load(copy.deepcopy(twin.state()))
    for one in (twin, heir):
        until(one, 6.0)
    assert _equal(twin.state(), heir.state())


@intervention
def test_a_twin_of_a_twin_has_a_clock_of_its_own(part_kind: str, change: Change):
    twin = past().twin(**{part_kind: change})
    second, third = twin.twin(), copy.deepcopy(twin)
    until(twin, 6.0)
    for one in (second, third):
        assert (one.clock.day < 3).all()
        assert _equal(until(one, 6.0).state(), twin.state())


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    return bool((torch.as_tensor(a) == torch.as_tensor(b)).all())


# -- what each of them does -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_what_a_reversible_lesion_takes_comes_back(fraction: float):
    life = past(plasticity=cs.Constant(rate=0.0))
    twin = life.twin(hippocampus=lambda h: cs.Lesion(h, fraction=fraction, until=3.0))
    there, left = life.hippocampus.traces().alive, twin.hippocampus.traces().alive
    assert left.sum() <= round((1 - fraction) * 20) * 2 and there.sum() > left.sum()
    assert (left <= there).all()
    until(twin, 3.0)
    assert (twin.hippocampus.traces().alive >= there).all()
    exam = life.world.evaluation(0).x
    assert (twin.hippocampus.recall(exam).match > 0).any()


def test_nothing_is_encoded_while_the_whole_hippocampus_is_away():
    twin = past().twin(hippocampus=lambda h: cs.Lesion(h, until=3.0))
    until(twin, 4.0)
    born = twin.hippocampus.traces().born
    assert not ((born >= 12) & (born < 18)).any() and (born >= 18).any()


def test_the_lesion_is_over_for_each_at_its_own_time():
    store = cs.Store(capacity=4)
    spec = Spec(seeds=(0, 1), inputs=(2,), outputs=2)
    lesion = cs.Lesion(store, until=2.0)
    lesion.setup(spec)
    clock = Clock(2, 10)
    clock.experience += np.array([10, 30])
    lesion.attach(spec, clock)
    batch = cs.Batch.lived(torch.ones(2, 1, 2), torch.ones(2, 1, dtype=torch.int64))
    lesion.encode(batch, None, clock)  # type: ignore[arg-type]
    assert lesion.traces().alive.sum(1).tolist() == [0, 1]
    assert (lesion.recall(batch.x).match > 0).flatten().tolist() == [False, True]


def test_a_memory_without_stages_cannot_lose_one():
    with pytest.raises(ConfigError, match="stage"):
        past().twin(hippocampus=lambda h: cs.Lesion(h, stage="ca3"))


@pytest.mark.parametrize("of", ["units", "weights"])
def test_a_larger_cortical_lesion_costs_more_and_takes_all_that_a_smaller_one_does(of: str):
    life = live(small(6, plasticity=cs.Constant(rate=0.01)))
    whole = cs.Accuracy().measure(life).mean().item()
    found = [
        cs.Accuracy().measure(life.twin(neocortex=lambda c, f=f: cs.CortexLesion(c, fraction=f, of=of))).mean().item()
        for f in (0.0, 0.5, 1.0)
    ]
    assert found[0] == whole and found[2] < found[1] < whole
    x = life.world.evaluation(0).x
    masks = [
        life.twin(neocortex=lambda c, f=f: cs.CortexLesion(c, fraction=f)).neocortex.features(x) for f in (0.3, 0.6)
    ]
    silent = [(mask == 0).all(1) for mask in masks]
    assert (silent[0] <= silent[1]).all() and silent[1].sum() > silent[0].sum()


def test_a_cortical_lesion_may_differ_by_subject_and_what_is_silent_does_not_learn():
    life = past(2, rhythm=cs.Sleepless(experiences_per_day=6), consolidation=cs.Descent(optimizer=cs.Sgd()))
    twin = life.twin(neocortex=lambda c: cs.CortexLesion(c, fraction=[0.0, 1.0], until=4.0))
    before = twin.neocortex.weights["weight0"].detach().clone()
    until(twin, 4.0)
    moved = (twin.neocortex.weights["weight0"].detach() != before).flatten(1).any(1)
    assert moved.tolist() == [True, False]
    x = life.world.evaluation(0).x
    assert (twin.neocortex.features(x)[1] != 0).any(), "after the day it answers again"


def test_disrupted_replay_loses_rows_and_all_of_them_at_one():
    life = past(plasticity=cs.Constant(rate=0.0))

    def shares(fraction: Any) -> np.ndarray:
        twin = life.twin(replay=lambda p: cs.Disrupted(p, fraction=fraction))
        draws = []
        for step in range(20):
            twin.clock.replay[:] = step
            draws.append(twin.replay.draw(twin.hippocampus, twin.neocortex, twin.view, twin.clock).present())
        return torch.stack(draws).double().mean((0, 2)).numpy()

    assert shares(1.0).tolist() == [0.0, 0.0] and shares(0.0).tolist() == [1.0, 1.0]
    assert np.abs(shares(0.25) - 0.75).max() < 0.1 and shares([0.0, 1.0]).tolist() == [1.0, 0.0]


def test_deprivation_takes_nights_and_a_rebound_gives_them_back():
    def slept(change: Change | None, day: float) -> int:
        life = past()
        return int(until(life.twin(rhythm=change) if change else life, day).clock.replay[0])

    assert slept(None, 5.0) == 25
    assert slept(lambda r: cs.Deprived(r, until=3.5), 3.0) == 10
    assert slept(lambda r: cs.Deprived(r, until=3.5), 5.0) == 20
    assert slept(lambda r: cs.Deprived(r, until=3.5, rebound=True), 5.0) == 25
    assert slept(cs.Deprived, 5.0) == 10


def test_noise_ends_on_its_day_and_keeps_to_the_quantum():
    life = past()
    twin = life.twin(world=lambda w: cs.NoisyWorld(w, sd=[0.0, 0.2], until=3.0))
    clean, noisy = life.world.next(life.clock).x, twin.world.next(twin.clock).x
    assert torch.equal(clean[0], noisy[0]) and not torch.equal(clean[1], noisy[1])
    levels = noisy / life.spec.quantum
    assert (levels - levels.round()).abs().max() < 1e-4 and noisy.min() >= 0
    later = Clock(2, 6)
    later.experience += 18
    assert torch.equal(life.world.next(later).x, twin.world.next(later).x)
    assert (
        torch.equal(life.world.evaluation(0).x, twin.world.evaluation(0).x) and twin.world.length == life.world.length
    )


def test_drift_walks_as_far_as_it_says():
    life = small(
        1, neocortex=cs.Mlp(hidden=[64]), plasticity=cs.Constant(rate=0.0), rhythm=cs.Sleepless(experiences_per_day=6)
    )
    twin = life.twin(consolidation=lambda c: cs.Drift(c, sd=0.1))
    moved = weights(until(twin, 4.0)) - weights(life)
    assert moved.std().item() == pytest.approx(0.2, rel=0.05) and abs(moved.mean().item()) < 0.01


def test_cued_traces_come_up_as_often_as_the_gain_says():
    life = live(small(2, plasticity=cs.Constant(rate=0.0)))
    alive = life.hippocampus.traces()
    mine = ((alive.context == 1) & alive.alive).sum(1) / alive.alive.sum(1)
    twin = life.twin(replay=cs.Cued(batch=64, contexts=[1], gain=4.0, until=100.0))
    found = []
    for step in range(60):
        twin.clock.replay[:] = step
        found.append(twin.replay.draw(twin.hippocampus, twin.neocortex, twin.view, twin.clock).context == 1)
    share = torch.cat(found, 1).double().mean(1)
    assert torch.allclose(share, 4 * mine.double() / (3 * mine.double() + 1), atol=0.04)
    with pytest.raises(ConfigError, match="nothing is cued"):
        cs.Cued(contexts=[])
    with pytest.raises(ConfigError, match="contexts: this world has no context 5"):
        life.twin(replay=cs.Cued(contexts=[0, 5]))
    with pytest.raises(ConfigError, match="items: this world has no item 1797; give numbers from 0 to 1796"):
        life.twin(replay=cs.Cued(contexts=[], items=[0, 1797]))


@pytest.mark.parametrize("stage", ["dg", "ca3", "ca1"])
def test_a_stage_can_be_lost_in_part_in_whole_and_for_a_while(stage: str):
    memory = cs.Trisynaptic(capacity=40, dentate=cs.KWinners(units=400), ca3=cs.Attractor())
    life = past(2, hippocampus=memory, plasticity=cs.Constant(rate=0.0))
    stored = life.hippocampus.fetch(torch.arange(20).expand(2, -1))

    def error(one: Life) -> float:
        found = one.hippocampus.recall(stored.x).scores.softmax(-1)
        return 1.0 - found.gather(2, stored.y[..., None]).mean().item()

    intact, half, whole = (
        error(life),
        *(life.twin(hippocampus=lambda h, f=f: cs.Lesion(h, stage=stage, fraction=f, until=4.0)) for f in (0.5, 1.0)),
    )
    assert intact <= error(half) + 1e-6 and error(whole) > intact
    lost = life.twin(hippocampus=lambda h: cs.Lesion(h, stage=stage))
    back, still = error(until(whole, 4.0)), error(until(lost, 4.0))  # what was lived meanwhile is not known as well
    assert back < still
