"""Figures: mean over subjects with its 95 % interval, the subjects themselves where there are few, theory beside.

Every function returns a matplotlib Figure (no pyplot, no window, shown by Jupyter as it is) with one method more,
`data()`: the rows of numbers that it shows.  `save` writes PNG, PDF and those rows as CSV.

`traces` is a trace or a dict arm → trace; (days [t], values [t, s] or [t, s, k]) serves as a trace as well.
"""

from cls_sim.figures.budget import budget
from cls_sim.figures.compared import arms, compared, sweep
from cls_sim.figures.frontier import frontier
from cls_sim.figures.lives import contexts_over_days, forgetting, matrix, over_days
from cls_sim.figures.page import THIN, save
from cls_sim.figures.side_by_side import side_by_side
from cls_sim.figures.specs import FIGURE_KINDS, draw
from cls_sim.figures.theory import curves

__all__ = [
    "FIGURE_KINDS",
    "THIN",
    "arms",
    "budget",
    "compared",
    "contexts_over_days",
    "curves",
    "draw",
    "forgetting",
    "frontier",
    "matrix",
    "over_days",
    "save",
    "side_by_side",
    "sweep",
]
