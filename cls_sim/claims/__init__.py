"""Claims: statements about the readings of an experiment, tested after a run.

A claim in an experiment's file has a `kind` (one of those below), the settings of this kind, a `statement`, a `source`,
and `size` (paper or small) or `scenario` if it applies to one of them only.  `exact` says why every subject may be at
the end of the scale, `guess` is the number that a constant answer reaches.  Each kind is a function of a `Case` (the
measurements) and of the claim's settings, and returns a `Verdict`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cls_sim.claims import arms, data, go_cls, lives, memories, profiles
from cls_sim.claims.bounds import decided
from cls_sim.claims.verdict import Verdict
from cls_sim.core.errors import ConfigError, choice, known, refuse_if
from cls_sim.statistics import FEWEST
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace

# keys of a claim that are not settings of its kind
WORDS = ("source", "statement", "theory", "missed", "exact", "guess")  # they change no verdict
ABOUT = ("kind", "size", "scenario", "ablation", *WORDS)
# settings that name arms: one, a list, or a mapping from arms
NAMING = {"arm": str, "than": str | list, "arms": list | dict, "cells": dict, "since": dict}
OVERRIDES, FAILS = "overrides", "must_fail"  # keys of an ablation
KINDS: dict[str, Callable[..., Verdict]] = {
    name: kind
    for family in (arms, profiles, lives, go_cls, memories, data)
    for name, kind in vars(family).items()
    if inspect.isfunction(kind) and name[0] != "_" and next(iter(inspect.signature(kind).parameters)) == "case"
}


def check(claims: Mapping[str, Any], arms: Collection[str]) -> None:
    """Raise ConfigError for claims of an unknown kind, with wrong settings, or about other arms than these."""
    for name, claim in claims.items():
        _settings(name, claim)
        for key, arm in _named(name, claim):
            known(f"claims.{name}.{key}", arm, arms, f"there is no arm {arm!r}")


def ablations(ablation: Any) -> list[Mapping[str, Any]]:
    """The ablations of an experiment: its key `ablation` is one of them, a list of several, or empty.

    >>> ablations({"overrides": ["a=1"], "must_fail": ["b"]})
    [{'overrides': ['a=1'], 'must_fail': ['b']}]
    """
    return list(ablation) if isinstance(ablation, list) else [ablation] if ablation else []


def check_ablation(ablation: Any, claims: Mapping[str, Any]) -> None:
    """Raise ConfigError for an ablation without overrides, or with unknown claims; an empty one is none."""
    several = ablations(ablation)
    for one in several:
        whole = isinstance(one, dict) and set(one) == {OVERRIDES, FAILS}
        if not whole or not all(isinstance(names, list) and names for names in one.values()):
            remedy = f"write ablation: {{{OVERRIDES}: [override], {FAILS}: [claim]}}, or a list of these"
            raise ConfigError("ablation", f"needs {OVERRIDES} and {FAILS}", remedy)
        for name in one[FAILS]:
            known(f"ablation.{FAILS}", name, claims, f"there is no claim {name!r}")
    named = [name for one in several for name in one[FAILS]]
    for name in named:
        refuse_if(named.count(name) > 1, f"ablation.{FAILS}", f"{name} is in two ablations", "name it once")


def judge(
    claims: Mapping[str, Any],
    traces: Mapping[str, Trace],
    readings: Mapping[str, Mapping[str, np.ndarray]],
    cfg: Mapping[str, Any],
    identical: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The verdict on every claim of this size; `passed` is None if there is no verdict.

    `decided` is False if the test cannot tell at this number of subjects (see `cls_sim.claims.bounds`).

    There is no verdict below seed 1000 (these seeds are for choosing settings), if an arm was not run, and if a claim
    needs an interval and there are too few subjects for one.  A claim that compares two arms whose lives are
    `identical` (see summary.json) fails, with the reason under `reason`.
    """
    found, alike = [], _groups(identical)
    for name, claim in claims.items():
        if any(claim.get(key, cfg.get(key)) != cfg.get(key) for key in ("size", "scenario")):
            continue
        entry = {"name": name, "statement": claim.get("statement"), "source": claim.get("source")}
        entry["theory"] = claim.get("theory", claim.get("law"))
        if not about(claim) <= set(traces):
            found.append(entry | {"expected": None, "tolerance": None, "value": None, "passed": None})
            continue
        kind, settings = _settings(name, claim)
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
        found.append(entry | {"decided": entry["passed"] is not None and decided(claim, entry)})
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
    if claim["kind"] in ("data", "data_order"):  # other arms are other conditions of the same people
        return set()
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
    return {arm for _, arm in _named("NAME", claim)}


def _named(name: str, claim: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The arms that a claim names, each with the setting that names it; raises ConfigError for anything else."""
    found = []
    for key, value in claim.items():
        if key in NAMING and value is not None:
            if not isinstance(value, NAMING[key]):
                raise ConfigError(f"claims.{name}.{key}", f"{value!r} does not name arms", "see cls_sim.claims")
            found += [(key, arm) for arm in ([value] if isinstance(value, str) else value)]
    return found


def _settings(name: str, claim: Mapping[str, Any]) -> tuple[Callable[..., Verdict], dict[str, Any]]:
    """A claim's kind and settings; raises ConfigError for an unknown kind, and for unknown and missing settings."""
    kind = KINDS[choice(f"claims.{name}.kind", claim.get("kind"), KINDS)]
    settings = {key: value for key, value in claim.items() if key not in ABOUT}
    _, *parameters = inspect.signature(kind).parameters.values()
    for key in settings:
        known(f"claims.{name}.{key}", key, [p.name for p in parameters], "is unknown")
    for p in parameters:
        reason = f"is missing for a claim of the kind {kind.__name__}"
        refuse_if(p.default is p.empty and p.name not in settings, f"claims.{name}.{p.name}", reason, "give a value")
    return kind, settings
