"""Handwritten digits: a small set without a download, and MNIST."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from cls_sim.world.files import DataFileError, fetched, read_bytes, read_idx
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data


class Digits(Stream):
    """1,797 images of handwritten digits, 8 x 8 pixels of 0 to 16, ten classes; no download.

    Inputs are raw/16 in [0, 1], 64 in a row.  Settings as in Stream; `test` is .15 unless given.

    Source: Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; CC BY 4.0 (see digits.md).

    >>> from cls_sim.core.part import Spec
    >>> Digits(contexts=2).setup(Spec(seeds=(0, 1))).outputs
    10
    """

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        table = _table()
        return Data(x=np.ascontiguousarray(table[:, :-1]), y=table[:, -1].astype(np.int64), quantum=1 / 16)


@cache
def _table() -> np.ndarray:
    """Pixels and label of each image, uint8 [1797, 65]: read once, since every arm asks for them."""
    content = read_bytes(Path(__file__).with_name("digits.csv.gz"), "install the package again")
    return np.loadtxt(content.decode().splitlines(), delimiter=",", dtype=np.uint8)


MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {  # name → (dimensions, md5 of the content, md5 of the public .gz)
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        "6bbc9ace898e44ae57da46a324031adb",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
    "train-labels-idx1-ubyte": ((60000,), "a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": ((10000, 28, 28), "2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": ((10000,), "27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
}


class Mnist(Stream):
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels of 0 to 255, ten classes.

    Inputs are raw/255 in [0, 1], a vector of 784.  Settings as in Stream, without `test`: MNIST has a test set.  The
    files (.gz or unpacked) are read from the folder mnist/ of $CLS_SIM_DATA_DIR, else from the user's cache, else
    downloaded to the cache; their checksums are checked.

    Source: LeCun, Cortes & Burges, The MNIST database of handwritten digits; CC BY-SA 3.0.

    >>> Mnist(per_context=2000, batch=128).batch
    128
    """

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        images, labels, test_images, test_labels = (_read(name) for name in FILES)
        tests = _data(test_images, test_labels, None)
        return _data(images, labels, tests)


def _data(images: np.ndarray, labels: np.ndarray, tests: Data | None) -> Data:
    return Data(x=images.reshape(len(images), -1), y=labels.astype(np.int64), tests=tests, quantum=1 / 255)


def _read(name: str) -> np.ndarray:
    dims, content, packed = FILES[name]
    path, remedy = fetched("mnist", f"{name}.gz", MIRROR, f"md5:{packed}")
    array = read_idx(path, dims, content, packed, remedy)
    if len(dims) == 1 and array.max() > 9:
        raise DataFileError(str(path), f"holds the label {array.max()}", "put the original file there")
    return array
