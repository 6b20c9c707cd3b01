"""Interactions between contexts: accuracy by context, forgetting and transfer."""

from __future__ import annotations

import numpy as np

from cls_sim import figures, statistics
from cls_sim.commands.report import expected
from cls_sim.commands.report.facts import Facts
from cls_sim.figures.page import drawn, label_of
from cls_sim.sinks.console import interval, number

MOST = 20  # largest number of contexts that a picture shows


def matrices(run: Facts) -> list[bytes]:
    """Pictures of accuracy after each context (rows) on each context (columns), one panel per arm."""
    shapes: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name, arm in run.arms.items():
        if (matrix := arm.matrix(run.main)) is None:
            continue
        shown = matrix[:, 1:] if np.isnan(matrix[:, 0]).all() else matrix
        if shown.shape[1] > 0 and shown.shape[2] <= MOST and np.isfinite(shown).any():
            shapes.setdefault(shown.shape[1:], {})[name] = shown
    return [drawn(figures.matrix(panels, label=label_of(run.main))) for panels in shapes.values()]


def transfer(run: Facts) -> tuple[dict[str, tuple[str, str]], list[list[str]]]:
    """Forgetting, transfer, the stability gap and the rehearsal gap, as far as they are measured.

    Returns name → (name, description) of each measure, and rows: the name of an arm, then a cell for each measure.
    """
    shown, rows = {}, [[name] for name in run.arms]
    for key, told in expected.table()["measures"].items() if run.main else ():
        reading = run.main + key if key.startswith(".") else key
        cells = [_cell(arm.values.get(reading)) for arm in run.arms.values()]
        if any(cells):
            shown[told["name"]] = told["name"].capitalize(), f"{told['what']}."
            rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    return shown, rows


def _cell(values: np.ndarray | None) -> str:
    """A mean with its interval; empty if no subject has a number."""
    if values is None or not np.isfinite(values).any():
        return ""
    e = statistics.estimate(values)
    return f"{number(e.mean)} {interval((e.low, e.high))}".rstrip()
