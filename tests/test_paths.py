"""A stream with communities, two paths through the hippocampus, and the probe of double dissociation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from lives import live, small

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.world.communities import neighbours


def stream(subjects: int = 6, seed: int = 0, **changes: Any) -> cs.Life:
    sparse = cs.Sparse(capacity=1500, units=300, winners=15, merge=None, eviction="ring")
    parts: dict[str, Any] = {
        "world": cs.Communities(steps=1500, scene=40, asked=60),
        "hippocampus": cs.TwoPaths(sparse, rate=0.02),
        "neocortex": cs.Linear(),
        "plasticity": cs.Constant(rate=0.0),
        "rhythm": cs.Sleepless(experiences_per_day=1500),
        "readout": cs.HippocampusReadout(),
    }
    return small(subjects, seed, **parts | changes)


@pytest.fixture(scope="module")
def lived() -> cs.Life:
    return live(stream())


def test_the_graph_is_regular_and_its_questions_are_never_neighbours():
    for c, n in ((2, 4), (4, 6), (6, 5)):
        graph = neighbours(c, n)
        assert (graph == graph.T).all() and (graph.sum(1) == n - 1).all()
        left, right = np.arange(c) * n, np.arange(c) * n + n - 1
        assert not graph[np.ix_(left, right)].any()
        reached = np.linalg.matrix_power(graph.astype(float) + np.eye(c * n), c * n) > 0
        assert reached.all(), "one ring"


def test_a_walk_follows_the_graph_and_names_hide_the_communities():
    world = cs.Communities(communities=4, members=5, features=30, scene=10, steps=3000)
    spec = world.setup(Spec(seeds=(0, 1)))
    walk = world.train(0)
    seen = np.zeros((2, 20, 20), bool)
    for s, names in enumerate(walk.y.numpy()):
        seen[s, names[:-1], names[1:]] = True
    assert (seen.sum(2) == 4).all(), "each item has four followers"
    asked = world.evaluation(1)
    assert (asked.x[..., 30:] == 0).all() and spec.heads is not None
    for s in range(2):
        cue = [int((walk.x[s, 1:, :30] == x[:30]).all(1).nonzero()[0]) for x in asked.x[s]]
        items = walk.y[s][cue].numpy()  # the item of row t + 1 is the answer of row t
        assert not seen[s][items][:, spec.heads[s, 1].numpy()].any()
    assert not torch.equal(asked.y[0], asked.y[1])


def test_in_random_order_every_other_item_can_follow():
    world = cs.Communities(communities=2, members=4, steps=3000, ordered=False)
    world.setup(Spec(seeds=(0,)))
    names = world.train(0).y[0].numpy()
    seen = np.zeros((8, 8), bool)
    seen[names[:-1], names[1:]] = True
    assert np.array_equal(seen, ~np.eye(8, dtype=bool))


def test_questions_about_occasions_lack_a_part_of_the_scene():
    world = cs.Communities(features=6, scene=8, missing=0.25, steps=20, asked=5)
    world.setup(Spec(seeds=(0,)))
    asked, walk = world.evaluation(0), world.train(0)
    assert asked.item[0].tolist() == [0, 4, 8, 12, 16]
    assert torch.equal(asked.x[0, :, :12], walk.x[0, ::4, :12]) and (asked.x[..., 12:] == 0).all()


def test_an_odd_ring_is_refused():
    with pytest.raises(ConfigError, match="communities"):
        cs.Communities(communities=3)


def test_lesions_of_the_two_paths_dissociate(lived: cs.Life):
    def left(stage: str | None) -> np.ndarray:
        twin = lived.twin(hippocampus=lambda part: cs.Lesion(part, stage=stage)) if stage else lived
        with torch.no_grad():
            return cs.Accuracy().measure(twin).mean(0).numpy()

    assert (left(None) > [0.8, 0.6]).all()
    without_fast, without_slow = left("trisynaptic"), left("monosynaptic")
    assert abs(without_fast[0] - 0.2) < 0.1 and without_fast[1] > 0.6
    assert abs(without_slow[1] - 0.25) < 0.15 and without_slow[0] > 0.8


def test_the_dissociation_is_the_sum_of_its_terms(lived: cs.Life):
    episodes, regularities = (cs.DoubleDissociation(of=of).measure(lived) for of in ("episodes", "regularities"))
    assert episodes.mean() > 0.5 and regularities.mean() > 0.3
    assert torch.allclose(cs.DoubleDissociation().measure(lived), episodes + regularities)
    same = cs.DoubleDissociation(fast="monosynaptic", slow="monosynaptic").measure(lived)
    assert (same == 0).all(), "one lesion dissociates nothing"


def test_a_lesion_of_a_path_can_end(lived: cs.Life):
    with torch.no_grad():
        damaged = copy.deepcopy(lived.hippocampus)
        damaged.impair("trisynaptic", np.ones(6))
        x = lived.world.evaluation(0).x
        assert (damaged.recall(x).match == 0).all()
        damaged.impair("trisynaptic", np.zeros(6))
        assert torch.equal(damaged.recall(x).scores, lived.hippocampus.recall(x).scores)
    with pytest.raises(ConfigError, match="stage"):
        lived.hippocampus.impair("dentist", np.ones(6))


def test_the_more_familiar_the_cue_the_more_the_trace_counts():
    memory = cs.TwoPaths(cs.Store(capacity=4), rate=0.0)
    memory.setup(Spec(seeds=(0,), inputs=(2,), outputs=2))
    x = torch.tensor([[[1.0, 0.0]]])
    memory.encode(cs.Batch.lived(x, torch.ones(1, 1, dtype=torch.int64)), None, Clock(1, 1))  # type: ignore[arg-type]
    cue = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    found, own = memory.recall(cue), memory.hippocampus.recall(cue)
    said = ((cue @ memory.inward.mT).tanh() @ memory.outward.mT).softmax(2)
    assert found.match[0, 0] == 1 > found.match[0, 1]
    assert torch.allclose(found.scores, torch.lerp(said, own.scores, own.match[..., None]))


def test_a_monosynaptic_path_learns_the_gradient():
    memory = cs.TwoPaths(cs.Store(capacity=4), hidden=3, rate=[0.1, 0.0])
    memory.setup(Spec(seeds=(0, 1), inputs=(2,), outputs=2))
    before = memory.inward.clone().requires_grad_(), memory.outward.clone().requires_grad_()
    x, y = torch.tensor([[[1.0, 0.5], [0.0, -1.0]]]).expand(2, -1, -1), torch.tensor([[1, 0]]).expand(2, -1)
    loss = torch.nn.functional.cross_entropy(((x @ before[0].mT).tanh() @ before[1].mT).mT, y, reduction="sum")
    loss.backward()
    memory.encode(cs.Batch.lived(x, y), None, Clock(2, 1))  # type: ignore[arg-type]
    for old, new in zip(before, (memory.inward, memory.outward), strict=True):
        assert old.grad is not None
        assert torch.allclose(new[0], (old - 0.1 * old.grad)[0]) and torch.equal(new[1], old[1])
