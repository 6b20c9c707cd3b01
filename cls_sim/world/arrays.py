"""User data: arrays, or files that hold them."""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from typing import Any

import numpy as np

from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.settings import needed, setting
from cls_sim.world.files import read_array
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data

GIVEN = ("x", "y", "x_test", "y_test", "context", "context_test")


class Given(Stream):
    """The base class of streams of the user's data, which is read when the world is made."""

    x: Any = needed()
    y: Any = setting(None)
    x_test: Any = setting(None)
    y_test: Any = setting(None)
    context: Any = setting(None)
    context_test: Any = setting(None)
    contexts: int | None = setting(None)

    def _ready(self) -> None:
        data = self._given = self._read()
        own = 5 if data.split_by_class else 1 if data.context is None else int(data.context.max()) + 1
        contexts = self.contexts = own if self.contexts is None else self.contexts
        super()._ready()
        where = f"`context` has {own}" if data.context is not None else "y is a regression, which is one context"
        remedy = "leave it out" if data.context is not None else "give `context`, the context of each row"
        refuse_if(not data.split_by_class and contexts != own, "contexts", f"is {contexts}, but {where}", remedy)

    @abstractmethod
    def _read(self) -> Data:
        """Take the arrays out of the settings, and check them."""

    def data(self, seeds: tuple[int, ...] = (0,)) -> Data:
        return self._given


class Arrays(Given):
    """Your own data as a stream, for classification or regression.

    x                inputs [n, …]; images have the channels first, [n, c, h, w]
    y                classification: whole numbers 0 … c-1 [n]; regression: floats [n, o], or [n] if not all are whole
    x_test, y_test   your own test set (None: a share `test` of x, y is held out)
    context          whole numbers 0 … k-1 [n], the context of each row; None: classes are split into `contexts`
    context_test     the same for the test set
    contexts         their number; None: as many as `context` has; without `context` 5, or 1 in regression
    quantum          for uint8 inputs, which are stored as bytes b and presented as quantum · b; None: 1/255

    Further settings as in Stream.

    Each of the first six is an array, list, tensor or table of numbers, or the path of a file: .npy, .npz (its array
    with the name of the setting, or its only array) or .csv.  A CSV file is UTF-8 with comma separators and decimal
    points; its first line is a header if none of its cells is a number.  Inputs other than uint8 become float32,
    unscaled.

    Raises ConfigError, with the name of the setting or the path of the file, for values that are not plain finite
    numbers (masked arrays, objects, text, dates, complex numbers, NaN) and for ambiguous ones: whole numbers of type
    float as y [n], images with the channels last, a first column or a first line that counts 0, 1, 2, …

    >>> from cls_sim.core.part import Spec
    >>> x, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 6
    >>> world = Arrays(x=x, y=y, contexts=3)
    >>> world.setup(Spec()).inputs
    (4,)
    """

    y: Any = needed()
    quantum: float | None = setting(None, 0.0, open_low=True)

    def _read(self) -> Data:
        given = {name: vars(self).pop(name) for name in ("quantum", *GIVEN)}
        return data_of(**given)


def data_of(
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    context: Any = None,
    context_test: Any = None,
    quantum: float | None = None,
) -> Data:
    """Check arrays, or the files that hold them, and make a data set with its test set."""
    tests = None
    if x_test is not None or y_test is not None or context_test is not None:
        tests = _data("_test", x_test, y_test, context_test, quantum)
    return _data("", x, y, context, quantum, tests)


def _data(suffix: str, x: Any, y: Any, context: Any, quantum: float | None, tests: Data | None = None) -> Data:
    """Check arrays and make a data set; `suffix` completes the names of the settings in errors."""
    inputs = _inputs("x" + suffix, x)
    if inputs.dtype != np.uint8 and quantum is not None:
        raise ConfigError("quantum", f"is for bytes, and x{suffix} is not an array of type uint8", "leave it out")
    quantum = (1 / 255 if quantum is None else quantum) if inputs.dtype == np.uint8 else None
    targets = _targets("y" + suffix, y, len(inputs))
    where = None if context is None else _whole("context" + suffix, _array("context" + suffix, context), len(inputs))
    if where is not None and not suffix:
        _gapless("context", where)
    if targets.ndim == 1 and not suffix:
        _gapless("y", targets)
    data = Data(x=inputs, y=targets, context=where, tests=tests, quantum=quantum)
    if tests is not None:
        _matching(data, tests)
    return data


REMEDIES = {  # kind of NumPy type → what to do about an array of it
    "c": "give real and imaginary parts as two features",
    "m": "give numbers, such as x / np.timedelta64(1, 'D')",
    "M": "give numbers, such as (x - x.min()) / np.timedelta64(1, 'D')",
    "V": "give its columns as one array of numbers",
}


def _array(key: str, value: Any) -> np.ndarray:
    """The value as an array of numbers; a path is read."""
    refuse_if(value is None, key, "is not given", "give an array or the path of a file")
    if isinstance(value, (str, PathLike)):
        value = read_array(key, value)
    refuse_if(_is_masked(value), key, "is a masked array", "fill its gaps yourself (.filled), or leave out these rows")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(key, f"is not an array ({str(error).splitlines()[0]})", "give an array of numbers") from None
    kind = array.dtype.kind
    words = "number them, such as by np.unique(y, return_inverse=True)[1]" if key[0] != "x" else ""
    remedy = words or "give numbers of one type, without missing values"
    refuse_if(kind not in "biuf", key, f"is of type {array.dtype}", REMEDIES.get(kind, remedy))
    refuse_if(array.dtype.itemsize > 8, key, f"is of type {array.dtype}", "give numbers of at most 64 bit")
    refuse_if(not array.size or not array.ndim, key, "is empty", "give at least one row")
    return array


def _is_masked(value: Any) -> bool:
    """Whether this is a masked array, or a list that holds one."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_masked, value))
    return np.ma.isMaskedArray(value)


def _inputs(key: str, value: Any) -> np.ndarray:
    """A copy of inputs [n, …]: uint8 unchanged, other numbers as float32."""
    array = _array(key, value)
    refuse_if(array.ndim < 2, key, "has one dimension", "give [rows, features], such as x[:, None]")
    if array.ndim == 4 and array.shape[3] in (1, 3, 4) and min(array.shape[1:3]) > 4:
        remedy = f"put them first, np.moveaxis({key}, 3, 1), or flatten them, {key}.reshape(len({key}), -1)"
        raise ConfigError(key, f"of shape {array.shape} looks like images with their channels last", remedy)
    return np.array(array, order="C") if array.dtype == np.uint8 else _finite(key, array)


def _targets(key: str, value: Any, rows: int) -> np.ndarray:
    """Classes as int64 [n], or targets of a regression as float32 [n, o]."""
    array, file = _array(key, value), isinstance(value, (str, PathLike))
    header = ", and no number as a header" if file and len(array) == rows + 1 else ""
    refuse_if(len(array) != rows, key, f"has {len(array)} rows for {rows} inputs", f"give one for each input{header}")
    if array.dtype.kind != "f":
        return _whole(key, array, rows)
    refuse_if(array.ndim > 2, key, f"has {array.ndim} dimensions", "give [rows] or [rows, outputs]")
    targets = _finite(key, array.reshape(rows, -1))
    reason = f"has whole numbers of type {array.dtype}: classes, or a regression?"
    remedy = f"give {key}.astype(int) for classes, {key}[:, None] for a regression"
    remedy = "write classes without a point; a regression as a .npy file of shape [rows, 1]" if file else remedy
    refuse_if(array.ndim == 1 and (array == np.rint(array)).all(), key, reason, remedy)
    return targets


def _finite(key: str, array: np.ndarray) -> np.ndarray:
    """A copy in float32, so that later changes of the array do not affect a life."""
    with np.errstate(over="ignore"):
        copy = np.array(array, np.float32, order="C")
    odd = np.argwhere(~np.isfinite(copy))
    if len(odd):
        remedy = "give finite numbers (float32)"
        raise ConfigError(key, f"is {array[tuple(odd[0])]} at {tuple(odd[0].tolist())}", remedy)
    return copy


def _whole(key: str, array: np.ndarray, rows: int) -> np.ndarray:
    """Whole numbers from 0, int64 [n]."""
    if array.dtype.kind == "f" or array.shape != (rows,):
        remedy = f"give {rows} whole numbers from 0, such as {key}.astype(int)"
        if array.ndim == 2:
            remedy = f"give {rows} whole numbers, {key}.argmax(1) if they are one-hot; floats for a regression"
        raise ConfigError(key, f"is of type {array.dtype} and shape {array.shape}", remedy)
    remedy = "give whole numbers from 0, without gaps"
    refuse_if(array.min() < 0 or array.max() >= 2**31, key, f"reaches from {array.min()} to {array.max()}", remedy)
    return array.astype(np.int64)


def _gapless(key: str, numbers: np.ndarray) -> None:
    """Refuse labels with gaps, because their meaning is ambiguous."""
    known = np.unique(numbers)
    gap = np.flatnonzero(known != np.arange(len(known)))
    if len(gap):
        remedy = f"number them 0, 1, 2, …, such as by np.unique({key}, return_inverse=True)[1]"
        raise ConfigError(key, f"has the number {known[-1]} but not {gap[0]}", remedy)


def _matching(data: Data, tests: Data) -> None:
    """Refuse a test set that does not match the training data."""
    remedy = "give bytes (uint8) for bytes"
    refuse_if(tests.quantum != data.quantum, "x_test", f"is of type {tests.x.dtype}, x of type {data.x.dtype}", remedy)
    if tests.x.shape[1:] != data.x.shape[1:]:
        raise ConfigError("x_test", f"has inputs {tests.x.shape[1:]}, x has {data.x.shape[1:]}", "give the same shape")
    if tests.y.shape[1:] != data.y.shape[1:]:
        raise ConfigError("y_test", "is not of the kind of y", "give classes for classes, numbers for numbers")
    reason = f"has class {tests.classes - 1}, y has {data.classes} classes"
    refuse_if(tests.classes > data.classes, "y_test", reason, "give classes of y only")
    if (tests.context is None) != (data.context is None):
        raise ConfigError("context_test", "and context belong together", "give both or neither")
    if tests.context is not None and data.context is not None and tests.context.max() > data.context.max():
        remedy = "give contexts of `context`"
        raise ConfigError("context_test", f"has a context {tests.context.max()}, context has none", remedy)
