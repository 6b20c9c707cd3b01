"""Checkpoints: exact when whole, never loaded when not, and never lost while a newer one is written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import warnings

import numpy as np
import pytest
import torch
from faults import few_or_many
from hypothesis import given, settings
from hypothesis import strategies as st

from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.storage import checkpoint


def rich(tick: int = 5) -> dict:
    """A tree with every kind of leaf that a life may have."""
    generator = np.random.default_rng(tick)
    weights = torch.from_numpy(generator.normal(size=(2, 3, 4)).astype(np.float32)).requires_grad_()
    kinds = [
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
        torch.float64,
        torch.bfloat16,
        torch.float16,
    ]
    return {
        "clock": {"tick": np.array(tick), "asleep": np.array([True, False]), "experience": np.arange(2)},
        "neocortex": {"weights": {"w0": weights, "w0.bias": weights[0], "": torch.zeros(0, 3), "a\\.b": torch.ones(1)}},
        "replay": {},
        "kinds": {str(k): torch.from_numpy(generator.integers(0, 2, (2, 5))).to(k) for k in kinds},
        "odd": {
            "zero_d": torch.tensor(1.5, dtype=torch.float64),
            "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
            "strided": torch.arange(12.0).reshape(3, 4).T,
            "fortran": np.asfortranarray(generator.normal(size=(3, 2))),
            "big_endian": generator.normal(size=3).astype(">f8"),
        },
        "ledger": {"lived": generator.random(2)},
    }


def assert_same(a, b) -> None:
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        assert bytes(a.detach().contiguous().view(-1).view(torch.uint8) if a.numel() and a.ndim else b"") == bytes(
            b.contiguous().view(-1).view(torch.uint8) if b.numel() and b.ndim else b""
        )
        assert a.ndim or a.item() == b.item()
    else:
        assert isinstance(b, np.ndarray) and a.dtype.newbyteorder("=") == b.dtype and a.shape == b.shape
        assert a.astype(b.dtype).tobytes() == b.tobytes()


def small(tick: int) -> dict:
    return {"clock": {"tick": np.array(tick)}, "w": torch.full((2, 3), float(tick))}


def test_a_rich_tree_comes_back_bit_for_bit(tmp_path):
    meta = {"rows": 12, "name": "ünï", "list": [1, 2.5, None, True], "big": 2**100}
    path = checkpoint.save(tmp_path / "a" / "b", rich(), meta)
    assert path.name == "tick-000000005" and checkpoint.found(path.parent) == [path]
    tree, again = checkpoint.load(path.parent)
    assert_same(rich(), tree)
    assert again == meta
    tree["kinds"]["torch.float64"] += 1  # what is loaded can be written to
    tree["clock"]["experience"] += 1


names = st.text(st.sampled_from(["a", "b", ".", "\\", "/", "é", "\n"]), max_size=4)
leaves = st.builds(lambda n: torch.arange(n), st.integers(0, 3))
trees = st.dictionaries(
    names, st.recursive(leaves, lambda t: st.dictionaries(names, t, max_size=3), max_leaves=6), max_size=3
)


@given(trees)
@settings(max_examples=40, deadline=None)
def test_any_names_come_back(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("c")
    checkpoint.save(folder, {**tree, "clock": {"tick": np.array(1)}}, {})
    assert_same({**tree, "clock": {"tick": np.array(1)}}, checkpoint.load(folder)[0])


def test_the_same_state_gives_the_same_bytes(tmp_path):
    a, b = (checkpoint.save(tmp_path / name, rich(), {"rows": 1}) for name in "ab")
    for name in (checkpoint.STATE, checkpoint.MANIFEST):
        assert (a / name).read_bytes() == (b / name).read_bytes()


def test_the_manifest_is_strict_json_that_says_what_is_there(tmp_path):
    from cls_sim import __version__

    path = checkpoint.save(tmp_path, small(3), {"rows": 1})
    manifest = json.loads((path / checkpoint.MANIFEST).read_text(), parse_constant=pytest.fail)
    state = (path / checkpoint.STATE).read_bytes()
    assert (manifest["schema"], manifest["version"], manifest["tick"], manifest["meta"]) == (
        1,
        __version__,
        3,
        {"rows": 1},
    )
    assert manifest["files"] == {"state.safetensors": {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}}
    assert sorted(p.name for p in path.iterdir()) == ["manifest.json", "state.safetensors"]


def test_the_two_newest_are_kept_and_other_things_left_alone(tmp_path):
    (tmp_path / "fork-patient").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for tick in (1, 2, 10, 9_999_999_999):
        checkpoint.save(tmp_path, small(tick), {})
    assert [p.name for p in checkpoint.found(tmp_path)] == ["tick-9999999999", "tick-000000010"]
    assert sorted(os.listdir(tmp_path)) == ["fork-patient", "notes.txt", "tick-000000010", "tick-9999999999"]
    assert checkpoint.load(tmp_path)[0]["w"][0, 0] == float(9_999_999_999)


def test_saving_again_at_the_same_tick_replaces(tmp_path):
    for tick, rows in ((1, 0), (2, 1), (2, 2), (2, 3)):
        checkpoint.save(tmp_path, small(tick), {"rows": rows})
    assert checkpoint.load(tmp_path)[1] == {"rows": 3}
    assert [p.name for p in checkpoint.found(tmp_path)] == ["tick-000000002-2", "tick-000000001"]


def test_none_there_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="has no checkpoint") as caught:
            checkpoint.load(folder)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("tree", "meta", "said"),
    [
        ({"clock": {"tick": np.array(1)}, "n": 3}, {}, "n: is a int"),
        ({"clock": {"tick": np.array(1)}, "a": {"b": [torch.ones(1)]}}, {}, r"a\.b: is a list"),
        ({"clock": {"tick": np.array(1)}, "s": np.array(["x"])}, {}, "s: cannot be saved"),
        ({"clock": {"tick": np.array(1)}, "o": np.array([{}])}, {}, "o: cannot be saved"),
        ({"clock": {"tick": np.array(1)}, "s": torch.eye(2).to_sparse()}, {}, "s: cannot be saved"),
        ({"clock": {"tick": np.array(1)}, 3: torch.ones(1)}, {}, "3: is not a name"),
        ({"clock": {"tick": np.array(1)}, "__metadata__": torch.ones(1)}, {}, "__metadata__"),
        ({"w": torch.ones(1)}, {}, r"clock\.tick"),
        ({"clock": {"tick": np.array(1)}}, {"x": float("nan")}, "meta: is not plain JSON"),
        ({"clock": {"tick": np.array(1)}}, {"x": np.ones(1)}, "meta: is not plain JSON"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_written(tmp_path, tree, meta, said):
    with pytest.raises(ConfigError, match=said):
        checkpoint.save(tmp_path, tree, meta)
    assert os.listdir(tmp_path) == []


# -- damage -------------------------------------------------------------------------------------------------


def damaged(tmp_path, harm, rounds: int) -> str:
    """Harm a checkpoint in many ways; each must be noticed, named, set aside, and the older one taken."""
    origin = tmp_path / "origin"
    checkpoint.save(origin, small(1), {"rows": 1})
    checkpoint.save(origin, rich(2), {"rows": 2})
    for i in range(rounds):
        folder = tmp_path / str(i)
        shutil.copytree(origin, folder)
        harm(folder / "tick-000000002", i)
        aside: list[str] = []
        with pytest.warns(UserWarning, match="tick-000000002"):
            tree, meta = checkpoint.load(folder, aside)
        assert meta == {"rows": 1}
        assert_same(small(1), tree)
        assert len(aside) == 1 and aside[0].startswith("tick-000000002: ")
        assert [name for name in os.listdir(folder) if name.startswith(".corrupt-tick-000000002")]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            checkpoint.load(folder)  # not tried again
        shutil.rmtree(folder)
    return "0 silent loads"


def somewhere(size: int, i: int) -> int:
    """A place in a file: near its beginning, near its end, or anywhere."""
    chance = random.Random(i)
    return [chance.randrange(32), size - 1 - chance.randrange(100), chance.randrange(size)][i % 3]


FEW_OR_MANY = pytest.mark.parametrize("times", few_or_many(8, 25, 250))


@pytest.mark.timeout(3600)
@FEW_OR_MANY
@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.MANIFEST])
def test_flipped_bits_never_load(tmp_path, figure, name, times):
    def flip(path, i):
        data = bytearray((path / name).read_bytes())
        data[somewhere(len(data), i)] ^= 1 << i % 8
        (path / name).write_bytes(data)

    figure(f"{times} flipped bits of {name}: {damaged(tmp_path, flip, times)}")


@pytest.mark.timeout(3600)
@FEW_OR_MANY
@pytest.mark.parametrize("zeros", [False, True], ids=["cut", "zeros"])
@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.MANIFEST])
def test_truncations_and_zero_tails_never_load(tmp_path, figure, name, zeros, times):
    def cut(path, i):
        data = (path / name).read_bytes()
        at = somewhere(len(data), i)
        rest = data[:at] + (b"\0" * (len(data) - at) if zeros else b"")
        (path / name).write_bytes(rest if rest != data else data[:-1])

    what = "tails of zeros" if zeros else "truncations"
    figure(f"{times} {what} of {name}: {damaged(tmp_path, cut, times)}")


def test_missing_swapped_linked_and_oversized_files_never_load(tmp_path, figure):
    def harm(path, i):
        state, manifest, older = path / checkpoint.STATE, path / checkpoint.MANIFEST, path.parent / "tick-000000001"
        kind = [
            lambda: state.unlink(),
            lambda: manifest.unlink(),
            lambda: shutil.copy(older / checkpoint.STATE, state),
            lambda: shutil.copy(older / checkpoint.MANIFEST, manifest),
            lambda: (shutil.rmtree(path), shutil.copytree(older, path)),  # whole, but of another tick
            lambda: (shutil.rmtree(path), path.write_text("a file")),
            lambda: (shutil.rmtree(path), path.symlink_to(older)),
            lambda: (state.rename(path / "elsewhere"), state.symlink_to("elsewhere")),
            lambda: (manifest.rename(path / "elsewhere"), manifest.symlink_to("elsewhere")),
            lambda: (state.unlink(), os.mkfifo(state)),
            lambda: (state.unlink(), state.mkdir()),
            lambda: state.open("ab").write(b"more"),
            lambda: os.truncate(state, 2**40),
            lambda: os.truncate(manifest, 2**40),
            lambda: manifest.write_text(""),
            lambda: manifest.write_text("[" * 100_000),
        ]
        kind[i]()

    figure(f"16 missing, swapped, linked and oversized files: {damaged(tmp_path, harm, 16)}")


def forged(path, change, state: bytes | None = None) -> None:
    """A manifest with a right hash and wrong content, as nobody writes it by accident."""
    manifest = json.loads((path / checkpoint.MANIFEST).read_bytes())
    del manifest["sha256"]
    if state is not None:
        (path / checkpoint.STATE).write_bytes(state)
        manifest["files"][checkpoint.STATE] = {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    manifest = change(manifest) or manifest
    body = json.dumps(manifest, separators=(",", ":"))
    sealed = body[:-1] + checkpoint.SEAL % hashlib.sha256(body.encode()).hexdigest()
    (path / checkpoint.MANIFEST).write_text(sealed)


def test_forged_manifests_never_load(tmp_path, figure):
    def outside(m):
        m["files"]["../../etc/passwd"] = m["files"].pop(checkpoint.STATE)

    header = (2**63).to_bytes(8, "little")
    deep = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}).encode()
    lies = [
        lambda p: forged(p, outside),
        lambda p: forged(p, lambda m: m["files"][checkpoint.STATE].update(size=10)),
        lambda p: forged(p, lambda m: m["files"][checkpoint.STATE].update(size=2**62)),
        lambda p: forged(p, lambda m: m["files"][checkpoint.STATE].update(size=-1)),
        lambda p: forged(p, lambda m: m["files"][checkpoint.STATE].update(size=True)),
        lambda p: forged(p, lambda m: m["files"][checkpoint.STATE].update(sha256=5)),
        lambda p: forged(p, lambda m: m.update(tick=7)),
        lambda p: forged(p, lambda m: m.update(meta=[1])),
        lambda p: forged(p, lambda m: m.update(leaves=["w"])),
        lambda p: forged(p, lambda m: m["leaves"].update({"ghost": "tensor"})),
        lambda p: forged(p, lambda m: m["leaves"].update({"ghost.x": "empty", "ghost": "empty", "ghost.x.y": "empty"})),
        lambda p: forged(p, lambda m: m["leaves"].update({"odd.nan.below": "empty"})),
        lambda p: forged(p, lambda m: m["leaves"].update({"kinds.torch\\.bfloat16": "array"})),
        lambda p: forged(p, lambda m: m["leaves"].pop("odd.nan") and None),
        lambda p: forged(p, lambda m: [m]),
        lambda p: forged(p, lambda m: m.pop("files") and None),
        lambda p: forged(p, lambda m: None, header + b"{}"),
        lambda p: forged(p, lambda m: None, b"short"),
        lambda p: forged(
            p, lambda m: m.update(leaves={"x": "tensor"}), len(deep).to_bytes(8, "little") + deep + b"\0" * 4
        ),
    ]
    figure(f"{len(lies)} forged manifests: {damaged(tmp_path, lambda path, i: lies[i](path), len(lies))}")


def test_a_newer_schema_is_told_not_set_aside(tmp_path):
    path = checkpoint.save(tmp_path, small(1), {})
    forged(path, lambda m: m.update(schema=3, version="9.9"))
    with pytest.raises(ConfigError, match=r"made by cls_sim 9\.9 \(schema 3\)"):
        checkpoint.load(tmp_path)
    assert path.is_dir()


def test_none_left_is_refused(tmp_path):
    for tick in (1, 2):
        (checkpoint.save(tmp_path, small(tick), {}) / checkpoint.STATE).write_bytes(b"")
    aside: list[str] = []
    with (
        pytest.warns(UserWarning),
        pytest.raises(ConfigError, match=r"has no intact checkpoint: tick-000000002.*tick-000000001"),
    ):
        checkpoint.load(tmp_path, aside)
    assert len(aside) == 2


def test_a_folder_that_cannot_be_renamed_still_loads_the_older(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, small(1), {})
    (checkpoint.save(tmp_path, small(2), {}) / checkpoint.STATE).write_bytes(b"")
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))
    with pytest.warns(UserWarning, match="tick-000000002"):
        assert checkpoint.load(tmp_path)[0]["w"][0, 0] == 1.0


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path, small(1), {})
    real = os.open

    def failing(name, *args, **kwargs):
        if str(name).endswith(checkpoint.STATE):
            raise OSError(errno.EIO, "Input/output error")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StorageError, match="Input/output error"):
        checkpoint.load(tmp_path)
    monkeypatch.undo()
    assert checkpoint.found(tmp_path) == [path]


# -- death and full disks in the middle of a save -----------------------------------------------------------

CALLS = ("open", "write", "fsync", "rename", "mkdir", "listdir", "unlink", "rmdir", "close")


class Dead(BaseException):
    """The process is no more: neither cleaning up nor anything else happens after this."""


class Fault:
    """Lets `after` calls to the disk pass; the next fails, and after a death every one that follows."""

    def __init__(self, monkeypatch, after: int, error: BaseException):
        self.left, self.error, self.struck = after, error, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, real):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left == -1 or (self.left < 0 and isinstance(self.error, Dead)):
                self.struck = True
                if name == "write" and self.left == -1:
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])  # half of it got there
                if name == "close" and not isinstance(self.error, Dead):
                    real(*args, **kwargs)
                raise self.error
            return real(*args, **kwargs)

        return call


def calls_of_a_save(tmp_path, monkeypatch) -> int:
    folder = tmp_path / "counting"
    for tick in (1, 2):
        checkpoint.save(folder, small(tick), {})
    with monkeypatch.context() as patch:
        fault = Fault(patch, 10**6, Dead())
        checkpoint.save(folder, small(3), {})
        count = 10**6 - fault.left
    return count


def test_death_at_every_call_leaves_the_old_state_or_the_new(tmp_path, monkeypatch, figure):
    seen = set()
    count = calls_of_a_save(tmp_path, monkeypatch)
    assert count > 15
    for k in range(count + 1):
        folder = tmp_path / str(k)
        for tick in (1, 2):
            checkpoint.save(folder, small(tick), {})
        with monkeypatch.context() as patch:
            fault = Fault(patch, k, Dead())
            with contextlib.suppress(Dead):
                checkpoint.save(folder, small(3), {})
            assert fault.struck == (k < count)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing half-made may even be looked at
            tree, _ = checkpoint.load(folder)
        tick = int(tree["clock"]["tick"])
        assert_same(small(tick), tree)
        seen.add(tick)
        checkpoint.save(folder, small(4), {})  # the next life cleans up
        assert sorted(os.listdir(folder)) == [f"tick-00000000{t}" for t in ((2, 4) if tick == 2 else (3, 4))]
    assert seen == {2, 3}
    figure(f"death before and after each of the {count} calls of a save: {count + 1} of {count + 1} loadable")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_failing_disk_is_broken_and_leaves_no_rubbish(tmp_path, monkeypatch, code):
    count = calls_of_a_save(tmp_path, monkeypatch)
    outcomes = set()
    for k in range(count):
        folder = tmp_path / str(k)
        for tick in (1, 2):
            checkpoint.save(folder, small(tick), {})
        outcome = "saved"
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Fault(patch, k, OSError(code, os.strerror(code)))
            try:
                checkpoint.save(folder, small(3), {})
            except StorageError as broken:
                outcome = "broken"
                assert broken.exit_code == 3 and str(folder) in str(broken) and os.strerror(code) in str(broken)
        left = os.listdir(folder)
        if outcome == "broken":
            assert not [name for name in left if name.startswith(".tmp")]
            assert "tick-000000002" in left
        assert int(checkpoint.load(folder)[0]["clock"]["tick"]) in ({3} if outcome == "saved" else {2, 3})
        outcomes.add(outcome)
    assert outcomes == {"broken", "saved"}  # saved: only the cleaning afterwards failed, which is a warning


def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    log, files = [], {}
    real = {name: getattr(os, name) for name in ("open", "fsync", "rename")}

    def opened(name, *args, **kwargs):
        file = real["open"](name, *args, **kwargs)
        files[file] = os.path.basename(name)
        return file

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda file: (log.append(files[file]), real["fsync"](file)))
    monkeypatch.setattr(os, "rename", lambda a, b: (log.append("rename"), real["rename"](a, b)))
    checkpoint.save(tmp_path / "x", small(1), {})
    aside = log[2]
    assert aside.startswith(".tmp-")
    assert log == [checkpoint.STATE, checkpoint.MANIFEST, aside, "rename", "x"]


def test_interruption_removes_what_was_begun(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, small(1), {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, small(2), {})
    assert os.listdir(tmp_path) == ["tick-000000001"]


def test_leftovers_of_the_living_are_spared(tmp_path):
    import subprocess
    import sys

    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (other, dead):
        (tmp_path / f".tmp-{process.pid}-00ff").mkdir()
    checkpoint.save(tmp_path, small(1), {})
    assert sorted(os.listdir(tmp_path)) == [f".tmp-{other.pid}-00ff", "tick-000000001"]
    other.communicate(b"\n")


def die_at(k: int) -> None:
    """From now on, this process is gone at its k-th call to the disk."""
    left = [k]

    def mortal(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, mortal(getattr(os, name)))


def test_a_killed_process_resumes_from_what_it_saved(tmp_path, figure):
    """A real death (os._exit in a forked child) at every call of a save, without any clean-up by Python."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    landed = set()
    for k in range(0, 40, 2):
        folder = tmp_path / str(k)
        checkpoint.save(folder, small(1), {})
        child = os.fork()
        if child == 0:
            code = 1
            try:
                die_at(k)
                checkpoint.save(folder, small(2), {})
                code = 0
            finally:
                os._exit(code)
        landed.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert int(checkpoint.load(folder)[0]["clock"]["tick"]) in (1, 2)
    assert landed == {0, 9}
    figure("20 real deaths of a process in a save: 20 loadable")


def test_checkpoint_import_is_light():
    import subprocess
    import sys

    code = "import sys, cls_sim.storage.checkpoint; print('torch' in sys.modules, 'safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"
