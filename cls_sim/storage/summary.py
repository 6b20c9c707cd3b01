"""The summary of a run, typed: summary.json.  The schema of the file is docs/summary.schema.json.

A file may come from an untrusted source: its size is limited, all types are checked, and ConfigError is raised for an
invalid file.  Optional entries may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from cls_sim.core.errors import ConfigError
from cls_sim.storage import disk

SCHEMA = 1
HOLDS, FAILS, OPEN, UNJUDGED = "holds", "does not hold", "not decided", "not judged"  # the verdicts on a claim
NAN = float("nan")


@dataclass(frozen=True)
class Mean:
    """A mean over n subjects, its standard error, and its 95 % interval; NaN if there is none."""

    mean: float = NAN
    sem: float = NAN
    low: float = NAN
    high: float = NAN
    n: int = 0

    def entries(self) -> dict[str, Any]:
        return {"mean": self.mean, "sem": self.sem, "ci95": [self.low, self.high], "n": self.n}


@dataclass(frozen=True)
class Reading(Mean):
    """The last reading of an arm, with the number of each subject [s] (NaN for none)."""

    per_subject: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def entries(self) -> dict[str, Any]:
        return {**super().entries(), "per_subject": self.per_subject}


@dataclass(frozen=True)
class Difference(Mean):
    """The paired difference a - b of a reading, with the p-value of `statistics.paired`."""

    reading: str = ""
    a: str = ""
    b: str = ""
    p: float = NAN

    def entries(self) -> dict[str, Any]:
        return {"reading": self.reading, "a": self.a, "b": self.b, **super().entries(), "p": self.p}


@dataclass(frozen=True)
class Arm:
    """An arm: its readings by name, its main reading, the mean cost per subject, wall-clock and processor seconds.

    cpu_seconds is None in files of older versions; `cost_seconds` is then the wall-clock time.
    """

    readings: Mapping[str, Reading]
    main: str | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float | None = None

    @property
    def cost_seconds(self) -> float:
        return self.seconds if self.cpu_seconds is None else self.cpu_seconds

    def entries(self) -> dict[str, Any]:
        readings = {name: reading.entries() for name, reading in self.readings.items()}
        found = {"readings": readings, "main": self.main, "budget": dict(self.budget), "seconds": self.seconds}
        return found if self.cpu_seconds is None else {**found, "cpu_seconds": self.cpu_seconds}


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict; `passed` is None without a verdict.  `told` is the entry in summary.json.

    decided  whether the test could tell at this number of subjects; None in files of older versions
    """

    name: str
    statement: str
    source: str = ""
    theory: str = ""
    expected: Any = None
    tolerance: Any = None
    value: Any = None
    passed: bool | None = None
    decided: bool | None = None
    missed: str | None = None
    interval: tuple[float, float] | None = None
    sem: float = NAN
    told: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def state(self) -> str:
        """The verdict in words: holds, does not hold, not decided, or not judged."""
        if self.passed is None:
            return UNJUDGED
        return OPEN if self.decided is False else HOLDS if self.passed else FAILS


@dataclass(frozen=True)
class Summary:
    """A finished run.

    >>> arms = {"cls": {"readings": {"r2": {"per_subject": [0.5, None]}}}}
    >>> found = Summary.of({"experiment": "digits", "arms": arms})
    >>> found.arms["cls"].readings["r2"].per_subject.tolist(), found.main
    ([0.5, nan], None)
    """

    experiment: str
    arms: Mapping[str, Arm]
    title: str | None = None
    size: str = "paper"
    paired: tuple[Difference, ...] = ()
    identical: tuple[Mapping[str, Any], ...] | None = None  # {arm, than, subjects}: lives that are bit-equal
    claims: tuple[Claim, ...] = ()
    version: str = ""
    seed: int = 0
    config_sha256: str = ""

    @property
    def main(self) -> str | None:
        """The main reading, if it is the same in every arm; else None."""
        mains = {arm.main for arm in self.arms.values()}
        return mains.pop() if len(mains) == 1 else None

    def entries(self) -> dict[str, Any]:
        """The content of summary.json."""
        found = {name: getattr(self, name) for name in ("experiment", "title", "size")}
        found["arms"] = {name: arm.entries() for name, arm in self.arms.items()}
        found["paired"] = [difference.entries() for difference in self.paired]
        found["claims"] = [dict(claim.told) for claim in self.claims]
        found = {"schema": SCHEMA, **found, "version": self.version, "seed": self.seed}
        found["config_sha256"] = self.config_sha256
        return found if self.identical is None else {**found, "identical": [dict(pair) for pair in self.identical]}

    @classmethod
    def of(cls, told: Mapping[str, Any], where: str = "summary.json") -> Summary:
        """The summary from the content of summary.json; raises ConfigError if it is not a summary."""
        try:
            return cls(
                **_checked(cls, {**told, "size": told.get("size") or "paper"}),
                arms={_name(name): _arm(arm) for name, arm in _items(told["arms"])},
                paired=tuple(_difference(entry) for entry in _list(told.get("paired"))),
                identical=_identical(told.get("identical")),
                claims=tuple(claim_of(entry) for entry in _list(told.get("claims"))),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ConfigError(where, "is not a summary of a run", "leave its folder out") from None


def read(folder: Path) -> Summary:
    """The summary of the run in a folder; raises ConfigError if it is missing or damaged."""
    return Summary.of(disk.read(folder / "summary.json"), str(folder / "summary.json"))


def claim_of(told: Mapping[str, Any]) -> Claim:
    """A claim from its entry in summary.json, or from `claims.judge`."""
    ends = told.get("interval")
    low, high = ends[:2] if isinstance(ends, list) and len(ends) > 1 and None not in ends else (None, None)
    plain = {key: value for key, value in told.items() if value is not None}
    plain["statement"] = told.get("statement") or told["name"].replace("_", " ")
    interval = None if low is None else (_number(low), _number(high))
    return Claim(**_checked(Claim, plain), interval=interval, told=told)


def _arm(told: Mapping[str, Any]) -> Arm:
    readings = {_text(name): _reading(entry) for name, entry in _items(told["readings"])}
    return Arm(**_checked(Arm, told), readings=readings, budget=dict(_items(told.get("budget") or {})))


def _reading(told: Mapping[str, Any]) -> Reading:
    values = np.array([_number(value) for value in _list(told.get("per_subject"))], np.float64)
    return Reading(**_mean(Reading, {"n": int((~np.isnan(values)).sum()), **told}), per_subject=values)


def _difference(told: Mapping[str, Any]) -> Difference:
    return Difference(**_mean(Difference, {**told, **{key: told[key] for key in ("reading", "a", "b")}}))


def _identical(told: Any) -> tuple[Mapping[str, Any], ...] | None:
    if told is None:  # an older version did not look
        return None
    kinds = {"arm": _text, "than": _text, "subjects": _whole}
    return tuple({key: kind(one[key]) for key, kind in kinds.items()} for one in _list(told))


def _mean(kind: type[Mean], told: Mapping[str, Any]) -> dict[str, Any]:
    low, high = told.get("ci95") or (None, None)
    return _checked(kind, {**told, "low": low, "high": high})


# -- checks of untrusted content ----------------------------------------------------------------------------


def _checked(kind: type, told: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are fields of a dataclass with a type in CHECKS, checked; TypeError for another type."""
    known = {field.name: CHECKS[str(field.type)] for field in fields(kind) if field.type in CHECKS}
    return {name: check(told[name]) for name, check in known.items() if name in told}


def _of(value: Any, *kinds: type) -> Any:
    """The value, if it is of one of these types; else raises TypeError."""
    if not isinstance(value, kinds):
        raise TypeError
    return value


def _items(value: Any) -> Any:
    return _of(value, Mapping).items()


def _list(value: Any) -> list[Any]:
    return [] if value is None else list(_of(value, list, tuple, np.ndarray))


def printable(text: str) -> str:
    """Text without unprintable characters.

    >>> printable("a\\x1b[31m")
    'a?[31m'
    """
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text)


def is_name(value: str) -> bool:
    """Whether the name of an arm can be part of the name of a file."""
    return 0 < len(value) < 200 and not {"/", "\\", "\0"} & {*value}


def _name(value: Any) -> str:
    if not is_name(name := _text(value)):
        raise ValueError
    return name


def _text(value: Any) -> str:
    return printable(_of(value, str))


def _number(value: Any) -> float:
    return NAN if value is None else float(_of(_no_flag(value), int, float, np.number))


def _whole(value: Any) -> int:
    return int(_of(_no_flag(value), int, np.integer))


def _no_flag(value: Any) -> Any:
    return None if isinstance(value, bool) else value  # True counts as an int


def _plain(value: Any) -> Any:
    """An expected or found value: text, a number, or a list of numbers."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    short = isinstance(value, int) and abs(value) < 2**63
    return _text(value) if isinstance(value, str) else value if value is None or short else _number(value)


CHECKS: dict[str, Callable[[Any], Any]] = {  # by the annotation of a field
    "str": _text,
    "str | None": lambda value: None if value is None else _text(value),
    "float": _number,
    "float | None": lambda value: None if value is None else _number(value),
    "int": _whole,
    "bool | None": lambda value: _of(value, bool, NoneType),
    "Any": _plain,
}
