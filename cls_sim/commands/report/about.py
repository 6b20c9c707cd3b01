"""The description of a run, its cost, its claims and its figures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cls_sim.commands.report.blocks import Blocks, Heading, Picture, Points, Table, Terms, Text, text, without_empty
from cls_sim.commands.report.facts import Arm, Facts
from cls_sim.core.budget import SHARE
from cls_sim.figures.tradeoffs import size_of
from cls_sim.sinks.console import brief
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


def head(run: Facts) -> Blocks:
    """The description of the run."""
    cohort = sorted({arm.lived for arm in run.arms.values()})
    many = "no" if not cohort else str(cohort[0]) if len(cohort) == 1 else f"{cohort[0]} to {cohort[-1]}"
    about = [
        ("Experiment", f"`{run.experiment}`" + (f", scenario {run.scenario}" if run.scenario else "")),
        *([("After", run.cite)] if run.cite else []),
        ("Subjects", f"{many}, seeds from {run.seed}, size `{run.size}`"),
        ("Arms", ", ".join(run.arms) or "none"),
        ("Command", f"`cls-sim {' '.join(run.overrides)}`"),
        ("Made", _made(run)),
    ]
    blocks: Blocks = [Terms(about)]
    if run.seed < 1000:
        blocks.append(Text(text("choosing"), "warning"))
    if run.missing:
        blocks += [Text(text("missing", missing="; ".join(run.missing)), "warning")]
    return blocks


def _made(run: Facts) -> str:
    env = run.environment
    when = str(env.get("time", ""))[:10]
    parts = [f"cls_sim {run.version}", *(f"{k} {env[k]}" for k in ("python", "torch", "device") if env.get(k)), when]
    return ", ".join(filter(None, parts))


def protocol(run: Facts) -> Blocks:
    """The protocol in words; arms with the same protocol are grouped."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for arm, lines in run.protocol.items():
        groups.setdefault(tuple(lines), []).append(arm)
    if not groups:
        return []
    blocks: Blocks = [Heading("Protocol")]
    common, *others = sorted(groups.items(), key=lambda pair: -len(pair[1]))
    if others:
        blocks.append(Text(f"Arms {_names(common[1])}:"))
    blocks.append(Points(list(common[0])))
    for lines, arms in others:
        odd = [line for line in lines if line not in common[0]]
        what = ", differences" if len(lines) > len(odd) else ""
        blocks += [Text(f"Arms {_names(arms)}{what}:"), Points(odd)]
    return blocks


def _names(arms: Sequence[str]) -> str:
    return ", ".join(f"`{arm}`" for arm in arms)


def budget(run: Facts, reference: str) -> Blocks:
    """The cost of each arm, and its differences from the reference."""
    if not any(arm.budget for arm in run.arms.values()):
        return []
    limits = LIMITS if any(_is_limited(arm) for arm in run.arms.values()) else {}
    costs = {key: label for key, label in COSTS.items() if any(arm.cost(key) for arm in run.arms.values())}
    heads = ["arm", *limits.values(), *costs.values(), "task identity known at test", "seconds per subject"]
    rows = []
    for name, arm in run.arms.items():
        row = [name, *(_shown(key, arm.cost(key)) if _is_limited(arm) else "–" for key in limits)]
        row += [_shown(key, arm.cost(key)) for key in costs]
        rows.append([*row, "yes" if arm.cost("task_id_known") else "no", f"{arm.seconds / max(1, arm.lived):.0f}"])
    blocks: Blocks = [Heading("Budget"), Table(heads, rows, text("budget"))]
    if limits:
        blocks += [Text(text("limits")), Points(list(_shares(run)))]
    if reference in run.arms and len(run.arms) > 1:
        blocks += [Text(f"Compared with `{reference}`:"), Points(list(_differences(run, reference)))]
    return blocks


def _is_limited(arm: Arm) -> bool:
    return "bytes_allowed" in (arm.budget or {})


def _shares(run: Facts) -> list[str]:
    """The bytes that each part of an arm with a budget uses; arms with equal shares are grouped."""
    said: dict[str, list[str]] = {}
    for name, arm in run.arms.items():
        if _is_limited(arm):
            shares = [
                f"{part_kind} {_shown('bytes', n)}" for part_kind in SHARE if (n := arm.cost(f"bytes_{part_kind}"))
            ]
            said.setdefault(", ".join(shares) or "nothing", []).append(name)
    return [f"{_names(names)}: {what}." for what, names in said.items()]


def _differences(run: Facts, reference: str) -> list[str]:
    """The differences of the arms' budgets from that of the reference; arms with equal differences are grouped."""
    base = run.arms[reference]
    said: dict[str, list[str]] = {}
    for name, arm in run.arms.items():
        if name == reference:
            continue
        odd = []
        for key, label in COSTS.items():
            a, b = arm.cost(key), base.cost(key)
            if abs(a - b) > 0.01 * max(a, b):
                odd.append(f"{_shown(key, a)} {label}" + (f" for {_shown(key, b)}" if b else ""))
        if (known := arm.cost("task_id_known")) != base.cost("task_id_known"):
            odd.append(f"the task identity is {'known' if known else 'unknown'} at test")
        if arm.world != base.world:
            odd.append("another world")
        said.setdefault("; ".join(odd) or "at equal budget (within 1 %)", []).append(name)
    return [f"{_names(names)}: {what}." for what, names in said.items()]


def _shown(key: str, cost: float) -> str:
    return size_of(cost) if "bytes" in key else f"{cost:,.0f}"


def claims(run: Facts) -> Blocks:
    """The claims of the experiment and their verdicts."""
    rows = []
    for claim in run.claims:
        missed = f" Known to miss: {claim.missed}" if claim.missed else ""
        wanted = brief(claim.expected) + (f" ± {brief(claim.tolerance)}" if claim.tolerance else "")
        rows.append([claim.statement + missed, claim.source, wanted, brief(claim.value), claim.state])
    if not rows:
        return []
    heads = ["claim", "source", "expected", "found", "verdict"]
    return [Heading("Claims"), Table(*without_empty(heads, rows))]


def drawn(run: Facts) -> Blocks:
    """The figures of the experiment, as the run has drawn them."""
    found = [(name, content(path, LARGEST)) for name, path in run.figures]
    found = [(name, png) for name, png in found if png.startswith(PNG)]
    plain = [re.sub(r"[^A-Za-z0-9_.=+-]", "_", name) for name, _ in found]
    numbers = ["" if plain.count(name) == 1 else f"_{i}" for i, name in enumerate(plain)]
    pictures = [
        Picture(f"figure_{safe}{number}", png, name.replace("_", " "))
        for (name, png), safe, number in zip(found, plain, numbers, strict=True)
    ]
    return [Heading("Figures of the experiment"), *pictures] if pictures else []
