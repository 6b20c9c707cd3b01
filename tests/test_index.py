"""An index of episodes: what is stored, what the cortex reinstates from it, and what replay makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import cls_sim as cs
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.probes import drift


def small(subjects: int = 2, **changes: Any) -> cs.Life:
    parts: dict[str, Any] = {
        "world": cs.Scenes(areas=3, prototypes=3, units=6, scenes=40, contexts=2, per_context=10, batch=8),
        "neocortex": cs.Feedback(hidden=[20], latent=5, prior="one", gates=0.0, renew_every=1000),
        "hippocampus": cs.Indexed(capacity=12),
        "plasticity": cs.WakeNight(wake_rate=0.01, night_rate=0.01),
        "rhythm": cs.Nights(experiences_per_day=5, steps_per_night=3),
        "replay": cs.Reencoded(cs.Uniform(batch=6)),
    }
    return cs.Life(subjects=subjects, **parts | changes)


def lived(life: cs.Life, ticks: int) -> cs.Life:
    for _ in range(ticks):
        life.step()
    return life


# -- the world -----------------------------------------------------------------------------------------------------


def test_a_scene_shows_a_prototype_in_every_area():
    world = cs.Scenes(areas=4, prototypes=3, units=10, scenes=200, contexts=2)
    spec = world.setup(Spec(seeds=(5, 6)))
    assert spec.inputs == (40,) and spec.outputs == 3 and spec.quantum == 1.0 and spec.contexts == 2
    known = []
    for context in (0, 1):
        rows = world.train(context)
        for area in range(4):
            for subject in (0, 1):
                seen, which = rows.x[subject, :, 10 * area : 10 * area + 10].unique(dim=0, return_inverse=True)
                assert len(seen) <= 3
                if area == 0:  # the label names the prototype of the first area
                    assert len({*zip(which.tolist(), rows.y[subject].tolist(), strict=True)}) == 3
            known.append(seen)
    assert not any(torch.equal(a, b) for a, b in zip(known[:4], known[4:], strict=True))


def test_noise_flips_a_share_of_the_units():
    clear, noisy = (cs.Scenes(noise=noise, contexts=1) for noise in (0.0, 0.2))
    for world in (clear, noisy):
        world.setup(Spec(seeds=(0,)))
    assert float((clear.train().x != noisy.train().x).float().mean()) == pytest.approx(0.2, abs=0.01)


# -- the index -----------------------------------------------------------------------------------------------------


def test_only_the_pattern_is_stored():
    life = lived(small(plasticity=0.0), 2)
    traces = life.hippocampus.traces()
    slots = torch.arange(12).expand(2, -1)
    batch = life.hippocampus.fetch(slots)
    assert traces.alive.all() and (batch.x == 0).all() and (batch.y == -1).all()
    x = drift._patterns(life)[0]
    assert torch.allclose(batch.features, life.neocortex.features(x).detach(), atol=1e-6)
    assert life.hippocampus.stored_bytes().tolist() == [12 * (20 * 4 + 2 * 2 + 3 * 4)] * 2
    assert (life.hippocampus.recall(x).match == 0).all()


def test_new_patterns_replace_those_of_the_replayed_episodes_and_no_others():
    life = lived(small(), 4)
    memory, before = life.hippocampus, life.hippocampus.content.clone()
    batch = memory.fetch(torch.tensor([[3, 5], [0, 1]]))
    new = batch.with_(features=torch.full_like(batch.features, 7.0), weight=torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    memory.sleep(new, life.clock, torch.tensor([True, False]))
    changed = (memory.content[:, :12] != before[:, :12]).any(2)
    assert changed.nonzero().tolist() == [[0, 3]]
    assert (memory.content[0, 3] == 7.0).all() and torch.equal(memory.birth[:, :12], before[:, :12])


def test_what_cannot_hold_an_index_is_refused():
    with pytest.raises(ConfigError, match="regression"):
        cs.Indexed().setup(Spec(inputs=(3,), outputs=1, features=4, regression=True))
    with pytest.raises(ConfigError, match="eviction"):
        cs.Indexed(eviction="herding")
    life = lived(small(hippocampus=cs.Store(capacity=5), rhythm=cs.Sleepless()), 1)
    with pytest.raises(ConfigError, match="stores patterns"):
        life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)


# -- reinstatement -------------------------------------------------------------------------------------------------


def test_the_cortex_reinstates_what_it_reconstructs_rounded_to_what_inputs_can_be():
    life = lived(small(), 15)
    x = life.world.evaluation(0).x
    again = life.neocortex.reinstate(life.neocortex.features(x))
    assert torch.equal(again, life.neocortex.reconstruct(x).round())
    with pytest.raises(ConfigError, match="feedback"):
        cs.Mlp(hidden=[4]).reinstate(x)


@pytest.mark.parametrize("renew", [True, False])
def test_replay_is_of_what_the_cortex_reinstates(renew):
    life = lived(small(replay=cs.Reencoded(cs.Uniform(batch=6), renew=renew)), 5)
    assert life.clock.asleep.all()
    batch = life.replay.draw(life.hippocampus, life.neocortex, life.view, life.clock)
    assert batch.slot is not None
    pattern = life.hippocampus.fetch(batch.slot).features
    assert torch.equal(batch.x, life.neocortex.reinstate(pattern)) and (batch.y == -1).all()
    before = life.hippocampus.content[:, :12].clone()
    life.step()
    told = torch.zeros(2, 12, dtype=torch.bool).scatter(1, batch.slot, True)
    changed = (life.hippocampus.content[:, :12] != before).any(2)
    assert torch.equal(changed, told & renew)


# -- the probe -----------------------------------------------------------------------------------------------------


class Told(cs.Feedback):
    """A cortex that reinstates what it is told."""

    answer_with: Tensor

    def reinstate(self, features: Tensor) -> Tensor:
        return self.answer_with


def test_validity_is_one_for_the_episodes_and_zero_for_their_mean():
    life = lived(small(neocortex=Told(hidden=[20], latent=5, renew_every=1000)), 3)
    x = drift._patterns(life)[0]
    for told, value in ((x, 1.0), (x.mean(1, keepdim=True).expand_as(x), 0.0), (1 - x, None)):
        life.neocortex.answer_with = told
        read = cs.IndexValidity(of="reinstated").measure(life)
        assert read.tolist() == pytest.approx([value] * 2, abs=1e-6) if value is not None else (read < -1).all()


def test_the_probe_compares_with_what_was_lived():
    life = small(plasticity=0.0)
    rows = []
    for _ in range(2):
        rows.append(life.world.next(life.clock))
        life.step()
    x, index, birth, alive = drift._patterns(life)
    item = life.hippocampus.traces().item
    for s in range(2):
        items, inputs = torch.cat([r.item[s] for r in rows]), torch.cat([r.x[s] for r in rows])
        seen = dict(zip(items.tolist(), inputs, strict=True))
        for slot in range(12):
            assert torch.equal(x[s, slot], seen[int(item[s, slot])])
    assert torch.equal(index, birth) and alive.all()


def test_an_index_goes_stale_with_learning_and_is_found_while_nothing_changes():
    life = lived(small(plasticity=0.0), 4)
    assert cs.IndexValidity(of="found").measure(life).tolist() == pytest.approx([1.0, 1.0], abs=0.3)  # some are equal
    assert cs.RepresentationalDrift().measure(life).tolist() == pytest.approx([1.0, 1.0])


def test_an_empty_index_has_no_validity():
    assert cs.IndexValidity().measure(small()).isnan().all()


def test_an_index_goes_stale_unless_the_cortex_learns_what_it_reinstates():
    def recalled(night: float, **sleep: Any) -> float:
        world = cs.Scenes(areas=4, prototypes=3, units=8, scenes=200, contexts=2, per_context=200)
        cortex = cs.Feedback(hidden=[100], latent=15, prior="one", gates=0.0, renew_every=10**6)
        rhythm = cs.Nights(experiences_per_day=50, steps_per_night=25)
        youth = cs.WakeNight(wake_rate=0.01, night_rate=0.0)
        life = small(3, world=world, neocortex=cortex, rhythm=rhythm, plasticity=youth)
        list(life.live(4))
        later = life.twin(hippocampus=cs.Frozen, plasticity=cs.WakeNight(wake_rate=0.001, night_rate=night), **sleep)
        list(later.live())
        return float(cs.IndexValidity(of="reinstated").measure(later).mean())

    kept = cs.Reencoded(cs.Uniform(batch=12), renew=False)
    stale, taught = recalled(0.0, replay=kept), recalled(0.001, replay=kept)
    assert taught > stale + 0.2
