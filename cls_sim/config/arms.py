"""The arms of an experiment's file: the only place where the keys of an arm are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cls_sim import PART_KINDS
from cls_sim.core.errors import ConfigError, choice, known, real, refuse_if

DO, INHERITS = "overrides", "inherits"  # the overrides of an arm, and the arm whose overrides come first
FROM, AT, KEEP = "branch_from", "branch_at", "keep_parts"  # the arm whose past it shares, when, and what it keeps
IN, SIZE = "scenarios", "size"  # the scenarios in which an arm is possible, the size at which it runs by default
KEYS = (DO, INHERITS, FROM, AT, KEEP, IN, SIZE)


@dataclass(frozen=True)
class Treatment:
    """The treatment of one arm.

    overrides  the overrides of its origin, of the arms that it inherits from, and of the arm, in this order
    origin     the arm whose past it shares, or None
    at         the age in days at which it branches; None: at the end of the origin's life
    keep       if given, the arm is a new life that starts with only these parts of the origin
    scenarios  the scenarios in which it is possible; empty: all
    size       the only size at which it runs by default; None: both
    """

    overrides: list[str]
    origin: str | None = None
    at: float | None = None
    keep: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    size: str | None = None

    def possible(self, scenario: str) -> bool:
        return not self.scenarios or scenario in self.scenarios


def texts(key: str, value: Any) -> list[str]:
    """`value`, if it is a list of overrides; else raises ConfigError."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConfigError(key, f"{value!r} is not a list of overrides", 'write [kind=option, "kind.setting=value"]')
    refuse_if(any(one.startswith("experiment=") for one in value), key, "cannot choose an experiment", "leave it out")
    return value


def treatment(arms: Mapping[str, Any], name: str, below: tuple[str, ...] = ()) -> Treatment:
    """The treatment of the arm of this name.

    Raises ConfigError for an invalid arm, and for arms that inherit in a circle.

    >>> arms = {"a": ["seed=1"], "b": {"inherits": "a", "overrides": ["days=2"]}}
    >>> arms["c"] = {"branch_from": "b", "branch_at": "3d"}
    >>> treatment(arms, "b").overrides, treatment(arms, "c").overrides, treatment(arms, "c").at
    (['seed=1', 'days=2'], ['seed=1', 'days=2'], 3.0)
    """
    key = f"arm.{name}"
    given: Any = {DO: arms[name]} if isinstance(arms[name], list) else arms[name]
    if not isinstance(given, dict):
        raise ConfigError(key, "is neither a list of overrides nor a mapping", f"write {{{', '.join(KEYS)}}}")
    for odd in given:
        known(f"{key}.{odd}", odd, KEYS, "is not a key of an arm")
    origin, own = given.get(FROM), texts(f"{key}.{DO}", given.get(DO, []))
    # inherited settings of these kinds belong to other parts
    chosen = {one.split("=")[0] for one in own} & {*PART_KINDS, "probes"}
    inherited: list[str] = []
    for word in (FROM, INHERITS):
        if (other := given.get(word)) is None:
            continue
        if other in (name, *below):
            raise ConfigError(f"{key}.{word}", f"{' -> '.join((*below, name, other))} is a circle", "name another arm")
        known(f"{key}.{word}", other, arms, f"there is no arm {other!r}")
        theirs = treatment(arms, other, (*below, name)).overrides
        inherited += [one for one in theirs if re.split(r"[.=]", one.lstrip("+~"))[0] not in chosen]
    if origin is not None and list(arms).index(origin) > list(arms).index(name):
        raise ConfigError(f"{key}.{FROM}", f"there is no arm {origin!r} before it", "name an earlier arm")
    for word in (AT, KEEP):
        if word in given and origin is None:
            raise ConfigError(f"{key}.{word}", f"needs {FROM}", f"write {{{FROM}: ARM, {AT}: 12d, {DO}: [...]}}")
    keep = texts(f"{key}.{KEEP}", given.get(KEEP) or [])
    for part_kind in keep:
        choice(f"{key}.{KEEP}", part_kind, PART_KINDS)
    if given.get(SIZE) is not None:
        choice(f"{key}.{SIZE}", given[SIZE], ("paper", "small"))
    scenarios = texts(f"{key}.{IN}", given.get(IN) or [])
    at = _age(f"{key}.{AT}", given.get(AT, "end"))
    return Treatment([*inherited, *own], origin, at, tuple(keep), tuple(scenarios), given.get(SIZE))


def _age(key: str, at: Any) -> float | None:
    if at == "end":
        return None
    if isinstance(at, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?d", at):
        at = float(at[:-1])
    return real(key, at, 0.0)
