"""Large tensors of checkpoints: written as what changed, read bit for bit, never lost, never loaded if damaged."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_checkpoint import Dead, Fault, assert_same, rich, small

import cls_sim as cs
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.core.trees import fingerprint
from cls_sim.storage import checkpoint, deltas


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor with an axis is a large one."""
    monkeypatch.setattr(deltas, "LARGE", 1)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files(folder: Path) -> set[str]:
    home = folder / deltas.FOLDER
    return set(os.listdir(home)) if home.is_dir() else set()


def listed(folder: Path) -> set[str]:
    manifests = [json.loads((path / checkpoint.MANIFEST).read_bytes()) for path in checkpoint.found(folder)]
    return {name for m in manifests for entry in m.get("large", {}).values() for name, _ in entry["files"]}


def test_a_rich_tree_comes_back_bit_for_bit(tmp_path):
    for _ in range(2):
        checkpoint.save(tmp_path, rich(), {"rows": 1})
        assert_same(rich(), checkpoint.load(tmp_path)[0])
    tree, _ = checkpoint.load(tmp_path)
    tree["kinds"]["torch.float64"] += 1  # what is loaded can be written to


@pytest.mark.parametrize("forgets", [False, True])
def test_any_changes_come_back(tmp_path, forgets):
    """Rows of tensors of all kinds change, a few or all; a new process goes on from what it has loaded, or from birth."""
    draw = np.random.default_rng(0)
    kinds = {"bytes": torch.uint8, "marks": torch.int32, "codes": torch.float32, "half": torch.bfloat16}
    shapes = {"bytes": (2, 60, 300), "marks": (2, 60, 3), "codes": (3000,), "half": (5, 20_000)}
    tree: dict[str, Any] = {name: torch.zeros(shapes[name], dtype=kind) for name, kind in kinds.items()}
    for tick in range(1, 30):
        for name in kinds:
            flat = tree[name].view(-1)
            some = draw.integers(0, len(flat), int(draw.choice([0, 3, 3, len(flat)])))
            flat[some] = torch.from_numpy(draw.integers(0, 100, len(some))).to(flat.dtype)
        if tick == 20:
            tree["bytes"] = torch.ones(2, 61, 300, dtype=torch.uint8)  # another size
        if tick % 7 == 0:
            if forgets:
                deltas._known.clear()
            else:
                checkpoint.load(tmp_path)
        now = tree | {"clock": {"tick": np.array(tick)}}
        checkpoint.save(tmp_path, now, {})
        back = checkpoint.load(tmp_path)[0]
        assert all(back[name].dtype == tree[name].dtype and torch.equal(back[name], tree[name]) for name in tree)
        assert files(tmp_path) == listed(tmp_path)  # nothing else is kept
    longest = max(
        len(e["files"])
        for e in json.loads((checkpoint.found(tmp_path)[0] / "manifest.json").read_bytes())["large"].values()
    )
    assert longest < 20


def test_a_day_writes_what_changed(tmp_path, monkeypatch):
    """1,000 of 20,000 slots of 3,072 bytes change between two checkpoints."""
    monkeypatch.setattr(deltas, "LARGE", 2**22)
    content = torch.zeros(1, 20_000, 3072, dtype=torch.uint8)
    for tick in range(1, 5):
        before = size(tmp_path)
        checkpoint.save(tmp_path, {"clock": {"tick": np.array(tick)}, "content": content}, {})
        if tick > 1:
            assert size(tmp_path) - before < 3.5e6
        some = torch.randperm(20_000)[:1000]
        content[0, some] = torch.randint(0, 256, (1000, 3072), dtype=torch.uint8)
    checkpoint.load(tmp_path)


def test_files_are_written_anew_when_changes_are_as_large(tmp_path):
    content, lengths = torch.zeros(100, 1024, dtype=torch.uint8), []
    for tick in range(1, 12):
        content[tick * 5 : tick * 5 + 30] += 1
        path = checkpoint.save(tmp_path, {"clock": {"tick": np.array(tick)}, "content": content}, {})
        lengths.append(len(json.loads((path / checkpoint.MANIFEST).read_bytes())["large"]["content"]["files"]))
    assert lengths[:6] == [1, 2, 3, 4, 1, 2] and size(tmp_path) < 5 * content.nbytes


def test_death_at_every_call_leaves_the_old_state_or_the_new(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "test_checkpoint.CALLS",
        ("open", "write", "fsync", "rename", "replace", "mkdir", "listdir", "unlink", "rmdir", "close"),
    )
    seen = set()
    for k in range(0, 200, 2):
        folder = tmp_path / str(k)
        for tick in (1, 2):
            checkpoint.save(folder, small(tick), {})
        with monkeypatch.context() as patch:
            fault = Fault(patch, k, Dead())
            with contextlib.suppress(Dead):
                checkpoint.save(folder, small(3), {})
        deltas._known.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree, _ = checkpoint.load(folder)
        tick = int(tree["clock"]["tick"])
        assert_same(small(tick), tree)
        seen.add(tick)
        checkpoint.save(folder, small(4), {})
        assert files(folder) == listed(folder)  # the next life cleans up
        if not fault.struck:
            break
    assert seen == {2, 3} and not fault.struck


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_loses_nothing(tmp_path, monkeypatch, code):
    outcomes = set()
    for k in range(0, 90, 3):
        folder = tmp_path / str(k)
        for tick in (1, 2):
            checkpoint.save(folder, small(tick), {})
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fault, outcome = Fault(patch, k, OSError(code, os.strerror(code))), "saved"
            try:
                checkpoint.save(folder, small(3), {})
            except StorageError as broken:
                outcome = "broken"
                assert broken.exit_code == 3 and "\n" not in str(broken)
        assert int(checkpoint.load(folder)[0]["clock"]["tick"]) in ({3} if outcome == "saved" else {2, 3})
        checkpoint.save(folder, small(4), {})  # it goes on with the same process
        assert_same(small(4), checkpoint.load(folder)[0])
        outcomes.add(outcome)
        if not fault.struck:
            break
    assert outcomes == {"broken", "saved"}


# -- damage and forgery ------------------------------------------------------------------------------------


def forged(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((path / checkpoint.MANIFEST).read_bytes())
    del manifest["sha256"]
    change(manifest)
    body = json.dumps(manifest, separators=(",", ":"))
    (path / checkpoint.MANIFEST).write_text(body[:-1] + checkpoint.SEAL % hashlib.sha256(body.encode()).hexdigest())


def entry(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["large"]["w"]


def file(path: Path, turn: int = -1) -> Path:
    manifest = json.loads((path / checkpoint.MANIFEST).read_bytes())
    return path.parent / deltas.FOLDER / entry(manifest)["files"][turn][0]


def replaced(path: Path, data: bytes, turn: int = -1) -> None:
    """Other bytes under their right hash."""
    name = hashlib.sha256(data).hexdigest()
    (path.parent / deltas.FOLDER / name).write_bytes(data)
    forged(path, lambda m: entry(m)["files"].__setitem__(turn, [name, len(data)]))


def words(*numbers: int) -> bytes:
    return np.array(numbers, "<i8").tobytes()


def flipped(path: Path) -> None:
    data = bytearray(file(path).read_bytes())
    data[len(data) // 2] ^= 4
    file(path).write_bytes(data)


def led(path: Path, target: str) -> None:
    at = file(path)
    at.unlink()
    at.symlink_to(target)


def folder_led(path: Path) -> None:
    home = path.parent / deltas.FOLDER
    home.rename(path.parent.parent / "outside")
    home.symlink_to(path.parent.parent / "outside")


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "flipped": flipped,
    "cut": lambda p: os.truncate(file(p), 30),
    "longer": lambda p: os.truncate(file(p), 10**6),
    "a_terabyte": lambda p: os.truncate(file(p), 2**40),
    "gone": lambda p: file(p).unlink(),
    "a_pipe": lambda p: (file(p), os.unlink(at := file(p)), os.mkfifo(at)),
    "a_link": lambda p: led(p, "/etc/passwd"),
    "zeros": lambda p: led(p, "/dev/zero"),
    "empty": lambda p: replaced(p, b""),
    "short_head": lambda p: replaced(p, b"abc"),
    "no_blocks": lambda p: replaced(p, words(0), 0),
    "many_blocks": lambda p: replaced(p, words(2**62)),
    "negative_count": lambda p: replaced(p, words(-1)),
    "negative_block": lambda p: replaced(p, words(1, -1) + b"x" * 1024),
    "block_beyond": lambda p: replaced(p, words(1, 9) + b"x" * 1024),
    "block_twice": lambda p: replaced(p, words(2, 0, 0) + b"x" * 2048),
    "block_short": lambda p: replaced(p, words(1, 0) + b"x" * 1023),
    "a_pickle": lambda p: replaced(p, b"cos\nsystem\n(S'touch x'\ntR."),
    "name_up": lambda p: forged(p, lambda m: entry(m)["files"][0].__setitem__(0, "../../etc/passwd")),
    "name_number": lambda p: forged(p, lambda m: entry(m)["files"][0].__setitem__(0, 7)),
    "no_files": lambda p: forged(p, lambda m: entry(m).update(files=[])),
    "files_text": lambda p: forged(p, lambda m: entry(m).update(files="ab")),
    "size_beyond": lambda p: forged(p, lambda m: entry(m)["files"][0].__setitem__(1, 10**1000)),
    "kind_odd": lambda p: forged(p, lambda m: entry(m).update(kind="load")),
    "kind_other": lambda p: forged(p, lambda m: entry(m).update(kind="int16")),
    "shape_large": lambda p: forged(p, lambda m: entry(m).update(shape=[2**40, 2**40])),
    "shape_beyond": lambda p: forged(p, lambda m: entry(m).update(shape=[10**1000])),
    "shape_none": lambda p: forged(p, lambda m: entry(m).update(shape=[0])),
    "shape_true": lambda p: forged(p, lambda m: entry(m).update(shape=[True, 4096])),
    "block_none": lambda p: forged(p, lambda m: entry(m).update(block=0)),
    "block_large": lambda p: forged(p, lambda m: entry(m).update(block=10**1000)),
    "large_list": lambda p: forged(p, lambda m: m.update(large=[1])),
    "large_gone": lambda p: forged(p, lambda m: m.pop("large")),
    "large_more": lambda p: forged(p, lambda m: m["large"].update(x=entry(m))),
    "older_schema": lambda p: forged(p, lambda m: m.update(schema=1)),
    "folder_a_link": folder_led,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_or_forged_is_set_aside_in_one_line(name, tmp_path):
    folder = tmp_path / "run"
    tree = {"clock": {"tick": np.array(1)}, "w": torch.zeros(4, 1024, dtype=torch.uint8)}
    checkpoint.save(folder, tree, {"rows": 1})
    path = checkpoint.save(
        folder, {"clock": {"tick": np.array(2)}, "w": tree["w"].index_fill(0, torch.tensor(1), 9)}, {"rows": 2}
    )
    assert len(files(folder)) == 2
    DAMAGE[name](path)
    aside: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "folder_a_link":  # nothing is read through it
            with pytest.raises(ConfigError, match="no intact checkpoint"):
                checkpoint.load(folder, aside)
            with pytest.raises(StorageError, match="is a link"):
                checkpoint.save(folder, tree, {})
            return
        found, meta = checkpoint.load(folder, aside)
    assert meta == {"rows": 1} and found["w"].eq(0).all()
    assert len(aside) == 1 and aside[0].startswith("tick-000000002") and "\n" not in aside[0]
    checkpoint.save(folder, tree | {"clock": {"tick": np.array(3)}}, {})  # and life goes on
    assert_same(tree["w"], checkpoint.load(folder)[0]["w"])


def test_the_forger_is_able(tmp_path):
    path = checkpoint.save(tmp_path, {"clock": {"tick": np.array(2)}, "w": torch.zeros(4, 1024, dtype=torch.uint8)}, {})
    replaced(path, words(4, 0, 1, 2, 3) + b"\1" * 4096)
    assert checkpoint.load(tmp_path)[0]["w"].eq(1).all()


def test_a_life_resumes_bit_for_bit(tmp_path):
    def life() -> cs.Life:
        return cs.Life(
            world=cs.Digits(per_context=40, batch=6),
            neocortex=cs.Mlp(hidden=[8]),
            hippocampus=cs.Sparse(capacity=50, units=200, winners=10),
            rhythm=cs.Nights(experiences_per_day=25, steps_per_night=10),
            plasticity=0.01,
            replay=cs.Uniform(batch=6),
            subjects=2,
        )

    whole, other = life(), life()
    for _ in range(4):
        list(whole.live(days=1))
        checkpoint.save(tmp_path, whole.state(), {})
    deltas._known.clear()
    other.load(checkpoint.load(tmp_path)[0])
    for one in (whole, other):
        list(one.live(days=1))
    assert fingerprint(whole.state()) == fingerprint(other.state())
