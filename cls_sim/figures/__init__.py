"""Figures: means over subjects with 95 % intervals, single subjects if there are few, and theory for comparison.

Every function returns a matplotlib Figure (without pyplot or a window; Jupyter displays it) with one additional method,
`data()`: the rows of numbers that it shows.  `save` writes PNG, PDF and these rows as CSV.

`traces` is a trace or a dict arm → trace; (days [t], values [t, s] or [t, s, k]) serves as a trace as well.
"""

from typing import Any

from cls_sim.core import renamed
from cls_sim.figures.compared import arms, compared, side_by_side, sweep
from cls_sim.figures.grouped import grouped
from cls_sim.figures.lives import awake_and_asleep, contexts_over_days, forgetting, matrix, over_days
from cls_sim.figures.page import THIN, save
from cls_sim.figures.specs import FIGURE_KINDS, draw, kind_of
from cls_sim.figures.theory import curves
from cls_sim.figures.tradeoffs import budget, frontier

__all__ = [
    "FIGURE_KINDS",
    "THIN",
    "arms",
    "awake_and_asleep",
    "budget",
    "compared",
    "contexts_over_days",
    "curves",
    "draw",
    "forgetting",
    "frontier",
    "grouped",
    "kind_of",
    "matrix",
    "over_days",
    "save",
    "side_by_side",
    "sweep",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(renamed.lost("figures", name))
