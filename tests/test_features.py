"""Features of any encoder as a world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cls_sim as cs
from cls_sim.config import experiments
from tests.lives import live, small

G = np.random.default_rng(0)
X, Y = G.standard_normal((120, 6)).astype(np.float32), np.arange(120) % 6
XT, YT = X[:30] + 1, Y[:30]


def begun(**settings: object) -> tuple[cs.Features, cs.Spec]:
    world = cs.Features(**{"contexts": 3, "per_context": 4, "batch": 8, **settings})  # pyright: ignore[reportArgumentType]
    return world, world.setup(cs.Spec())


def rows(world: cs.Features) -> tuple[np.ndarray, np.ndarray]:
    parts = [world.train(k) for k in range(3)]
    return np.concatenate([p.x[0] for p in parts]), np.concatenate([p.y[0] for p in parts])


@pytest.mark.parametrize("names", [("x", "y"), ("features", "labels"), ("x", "labels")])
def test_one_file_holds_features_and_labels(tmp_path: Path, names: tuple[str, str]):
    np.savez(tmp_path / "f.npz", **{names[0]: X, names[1]: Y})
    world, spec = begun(x=tmp_path / "f.npz")
    wanted, _ = begun(x=X, y=Y)
    assert spec.inputs == (6,) and spec.outputs == 6 and spec.quantum is None
    for found, expected in zip(rows(world), rows(wanted), strict=True):
        assert (found == expected).all()


@pytest.mark.parametrize("form", ["own file", "same file", "own arrays", "own npy"])
def test_a_test_set_of_its_own(tmp_path: Path, form: str):
    np.savez(tmp_path / "f.npz", x=X, y=Y)
    np.savez(tmp_path / "both.npz", x=X, y=Y, x_test=XT, y_test=YT)
    np.savez(tmp_path / "t.npz", x=XT, y=YT)
    np.save(tmp_path / "t.npy", XT)
    np.save(tmp_path / "ty.npy", YT)
    given = {
        "own file": {"x": tmp_path / "f.npz", "x_test": tmp_path / "t.npz"},
        "same file": {"x": tmp_path / "both.npz"},
        "own arrays": {"x": X, "y": Y, "x_test": XT, "y_test": YT},
        "own npy": {"x": tmp_path / "f.npz", "x_test": tmp_path / "t.npy", "y_test": tmp_path / "ty.npy"},
    }[form]
    world, _ = begun(**given)
    asked = np.concatenate([world.evaluation(k).x[0] for k in range(3)])
    assert len(rows(world)[0]) == 120 and sorted(asked[:, 0]) == sorted(XT[:, 0])
    wrong = np.concatenate([world.evaluation(k).y[0] for k in range(3)])
    assert sorted(wrong) == sorted(YT)


def test_bytes_are_scaled_by_the_training_rows_and_kept_as_bytes():
    world, spec = begun(x=X, y=Y, x_test=XT * 100, y_test=YT, bytes=True)
    x, _ = rows(world)
    assert spec.quantum == 1 / 255 and x.min() == 0 and x.max() == 1
    assert np.allclose(x * 255, np.rint(x * 255), atol=1e-4)
    assert np.concatenate([world.evaluation(k).x[0] for k in range(3)]).max() == 1
    raw, spec = begun(x=(x * 255).astype(np.uint8)[:60], y=np.arange(60) % 6)
    assert spec.quantum == 1 / 255 and raw.bytes is False


def test_one_file_is_a_world_on_the_command_line(tmp_path: Path):
    np.savez(tmp_path / "f.npz", x=X, y=Y)
    cfg = experiments.read(["arms=[cls]", "world=features", f"world.x={tmp_path}/f.npz", "world.contexts=3"]).arms[
        "cls"
    ]
    life = live(small(2, world=experiments.make("world", cfg.cfg["world"]), hippocampus=cs.Store(capacity=10)), 20)
    assert life.spec.inputs == (6,)


@pytest.mark.parametrize(
    ("told", "given"),
    [
        ("y: is not given", {"x": X}),
        ("y: is not given, and", {"x": "FILE"}),
        ("x: has inputs of shape", {"x": np.zeros((120, 2, 3)), "y": Y}),
        ("there.npz", {"x": "there.npz", "y": Y}),
        ("y_test: is not given", {"x": X, "y": Y, "x_test": XT}),
        ("y_test: is not given", {"x": X, "y": Y, "x_test": "FILE"}),
        ("holds no array", {"x": "MANY", "y": Y}),
        ("bytes", {"x": X, "y": Y, "bytes": 1}),
        ("contexts", {"x": X, "y": Y, "context": Y // 3, "contexts": 4}),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, told: str, given: dict[str, object]):
    np.savez(tmp_path / "f.npz", x=XT)
    np.savez(tmp_path / "many.npz", a=X, b=Y)
    files = {"FILE": tmp_path / "f.npz", "MANY": tmp_path / "many.npz"}
    given = {key: files.get(value, value) if isinstance(value, str) else value for key, value in given.items()}
    with pytest.raises(cs.ConfigError, match=told):
        begun(**given)
