"""Hostile checkpoints, traces and run directories: set aside or refused by name; nothing is run, and memory has an end.

The hashes of a forgery are right: they guard against accidents, not against a forger, so everything behind them must
hold as well.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import socket
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit import watched
from lives import small

from cls_sim.config.experiments import read
from cls_sim.core.errors import ConfigError, StorageError
from cls_sim.storage import checkpoint
from cls_sim.storage.run_directory import opened, resumed
from cls_sim.storage.trace import Trace

resource = pytest.importorskip("resource")
MARK = "hostile-mark"
GIGABYTE = 2**20  # in the kilobytes of ru_maxrss


class Reduced:
    """Makes the file MARK wherever it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {MARK}",)


@pytest.fixture(autouse=True)
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIGABYTE
    assert not list(tmp_path.rglob(MARK))


def tree(tick: int) -> dict[str, Any]:
    return {"clock": {"tick": np.array(tick)}, "w": torch.full((2, 3), float(tick))}


def forged(path: Path, change: Callable[[dict], Any] = lambda manifest: None, state: bytes | None = None) -> None:
    """Another state, or a changed manifest, under right hashes."""
    manifest = json.loads((path / checkpoint.MANIFEST).read_bytes())
    del manifest["sha256"]
    if state is not None:
        (path / checkpoint.STATE).write_bytes(state)
        manifest["files"][checkpoint.STATE] = {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    manifest = change(manifest) or manifest
    sealed(path, manifest if isinstance(manifest, str) else json.dumps(manifest, separators=(",", ":")))


def sealed(path: Path, body: str) -> None:
    seal = checkpoint.SEAL % hashlib.sha256(body.encode()).hexdigest()
    (path / checkpoint.MANIFEST).write_text(body[:-1] + seal, encoding="utf-8")


def saved(value: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def array(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    if set(arrays) == {"npy"}:
        np.save(file, arrays["npy"], allow_pickle=True)
    else:
        np.savez(file, **arrays)
    return file.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24), data: bytes = b"\0" * 24) -> bytes:
    """The state's two leaves, `w` as told."""
    tick = {"dtype": "I64", "shape": [], "data_offsets": [len(data), len(data) + 8]}
    return tensors(
        {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}, "clock.tick": tick}, data + b"\0" * 8
    )


EVIL = pickle.dumps(Reduced())
GOOD = one()
STATES: dict[str, Callable[[], bytes]] = {
    "pickle": lambda: EVIL,
    "pickle_0": lambda: pickle.dumps(Reduced(), protocol=0),
    "pickle_of_a_tree": lambda: pickle.dumps({"w": Reduced(), "clock": {"tick": 2}}),
    "torch": lambda: saved({"w": Reduced()}),
    "torch_legacy": lambda: saved({"w": Reduced()}, _use_new_zipfile_serialization=False),
    "torch_sound": lambda: saved({"w": torch.zeros(2, 3)}),
    "torch_sparse": lambda: saved(torch.eye(2).to_sparse()),
    "gzip": lambda: gzip.compress(EVIL),
    "zip": lambda: zipped("archive/data.pkl", EVIL),
    "zip_up": lambda: zipped(f"../../{MARK}", b"x"),
    "tar": lambda: tarred("pickle", EVIL),
    "tar_up": lambda: tarred(f"../../{MARK}", b"x"),
    "npy": lambda: array(npy=np.array([Reduced()], object)),
    "npz": lambda: array(w=np.array([Reduced()], object)),
    "python": lambda: f"import os; os.system('touch {MARK}')".encode(),
    "shell": lambda: f"#!/bin/sh\ntouch {MARK}\n".encode(),
    "elf": lambda: b"\x7fELF" + b"\0" * 100,
    "page": lambda: b"<html>Sign in</html>",
    "nothing": lambda: b"",
    "seven_bytes": lambda: b"1234567",
    "good_then_pickle": lambda: GOOD + EVIL,
    "pickle_then_good": lambda: EVIL + GOOD,
    "header_of_2^63": lambda: tensors(b"{}", length=2**63),
    "header_of_2^40": lambda: tensors(b"{}", length=2**40),
    "header_too_long": lambda: tensors(b"{}", length=3),
    "header_of_nothing": lambda: tensors(b"", length=0),
    "header_large": lambda: tensors(b"{" + b" " * (2**24 + 1) + b"}"),
    "header_text": lambda: tensors(b"hello"),
    "header_list": lambda: tensors(["w"]),
    "header_deep": lambda: tensors(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "header_not_utf8": lambda: tensors(b'{"\xff\xfe": 1}'),
    "header_nan": lambda: tensors(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', b"\0" * 4),
    "header_many": lambda: tensors(
        {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
    ),
    "header_metadata": lambda: tensors({"__metadata__": {"format": ["pickle"]}}),
    "header_metadata_alone": lambda: tensors({"__metadata__": {"_target_": "os.system"}}),
    "dtype_unknown": lambda: one(dtype="O"),
    "dtype_pickle": lambda: one(dtype="pickle"),
    "dtype_list": lambda: one(dtype=["F32"]),
    "dtype_wide": lambda: one(dtype="F64"),
    "dtype_narrow": lambda: one(dtype="I8"),
    "shape_huge": lambda: one(shape=[2**40]),
    "shape_overflow": lambda: one(shape=[2**62, 2**62, 16]),
    "shape_beyond": lambda: one(shape=[10**400]),
    "shape_negative": lambda: one(shape=[-2, -3]),
    "shape_fraction": lambda: one(shape=[1.5, 4]),
    "shape_text": lambda: one(shape="23"),
    "shape_deep": lambda: one(shape=[1] * 100_000),
    "offsets_negative": lambda: one(offsets=[-24, 0]),
    "offsets_backwards": lambda: one(offsets=[24, 0]),
    "offsets_overlapping": lambda: one(offsets=[8, 32]),
    "offsets_gap": lambda: one(offsets=[0, 24], data=b"\0" * 48),
    "offsets_beyond": lambda: one(offsets=[2**40, 2**40 + 24]),
    "offsets_overflow": lambda: one(offsets=[2**64 - 24, 2**64]),
    "offsets_three": lambda: one(offsets=[0, 24, 48]),
    "name_twice": lambda: tensors(b'{"w":1,' + json.dumps({"w": 2}).encode()[1:]),
    "name_up": lambda: tensors({f"../../{MARK}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "name_absolute": lambda: tensors(
        {f"/tmp/{MARK}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4
    ),
    "name_nul": lambda: tensors({"w\0": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "name_alike": lambda: GOOD.replace(b'"w"', '"ｗ"'.encode()),
}


def at(*keys: str, value: Any) -> Callable[[dict], None]:
    """A change: the entry at these keys becomes `value`."""

    def change(manifest: dict) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


FILE = ("files", checkpoint.STATE)
MANIFESTS: dict[str, Callable[[dict], Any]] = {
    "file_up": lambda m: m["files"].update({f"../../{MARK}": m["files"].pop(checkpoint.STATE)}),
    "file_absolute": lambda m: m["files"].update({"/etc/passwd": m["files"].pop(checkpoint.STATE)}),
    "file_more": lambda m: m["files"].update({"evil.pkl": {"size": 1, "sha256": "0" * 64}}),
    "files_list": at("files", value=[checkpoint.STATE]),
    "files_empty": at("files", value={}),
    "size_negative": at(*FILE, "size", value=-1),
    "size_huge": at(*FILE, "size", value=2**62),
    "size_beyond": at(*FILE, "size", value=10**1000),
    "size_true": at(*FILE, "size", value=True),
    "size_fraction": at(*FILE, "size", value=1.0),
    "sha_null": at(*FILE, "sha256", value=None),
    "sha_other": at(*FILE, "sha256", value="0" * 64),
    "tick_other": at("tick", value=3),
    "tick_negative": at("tick", value=-2),
    "tick_text": at("tick", value="2"),
    "tick_beyond": at("tick", value=10**1000),
    "version_tree": at("version", value={"a": 1}),
    "schema_gone": lambda m: m.pop("schema") and None,
    "meta_list": at("meta", value=[1]),
    "meta_nan": lambda m: json.dumps(m | {"meta": {"rows": float("nan")}}),
    "leaves_list": at("leaves", value=["w"]),
    "leaves_object": at("leaves", "w", value={"_target_": "os.system"}),
    "leaves_ghost": at("leaves", "ghost", value="tensor"),
    "leaves_missing": lambda m: m["leaves"].pop("w") and None,
    "leaves_clash": lambda m: m["leaves"].update({"w.b": "empty"}),
    "leaves_deep": lambda m: m["leaves"].update({".".join("a" * 50_000): "empty", "w.x": "empty"}),
    "leaves_backslashes": lambda m: m["leaves"].update({"\\" * 50_001: "empty", "w.x": "empty"}),
    "a_list": lambda m: [m],
    "deep": lambda m: "[" * 200_000 + "]" * 200_000,
    "deep_meta": lambda m: json.dumps(m)[:-1] + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}",
    "bomb": lambda m: json.dumps(m)[:-1] + ',"x":[' + ",".join(["[]"] * 3_000_000) + "],}",
    "too_large": lambda m: json.dumps(m)[:-1] + ',"x":"' + "x" * 2**24 + '"}',
    "digits": lambda m: json.dumps(m)[:-1] + ',"x":' + "9" * 100_000 + "}",
    "twice": lambda m: json.dumps(m)[:-1] + ',"files":{"evil.pkl":{"size":1,"sha256":"0"}}}',
    "nan_word": lambda m: json.dumps(m)[:-1] + ',"x":NaN}',
    "infinity_word": lambda m: json.dumps(m)[:-1] + ',"x":-Infinity}',
    "pickle_in_text": lambda m: "cos\nsystem\n(S'touch x'\ntR.",
    "yaml": lambda m: "!!python/object/apply:os.system ['touch x']}",
    "surrogate": lambda m: json.dumps(m)[:-1] + ',"leaves":{"\\ud800":"tensor"}}',
}


def linked(path: Path, name: str, target: str | Path) -> None:
    (path / name).unlink()
    (path / name).symlink_to(target)


def bound(path: Path) -> None:
    path.unlink()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as open_:
        open_.bind(path.name)


def elsewhere(path: Path, name: str) -> None:
    """The file itself, whole, but behind a link that leads out."""
    outside = path.parent.parent / f"outside-{name}"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)


FOLDERS: dict[str, Callable[[Path], Any]] = {
    "state_elsewhere": lambda p: elsewhere(p, checkpoint.STATE),
    "manifest_elsewhere": lambda p: elsewhere(p, checkpoint.MANIFEST),
    "state_of_zeros": lambda p: linked(p, checkpoint.STATE, "/dev/zero"),
    "manifest_of_zeros": lambda p: linked(p, checkpoint.MANIFEST, "/dev/zero"),
    "state_in_a_circle": lambda p: linked(p, checkpoint.STATE, checkpoint.STATE),
    "state_a_pipe": lambda p: ((p / checkpoint.STATE).unlink(), os.mkfifo(p / checkpoint.STATE)),
    "manifest_a_pipe": lambda p: ((p / checkpoint.MANIFEST).unlink(), os.mkfifo(p / checkpoint.MANIFEST)),
    "manifest_a_socket": lambda p: bound(p / checkpoint.MANIFEST),
    "state_a_folder": lambda p: ((p / checkpoint.STATE).unlink(), (p / checkpoint.STATE).mkdir()),
    "folder_elsewhere": lambda p: (p.rename(p.parent.parent / "out"), p.symlink_to(p.parent.parent / "out")),
    "folder_a_pickle": lambda p: (p.rename(p.with_name("gone")), p.write_bytes(EVIL)),
    "state_of_a_terabyte": lambda p: os.truncate(p / checkpoint.STATE, 2**40),
    "manifest_of_a_terabyte": lambda p: os.truncate(p / checkpoint.MANIFEST, 2**40),
    "both_say_a_terabyte": lambda p: (
        forged(p, at(*FILE, "size", value=2**40)),
        os.truncate(p / checkpoint.STATE, 2**40),
    ),
    "all_pickles": lambda p: [(p / name).write_bytes(EVIL) for name in (checkpoint.STATE, checkpoint.MANIFEST)],
}

DAMAGE: dict[str, Callable[[Path], Any]] = {
    **{f"state_{name}": (lambda p, make=make: forged(p, state=make())) for name, make in STATES.items()},
    **{f"manifest_{name}": (lambda p, change=change: forged(p, change)) for name, change in MANIFESTS.items()},
    **FOLDERS,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for tick in (1, 2):
        checkpoint.save(tmp_path / "run", tree(tick), {"rows": tick})
    return tmp_path / "run"


@pytest.mark.parametrize("name", DAMAGE)
def test_set_aside_by_name_and_the_one_before_is_taken(name: str, folder: Path):
    checkpoint.load(folder)  # everything imported
    path = folder / "tick-000000002"
    DAMAGE[name](path)
    aside: list[str] = []
    with warnings.catch_warnings(), watched(folder) as done:
        warnings.simplefilter("ignore")
        try:
            found, meta = checkpoint.load(folder, aside)
        except StorageError as broken:  # a file that is what it says, and more than this machine can hold
            assert name == "both_say_a_terabyte" and "memory" in str(broken)
            found, meta = tree(1), {"rows": 1}
            aside = ["tick-000000002"]
    assert done == []
    assert meta == {"rows": 1} and int(found["clock"]["tick"]) == 1 and found["w"].eq(1).all()
    assert len(aside) == 1 and aside[0].startswith("tick-000000002") and "\n" not in aside[0]


def test_the_forger_is_able(folder: Path):
    """What the cases above change is all that keeps them from loading."""
    forged(folder / "tick-000000002", state=GOOD)
    found, meta = checkpoint.load(folder)
    assert meta == {"rows": 2} and found["w"].eq(0).all()


@pytest.mark.parametrize("schema", [3, "1", None, [1], True, 1e300])
def test_another_schema_is_refused_and_left_alone(schema: Any, folder: Path):
    forged(folder / "tick-000000002", at("schema", value=schema))
    with watched() as done:
        if schema is True:  # JSON's true is no 1 to a reader of versions, but Python's is: the rest must hold
            checkpoint.load(folder)
        else:
            with pytest.raises(ConfigError, match="was made by"):
                checkpoint.load(folder)
    assert done == [] and (folder / "tick-000000002").is_dir()


def test_what_lies_beside_is_not_looked_at(folder: Path):
    path = folder / "tick-000000002"
    others = ["evil.pkl", "state.pt", "state.safetensors.pkl", "__init__.py", "conftest.py", "manifest.yaml"]
    for other in others:
        (path / other).write_bytes(EVIL)
        (folder / other).write_bytes(EVIL)
    names = [
        "tick-2",
        "tick-",
        "tick-000000003.tmp",
        ".tmp-1-00",
        "tick-000000009\n",
        "TICK-000000009",
        "tick-00000000x",
    ]
    for other in names:
        (folder / other).mkdir()
    with watched() as done:
        assert checkpoint.load(folder)[1] == {"rows": 2}
    assert done == []


@pytest.mark.parametrize("name", ["tick-٠٠٠٠٠٠٠٠٣", "tick-000000003-٣", "tick-999999999999999999"])
def test_names_that_look_like_ticks(name: str, folder: Path):
    os.rename(folder / "tick-000000002", folder / name)
    with warnings.catch_warnings(), watched(folder) as done:
        warnings.simplefilter("ignore")
        assert checkpoint.load(folder)[1] == {"rows": 1}
    assert done == []


# -- a sound checkpoint of something else: hashes are right, the tree is not that of this life --------------


def torn(change: Callable[[dict], Any]) -> Callable[[dict], dict]:
    def changed(state: dict) -> dict:
        change(state)
        return state

    return changed


LIVES: dict[str, Callable[[dict], Any]] = {
    "weight_wide": lambda s: s["neocortex"]["weights"].update(weight0=torch.zeros(2, 64, 65)),
    "weight_other_cohort": lambda s: s["neocortex"]["weights"].update(weight0=torch.zeros(3, 32, 64)),
    "weight_number": lambda s: s["neocortex"]["weights"].update(weight0=torch.tensor(0.0)),
    "weight_empty": lambda s: s["neocortex"]["weights"].update(weight0=torch.zeros(0)),
    "weight_double": lambda s: s["neocortex"]["weights"].update(weight0=s["neocortex"]["weights"]["weight0"].double()),
    "weight_complex": lambda s: s["neocortex"]["weights"].update(weight0=s["neocortex"]["weights"]["weight0"].cfloat()),
    "weight_array": lambda s: s["neocortex"]["weights"].update(weight0=s["neocortex"]["weights"]["weight0"].numpy()),
    "weight_tree": lambda s: s["neocortex"]["weights"].update(weight0={"x": torch.zeros(1)}),
    "weight_gone": lambda s: s["neocortex"]["weights"].pop("weight0"),
    "weight_more": lambda s: s["neocortex"]["weights"].update(forward=torch.zeros(2)),
    "weights_flat": lambda s: s["neocortex"].update(weights=torch.zeros(2, 3)),
    "method": lambda s: s["neocortex"].update(scores=torch.zeros(2)),
    "dunder": lambda s: s["neocortex"].update(__class__=torch.zeros(2)),
    "dunder_room": lambda s: s.update(__dict__={"world": torch.zeros(2)}),
    "room_gone": lambda s: s.pop("hippocampus"),
    "room_more": lambda s: s.update(cellar={"x": torch.zeros(2)}),
    "room_other": lambda s: s.update(hippocampus=s["neocortex"]),
    "slots_more": lambda s: s["hippocampus"].update(content=torch.zeros(2, 10**4, 64, dtype=torch.uint8)),
    "slots_type": lambda s: s["hippocampus"].update(mark=s["hippocampus"]["mark"].float()),
    "optimiser_wide": lambda s: s["consolidation"]["optimizer"].update(steps=np.zeros(3, np.int64)),
    "clock_gone": lambda s: s["clock"].pop("night"),
    "clock_wide": lambda s: s["clock"].update(experience=np.zeros(5, np.int64)),
    "clock_negative": lambda s: s["clock"].update(experience=np.full(2, -5)),
    "clock_fraction": lambda s: s["clock"].update(experience=np.full(2, 0.5)),
    "clock_numbers": lambda s: s["clock"].update(asleep=np.full(2, 7)),
    "ledger_wide": lambda s: s["ledger"].update(lived=np.zeros(7)),
    "ledger_more": lambda s: s["ledger"].update(stolen=np.zeros(2)),
}


@pytest.mark.parametrize("name", LIVES)
def test_the_state_of_another_life_is_refused(name: str, tmp_path: Path):
    life = small()
    state = life.state()
    LIVES[name](state)
    checkpoint.save(tmp_path / "run", state, {})
    found, _ = checkpoint.load(tmp_path / "run")
    fresh = small()
    with watched() as done, pytest.raises(ConfigError) as caught:
        fresh.load(found)
    assert done == [] and caught.value.exit_code == 2 and "\n" not in str(caught.value)


# -- traces -------------------------------------------------------------------------------------------------


def line(body: Any) -> bytes:
    """A line of a trace, its checksum right."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b'%s,"crc":"%08x"}\n' % (text[:-1], zlib.crc32(text))


ROW = {"moment": "day.end", "day": [1.0, 1.0], "tick": 10, "readings": {"accuracy": [0.5, 0.75]}}
RAW = json.dumps(ROW).encode()
LINES: dict[str, bytes] = {
    "pickle": EVIL + b"\n",
    "pickle_checked": line(EVIL.replace(b"\n", b" ") + b"}"),
    "no_checksum": RAW + b"\n",
    "checksum_of_another": line(RAW).replace(b"0.5", b"0.6"),
    "python": line(b"__import__('os').system('touch x')}"),
    "list": line(b'[{"moment":"day.end"}}'),
    "text": line(b'"day.end"}'),
    "empty": line(b"{}"),
    "nan": line(RAW.replace(b"0.5", b"NaN")),
    "infinity": line(RAW.replace(b"0.5", b"Infinity")),
    "deep": line(RAW.replace(b"0.5", b"[" * 50_000 + b"]" * 50_000)),
    "deep_numbers": line(RAW.replace(b"0.5", b"[" * 100 + b"1" + b"]" * 100)),
    "bomb": line(RAW.replace(b"[0.5, 0.75]", b"[" + b",".join([b"[]"] * 1_000_000) + b"]")),
    "digits": line(RAW.replace(b"0.5", b"9" * 10_000)),
    "beyond": line(RAW.replace(b"0.5", b"9" * 400)),
    "words": line(RAW.replace(b"0.5", b'"x"')),
    "true_tick": line(ROW | {"tick": [1]}),
    "negative_tick": line(ROW | {"tick": -1}),
    "day_ragged": line(ROW | {"day": [[1], [1, 2]]}),
    "day_number": line(ROW | {"day": 1.0}),
    "day_long": line(ROW | {"day": [1.0] * 3}),
    "readings_list": line(ROW | {"readings": [1]}),
    "reading_long": line(ROW | {"readings": {"accuracy": [0.5] * 3}}),
    "reading_number": line(ROW | {"readings": {"accuracy": 0.5}}),
    "reading_cube": line(ROW | {"readings": {"accuracy": [[[0.5]], [[0.5]]]}}),
    "reading_object": line(ROW | {"readings": {"accuracy": [{"_target_": "os.system"}, 1]}}),
    "reading_escape": line(ROW | {"readings": {"\x1b]0;owned\x07": [0.5, 0.5]}}),
    "moment_escape": line(ROW | {"moment": "\x1b[2J"}),
    "who_long": line(ROW | {"who": [True] * 3}),
    "who_flat": line(ROW | {"who": True}),
    "other_cohort": line(ROW | {"day": [1.0], "readings": {"accuracy": [0.5]}}),
    "not_utf8": line(RAW.replace(b"day.end", b"\xff\xfe")),
    "nul": b"\0" * 1000 + b"\n",
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_nobody_wrote_is_refused_by_number(name: str, tmp_path: Path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(line(RAW) + LINES[name] + line(RAW))
    with watched() as done, pytest.raises(ConfigError) as caught:
        Trace(path)
    assert done == [] and f"{path}:2" in str(caught.value) and "\n" not in str(caught.value)


def test_a_trace_is_a_plain_file_and_no_link(tmp_path: Path):
    (tmp_path / "mine").write_bytes(line(RAW))
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with watched(tmp_path / "link", tmp_path / "dangling") as done:
        with pytest.raises(ConfigError, match="regular file"):
            Trace(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="regular file"):
            Trace(tmp_path / "link")
        with pytest.raises(StorageError):
            Trace(tmp_path / "dangling")
    assert done == []
    assert (tmp_path / "mine").read_bytes() == line(RAW) and not (tmp_path / "nowhere").exists()


# -- run directories ----------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with opened(read(["arms=[cls]", "out=run"])) as folder:
        (folder / "figures" / "life.png").write_bytes(b"png")
    return tmp_path / "run"


def gone_on(folder: Path) -> None:
    with opened(read(resumed([f"resume={folder}"]))):
        pass


RECORDS = {
    "pickle": EVIL,
    "nothing": b"",
    "list": b"[1]",
    "deep": b"[" * 100_000,
    "digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "other_schema": b'{"schema": 7, "version": "9.9"}',
    "no_overrides": b'{"overrides": {"a": 1}}',
    "overrides_numbers": b'{"overrides": [1]}',
    "overrides_hydra": b'{"overrides": ["hydra.run.dir=/tmp/x"]}',
    "overrides_target": b'{"overrides": ["arms=[cls]", "title={_target_: os.system}"]}',
    "overrides_up": b'{"overrides": ["experiment=../../../../tmp/evil"]}',
    "overrides_environment": b'{"overrides": ["title=${oc.env:HOME}"]}',
    "overrides_other": b'{"overrides": ["arms=[cls]", "seed=5"], "config_sha256": "0"}',
    "arms_odd": b'{"overrides": ["arms=[cls]"], "arms": {"cls": 5}}',
    "count_odd": b'{"overrides": ["arms=[cls]"], "resumed": "x"}',
    "escape": b'{"schema": "\\u001b[2J", "version": "\\u001b]0;owned\\u0007"}',
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_nobody_wrote_is_refused(name: str, run: Path):
    gone_on(run)
    (run / "run.json").write_bytes(RECORDS[name])
    with watched(run / ".lock") as done, pytest.raises(ConfigError) as caught:
        gone_on(run)
    assert done == [] and caught.value.exit_code == 2 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["trace", "jobs", "figures", "figures/life.png", "config.yaml", "environment.json", ".lock"]
)
def test_a_run_directory_that_leads_elsewhere_is_refused(name: str, run: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    (run / name).rename(outside)
    (run / name).symlink_to(outside)
    before = [path.stat().st_mtime_ns for path in (outside, *outside.rglob("*"))]
    with watched() as done, pytest.raises(ConfigError) as caught:
        gone_on(run)
    assert done == [] and str(run / name) in str(caught.value)
    assert before == [path.stat().st_mtime_ns for path in (outside, *outside.rglob("*"))]


def test_there_are_enough_of_them(figure):
    assert len(DAMAGE) >= 60 and len(DAMAGE) + len(LIVES) + len(LINES) >= 150
    figure(
        f"{len(DAMAGE)} hostile checkpoints, {len(LIVES)} states, {len(LINES)} traces, {len(RECORDS)} records: 0 executed"
    )
