"""MNIST: the facts of the data, and every fault of its files and of the way to them."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import time
from functools import partial

import numpy as np
import pytest
import torch

from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec
from cls_sim.world import digits, files
from cls_sim.world.digits import FILES, Mnist
from cls_sim.world.files import CAP, DataFileError, gunzip, read_idx
from tests import web
from tests.web import Quiet, without_data


@pytest.fixture
def full(data_dir, monkeypatch):
    """The real files; without them the test is skipped."""
    if not (data_dir / "mnist").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{data_dir} has no folder mnist")
        pytest.skip(f"{data_dir} has no folder mnist")
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(data_dir))
    return data_dir / "mnist"


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A tiny MNIST of 40 and 20 images on a web server of our own, an empty cache, and no folder of data."""
    draw = np.random.default_rng(0)
    table, site = {}, tmp_path / "site"
    site.mkdir()
    for name in FILES:
        count = 40 if name.startswith("train") else 20
        labels = (np.arange(count) % 10).astype(np.uint8)
        content = idx(draw.integers(0, 256, (count, 28, 28), np.uint8) if "images" in name else labels)
        packed = gzip.compress(content, mtime=0)
        (site / f"{name}.gz").write_bytes(packed)
        dims = (count, 28, 28) if "images" in name else (count,)
        table[name] = (dims, hashlib.md5(content).hexdigest(), hashlib.md5(packed).hexdigest())
    monkeypatch.setattr(digits, "FILES", table)
    without_data(tmp_path, monkeypatch)
    return site


def serve(handler, monkeypatch):
    server, address = web.serve(handler)
    monkeypatch.setattr(digits, "MIRROR", address)
    return server


def refusal():
    with pytest.raises(DataFileError) as caught:
        Mnist().data()
    assert "\n" not in str(caught.value)
    return caught.value


def cached(tmp_path):
    return sorted(path.name for path in tmp_path.glob("cache/**/*") if path.is_file())


# -- facts -------------------------------------------------------------------------------------------------


def test_mnist_is_mnist(full):
    world = Mnist(per_context=5, batch=128, order="recurring", cycles=1)
    data = world.data()
    assert data.x.shape == (60000, 784) and data.x.dtype == np.uint8 and data.tests.x.shape == (10000, 784)
    assert np.bincount(data.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.tests.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.x.mean() / 255 == pytest.approx(0.1307, abs=1e-4)

    spec = world.setup(Spec(seeds=(0, 1)))
    assert spec.inputs == (784,) and spec.outputs == 10 and spec.quantum == 1 / 255
    exams = [world.evaluation(k) for k in range(5)]
    assert sum(exam.rows for exam in exams) == 10000 and exams[0].rows == 980 + 1135
    assert all((exam.item == -1).all() and exam.x.stride(0) == 0 for exam in exams)
    batch = world.next(Clock(2, 1))
    assert batch.x.shape == (2, 128, 784) and batch.x.min() >= 0 and batch.x.max() <= 1
    raw = torch.from_numpy(data.x)[batch.item[1]]
    assert torch.equal((batch.x[1] / spec.quantum).round().to(torch.uint8), raw)
    assert "raw/255" in world.describe()


def test_validation_is_cut_from_the_training_images(full):
    world = Mnist(validation=0.1, eval_split="validation", per_context=1)
    world.setup(Spec(seeds=(0,)))
    asked = {int(i) for k in range(5) for i in world.evaluation(k).item[0]}
    learnt = {int(i) for k in range(5) for i in world.train(k).item[0]}
    assert len(asked) == pytest.approx(6000, abs=10) and len(learnt) == 60000 - len(asked) and not asked & learnt


def test_a_real_file_cut_anywhere_is_refused(full):
    whole = (full / "t10k-labels-idx1-ubyte.gz").read_bytes()
    for end in range(0, len(whole), 45):
        with pytest.raises(DataFileError) as caught:
            gunzip(full / "cut.gz", whole[:end], "put the original file there")
        assert caught.value.key == str(full / "cut.gz")


# -- faults of files ---------------------------------------------------------------------------------------

LABELS = idx(np.arange(10, dtype=np.uint8))


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not 00000801"),
        (b"<html>not here</html>", "not 00000801"),
        (b"\x00\x00\x08\x03" + LABELS[4:], "not 00000801"),
        (b"\x00\x00\x0d\x01" + LABELS[4:], "not 00000801"),
        (LABELS[:-1], "announces 10 bytes and holds 9"),
        (LABELS + b"\x00", "announces 10 bytes and holds 11"),
        (LABELS[:4] + struct.pack(">I", 2**31) + LABELS[8:], "announces 2147483648"),
        (LABELS[:6], "and 1 sizes"),
        (idx(np.arange(9, dtype=np.uint8)), "has dimensions 9, not 10"),
        (LABELS[:-1] + b"\x05", "of md5"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_with_a_fault_is_refused_by_path(tmp_path, content, words, packed):
    path = tmp_path / ("labels.gz" if packed else "labels")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataFileError) as caught:
        read_idx(path, (10,), md5(LABELS), "", "put the original file there")
    assert caught.value.key == str(path) and words in caught.value.reason and "\n" not in str(caught.value)


def test_a_public_file_and_another_packing_of_it_hold_the_same(tmp_path):
    path = tmp_path / "labels.gz"
    for level in (1, 9):
        path.write_bytes(gzip.compress(LABELS, level))
        for packed in ("", md5(path.read_bytes())):
            assert read_idx(path, (10,), md5(LABELS), packed, "").tolist() == list(LABELS[8:])
    path.write_bytes(gzip.compress(LABELS[:-1] + b"\x05"))
    with pytest.raises(DataFileError, match="of md5"):
        read_idx(path, (10,), md5(LABELS), md5(gzip.compress(LABELS)), "")


def test_a_packed_file_with_a_fault_is_refused_by_path(tmp_path):
    packed = bytearray(gzip.compress(LABELS))
    packed[-6] ^= 1  # the check sum
    for content, words in (
        (bytes(packed), "not a valid gzip"),
        (b"<!doctype html>", "a web page"),
        (gzip.compress(LABELS)[:-9], "cut short"),
        (gzip.compress(bytes(CAP + 1), 1), "more than"),
    ):
        (tmp_path / "labels.gz").write_bytes(content)
        with pytest.raises(DataFileError) as caught:
            read_idx(tmp_path / "labels.gz", (10,), md5(LABELS), "", "put the original file there")
        assert words in caught.value.reason
    with pytest.raises(DataFileError) as caught:
        read_idx(tmp_path, (10,), md5(LABELS), "", "put the original file there")
    assert "cannot be read" in caught.value.reason


def test_labels_above_nine_are_refused(small, monkeypatch, tmp_path):
    content = idx(np.full(40, 255, np.uint8))
    name = "train-labels-idx1-ubyte"
    monkeypatch.setitem(digits.FILES, name, ((40,), md5(content), ""))
    folder = tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    (folder / "train-images-idx3-ubyte.gz").write_bytes((small / "train-images-idx3-ubyte.gz").read_bytes())
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(tmp_path / "mine"))
    assert "label 255" in refusal().reason


# -- the way to the files ----------------------------------------------------------------------------------


def test_files_are_downloaded_once_and_then_read_from_the_cache(small, monkeypatch, tmp_path):
    server = serve(partial(Quiet, directory=str(small)), monkeypatch)
    first = Mnist().data()
    server.shutdown()
    server.server_close()
    again = Mnist().data()
    assert np.array_equal(first.x, again.x) and len(first.y) == 40 and len(first.tests.y) == 20
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in FILES)


def test_the_users_folder_comes_first_packed_or_not(small, monkeypatch, tmp_path):
    serve(partial(Quiet, directory=str(small)), monkeypatch)
    folder = tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    for name in list(FILES)[:3]:
        (folder / name).write_bytes(gzip.decompress((small / f"{name}.gz").read_bytes()))
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(tmp_path / "mine"))
    assert len(Mnist().data().x) == 40
    assert cached(tmp_path) == ["t10k-labels-idx1-ubyte.gz"]  # the one that was missing
    name = next(iter(FILES))
    (folder / name).write_bytes(b"")
    assert refusal().key == str(folder / name)  # a bad file is not passed over in silence


def test_offline_the_refusal_says_what_to_put_where(small, monkeypatch, tmp_path):
    monkeypatch.setattr(digits, "MIRROR", "http://127.0.0.1:9/")
    refused = refusal()
    assert refused.key == str(tmp_path / "cache" / "cls_sim" / "mnist" / "train-images-idx3-ubyte.gz")
    assert "CLS_SIM_DATA_DIR" in refused.remedy and "train-images-idx3-ubyte.gz" in refused.remedy
    assert refused.exit_code == 2 and cached(tmp_path) == []


class WebPage(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>please log in</html>")


class Short(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b\x08\x00")


class Absent(Quiet):
    def do_GET(self):
        self.send_error(404)


class Stalled(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b")
        self.wfile.flush()
        time.sleep(3)


@pytest.mark.parametrize("handler", [WebPage, Short, Absent, Stalled])
def test_a_bad_server_leaves_nothing_behind(small, monkeypatch, tmp_path, handler):
    server = serve(handler, monkeypatch)
    refused = refusal()
    assert "cannot be downloaded" in refused.reason and "CLS_SIM_DATA_DIR" in refused.remedy
    assert cached(tmp_path) == []
    server.shutdown()
    server.server_close()


def test_without_a_network_one_attempt_is_enough(monkeypatch):
    """A name with eight addresses of which none answers took eight time-outs, 38 seconds in all."""
    monkeypatch.setattr(files, "REACH", 0.2)

    def silent(*_, **__):
        time.sleep(8)
        raise TimeoutError

    monkeypatch.setattr(files.socket, "create_connection", silent)
    start = time.monotonic()
    with pytest.raises(ConnectionError):
        files._reach("https://nowhere.invalid/mnist/")
    assert time.monotonic() - start < 2


def test_waiting_for_a_server_is_bounded():
    assert files.TIMEOUT[0] <= 5
    assert sum(files.TIMEOUT) <= 30
