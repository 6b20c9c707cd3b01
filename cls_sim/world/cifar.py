"""CIFAR-10 and CIFAR-100, read from their binary files, which are downloaded if they are not on this machine."""

from __future__ import annotations

import os
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from cls_sim.core.settings import setting
from cls_sim.world.files import DataFileError, fetched, places, reading
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data

HOME = "https://www.cs.toronto.edu/~kriz/"
PIXELS, TESTS = 3 * 32 * 32, 10_000


class Cifar10(Stream):
    """CIFAR-10: 50,000 training and 10,000 test photographs, 3 x 32 x 32 bytes, ten classes.

    train_images  number of training images, the first in the files; None: all 50,000
    test_images   number of test images that evaluations ask, the first in the file; None: all 10,000

    Inputs are raw/255 in [0, 1], [3, 32, 32] (red, green, blue), kept as bytes.  Other settings as in Stream, without
    `test`: CIFAR-10 has a test set.  The files data_batch_1.bin … test_batch.bin, or the official archive
    cifar-10-binary.tar.gz, are read from the folder cifar10/ of $CLS_SIM_DATA_DIR, else from the user's cache, else the
    archive is downloaded to the cache (162 MB) and its checksum checked; an interrupted download continues.

    Raises ConfigError with the path of a file that is missing, too short, or holds other labels.

    Source: Krizhevsky (2009), Learning multiple layers of features from tiny images.

    >>> Cifar10(per_context=1000, batch=10).contexts
    5
    """

    folder: ClassVar[str] = "cifar10"
    packed: ClassVar[tuple[str, str]] = ("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530")
    inside: ClassVar[str] = "cifar-10-batches-bin"
    files: ClassVar[dict[str, int]] = {f"data_batch_{i}.bin": 10_000 for i in range(1, 6)} | {"test_batch.bin": TESTS}
    labels: ClassVar[tuple[int, ...]] = (10,)  # number of classes of each label byte; the last one is the class

    train_images: int | None = setting(None, 1, 50_000)
    test_images: int | None = setting(None, 1, TESTS)

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        place, n = self._place(), TESTS if self.test_images is None else self.test_images
        *learnt, asked = self.files
        x = np.empty((sum(self.files[name] for name in learnt), PIXELS), np.uint8)
        y, at = np.empty(len(x), np.int64), 0
        for name in learnt:  # piece by piece: a second copy of the data would double the memory
            rows = slice(at, at := at + self.files[name])
            x[rows], y[rows] = self._read(place / name)
        questions, classes = self._read(place / asked)
        few = self.train_images
        if few is not None:
            x, y = x[:few].copy(), y[:few].copy()
        return _data(x, y, _data(questions[:n], classes[:n], None))

    def _place(self) -> Path:
        """The folder that holds all files, unpacked from the archive if need be."""
        looked = places(self.folder)
        for place in looked:
            for folder in (place, place / self.inside):
                if all((folder / name).is_file() for name in self.files):
                    return folder
        path, remedy = fetched(self.folder, self.packed[0], HOME, self.packed[1], resumable=True)
        sizes = {name: rows * (len(self.labels) + PIXELS) for name, rows in self.files.items()}
        _unpack(path, looked[-1], self.inside, sizes, remedy)
        return looked[-1]

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Pixels uint8 [rows, 3072] and classes int64 [rows] of one file."""
        rows, width = self.files[path.name], len(self.labels) + PIXELS
        remedy = f"put the original {path.name} there, or delete it"
        with reading(path, remedy):
            if (size := path.stat().st_size) != rows * width:
                raise DataFileError(str(path), f"has {size} bytes, not {rows * width}", remedy)
            table = np.fromfile(path, np.uint8).reshape(rows, width)
        for column, classes in enumerate(self.labels):
            if (label := table[:, column].max()) >= classes:
                raise DataFileError(str(path), f"holds the label {label}", remedy)
        return table[:, len(self.labels) :], table[:, len(self.labels) - 1].astype(np.int64)


class Cifar100(Cifar10):
    """CIFAR-100: 50,000 training and 10,000 test photographs, 3 x 32 x 32 bytes, a hundred classes.

    train_images  number of training images, the first in the files; None: all 50,000
    test_images   number of test images that evaluations ask, the first in the file; None: all 10,000

    As Cifar10, with 20 contexts of five classes unless `contexts` is given.  The class is the fine label.  The files
    are train.bin and test.bin, or the official archive cifar-100-binary.tar.gz (161 MB), in the folder cifar100/.

    Source: Krizhevsky (2009), Learning multiple layers of features from tiny images.

    >>> Cifar100(batch=10).contexts
    20
    """

    folder: ClassVar[str] = "cifar100"
    packed: ClassVar[tuple[str, str]] = ("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8")
    inside: ClassVar[str] = "cifar-100-binary"
    files: ClassVar[dict[str, int]] = {"train.bin": 50_000, "test.bin": TESTS}
    labels: ClassVar[tuple[int, ...]] = (20, 100)

    contexts: int = setting(20)


def _data(pixels: np.ndarray, classes: np.ndarray, tests: Data | None) -> Data:
    return Data(x=np.ascontiguousarray(pixels).reshape(-1, 3, 32, 32), y=classes, tests=tests, quantum=1 / 255)


def _unpack(path: Path, cache: Path, inside: str, sizes: dict[str, int], remedy: str) -> None:
    """Copy the files of these sizes from an archive to the cache; each appears there when it is complete."""
    left = set(sizes)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                name = member.name.removeprefix(f"{inside}/")
                if name not in left or not member.isfile() or member.size != sizes[name]:
                    continue
                content = packed.extractfile(member)
                assert content is not None
                with tempfile.NamedTemporaryFile(dir=cache, prefix=f".{name}", delete=False) as part:
                    part.write(content.read())
                os.replace(part.name, cache / name)
                left.discard(name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataFileError(str(path), f"is not a valid archive ({error})", remedy) from None
    except OSError as error:
        raise DataFileError(str(path), f"cannot be unpacked to {cache} ({error.strerror or error})", remedy) from None
    if left:
        raise DataFileError(str(path), f"does not hold {inside}/{min(left)} of {sizes[min(left)]} bytes", remedy)
