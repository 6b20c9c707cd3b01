"""CIFAR: the facts of the data, faults of its files, and a download that continues where it stopped."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
import torch

from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec
from cls_sim.world import cifar
from cls_sim.world.cifar import Cifar10, Cifar100
from cls_sim.world.files import DataFileError
from tests import web
from tests.web import Quiet, without_data

ROWS = 20


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A world of tiny files, an empty cache and no folder of data."""
    for kind in (Cifar10, Cifar100):
        monkeypatch.setattr(kind, "files", dict.fromkeys(kind.files, ROWS))
    monkeypatch.setattr(cifar, "TESTS", ROWS)
    without_data(tmp_path, monkeypatch)
    return tmp_path


def contents(kind):
    """Random rows for every file of a data set: the labels count upwards."""
    draw = np.random.default_rng(1)
    for name, rows in kind.files.items():
        table = draw.integers(0, 256, (rows, len(kind.labels) + 3072), np.uint8)
        for column, classes in enumerate(kind.labels):
            table[:, column] = np.arange(rows) % classes
        yield name, table


def packed(kind, only=None) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, table in list(contents(kind))[:only]:
            entry = tarfile.TarInfo(f"{kind.inside}/{name}")
            entry.size = table.size
            archive.addfile(entry, io.BytesIO(table.tobytes()))
    return whole.getvalue()


def serve(handler, monkeypatch):
    server, address = web.serve(handler)
    monkeypatch.setattr(cifar, "HOME", address)
    return server


def offer(content: bytes, kind, monkeypatch):
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    monkeypatch.setattr(kind, "packed", (kind.packed[0], checksum))


def refusal(kind=Cifar10):
    with pytest.raises(DataFileError) as caught:
        kind().data()
    assert "\n" not in str(caught.value)
    return caught.value


def test_cifar_10_is_cifar_10(data_dir, monkeypatch):
    if not (data_dir / "cifar10").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{data_dir} has no folder cifar10")
        pytest.skip(f"{data_dir} has no folder cifar10")
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(data_dir))
    world = Cifar10(per_context=1000, batch=10, test_images=1000)
    data = world.data()
    assert data.x.shape == (50_000, 3, 32, 32) and data.x.dtype == np.uint8 and len(data.tests.y) == 1000
    assert np.bincount(data.y).tolist() == [5000] * 10
    assert data.y[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, car
    means = data.x.mean((0, 2, 3)) / 255
    assert np.allclose(means, [0.4914, 0.4822, 0.4465], atol=1e-4)  # of the training images
    world.setup(Spec(seeds=(0, 1)))
    batch = world.next(Clock(2, 100))
    assert batch.x.shape == (2, 10, 3, 32, 32) and batch.x.dtype == torch.float32
    first = data.x[int(batch.item[0, 0])]
    assert torch.equal(batch.x[0, 0], torch.from_numpy(first) * (1 / 255))
    assert sum(len(world.evaluation(k).y[0]) for k in range(5)) == 1000
    few = Cifar10(train_images=300, test_images=100).data()
    assert np.array_equal(few.x, data.x[:300]) and np.array_equal(few.tests.y, data.tests.y[:100])


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_files_and_archives_of_the_users_folder_are_read(kind, empty, monkeypatch):
    """As loose files, in the archive's own folder, and packed: the same data."""
    mine = empty / "mine"
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(mine))
    found = []
    for form in ("loose", "inside", "packed"):
        folder = mine / kind.folder
        if found:
            mine.rename(empty / f"old{len(found)}")
        folder.mkdir(parents=True)
        if form == "packed":
            (folder / kind.packed[0]).write_bytes(packed(kind))
        for name, table in contents(kind) if form != "packed" else ():
            place = folder / kind.inside if form == "inside" else folder
            place.mkdir(exist_ok=True)
            (place / name).write_bytes(table.tobytes())
        found.append(kind().data())
    assert all(np.array_equal(one.x, found[0].x) and np.array_equal(one.y, found[0].y) for one in found)
    tables = [table for _, table in contents(kind)]
    assert np.array_equal(found[0].x.reshape(-1, 3072), np.concatenate(tables[:-1])[:, len(kind.labels) :])
    assert found[0].tests.y.tolist() == list(range(ROWS))[: kind.labels[-1]] + [i - 10 for i in range(10, ROWS)] * (
        kind is Cifar10
    )


def test_a_faulty_file_is_refused_by_path(empty, monkeypatch):
    folder = empty / "mine" / "cifar10"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(empty / "mine"))
    for name, table in contents(Cifar10):
        (folder / name).write_bytes(table.tobytes())
    bad = folder / "data_batch_3.bin"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1])
    assert refusal().key == str(bad) and "bytes" in refusal().reason
    bad.write_bytes(bytes([10]) + whole[1:])
    assert refusal().key == str(bad) and refusal().reason == "holds the label 10"


@pytest.mark.parametrize("content", [b"<html>", packed(Cifar10, 0), b"\x1f\x8b\x08\x00"])
def test_a_faulty_archive_is_refused_by_path(empty, monkeypatch, content):
    folder = empty / "mine" / "cifar10"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(empty / "mine"))
    (folder / Cifar10.packed[0]).write_bytes(content)
    assert refusal().key == str(folder / Cifar10.packed[0])


def test_an_interrupted_download_continues(empty, monkeypatch):
    """The first answer stops half-way; the second request asks for the rest only, and the data are whole."""
    content, asked = packed(Cifar10), []
    offer(content, Cifar10, monkeypatch)
    half = len(content) // 2

    class Halting(Quiet):
        def do_GET(self):
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            asked.append(start)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:] if len(asked) > 1 else content[:half])

    server = serve(Halting, monkeypatch)
    assert "cannot be downloaded" in refusal().reason
    part = empty / "cache" / "cls_sim" / "cifar10" / f"{Cifar10.packed[0]}.part"
    kept = part.stat().st_size
    assert 0 < kept <= half  # whole blocks
    data = Cifar10().data()
    assert asked == [0, kept] and len(data.x) == 5 * ROWS and not part.exists()
    server.shutdown()
    server.server_close()
    assert np.array_equal(Cifar10().data().x, data.x)  # from the cache


def test_a_part_of_another_file_is_not_kept(empty, monkeypatch):
    """A wrong beginning is noticed by the checksum, and the next attempt starts anew."""
    content = packed(Cifar100)
    offer(content, Cifar100, monkeypatch)
    (empty / "site").mkdir()
    (empty / "site" / Cifar100.packed[0]).write_bytes(content)

    class Ranged(Quiet):
        def do_GET(self):
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.end_headers()
            self.wfile.write(content[start:])

    server = serve(functools.partial(Ranged, directory=str(empty / "site")), monkeypatch)
    folder = empty / "cache" / "cls_sim" / "cifar100"
    folder.mkdir(parents=True)
    (folder / f"{Cifar100.packed[0]}.part").write_bytes(b"x" * 100)
    assert "another file" in refusal(Cifar100).reason
    assert len(Cifar100().data().x) == ROWS
    server.shutdown()
    server.server_close()


def test_offline_the_refusal_says_what_to_put_where(empty, monkeypatch):
    monkeypatch.setattr(cifar, "HOME", "http://127.0.0.1:9/")
    refused = refusal()
    assert refused.key.endswith("cifar10/cifar-10-binary.tar.gz") and "CLS_SIM_DATA_DIR" in refused.remedy
    assert refused.exit_code == 2
