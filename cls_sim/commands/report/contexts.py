"""Interactions between contexts: accuracy by context, forgetting and transfer."""

from __future__ import annotations

import numpy as np

from cls_sim import figures, statistics
from cls_sim.commands.report import expected
from cls_sim.commands.report.blocks import Blocks, Heading, Picture, Table, Terms, Text, text
from cls_sim.commands.report.facts import Arm, Facts
from cls_sim.figures.page import drawn, label_of
from cls_sim.sinks.console import interval, number

MOST = 20  # largest number of contexts that a picture shows


def matrices(run: Facts) -> Blocks:
    """Accuracy after each context (rows) on each context (columns), one panel per arm."""
    if not run.main:
        return []
    shapes: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name, arm in run.arms.items():
        if (matrix := arm.matrix(run.main)) is None:
            continue
        shown = matrix[:, 1:] if np.isnan(matrix[:, 0]).all() else matrix
        if shown.shape[1] > 0 and shown.shape[2] <= MOST and np.isfinite(shown).any():
            shapes.setdefault(shown.shape[1:], {})[name] = shown
    label = label_of(run.main)
    said = text("matrices", reading=label.capitalize())
    pictures = [
        Picture(f"matrices_{i}" if i > 1 else "matrices", drawn(figures.matrix(panels, label=label)), said)
        for i, panels in enumerate(shapes.values(), 1)
    ]
    return [Heading("Accuracy by context"), *pictures] if pictures else []


def transfer(run: Facts) -> Blocks:
    """Forgetting, transfer, the stability gap and the rehearsal gap."""
    if not run.main:
        return []
    measures = expected.table()["measures"].items()
    keys = [(run.main + key if key.startswith(".") else key, told["name"], told["what"]) for key, told in measures]
    shown = [key for key in keys if any(_there(arm, key[0]) for arm in run.arms.values())]
    if not shown:
        return []
    rows = []
    for name, arm in run.arms.items():
        row = [name]
        for key, *_ in shown:
            e = statistics.estimate(arm.values[key]) if _there(arm, key) else None
            row.append("" if e is None else f"{number(e.mean)} {interval((e.low, e.high))}".rstrip())
        rows.append(row)
    heads = ["arm", *(label for _, label, _ in shown)]
    blocks: Blocks = [
        Heading("Forgetting and transfer"),
        Table(heads, rows, "Mean over subjects and its 95 % interval."),
        Terms([(label.capitalize(), f"{what}.") for _, label, what in shown]),
    ]
    absent = {key[1] for key in keys} - {key[1] for key in shown}
    if "stability gap" in absent:
        blocks.append(Text(text("no_gap", main=run.main)))
    if "rehearsal gap" in absent and any(arm.cost("stored_bytes") for arm in run.arms.values()):
        blocks.append(Text(text("no_rehearsal")))
    return blocks


def _there(arm: Arm, key: str) -> bool:
    return key in arm.values and bool(np.isfinite(arm.values[key]).any())
