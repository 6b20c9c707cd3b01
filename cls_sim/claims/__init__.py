"""What an experiment claims, held against what it measured.

A claim in an experiment's file says `is:` (one of the kinds below), its numbers, its `source`, and `size:` (paper or
small) or `scenario:` if it is meant for that one only.  Every kind is a function of a `Case`, what was measured, and
of the claim's settings; it returns a `Verdict`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cls_sim.claims import arms, go_cls, lives, memories, profiles
from cls_sim.claims.case import Case, Verdict
from cls_sim.core.errors import Refused, choice, suggest
from cls_sim.statistics import FEWEST
from cls_sim.storage.trace import Trace

ABOUT = ("is", "source", "size", "scenario", "missed", "off", "theory", "says")  # what a claim says of itself
KINDS: dict[str, Callable[..., Verdict]] = {
    kind.__name__: kind for family in (arms, profiles, lives, go_cls, memories) for kind in family.KINDS
}


def judge(
    claims: Mapping[str, Any],
    traces: Mapping[str, Trace],
    readings: Mapping[str, Mapping[str, np.ndarray]],
    cfg: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every claim of this size with its value; `passed` is null where nothing is decided.

    That is below seed 1000 (these are for choosing), where an arm was not run, and where an interval is asked for and
    there are too few subjects for one.
    """
    found = []
    for name, claim in claims.items():
        if any(claim.get(key, cfg.get(key)) != cfg.get(key) for key in ("size", "scenario")):
            continue
        kind = KINDS[choice(f"claims.{name}.is", claim.get("is"), KINDS)]
        settings = {k: v for k, v in claim.items() if k not in ABOUT}
        entry = {"name": name, "says": claim.get("says"), "source": claim.get("source")}
        entry["theory"] = claim.get("theory", claim.get("law"))
        if not about(claim) <= set(traces):
            found.append(entry | {"expected": None, "tolerance": None, "value": None, "passed": None})
            continue
        _check(name, kind, settings)
        verdict = kind(Case(traces, readings), **settings)
        entry |= verdict.entries()
        bare = str(verdict.expected).startswith("interval") and cfg.get("subjects", FEWEST) < FEWEST
        if cfg["seed"] < 1000 or bare:
            entry["passed"] = None
        if "missed" in claim:
            entry["missed"] = claim["missed"]
        found.append(entry)
    return found


def about(claim: Mapping[str, Any]) -> set[str]:
    """The arms that a claim names.

    >>> sorted(about({"is": "better", "arm": "er", "than": "none", "by": 0.3}))
    ['er', 'none']
    """
    named = [claim[key] for key in ("arm", "than") if isinstance(claim.get(key), str)]
    several = claim["than"] if isinstance(claim.get("than"), list) else []
    return {*named, *several, *claim.get("arms", []), *claim.get("cells", {})}


def _check(name: str, kind: Callable[..., Verdict], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a kind of claim does not have, and those that it lacks."""
    _, *known = inspect.signature(kind).parameters.values()
    for key in settings:
        if key not in (names := [p.name for p in known]):
            raise Refused(f"claims.{name}.{key}", "is unknown", suggest(key, names))
    for p in known:
        if p.default is p.empty and p.name not in settings:
            raise Refused(f"claims.{name}.{p.name}", f"is missing for a claim of the kind {kind.__name__}", "give it")
