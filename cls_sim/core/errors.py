"""Errors, and the checks that parts make of their settings."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeGuard

from cls_sim.core import renamed

SHORT = re.compile("allocate memory|out of memory|failed to map segment|cannot allocate|start new thread", re.I)
LARGEST = 2**31 - 1  # default upper limit of sizes and counts
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
WRITTEN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kMG]?B)", re.ASCII)  # a number of bytes


class ConfigError(ValueError):
    """Raised for bad input.  The command line prints it in one line and exits with code 2.

    `key` is a config key or a path.

    >>> print(ConfigError("hippocampus.capacity", "is -3", "give a whole number from 1"))
    hippocampus.capacity: is -3; give a whole number from 1
    """

    exit_code = 2

    def __init__(self, key: str, reason: str, remedy: str):
        if (new := renamed.now(key)) is not None:
            reason, remedy = f"was renamed in {renamed.VERSION}", f"write {new}"
        super().__init__(f"{_plain(key)}: {_plain(reason)}; {_plain(remedy, 4000)}")
        self.key, self.reason, self.remedy = key, reason, remedy

    # this makes it picklable, to return it from another process
    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str]]:
        return type(self), (self.key, self.reason, self.remedy)

    def under(self, prefix: str) -> ConfigError:
        """The same error with a prefix before its key: `capacity` becomes `hippocampus.capacity`; a path stays."""
        if self.key.startswith("/"):
            return self
        return type(self)(f"{prefix}.{self.key}" if self.key else prefix, self.reason, self.remedy)


class StorageError(ConfigError):
    """Input or output failed (disk full, read-only, quota): exit code 3."""

    exit_code = 3


class Diverged(ConfigError):
    """A number is no longer finite: exit code 4."""

    exit_code = 4


def short_of_memory(error: BaseException) -> StorageError | None:
    """The error in one line, if this one says that memory or processes are used up; else None.

    >>> print(short_of_memory(MemoryError()))
    memory: is not enough; give fewer subjects, chunk=N, smaller parts or a larger limit (a run can be resumed)
    >>> short_of_memory(RuntimeError("x")) is None
    True
    """
    kinds = (MemoryError, RuntimeError, ImportError, OSError)
    if not isinstance(error, kinds) or (type(error) is not MemoryError and not SHORT.search(str(error))):
        return None
    remedy = "give fewer subjects, chunk=N, smaller parts or a larger limit (a run can be resumed)"
    return StorageError("memory", "is not enough", remedy)


def _plain(text: str, most: int = 1000) -> str:
    """One printable line of at most `most` characters, safe to show in a terminal."""
    line = " ".join(filter(None, map(str.strip, text[: 2 * most].expandtabs(1).splitlines())))  # a path's spaces stay
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= most else f"{line[:most]}…"


def whole(key: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """`value` as an int in [low, high] (without high: up to 2³¹ - 1).  Raises ConfigError; True, 2.0, "2" are refused.

    >>> whole("batch", 32)
    32
    """
    span = f"from {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(key, f"{value!r} is not a whole number", f"give a whole number {span}")
    number = value.__index__()
    if number < low or number > (LARGEST if high is None else high):
        raise ConfigError(key, f"{number} is out of range", f"give a whole number {span}")
    return number


def bytes_of(key: str, value: Any) -> int:
    """A number of bytes, written as a whole number or as text with a decimal unit (1 kB = 1000 B).

    Raises ConfigError for anything else.

    >>> bytes_of("budget", 157000), bytes_of("budget", "157kB"), bytes_of("budget", "9.2 kB"), bytes_of("budget", "4MB")
    (157000, 157000, 9200, 4000000)
    """
    remedy = "give a whole number of bytes, such as 157000, 157kB, 9.2kB or 4MB"
    if isinstance(value, str):
        found = WRITTEN.fullmatch(value)
        exact = Decimal(found[1]) * UNITS[found[2]] if found else Decimal("NaN")
        if not exact.is_finite() or exact != int(exact):
            raise ConfigError(key, f"{value[:100]!r} is no number of bytes", remedy)
        value = int(exact)
    try:
        return whole(key, value, 0, 2**62)
    except ConfigError as refused:
        raise ConfigError(key, refused.reason, remedy) from None


def real(
    key: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    endless: bool = False,
) -> float:
    """`value` as a finite float in [low, high] (low excluded if open_low; inf allowed if endless).  Raises ConfigError.

    >>> real("rate", 0.1, 0.0)
    0.1
    """
    if endless and isinstance(value, float) and value == math.inf:
        return value
    span = f"a finite number {'above' if open_low else 'from'} {low:g}" + (f" to {high:g}" if high < math.inf else "")
    if low == -math.inf:
        span = "a finite number" + (f" up to {high:g}" if high < math.inf else "")
    single = hasattr(value, "__float__") and getattr(value, "shape", ()) in ((), None)
    if isinstance(value, (bool, str)) or not single:
        raise ConfigError(key, f"{value!r} is not a number", f"give {span}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        number = math.inf
    if not math.isfinite(number) or number < low or number > high or (open_low and number == low):
        raise ConfigError(key, f"{number} is out of range", f"give {span}")
    return number


def reals(key: str, value: Any, low: float = -math.inf, high: float = math.inf, **more: bool) -> float | list[float]:
    """One number as in `real`, or one for each subject [s] (a list, tuple, array or tensor).  Raises ConfigError.

    >>> reals("tau_days", [1, 2.5], 0.0)
    [1.0, 2.5]
    """
    if getattr(value, "shape", None):
        value = value.tolist()
    if _several(value):
        refuse_if(not len(value), key, "is an empty list", "give one number, or one for each subject")
        return [real(f"{key}[{i}]", v, low, high, **more) for i, v in enumerate(value)]
    return real(key, value, low, high, **more)


def several(
    key: str, value: Any, what: str, such: str, check: Callable[..., Any], *limits: Any, least: int = 0, **more: Any
) -> tuple[Any, ...]:
    """A list of at least so many entries, each checked; the error says `what` they are, and writes `such` a list.

    >>> several("hidden", [400, 200], "widths", "[400, 400]", whole)
    (400, 200)
    """
    if isinstance(value, (str, int, float)) or not hasattr(value, "__len__") or len(value) < least:
        raise ConfigError(key, f"{value!r} is not a list of {what}", f"write {such}")
    return tuple(check(f"{key}[{i}]", one, *limits, **more) for i, one in enumerate(value))


def _several(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig"


def choice(key: str, value: Any, allowed: Iterable[str]) -> str:
    """`value` if it is one of the allowed words, else ConfigError.

    >>> choice("keep", "ring", ["ring", "reservoir"])
    'ring'
    """
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise ConfigError(key, f"{value!r} is none of {', '.join(words)}", suggest(str(value), words))
    return value


def flag(key: str, value: Any) -> bool:
    """`value` if it is True or False, else ConfigError."""
    refuse_if(not isinstance(value, bool), key, f"{value!r} is neither true nor false", "give true or false")
    return value


def refuse_if(wrong: object, key: str, reason: str, remedy: str) -> None:
    """Raise ConfigError if something is wrong.

    >>> refuse_if(3 > 5, "overlap", "3 is more than 5", "give less")
    """
    if wrong:
        raise ConfigError(key, reason, remedy)


@contextmanager
def under(prefix: str) -> Generator[None]:
    """Report errors raised inside with this prefix before their key.

    >>> with under("hippocampus"):
    ...     whole("capacity", -3)
    Traceback (most recent call last):
    cls_sim.core.errors.ConfigError: hippocampus.capacity: -3 is out of range; give a whole number from 1
    """
    try:
        yield
    except ConfigError as refused:
        raise refused.under(prefix) from None


def known(key: str, word: Any, words: Iterable[str], reason: str) -> None:
    """Raise ConfigError for this reason, with the most similar of the known words, if `word` is none of them."""
    words = list(words)
    if word not in words:
        raise ConfigError(key, reason, suggest(str(word), words))


def suggest(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: the most similar known word, or the list of all.

    >>> suggest("capcity", ["capacity", "keep"])
    'did you mean capacity?'
    """
    import difflib

    known = sorted(known)
    if (new := renamed.word(word, known)) is not None:
        return f"write {new} (renamed in {renamed.VERSION})"
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}" if known else "remove it"
