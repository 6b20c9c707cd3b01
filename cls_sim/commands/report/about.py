"""The cost of the arms of a run, its claims and its figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cls_sim.commands.report.facts import Arm, Facts
from cls_sim.core.budget import SHARE
from cls_sim.figures.tradeoffs import size_of
from cls_sim.sinks.console import brief, wanted
from cls_sim.storage.disk import LARGEST, content

PNG = b"\x89PNG\r\n\x1a\n"
LIMITS = {"bytes_allowed": "bytes allowed", "bytes_used": "bytes used"}  # if an arm has a budget of bytes
COSTS = {
    "stored_bytes": "stored",
    "extra_bytes": "extra",
    "parameters": "parameters",
    "wake_passes": "passes awake",
    "night_passes": "passes asleep",
    "revisited": "revisits",
}


def names(arms: Sequence[str]) -> str:
    return ", ".join(f"`{arm}`" for arm in arms)


def is_limited(arm: Arm) -> bool:
    """Whether an arm has a budget of bytes."""
    return "bytes_allowed" in (arm.budget or {})


def budget(run: Facts) -> tuple[list[str], list[list[str]]]:
    """The cost of each arm: the heads and the rows of a table."""
    arms = run.arms.values()
    limits = LIMITS if any(map(is_limited, arms)) else {}
    costs = {key: label for key, label in COSTS.items() if any(arm.cost(key) for arm in arms)}
    heads = ["arm", *limits.values(), *costs.values(), "task identity known at test", "seconds per subject"]
    rows = []
    for name, arm in run.arms.items():
        row = [name, *(_shown(key, arm.cost(key)) if is_limited(arm) else "–" for key in limits)]
        row += [_shown(key, arm.cost(key)) for key in costs]
        rows.append([*row, "yes" if arm.cost("task_id_known") else "no", f"{arm.seconds / max(1, arm.lived):.0f}"])
    return heads, rows


def shares(run: Facts) -> list[str]:
    """The bytes that each part of an arm with a budget uses."""
    said = {}
    for name, arm in run.arms.items():
        if is_limited(arm):
            used = [f"{part_kind} {_shown('bytes', n)}" for part_kind in SHARE if (n := arm.cost(f"bytes_{part_kind}"))]
            said[name] = ", ".join(used) or "nothing"
    return _grouped(said)


def differences(run: Facts, reference: str) -> list[str]:
    """The differences of the arms' budgets from that of the reference."""
    base = run.arms[reference]
    said = {name: "; ".join(_odd(arm, base)) for name, arm in run.arms.items() if arm is not base}
    return _grouped({name: odd or "at equal budget (within 1 %)" for name, odd in said.items()})


def _odd(arm: Arm, base: Arm) -> Iterator[str]:
    for key, label in COSTS.items():
        a, b = arm.cost(key), base.cost(key)
        if abs(a - b) > 0.01 * max(a, b):
            yield f"{_shown(key, a)} {label}" + (f" for {_shown(key, b)}" if b else "")
    if (known := arm.cost("task_id_known")) != base.cost("task_id_known"):
        yield f"the task identity is {'known' if known else 'unknown'} at test"
    if arm.world != base.world:
        yield "another world"


def _grouped(said: dict[str, str]) -> list[str]:
    """What is said of each arm; arms of which the same is said have one line."""
    groups: dict[str, list[str]] = {}
    for name, what in said.items():
        groups.setdefault(what, []).append(name)
    return [f"{names(arms)}: {what}." for what, arms in groups.items()]


def _shown(key: str, cost: float) -> str:
    return size_of(cost) if "bytes" in key else f"{cost:,.0f}"


def claims(run: Facts) -> list[list[str]]:
    """The claims of the experiment and their verdicts, as rows of a table."""
    rows = []
    for claim in run.claims:
        missed = f" Known to miss: {claim.missed}" if claim.missed else ""
        rows.append([claim.statement + missed, claim.source, wanted(claim), brief(claim.value), claim.state])
    return rows


def drawn(run: Facts) -> list[tuple[str, bytes, str]]:
    """The figures of the experiment, as the run has drawn them: the name of the file, PNG bytes, and the caption."""
    read = [(name, content(path, LARGEST)) for name, path in run.figures]
    found = [(name, png) for name, png in read if png.startswith(PNG)]
    plain = [re.sub(r"[^A-Za-z0-9_.=+-]", "_", name) for name, _ in found]
    numbers = ["" if plain.count(name) == 1 else f"_{i}" for i, name in enumerate(plain)]
    return [
        (f"figure_{safe}{number}", png, name.replace("_", " "))
        for (name, png), safe, number in zip(found, plain, numbers, strict=True)
    ]
