"""Means over subjects with their intervals, paired comparisons, and what transfer an accuracy matrix shows.

Numpy only.  Subjects are always the first axis; NaN is a subject that has no such number and is left out.  An
infinite number is not left out: it makes the mean infinite, and there is no interval.
"""

from cls_sim.statistics.comparisons import holm, paired, t_test
from cls_sim.statistics.curves import LAWS, aic, dominated, forgetting, spearman, transfer
from cls_sim.statistics.intervals import FEWEST, KEPT, Estimate, bca, estimate, expanded

__all__ = [
    "FEWEST",
    "KEPT",
    "LAWS",
    "Estimate",
    "aic",
    "bca",
    "dominated",
    "estimate",
    "expanded",
    "forgetting",
    "holm",
    "paired",
    "spearman",
    "t_test",
    "transfer",
]
