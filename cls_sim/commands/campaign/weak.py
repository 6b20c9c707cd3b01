"""`cls-sim-claims --check`: claims that are weak, found in the experiments' files and in the stored results.

A claim is weak if it

* names no source (`source:` a publication, or `ours`);
* is at the end of its scale in every subject, exactly 0 or 1, and `exact:` does not say why this is the point;
* is met by a constant guess: an accuracy of at least 0.5 or less, or a root mean square, without `guess:` (the number
  that the best constant answer reaches), or any bound that this guess meets;
* is met by no effect at all (a difference of 0, a ratio of 1) although its statement does not say that little changes;
* compares two arms that are equal in every subject;
* holds in less than 95 % of 20 or more unused blocks of seeds, and is not marked `missed:`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cls_sim.claims import compared
from cls_sim.claims.bounds import bounds
from cls_sim.commands.campaign import blocks
from cls_sim.commands.campaign.blocks import Tally
from cls_sim.commands.campaign.plan import Piece
from cls_sim.commands.campaign.results import Results
from cls_sim.storage.summary import Claim, Summary

# kinds whose number is not one of subjects: 1 is a strict order of means
RANKS = ("trend", "profile_trend", "trend_over_days", "order_preserved", "lifetimes")
LITTLE = re.compile(
    r"\b(within|at most|less than|nothing|nearly|equal|no (more|better|worse|less)|as (good|well|many))\b"
)
ACCURACY = re.compile(r"accuracy(\[-?\d+\])?(@\d+(\.\d+)?)?")
CLOSE = 1e-6


def findings(results: Results, paper: Sequence[Piece], small: Sequence[Piece]) -> Iterator[str]:
    """One line for each weakness of each claim, with its file: what is wrong, and what to do."""
    said: set[str] = set()
    for piece in (*paper, *small):
        summary, lived = results.summary(piece), blocks.tallies(results, piece)
        found = {claim.name: claim for claim in summary.claims} if summary else {}
        for name, told in piece.claims.items():
            reasons = [*in_file(told), *(in_blocks(told, lived[name]) if name in lived else ())]
            if summary and name in found:
                reasons += in_result(told, found[name], summary)
            for reason in reasons:
                line = f"conf/experiment/{piece.experiment}.yaml: claims.{name}: {reason}"
                if line not in said:
                    said.add(line)
                    yield line


def in_file(told: Mapping[str, Any]) -> Iterator[str]:
    """The weaknesses that a claim's settings show."""
    if not str(told.get("source") or "").strip():
        yield "names no source; add source: a publication, or ours"
    kind, range_, guess = told.get("kind"), bounds(told), told.get("guess")
    if guess is None and kind == "rms":
        yield "has no guess; add guess: the root mean square of the best constant answer"
    of_accuracy = ACCURACY.fullmatch(str(told.get("reading", "accuracy")))
    if guess is None and kind == "at_least" and told["value"] <= 0.5 and of_accuracy:
        yield f"an accuracy of {told['value']:g} may be chance; add guess: the accuracy of the best constant answer"
    if guess is not None and range_ is not None and range_[0] <= guess <= range_[1]:
        yield f"is met by a constant guess, {guess:g}; claim more"
    nothing = _nothing(told)
    if nothing and not LITTLE.search(str(told.get("statement") or "")):
        yield f"is met by no effect ({nothing}), and its statement does not say so; claim more, or say 'within …'"


def _nothing(told: Mapping[str, Any]) -> str:
    """The value of no effect, if it meets the claim, in words; else empty."""
    if told.get("kind") in ("better", "frontier", "worsens") and bounds(told) and told.get("by", 0.0) < 0:
        return "a difference of 0"
    if told.get("kind") in ("ratio", "sooner"):
        low, high = (told.get(key) for key in ("at_least", "at_most"))
        if (-math.inf if low is None else low) < 1 < (math.inf if high is None else high):
            return "a ratio of 1"
    return ""


def in_result(told: Mapping[str, Any], claim: Claim, summary: Summary) -> Iterator[str]:
    """The weaknesses that the result of a claim shows."""
    if not told.get("exact") and told.get("kind") not in RANKS and _pinned(claim):
        yield f"is {claim.value:g} in every subject; claim what can vary, or say why it is the point (exact: REASON)"
    for arm, than in sorted(compared(told)):
        pair = {arm, than}
        if any(pair == {same["arm"], same["than"]} for same in summary.identical or ()):
            yield f"compares {arm} and {than}, whose lives are identical; compare arms that differ"
        elif not told.get("exact") and pair <= summary.arms.keys() and _equal(told, summary, arm, than):
            yield f"compares {arm} and {than}, equal in every subject; say why it is the point (exact: REASON)"


def in_blocks(told: Mapping[str, Any], tally: Tally) -> Iterator[str]:
    """Whether a claim holds too rarely on unused blocks of seeds."""
    if tally.rare and "missed" not in told:
        yield f"holds in {tally.cell} unused blocks; claim less, with more subjects, or a better statistic"


def _pinned(claim: Claim) -> bool:
    """Whether the value is exactly 0 or 1 and no subject differs (no interval: one number for all)."""
    if not isinstance(claim.value, (int, float)) or min(abs(claim.value), abs(claim.value - 1)) > CLOSE:
        return False
    return all(math.isnan(end) or abs(end - claim.value) <= CLOSE for end in claim.interval or ())


def _equal(told: Mapping[str, Any], summary: Summary, arm: str, than: str) -> bool:
    """Whether two arms agree in the reading of a claim in every subject, as far as the reading is stored."""
    readings = [summary.arms[name].readings.get(told.get("reading", "accuracy")) for name in (arm, than)]
    ours, theirs = (np.zeros(0) if one is None else one.per_subject for one in readings)
    return len(ours) > 1 and np.array_equal(ours, theirs, equal_nan=True)
