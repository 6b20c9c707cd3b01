"""Figures: means over subjects with 95 % intervals, single subjects if there are few, and theory for comparison.

Every function returns a matplotlib Figure (without pyplot or a window; Jupyter displays it) with one additional method,
`data()`: the rows of numbers that it shows.  `save` writes PNG, PDF and these rows as CSV.

`traces` is a trace or a dict arm → trace; (days [t], values [t, s] or [t, s, k]) serves as a trace as well.
"""

from typing import Any

from cls_sim.core import renamed
from cls_sim.figures.compared import arms as arms
from cls_sim.figures.compared import compared as compared
from cls_sim.figures.compared import side_by_side as side_by_side
from cls_sim.figures.compared import sweep as sweep
from cls_sim.figures.grouped import grouped as grouped
from cls_sim.figures.lives import awake_and_asleep as awake_and_asleep
from cls_sim.figures.lives import contexts_over_days as contexts_over_days
from cls_sim.figures.lives import forgetting as forgetting
from cls_sim.figures.lives import matrix as matrix
from cls_sim.figures.lives import over_days as over_days
from cls_sim.figures.page import THIN as THIN
from cls_sim.figures.page import save as save
from cls_sim.figures.specs import FIGURE_KINDS as FIGURE_KINDS
from cls_sim.figures.specs import draw as draw
from cls_sim.figures.specs import kind_of as kind_of
from cls_sim.figures.theory import curves as curves
from cls_sim.figures.tradeoffs import budget as budget
from cls_sim.figures.tradeoffs import frontier as frontier


def __getattr__(name: str) -> Any:
    raise AttributeError(renamed.lost("figures", name))
