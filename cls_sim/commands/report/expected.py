"""The expected result of a method in a scenario, as a sentence, and whether a run agrees; from expected.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FLOOR, NEAR = 0.2, 0.8  # shares of the difference between none and joint
APART = 0.05  # with a smaller difference between none and joint there is no verdict


@cache
def table() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent / "expected.yaml").read_text())


def family(method: str | None) -> str:
    """The family of a method, in words; empty for an unknown method."""
    told = table()["methods"].get(method or "")
    return table()["families"][told["family"]]["name"] if told else ""


def level(way: float) -> str:
    """The level of a result, given as a share of the difference between none and joint.

    >>> level(0.05), level(0.5), level(0.97)
    ('floor', 'between', 'near')
    """
    return "floor" if way < FLOOR else "near" if way >= NEAR else "between"


def told(method: str | None, scenario: str | None) -> str:
    """The expected result as a sentence without a full stop; empty if there is no expectation.

    >>> told("ewc", "class")
    'at the floor of none, as published: a penalty on weights does not tell apart classes that were never met together'
    """
    mine = table()["methods"].get(method or "", {})
    expected = mine.get(scenario or "")
    if expected is None:
        return ""
    published = ", as published" if scenario in mine.get("published", ()) else ""
    why = table()["families"][mine["family"]].get(scenario)
    return f"{table()['levels'][expected]}{published}" + (f": {why}" if why and expected != "refused" else "")


def found(method: str | None, scenario: str | None, mean: float, none: float | None, joint: float | None) -> str:
    """The position of a mean between the references none and joint of the same run, and whether it was expected.

    >>> found("er", "class", 0.88, 0.2, 0.98)
    'Ours: 0.880, 87 % of the way from none (0.200) to joint (0.980): as expected.'
    """
    ours = f"Ours: {mean:.3f}"
    if none is None or joint is None or mean != mean:
        return f"{ours}."
    if joint - none < APART:
        return f"{ours}; none ({none:.3f}) and joint ({joint:.3f}) do not differ in this run, so there is no verdict."
    way = (mean - none) / (joint - none)
    expected = table()["methods"].get(method or "", {}).get(scenario or "")
    said = f"{ours}, {100 * way:.0f} % of the way from none ({none:.3f}) to joint ({joint:.3f})"
    if expected in (None, "refused"):
        return f"{said}."
    here = level(way)
    verdict = "as expected" if here == expected else f"not as expected, but {table()['levels'][here]}"
    return f"{said}: {verdict}."
