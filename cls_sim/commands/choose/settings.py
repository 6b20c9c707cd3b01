"""The settings that a search tries: all combinations of the given values, or some drawn at random."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cls_sim.core.errors import ConfigError, refuse_if

MOST = 2000  # settings of one search
RANGE = re.compile(r"(-?[\d.]+(?:e[+-]?\d+)?)\.\.(-?[\d.]+(?:e[+-]?\d+)?)", re.I)


@dataclass(frozen=True)
class Span:
    """A range of numbers; drawn evenly, or evenly on a logarithmic scale if it spans a factor of ten or more."""

    low: float
    high: float
    whole: bool

    def draw(self, lot: np.random.Generator) -> str:
        if self.low > 0 and self.high / self.low >= 10:
            value = math.exp(lot.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = lot.uniform(self.low, self.high)
        return str(round(value)) if self.whole else f"{value:.3g}"


def choices(over: str) -> tuple[str, list[str] | Span]:
    """A key and its values, from `KEY=a,b,c` or `KEY=low..high`.  Raises ConfigError.

    >>> choices("neocortex.hidden=[64],[64,32]")
    ('neocortex.hidden', ['[64]', '[64,32]'])
    >>> choices("hippocampus.capacity=50..400")[1]
    Span(low=50.0, high=400.0, whole=True)
    """
    key, equals, values = over.partition("=")
    if not equals or not re.fullmatch(r"\+?[A-Za-z_][\w.@/]*", key) or not values:
        raise ConfigError("over", f"{over[:100]!r} is no choice", "write over='KEY=a,b,c' or over='KEY=low..high'")
    if match := RANGE.fullmatch(values):
        try:
            low, high = float(match[1]), float(match[2])
        except ValueError:
            low, high = math.nan, math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(key, f"{values[:100]} is no range", "write low..high")
        return key, Span(low, high, match[1].lstrip("-").isdecimal() and match[2].lstrip("-").isdecimal())
    found, depth = [""], 0
    for letter in values:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    refuse_if(len(set(found)) < len(found), key, "has a value twice", "give each value once")
    return key, found


def grid(over: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations.

    >>> grid(["a=1,2", "b=x,y"])
    [('a=1', 'b=x'), ('a=1', 'b=y'), ('a=2', 'b=x'), ('a=2', 'b=y')]
    """
    sides = []
    for key, values in map(choices, over):
        if isinstance(values, Span):
            raise ConfigError(key, "is a range", "give values, KEY=a,b,c, or how=random trials=N")
        sides.append([f"{key}={value}" for value in values])
    if math.prod(map(len, sides)) > MOST:
        raise ConfigError("over", f"has more than {MOST} combinations", "give fewer values, or how=random trials=N")
    return list(product(*sides))


def some(over: Sequence[str], trials: int, seed: int = 0) -> list[tuple[str, ...]]:
    """This number of different settings, drawn at random (fewer if there are not so many)."""
    lot, found = np.random.Generator(np.random.Philox(seed)), dict[tuple[str, ...], None]()
    sides = [choices(one) for one in over]
    for _ in range(100 * trials):
        drawn = [
            values.draw(lot) if isinstance(values, Span) else values[lot.integers(len(values))] for _, values in sides
        ]
        found[tuple(f"{key}={value}" for (key, _), value in zip(sides, drawn, strict=True))] = None
        if len(found) == trials:
            break
    return list(found)
