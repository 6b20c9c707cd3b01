"""Claims: statements about the readings of an experiment, tested after a run.

A claim in an experiment's file has a `kind` (one of those below), the settings of this kind, a `statement`, a `source`,
and `size` (paper or small) or `scenario` if it applies to one of them only.  Each kind is a function of a `Case` (the
measurements) and of the claim's settings, and returns a `Verdict`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cls_sim.claims import arms, go_cls, lives, memories, profiles
from cls_sim.claims.case import Case, Verdict
from cls_sim.core.errors import ConfigError, choice, suggest
from cls_sim.statistics import FEWEST
from cls_sim.storage.trace import Trace

ABOUT = (
    "kind",
    "source",
    "size",
    "scenario",
    "missed",
    "ablation",
    "theory",
    "statement",
)  # keys of a claim that are not settings of its kind
KINDS: dict[str, Callable[..., Verdict]] = {
    kind.__name__: kind for family in (arms, profiles, lives, go_cls, memories) for kind in family.KINDS
}


def judge(
    claims: Mapping[str, Any],
    traces: Mapping[str, Trace],
    readings: Mapping[str, Mapping[str, np.ndarray]],
    cfg: Mapping[str, Any],
    identical: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The verdict on every claim of this size; `passed` is None if there is no verdict.

    There is no verdict below seed 1000 (these seeds are for choosing settings), if an arm was not run, and if a claim
    needs an interval and there are too few subjects for one.  A claim that compares two arms whose lives are
    `identical` (see summary.json) fails, with the reason under `reason`.
    """
    found, alike = [], _groups(identical)
    for name, claim in claims.items():
        if any(claim.get(key, cfg.get(key)) != cfg.get(key) for key in ("size", "scenario")):
            continue
        kind = KINDS[choice(f"claims.{name}.kind", claim.get("kind"), KINDS)]
        settings = {k: v for k, v in claim.items() if k not in ABOUT}
        entry = {"name": name, "statement": claim.get("statement"), "source": claim.get("source")}
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
        for arm, than in sorted(compared(claim)):
            if arm in alike and alike[arm] == alike.get(than):
                reason = f"{arm} and {than} are identical in all {len(next(iter(readings[arm].values())))} subjects"
                entry |= {"passed": False, "reason": reason}
        if "missed" in claim:
            entry["missed"] = claim["missed"]
        found.append(entry)
    return found


def compared(claim: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The pairs of arms that a claim compares.

    >>> sorted(compared({"kind": "better", "arm": "er", "than": "none"}))
    [('er', 'none')]
    >>> sorted(compared({"kind": "selective_advantage", "arms": ["a", "b"], "than": ["c", "d"]}))
    [('a', 'c'), ('b', 'd')]
    >>> sorted(compared({"kind": "trend", "arms": ["a", "b", "c"]}))
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    ours = claim.get("arms") or ([claim["arm"]] if "arm" in claim else [])
    theirs = claim.get("than", [])
    theirs = [theirs] if isinstance(theirs, str) else theirs
    if claim["kind"] == "selective_advantage":
        return set(zip(ours, theirs, strict=False))
    if claim["kind"] in ("interior_optimum", "best_last", "trend"):
        return set(combinations(ours, 2))
    return set() if claim["kind"] == "frontier" else {(arm, than) for arm in ours for than in theirs}


def _groups(identical: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Arm → the first of the arms whose lives are the same."""
    groups: dict[str, str] = {}
    for pair in identical:
        groups[pair["arm"]] = groups.setdefault(pair["than"], pair["than"])
    return groups


def about(claim: Mapping[str, Any]) -> set[str]:
    """The arms that a claim names.

    >>> sorted(about({"kind": "better", "arm": "er", "than": "none", "by": 0.3}))
    ['er', 'none']
    """
    named = [claim[key] for key in ("arm", "than") if isinstance(claim.get(key), str)]
    several = claim["than"] if isinstance(claim.get("than"), list) else []
    return {*named, *several, *claim.get("arms", []), *claim.get("cells", {})}


def _check(name: str, kind: Callable[..., Verdict], settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that a kind of claim does not have, and for missing ones."""
    _, *known = inspect.signature(kind).parameters.values()
    for key in settings:
        if key not in (names := [p.name for p in known]):
            raise ConfigError(f"claims.{name}.{key}", "is unknown", suggest(key, names))
    for p in known:
        if p.default is p.empty and p.name not in settings:
            raise ConfigError(
                f"claims.{name}.{p.name}", f"is missing for a claim of the kind {kind.__name__}", "give a value"
            )
