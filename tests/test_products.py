"""Product quantisation: exact for the first rows, the nearest pieces for all others, the same in any company."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.trees import fingerprint
from tests.lives import live, small


@pytest.mark.parametrize("quantum", [None, 1 / 255])
@pytest.mark.parametrize("parts", [1, 3, 7, 10])
def test_each_piece_is_the_nearest_of_the_first_rows(parts: int, quantum: float | None):
    draw = np.random.default_rng(parts)
    code = cs.Product(bytes=parts, prototypes=20)
    code.setup(cs.Spec(seeds=(0, 1), inputs=(2, 5), quantum=quantum))
    x = torch.from_numpy(draw.integers(0, 256, (2, 60, 10)).astype(np.float32)) * float(1 / 255)
    stored = torch.from_numpy(draw.random((2, 60)) < 0.7)
    for some in (slice(0, 9), slice(9, 60)):
        code.meet(x[:, some], stored[:, some])
    for i in range(2):
        first = x[i, stored[i]][:20]
        assert torch.equal(code.read(code.write(x))[i][stored[i]][:20], first)  # the first rows come back exactly
        size = -(-10 // parts)
        for m in range(parts):
            part = slice(m * size, (m + 1) * size)
            apart = (x[i][:, None, part] - first[:, part]).norm(dim=2)
            mine = (code.read(code.write(x))[i][:, part] - x[i][:, part]).norm(dim=1)
            assert torch.allclose(mine, apart.amin(1) if size * m < 10 else mine, atol=1e-6)


def test_more_bytes_lose_less():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 600, 64), np.float32))
    wrong = []
    for size in (4, 16, 64):
        code = cs.Product(bytes=size)
        code.setup(cs.Spec(inputs=(64,)))
        code.meet(x, torch.ones(1, 600, dtype=torch.bool))
        wrong.append(float((code.read(code.write(x[:, 256:])) - x[:, 256:]).square().mean()))
    assert wrong[0] > 1.2 * wrong[1] > 20 * wrong[2]


def test_a_life_with_it_goes_on_from_its_state_and_does_not_depend_on_its_company():
    def life(seed: int, subjects: int) -> cs.Life:
        memory = cs.Store(capacity=30, eviction="reservoir", code=cs.Product(bytes=16, prototypes=12))
        return small(subjects, seed, hippocampus=memory)

    one, other, alone = life(0, 3), life(0, 3), life(1, 1)
    live(one, 40)
    other.load(one.state())
    twin = one.twin()
    prints = {fingerprint(live(each, 90).state()) for each in (one, other, twin)}
    assert len(prints) == 1
    live(alone, 90)
    assert torch.equal(alone.hippocampus.content[0], one.hippocampus.content[1])  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(one.hippocampus.code.met, torch.full((3,), 12))  # pyright: ignore[reportAttributeAccessIssue]
    assert copy.deepcopy(one.hippocampus).code is not one.hippocampus.code  # pyright: ignore[reportAttributeAccessIssue]


def test_bytes_are_counted_with_those_that_all_episodes_share():
    store = cs.Store(capacity=1000, code=cs.Product(bytes=64))
    store.setup(cs.Spec(inputs=(1280,), outputs=10, quantum=1 / 255))
    assert store.stored_bytes().tolist() == [1000 * (64 + 16) + 256 * 1280]


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Product(bytes=0), "bytes"),
        (lambda: cs.Product(prototypes=257), "prototypes"),
        (lambda: small(hippocampus=cs.Store(code=cs.Product(bytes=65))), "hippocampus.code.bytes"),
        (lambda: cs.Indexed(code="product"), "code"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_settings_that_do_not_fit_are_refused(make: Any, key: str):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key


@pytest.mark.parametrize("code", [None, 8])
def test_an_index_in_a_few_bytes_grows_stale_as_the_cortex_drifts(code: int | None):
    """Right after an episode is stored its pattern finds it; when the layers below have moved, it finds fewer."""
    found = []
    for rate in (0.0, 0.05):
        memory = cs.Indexed(capacity=40, code=None if code is None else cs.Product(bytes=code, prototypes=40))
        life = small(2, hippocampus=memory, plasticity=rate, replay=cs.Uniform(batch=4), rhythm=cs.Sleepless())
        live(life, 40)
        found.append(cs.IndexValidity(of="found").measure(life))
    assert memory.content.shape[2] == (code or 32)
    assert (found[0] > 0.95).all() and (found[1] < found[0] - 0.1).all()


def test_half_of_the_prototypes_come_from_later():
    code = cs.Product(bytes=1)
    code.setup(cs.Spec(inputs=(1,)))
    x = torch.arange(3000.0).view(1, -1, 1)
    for some in x.split(7, 1):
        code.meet(some, torch.ones(some.shape[:2], dtype=torch.bool))
    first = code.first[0, : int(code.met[0]), 0]
    assert first[:128].tolist() == list(range(128)) and (first.diff() > 0).all()
    assert first[-1] > 2900 and len(first) == 128 + int(np.log(3000 / 128) / np.log(1.04)) + 1


def test_the_cortex_learns_experience_through_the_code_and_the_memory_stores_it_whole():
    def life(wrap: bool, code: cs.Product | None) -> cs.Life:
        policy: Any = cs.Interleaved(cs.Uniform(batch=6), share=0.5, only_old=False)
        memory = cs.Store(capacity=30, code=code)
        return small(replay=cs.ThroughCode(policy) if wrap else policy, hippocampus=memory, rhythm=cs.Sleepless())

    lives = {
        (wrap, coded): live(life(wrap, cs.Product(bytes=8) if coded else None), 30)
        for wrap in (0, 1)
        for coded in (0, 1)
    }
    weights = {key: one.neocortex.weights["weight0"] for key, one in lives.items()}
    assert torch.equal(weights[0, 0], weights[1, 0])  # exact: nothing changes
    assert not torch.equal(weights[0, 1], weights[1, 1])
    memories: list[Any] = [lives[wrap, 1].hippocampus for wrap in (0, 1)]
    assert torch.equal(memories[0].content, memories[1].content)
    x = lives[1, 1].world.next(lives[1, 1].clock).x
    assert not torch.equal(memories[0].coded(x), x) and torch.equal(lives[0, 0].hippocampus.coded(x), x)
