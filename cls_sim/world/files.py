"""Strict reading of data files: every error is one line that names the file."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
import os
import re
import socket
import threading
import zipfile
import zlib
from collections.abc import Generator
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cls_sim.core.errors import ConfigError, refuse_if

CAP = 2**27  # largest size of an unpacked file, in bytes
REACH = 4.0  # seconds in which a server must be reached, over all its addresses
TIMEOUT = (REACH, 20)  # seconds to connect, and to wait for the next bytes


class DataFileError(ConfigError):
    """An error in a file; its key is the path of the file."""

    def under(self, prefix: str) -> DataFileError:
        return self


@contextlib.contextmanager
def reading(path: Path, remedy: str, *damage: type[Exception]) -> Generator[None]:
    """Report an OSError, or one of these errors of a damaged file, as a DataFileError."""
    try:
        yield
    except DataFileError:
        raise
    except OSError as error:
        raise DataFileError(str(path), f"cannot be read ({error.strerror or error})", remedy) from None
    except damage as error:
        reason = str(error).strip("'\"").partition("\n")[0]
        raise DataFileError(str(path), reason or type(error).__name__, remedy) from None


def read_bytes(path: Path, remedy: str, sha256: str | None = None) -> bytes:
    """The content of a file, unpacked if its name ends in .gz.  Raises DataFileError if its checksum is another."""
    with reading(path, remedy):
        raw = path.read_bytes()
    if sha256 is not None and (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise DataFileError(str(path), f"has sha256 {found}, expected {sha256}", remedy)
    return gunzip(path, raw, remedy) if path.suffix == ".gz" else raw


def places(folder: str) -> list[Path]:
    """Where files of a data set are looked for: its folder in $CLS_SIM_DATA_DIR, then in the user's cache."""
    import pooch

    named = os.environ.get("CLS_SIM_DATA_DIR", "")
    return ([Path(named).expanduser() / folder] if named else []) + [Path(pooch.os_cache("cls_sim")) / folder]


def fetched(
    folder: str, name: str, home: str, checksum: str, resumable: bool = False, there: str = ""
) -> tuple[Path, str]:
    """The path of a public file, and the remedy if its content is wrong.

    The file is looked for in this folder of $CLS_SIM_DATA_DIR and in the user's cache (a .gz also unpacked), else
    downloaded from `home` to the cache.  An incomplete file, or one with another checksum (`sha256:…`), is not kept;
    what has arrived of a `resumable` one is kept as NAME.part, and the next download continues there.

    there  its name at home, if that is another
    """
    import pooch

    cache = places(folder)[-1]
    remedy = "delete it to have it downloaded again, or put the original file there"
    for place in places(folder):
        for file in (place / name, place / name.removesuffix(".gz")):
            if file.is_file():
                return file, remedy
    pooch.get_logger().setLevel("WARNING")  # no progress messages
    try:
        _reach(home)
        get: Any = _Resumed(cache / f"{name}.part") if resumable else pooch.HTTPDownloader(timeout=TIMEOUT)
        pooch.retrieve(home + (there or name), known_hash=checksum, fname=name, path=cache, downloader=get)
    except (OSError, ValueError) as error:  # requests raises OSError; a wrong checksum raises ValueError
        reason = "the server sent another file" if type(error) is ValueError else type(error).__name__
        remedy = f"put {name} there, or into the folder {folder}/ of a folder named by CLS_SIM_DATA_DIR"
        reason = f"is not there and cannot be downloaded from {home} ({reason})"
        raise DataFileError(str(cache / name), reason, remedy) from None
    return cache / name, remedy


class _Resumed:
    """A downloader for pooch that continues where an earlier one stopped.

    If two programs download at once, the second one does not touch the first one's part.
    """

    def __init__(self, part: Path):
        self.part = part

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        import fcntl

        import requests

        with self.part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with Path(output_file).open("wb") as alone, requests.get(url, stream=True, timeout=TIMEOUT) as answer:
                    answer.raise_for_status()
                    alone.writelines(answer.iter_content(2**16))
                return
            have = file.tell()
            head = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            with requests.get(url, stream=True, timeout=TIMEOUT, headers=head) as answer:
                if answer.status_code != 206:  # the server sends the whole file, or (416) has a shorter one
                    file.truncate(0)
                answer.raise_for_status()
                file.writelines(answer.iter_content(2**16))
            os.replace(self.part, output_file)


def _reach(url: str) -> None:
    """Raise ConnectionError if the server (or the proxy before it) does not accept a connection within REACH seconds.

    A host name can have many addresses, each with a separate time-out; this check needs one attempt without a network.
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
    """The path of a file in a folder of $CLS_SIM_DATA_DIR, and the remedy if it is missing; it is never downloaded."""
    named = os.environ.get("CLS_SIM_DATA_DIR", "")
    remedy = f"get {name} from {home} and put it into the folder {folder}/ of a folder named by CLS_SIM_DATA_DIR"
    refuse_if(not named, "world", f"{what} is not on this machine", remedy)
    return Path(named).expanduser() / folder / name, remedy


def gunzip(path: Path, raw: bytes, remedy: str) -> bytes:
    """Unpack gzip.  Raises DataFileError if it is incomplete or its checksum is wrong."""
    unpack = zlib.decompressobj(31)
    try:
        content = unpack.decompress(raw, CAP)
    except zlib.error:
        what = "is a web page" if raw.lstrip()[:1] == b"<" else "is not a valid gzip file"
        raise DataFileError(str(path), what, remedy) from None
    if not unpack.eof:
        long = len(content) == CAP
        raise DataFileError(str(path), f"unpacks to more than {CAP} bytes" if long else "is cut short", remedy)
    return content


def read_idx(path: Path, dims: tuple[int, ...], md5: str, packed: str, remedy: str) -> np.ndarray:
    """A uint8 array from an IDX file with these dimensions.

    IDX: two zero bytes, the type (8: uint8), the number of dimensions, each as a big-endian uint32, the payload.

    md5     the checksum of the unpacked content
    packed  that of the public .gz, which is checked in a fifth of the time; another .gz may hold the same content
    """
    with reading(path, remedy):
        raw = path.read_bytes()
    is_packed = path.suffix == ".gz"
    content = gunzip(path, raw, remedy) if is_packed else raw
    head = 4 + 4 * len(dims)
    if content[:4] != bytes((0, 0, 8, len(dims))) or len(content) < head:
        magic = f"000008{len(dims):02x} and {len(dims)} sizes"
        reason = f"is not this kind of IDX file (it starts with {content[:4].hex() or 'nothing'}, not {magic})"
        raise DataFileError(str(path), reason, remedy)
    told = tuple(np.frombuffer(content[4:head], ">u4").tolist())
    if math.prod(told) != len(content) - head:
        reason = f"announces {' x '.join(map(str, told))} bytes and holds {len(content) - head}"
        raise DataFileError(str(path), reason, remedy)
    if told != dims:
        reason = f"has dimensions {' x '.join(map(str, told))}, not {' x '.join(map(str, dims))}"
        raise DataFileError(str(path), reason, remedy)
    if not (is_packed and _md5(raw) == packed) and (found := _md5(content)) != md5:
        raise DataFileError(str(path), f"has content of md5 {found}, expected {md5}", remedy)
    return np.frombuffer(content, np.uint8, offset=head).reshape(dims).copy()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def npz_names(path: str | PathLike[str]) -> tuple[str, ...]:
    """The names of the arrays in a .npz file; none for another file, or one that `read_array` will refuse."""
    path = Path(path).expanduser()
    if path.suffix != ".npz" or not path.is_file():
        return ()
    try:
        with zipfile.ZipFile(path) as packed:
            return tuple(name.removesuffix(".npy") for name in packed.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return ()


def read_array(key: str, path: str | PathLike[str]) -> np.ndarray:
    """An array from a file: .npy, .npz (the array called `key`, or the only one), or .csv with numbers."""
    path = Path(path).expanduser()
    remedy = "give a readable .npy, .npz or .csv file of numbers"
    readers: dict[str, Any] = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    if path.suffix not in readers:
        raise DataFileError(str(path), "is none of .npy, .npz, .csv", remedy)
    if path.exists() and not path.is_file():  # reading a pipe would block
        raise DataFileError(str(path), "is not a plain file", remedy)
    damage = ValueError, EOFError, KeyError, MemoryError, csv.Error, zipfile.BadZipFile, zlib.error
    with reading(path, remedy, *damage):
        return readers[path.suffix](key, path)


def _read_npy(key: str, path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(key: str, path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        if key not in arrays and len(arrays.files) != 1:
            raise KeyError(f"holds no array called {key}, but {', '.join(arrays.files) or 'nothing'}")
        return arrays[key if key in arrays else arrays.files[0]]


NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
NUMBERS = re.compile(f"{NUMBER}(?:,{NUMBER})*")
WHOLES = re.compile("[+-]?[0-9]+(?:,[+-]?[0-9]+)*")
NO_NUMBER = {"na", "n/a", "#n/a", "null", "none", "nan", "inf", "infinity"}
UNINDEXED = "write the table with to_csv(index=False) and a name for every column"


def _read_csv(key: str, path: Path) -> np.ndarray:
    """The numbers of a CSV file, int64 if all are whole, else float64: [rows, columns]; one column, unless x, [rows].

    The file is UTF-8 with or without a byte-order mark, with comma separators and decimal points.  The first line is a
    header if none of its cells is a number.  Every other line holds one plain number for each column.
    """
    try:
        lines = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise DataFileError(str(path), f"is not UTF-8 text (at byte {error.start})", "save it in UTF-8") from None
    head = csv.reader(lines, strict=True)
    first = next(head, None)
    if first is None:
        return np.zeros(0)
    named = not any(map(_is_like_a_number, first))
    if named:
        _check_names(path, first)
    else:
        lines.seek(0)
    before, rows, gap = head.line_num * named, [], None
    body = csv.reader(lines, quoting=csv.QUOTE_NONE)
    for cells in body:
        line = before + body.line_num
        gap = gap or (None if cells else line)
        if gap is not None and cells:
            raise DataFileError(str(path), f"line {gap} is empty", "give every line a number for each column")
        if cells:
            rows.append(_row(path, line, cells, len(first)))
    table = np.array(rows) if rows else np.zeros((0, len(first)))
    if not named:
        _check_numbered(path, [cell.strip() for cell in first], rows)
    if table.shape[1] > 1 and len(table) > 2 and any((table[:, 0] - i == np.arange(len(table))).all() for i in (0, 1)):
        reason = f"has the row numbers {table[0, 0]:g}, {table[1, 0]:g}, … as its first column"
        raise DataFileError(str(path), reason, f"{UNINDEXED}; if they are a feature, put them in another column")
    return table[:, 0] if table.shape[1] == 1 and key not in ("x", "x_test") else table


def _row(path: Path, line: int, cells: list[str], columns: int) -> np.ndarray:
    """The numbers of one line: int64 if all are whole, else float64."""
    cells = [cell.strip(" \t") for cell in cells]
    joined = ",".join(cells)
    if not NUMBERS.fullmatch(joined):
        at, cell = next((i, cell) for i, cell in enumerate(cells, 1) if not re.fullmatch(NUMBER, cell))
        remedy = "write plain numbers such as -1.5 or 2e-3, unquoted, and in every cell; a header has no numbers"
        remedy = UNINDEXED if line == 1 and not cell else remedy
        what = f"is {cell!r}, no number" if cell else "is empty"
        raise DataFileError(str(path), f"line {line}, column {at} {what}", remedy)
    if len(cells) != columns:
        reason = f"line {line} has {len(cells)} cells, the first line has {columns}"
        raise DataFileError(str(path), reason, "give every line a number for each column; write 1000, not 1,000")
    if not WHOLES.fullmatch(joined):
        return np.array([float(cell) for cell in cells])
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except OverflowError:
        raise DataFileError(str(path), f"line {line} has a number beyond 64 bit", "write it with a point") from None


def _is_like_a_number(cell: str) -> bool:
    """Whether a cell is meant as a number, well-formed or not, or as a missing one; its line is then not a header."""
    cell = cell.strip().strip("'\"").lower().replace("\N{MINUS SIGN}", "-").lstrip("+-")
    digits, _, exponent = cell.partition("e")
    written = any(map(str.isdigit, digits)) and not any(map(str.isalpha, digits)) and exponent.lstrip("+-").isdigit()
    return bool(cell) and (not any(map(str.isalpha, cell)) or cell in NO_NUMBER or cell.startswith("0x") or written)


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse a header with an empty or repeated column name."""
    for i, name in enumerate(names):
        if not name.strip():
            raise DataFileError(str(path), f"column {i + 1} has no name", UNINDEXED)
        if name in names[:i]:
            raise DataFileError(str(path), f"has two columns named {name!r}", "give every column a different name")
    if not names:
        raise DataFileError(str(path), "line 1 is empty", "begin with a header, or with numbers")


def _check_numbered(path: Path, first: list[str], rows: list[np.ndarray]) -> None:
    """Refuse a first line 0,1,…,k-1, which pandas writes for columns without names."""
    over_one = len(first) == 1 and len(rows) > 1 and all(row.dtype.kind == "f" for row in rows[1:])
    if first == [str(i) for i in range(len(first))] and (len(first) > 1 or over_one):
        reason = f"begins with the line {','.join(first[:3])}{',…' * (len(first) > 3)}: numbers of columns, or data?"
        raise DataFileError(str(path), reason, "put a line of names in its place, or above it")
