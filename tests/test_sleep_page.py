"""docs/what_sleep_buys.md: every number is that of a row of docs/results, and every claim that it calls by name holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
LINE = re.compile(r"^\|[^|]+\| ([^|]+) \| ([^|]+) \| `(\w+)`: `(\w+)` \|$", re.M)
LINES = LINE.findall((DOCS / "what_sleep_buys.md").read_text())


def close(shown: str, value: float) -> bool:
    """Whether a number in the text is this value, rounded to its digits; the sign may be that of the other arm."""
    digits = len(shown.partition(".")[2])
    return abs(abs(float(shown)) - abs(value)) <= 0.5001 * 10**-digits


@pytest.mark.parametrize(("word", "shown", "experiment", "name"), LINES, ids=lambda text: str(text)[:30])
def test_a_line_is_what_was_measured(word: str, shown: str, experiment: str, name: str):
    row = json.loads((DOCS / "results" / f"{experiment}.json").read_text())
    (claim,) = (claim for claim in row["summary"]["claims"] if claim["name"] == name)
    scale = 100 if shown.endswith("points") else 1
    found, *ends = re.findall(r"[-+]?\d+\.\d+", shown)
    assert close(found, scale * claim["value"])
    interval = claim.get("interval") or ()
    assert len(ends) == len(interval)
    measured = sorted(abs(scale * end) for end in interval)
    assert all(map(close, sorted(ends, key=lambda end: abs(float(end))), measured))
    assert claim["passed"] or word.strip() == "not decided"


def test_the_three_mechanisms_and_all_verdicts_are_on_the_page():
    assert len(LINES) >= 25
    words = {line[0].strip() for line in LINES}
    assert {"buys", "nothing", "costs", "not decided"} <= words
