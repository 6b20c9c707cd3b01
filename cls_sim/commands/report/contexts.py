"""Interactions between contexts: accuracy by context, forgetting and transfer."""

from __future__ import annotations

import numpy as np

from cls_sim import figures, statistics
from cls_sim.commands.report.blocks import Blocks, Heading, Points, Table, Text, picture, words
from cls_sim.commands.report.facts import Arm, Facts
from cls_sim.sinks.console import interval, number

MEASURES = {
    "forgetting": (
        "forgetting",
        "mean over all contexts except the last of (best reading at earlier context ends - last reading) "
        "(Chaudhry 2018)",
    ),
    "backward": (
        "backward transfer",
        "mean over all contexts except the last of (last reading - reading just after learning) "
        "(Lopez-Paz & Ranzato 2017)",
    ),
    "forward": (
        "forward transfer",
        "mean over all contexts except the first of (reading just before learning - reading at birth) "
        "(Lopez-Paz & Ranzato 2017)",
    ),
    "stability_gap": (
        "stability gap",
        "transient loss of an old context that is recovered within a later context (De Lange et al. 2023)",
    ),
    "min_old": (
        "minimum since learnt",
        "minimum reading of an old context since it was learnt, mean over contexts (min-ACC, De Lange et al. 2023)",
    ),
}


def matrices(run: Facts) -> Blocks:
    """Accuracy after each context (rows) on each context (columns), one panel per arm."""
    if not run.main:
        return []
    found = {name: m for name, arm in run.arms.items() if (m := arm.matrix(run.main)) is not None}
    shapes: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name, matrix in found.items():
        shown = matrix[:, 1:] if np.isnan(matrix[:, 0]).all() else matrix
        if shown.shape[1] and np.isfinite(shown).any():
            shapes.setdefault(shown.shape[1:], {})[name] = shown
    blocks: Blocks = [Heading("Accuracy by context")] if shapes else []
    for i, (shape, panels) in enumerate(shapes.items()):
        if shape[1] > 20:
            continue
        figure = figures.matrix(panels, label=words(run.main))
        said = (
            f"{words(run.main).capitalize()} on each context (columns) after each context (rows), mean over subjects."
        )
        blocks.append(picture("matrices" + ("" if not i else f"_{i + 1}"), figure, said))
    return blocks if len(blocks) > 1 else []


def transfer(run: Facts) -> Blocks:
    """Forgetting, transfer, the stability gap and the rehearsal gap."""
    if not run.main:
        return []
    keys = [(f"{run.main}.{key}", *told) for key, told in MEASURES.items()]
    keys.append(
        ("rehearsal_gap", "rehearsal gap", "accuracy of the cortex on stored episodes minus that on new questions")
    )
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
        Table(heads, rows, "Mean over subjects and its 95 % interval.", frozenset({"arm"})),
        Points([(label.capitalize(), f"{what}.") for _, label, what in shown]),
    ]
    absent = {key[1] for key in keys} - {key[1] for key in shown}
    if "stability gap" in absent:
        at = "[life.begin,day.end,context.end,life.end]"
        blocks.append(
            Text(
                "The stability gap is not measured here: it needs readings within contexts, "
                f"`probes.{run.main}.at={at}`."
            )
        )
    if "rehearsal gap" in absent and any(arm.cost("stored_bytes") for arm in run.arms.values()):
        blocks.append(
            Text(
                "The rehearsal gap is not measured here: add `++probes.rehearsal_gap={_target_: cls_sim.RehearsalGap}`."
            )
        )
    return blocks


def _there(arm: Arm, key: str) -> bool:
    return key in arm.values and bool(np.isfinite(arm.values[key]).any())
