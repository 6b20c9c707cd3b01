"""Anybody's data: arrays, or files of them."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack

import numpy as np

from cls_sim.core.errors import Refused
from cls_sim.world.files import read_array
from cls_sim.world.settings import Labelled
from cls_sim.world.stream import Stream
from cls_sim.world.table import Data, Given


class Arrays(Stream):
    """Your own data as a stream, for classification or regression.

    x                the inputs [n, …], any numbers; or a path to .npy, .npz (the array `x` in it) or .csv
    y                whole numbers 0 … c-1 [n] for classes; other numbers [n] or [n, o] for regression; or a path
    x_test, y_test   a test set of your own (else the part `test` of x, y is held out)
    context          whole numbers 0 … k-1 [n]: the context of each row; else classes are split into `contexts`
    context_test     the same for the test set
    contexts         None: as many as `context` has; without it 5, or 1 in regression

    Further settings as in Stream.

    >>> from cls_sim.core.part import Spec
    >>> x, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 6
    >>> world = Arrays(x=x, y=y, contexts=3)
    >>> world.begin(Spec()).inputs
    (4,)
    """

    def __init__(
        self,
        *,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        context: Any = None,
        context_test: Any = None,
        contexts: int | None = None,
        **protocol: Unpack[Labelled],
    ):
        tests = None
        if x_test is not None or y_test is not None or context_test is not None:
            tests = _data("_test", x_test, y_test, context_test)
        data = _data("", x, y, context, tests)
        super().__init__(Given(data), contexts=_count(data) if contexts is None else contexts, **protocol)
        if not data.split_by_class and self.contexts != _count(data):
            reason = f"is {self.contexts}, but the data has {_count(data)}"
            raise Refused("contexts", reason, "leave it out, or give `context`")


def _count(data: Data) -> int:
    """How many contexts this data has, or would have if nothing is said."""
    return 5 if data.split_by_class else 1 if data.context is None else int(data.context.max()) + 1


def _data(suffix: str, x: Any, y: Any, context: Any, tests: Data | None = None) -> Data:
    """Checked arrays; `suffix` completes the names of the settings they came by."""
    inputs = _inputs("x" + suffix, x)
    targets = _targets("y" + suffix, y, len(inputs))
    where = None if context is None else _numbers("context" + suffix, _array("context" + suffix, context), len(inputs))
    if where is not None and not suffix:
        _gapless("context", where)
    if targets.ndim == 1 and not suffix:
        _gapless("y", targets)
    data = Data(x=inputs, y=targets, context=where, tests=tests)
    if tests is not None:
        _matching(data, tests)
    return data


def _array(key: str, value: Any) -> np.ndarray:
    """The value as an array of numbers, read from its file if it is a path."""
    if value is None:
        raise Refused(key, "is not given", "give an array or the path of a file")
    if isinstance(value, (str, PathLike)):
        value = read_array(key, value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refused(key, f"is no array ({str(error).splitlines()[0]})", "give an array of numbers") from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise Refused(key, f"is of type {array.dtype}", "give plain numbers, up to 64 bit")
    if not array.size or not array.ndim:
        raise Refused(key, "is empty", "give at least one row")
    return array


def _inputs(key: str, value: Any) -> np.ndarray:
    """Inputs as float32 [n, …]."""
    array = _array(key, value)
    if array.ndim < 2:
        raise Refused(key, "has one dimension", "give [rows, features], such as x[:, None]")
    return _finite(key, array)


def _targets(key: str, value: Any, rows: int) -> np.ndarray:
    """Classes as int64 [n], or targets as float32 [n, o]."""
    array = _array(key, value)
    if len(array) != rows:
        raise Refused(key, f"has {len(array)} rows for {rows} inputs", "give one for each input")
    if array.dtype.kind != "f":
        return _numbers(key, array, rows)
    if array.ndim > 2:
        raise Refused(key, f"has {array.ndim} dimensions", "give [rows] or [rows, outputs]")
    return _finite(key, array.reshape(rows, -1))


def _finite(key: str, array: np.ndarray) -> np.ndarray:
    """A copy in float32, so that nobody changes it under a life."""
    with np.errstate(over="ignore"):
        copy = np.array(array, np.float32, order="C")
    odd = np.argwhere(~np.isfinite(copy))
    if len(odd):
        raise Refused(key, f"is {array[tuple(odd[0])]} at {tuple(odd[0].tolist())}", "give finite numbers (float32)")
    return copy


def _numbers(key: str, array: np.ndarray, rows: int) -> np.ndarray:
    """Whole numbers from 0, int64 [n]."""
    if array.dtype.kind == "f" or array.shape != (rows,):
        raise Refused(key, f"is {array.dtype} of shape {array.shape}", f"give {rows} whole numbers from 0")
    if array.min() < 0 or array.max() >= 2**31:
        raise Refused(key, f"reaches from {array.min()} to {array.max()}", "give whole numbers from 0, without gaps")
    return array.astype(np.int64)


def _gapless(key: str, numbers: np.ndarray) -> None:
    """Refuse labels with gaps, rather than to guess what they mean."""
    known = np.unique(numbers)
    gap = np.flatnonzero(known != np.arange(len(known)))
    if len(gap):
        remedy = f"number them 0, 1, 2, …, such as by np.unique({key}, return_inverse=True)[1]"
        raise Refused(key, f"has no {gap[0]} but a {known[-1]}", remedy)


def _matching(data: Data, tests: Data) -> None:
    """Refuse a test set that is not of the same kind."""
    if tests.x.shape[1:] != data.x.shape[1:]:
        raise Refused("x_test", f"has inputs {tests.x.shape[1:]}, x has {data.x.shape[1:]}", "give the same shape")
    if tests.y.shape[1:] != data.y.shape[1:]:
        raise Refused("y_test", "is not of the kind of y", "give classes for classes, numbers for numbers")
    if tests.classes > data.classes:
        raise Refused(
            "y_test", f"has class {tests.classes - 1}, y has {data.classes} classes", "give classes of y only"
        )
    if (tests.context is None) != (data.context is None):
        raise Refused("context_test", "and context belong together", "give both or neither")
    if tests.context is not None and data.context is not None and tests.context.max() > data.context.max():
        raise Refused(
            "context_test", f"has a context {tests.context.max()}, context has none", "give contexts of `context`"
        )
