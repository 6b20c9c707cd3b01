"""Latent replay: codes of a frozen lower cortex in place of inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cls_sim as cs
from cls_sim.world import encoded
from cls_sim.world.encoders import fingerprint
from tests.lives import live, small


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    encoded._LATEST.clear()


def lower() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU())


def youth() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 2))


def fixed(**settings: object) -> cs.Encoded:
    return cs.Encoded(cs.Digits(per_context=12, batch=8), encoder=cs.Pretrained(module=lower), **settings)  # pyright: ignore[reportArgumentType]


def separate() -> cs.Arrays:
    """The digits with a test set of their own."""
    data = cs.Digits().data()
    x, y = data.x * np.uint8(15), data.y
    return cs.Arrays(x=x[:1400], y=y[:1400], x_test=x[1400:], y_test=y[1400:], contexts=5)


def test_codes_are_those_of_the_network_in_steps_of_one_byte():
    world, plain = fixed(), cs.Digits(per_context=12, batch=8)
    spec = world.setup(cs.Spec(seeds=(0, 1)))
    plain.setup(cs.Spec(seeds=(0, 1)))
    assert spec.inputs == (24,) and spec.quantum == 1 / 255
    net = cs.Pretrained(module=lower).network(torch.zeros(1, 64), np.zeros(1))
    with torch.no_grad():
        known = net(torch.from_numpy(plain.data().x) * (1 / 16))
    low, high = known.min(0).values, torch.from_numpy(np.percentile(known.numpy(), 99.9, 0)).float()
    for k in range(5):
        raw, codes = plain.evaluation(k), world.evaluation(k)
        assert torch.equal(raw.y, codes.y) and torch.equal(raw.item, codes.item)
        with torch.no_grad():
            exact = ((net(raw.x[0]) - low) / torch.where(high > low, high - low, 1.0)).clamp(0, 1)
        assert (codes.x[0] - exact).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal(codes.x, (codes.x * 255).round() * (1 / 255))


def test_float_codes_are_not_rounded():
    world = fixed(bytes=False)
    spec = world.setup(cs.Spec())
    assert spec.quantum is None and world.evaluation(0).x.max() > 0


def test_memories_of_codes_take_a_byte_per_feature_and_are_replayed():
    life = live(small(2, world=fixed(), hippocampus=cs.Store(capacity=30)), 80)
    assert life.view.stored is not None
    kept = life.view.stored()
    rows = kept.x[0][kept.present()[0]]
    seen = torch.cat([life.world.train(k).x[0] for k in range(5)])
    assert len(rows) and (rows[:, None] == seen[None]).all(-1).any(1).all()
    pixels = small(2, world=cs.Digits(per_context=12, batch=8), hippocampus=cs.Store(capacity=30))
    less = life.hippocampus.stored_bytes().max() / pixels.hippocampus.stored_bytes().max()
    assert less < (24 + 20) / 64


def test_a_youth_learns_the_first_context_and_nothing_else():
    world = cs.Encoded(separate(), encoder=cs.Youth(module=youth, steps=150, rate=0.01))
    spec = world.setup(cs.Spec())
    assert spec.inputs == (24,)
    first, last = world.train(0), world.train(4)

    def apart(batch):
        """Share of rows that the nearest of two class means tells apart."""
        x, y = batch.x[0], batch.y[0]
        means = torch.stack([x[y == c].mean(0) for c in y.unique()])
        return (torch.cdist(x, means).argmin(1) == y - y.min()).float().mean()

    raw = cs.Encoded(separate(), encoder=cs.Youth(module=youth, steps=1, rate=1e-9))
    raw.setup(cs.Spec())
    assert apart(first) > 0.97 and apart(first) >= apart(raw.train(0))
    assert apart(last) > 0.6  # codes of other contexts are still there
    again = cs.Encoded(separate(), encoder=cs.Youth(module=youth, steps=150, rate=0.01))
    again.setup(cs.Spec(seeds=(7,)))
    assert torch.equal(again.train(0).x, first.x)  # the same for every subject


def test_codes_that_take_long_are_kept_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded, "LONG", -1.0)
    first = fixed()
    first.setup(cs.Spec())
    kept = list((tmp_path / "cache").rglob("*.npy"))
    assert len(kept) == 1

    def refuse(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(cs.Pretrained, "codes", refuse)
    encoded._LATEST.clear()
    again = fixed()
    again.setup(cs.Spec())
    assert torch.equal(again.evaluation(0).x, first.evaluation(0).x)
    kept[0].write_bytes(b"broken")
    encoded._LATEST.clear()
    with pytest.raises(AssertionError, match="encoded again"):
        fixed().setup(cs.Spec())


def test_other_weights_have_another_fingerprint():
    encoder = cs.Pretrained(module=lower)
    one, other = lower(), lower()
    assert fingerprint(encoder, one) != fingerprint(encoder, other) and fingerprint(encoder, one) == fingerprint(
        encoder, one
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cs.Encoded(cs.Teacher(), encoder=cs.Pretrained(module=lower)), "whose inputs are not a data set"),
        (lambda: cs.Encoded(cs.Digits(), encoder=nn.Linear(64, 2)), "is not an Encoder"),  # pyright: ignore[reportArgumentType]
        (
            lambda: cs.Encoded(cs.Digits(shuffle_classes=True), encoder=cs.Youth(module=youth)),
            "differs between subjects",
        ),
        (lambda: cs.Encoded(cs.Digits(), encoder=cs.Youth(module=youth)), "would learn held-out rows"),
        (lambda: cs.Encoded(separate(), encoder=cs.Youth(module=nn.Identity)), "has no nn.Linear"),
        (
            lambda: cs.Encoded(cs.Digits(), encoder=cs.Pretrained(module=lambda: nn.Unflatten(1, (8, 8)))),
            "one finite vector",
        ),
        (lambda: cs.Encoded(cs.Digits(), encoder=cs.EfficientNetLite0()), "needs colour images"),
    ],
)
def test_what_cannot_be_encoded_is_refused(make, said):
    with pytest.raises(cs.ConfigError, match=said) as refused:
        make().setup(cs.Spec())
    assert "\n" not in str(refused.value)


def test_efficientnet_makes_1280_codes():
    pytest.importorskip("efficientnet_lite_pytorch")
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), np.uint8)
    world = cs.Encoded(
        cs.Arrays(x=images, y=np.arange(12) % 2, contexts=1, test=0.5), encoder=cs.EfficientNetLite0(pixels=32)
    )
    assert world.setup(cs.Spec()).inputs == (1280,)
    assert world.evaluation(0).x.std() > 0.02
