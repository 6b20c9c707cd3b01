"""Reading data files with suspicion: every fault is one line that names the file."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import socket
import threading
import warnings
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cls_sim.core.errors import Refused

CAP = 2**27  # bytes that a compressed file may hold
REACH = 4.0  # seconds in which a server must be reached, at whichever of its addresses
TIMEOUT = (REACH, 20)  # seconds to connect, and to wait for the next bytes


class FileRefused(Refused):
    """A file is refused; its key is its path, whoever asked for it."""

    def under(self, prefix: str) -> FileRefused:
        return self


def read_bytes(path: Path, remedy: str, sha256: str | None = None) -> bytes:
    """The content of a file, unpacked if its name ends in .gz; refused if it has not this checksum, where given."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileRefused(str(path), f"cannot be read ({error.strerror})", remedy) from None
    found = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and found != sha256:
        raise FileRefused(str(path), f"has sha256 {found}, expected {sha256}", remedy)
    return gunzip(path, raw, remedy) if path.suffix == ".gz" else raw


def fetched(folder: str, name: str, home: str, checksum: str) -> tuple[Path, str]:
    """Where a public file is, and what to do if it is not the right one.

    Looked for in this folder of $CLS_SIM_DATA_DIR, then in the user's cache (a .gz also unpacked), else downloaded
    there from `home`, whole and of this checksum (`sha256:…`), or not at all.
    """
    import pooch

    named = os.environ.get("CLS_SIM_DATA_DIR")
    cache = Path(pooch.os_cache("cls_sim")) / folder
    places = [Path(named).expanduser() / folder] if named else []
    remedy = "delete it to have it downloaded again, or put the original file there"
    for place in (*places, cache):
        for file in (place / name, place / name.removesuffix(".gz")):
            if file.is_file():
                return file, remedy
    pooch.get_logger().setLevel("WARNING")  # parts do not talk
    try:
        _reach(home)
        get: Any = pooch.HTTPDownloader(timeout=TIMEOUT)
        pooch.retrieve(home + name, known_hash=checksum, fname=name, path=cache, downloader=get)
    except (OSError, ValueError) as error:  # what requests raises is an OSError; a wrong checksum a ValueError
        reason = "the server sent something else" if type(error) is ValueError else type(error).__name__
        remedy = f"put {name} there, or into the folder {folder}/ of a folder named by CLS_SIM_DATA_DIR"
        reason = f"is not there and cannot be downloaded from {home} ({reason})"
        raise FileRefused(str(cache / name), reason, remedy) from None
    return cache / name, remedy


def _reach(url: str) -> None:
    """Raise ConnectionError if no connection to a server (or to the proxy before it) is made within REACH seconds.

    A name may stand for many addresses, each with a time-out of its own; without a network one attempt is enough.
    """
    import requests

    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    place = urlsplit(proxy if proxy and "//" in proxy else url)
    address = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    made = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(address, REACH).close()
            made.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(REACH)
    if not made.is_set():
        raise ConnectionError


def at_hand(what: str, folder: str, name: str, home: str) -> tuple[Path, str]:
    """Where a file that is never downloaded is in a folder of $CLS_SIM_DATA_DIR, and what to do if it is not."""
    named = os.environ.get("CLS_SIM_DATA_DIR")
    remedy = f"get {name} from {home} and put it into the folder {folder}/ of a folder named by CLS_SIM_DATA_DIR"
    if not named:
        raise Refused("world", f"{what} is not at hand", remedy)
    return Path(named).expanduser() / folder / name, remedy


def gunzip(path: Path, raw: bytes, remedy: str) -> bytes:
    """Unpack gzip, whole and with a right check sum, or refuse."""
    unpack = zlib.decompressobj(31)
    try:
        content = unpack.decompress(raw, CAP)
    except zlib.error:
        what = "is a web page" if raw.lstrip()[:1] == b"<" else "is no sound gzip file"
        raise FileRefused(str(path), what, remedy) from None
    if not unpack.eof:
        long = len(content) == CAP
        raise FileRefused(str(path), f"unpacks to more than {CAP} bytes" if long else "is cut short", remedy)
    return content


def read_idx(path: Path, dims: tuple[int, ...], md5: str, remedy: str) -> np.ndarray:
    """A uint8 array from an IDX file of these dimensions and this md5 (of the unpacked content).

    IDX: two zero bytes, the type (8: uint8), the number of dimensions, each as a big-endian uint32, the payload.
    """
    content = read_bytes(path, remedy)
    head = 4 + 4 * len(dims)
    if content[:4] != bytes((0, 0, 8, len(dims))) or len(content) < head:
        magic = f"000008{len(dims):02x} and {len(dims)} sizes"
        reason = f"is no such IDX file (it starts with {content[:4].hex() or 'nothing'}, not {magic})"
        raise FileRefused(str(path), reason, remedy)
    told = tuple(np.frombuffer(content[4:head], ">u4").tolist())
    if math.prod(told) != len(content) - head:
        reason = f"tells of {' x '.join(map(str, told))} bytes and holds {len(content) - head}"
        raise FileRefused(str(path), reason, remedy)
    if told != dims:
        reason = f"has dimensions {' x '.join(map(str, told))}, not {' x '.join(map(str, dims))}"
        raise FileRefused(str(path), reason, remedy)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise FileRefused(str(path), f"has content of md5 {found}, expected {md5}", remedy)
    return np.frombuffer(content, np.uint8, offset=head).reshape(dims).copy()


def read_array(key: str, path: str | PathLike[str]) -> np.ndarray:
    """An array from .npy, from .npz (its array called `key`, or its only one), or numbers from .csv."""
    path = Path(path).expanduser()
    remedy = "give a readable .npy, .npz or .csv file of numbers"
    readers: dict[str, Any] = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if path.suffix not in readers:
        raise FileRefused(str(path), "is none of .npy, .npz, .csv", remedy)
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise FileRefused(str(path), "is no plain file", remedy)
    try:
        return readers[path.suffix](key, path)
    except OSError as error:
        raise FileRefused(str(path), f"cannot be read ({error.strerror or error})", remedy) from None
    except (ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise FileRefused(str(path), str(error).strip("'\"").splitlines()[0] or type(error).__name__, remedy) from None


def _read_npy(key: str, path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(key: str, path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        if key not in arrays and len(arrays.files) != 1:
            raise KeyError(f"holds no array called {key}, but {', '.join(arrays.files) or 'nothing'}")
        return arrays[key if key in arrays else arrays.files[0]]


def _read_csv(key: str, path: Path) -> np.ndarray:
    """Columns of numbers under an optional line of names; whole numbers stay whole, one column is a list."""
    lines = path.read_text().splitlines()
    if lines and not _is_numbers(lines[0]):
        lines = lines[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty file: refused by whoever counts the rows
        table = np.loadtxt(lines, delimiter=",", ndmin=2)
    if not any(set(line) & set(".eEnNiI") for line in lines) and np.abs(table).max(initial=0) < 2**53:
        table = table.astype(np.int64)
    return table[:, 0] if table.shape[1] == 1 and key != "x" and key != "x_test" else table


def _is_numbers(line: str) -> bool:
    try:
        return bool([float(cell) for cell in line.split(",")])
    except ValueError:
        return False
