"""Means over subjects with intervals, paired comparisons, and forgetting and transfer of an accuracy matrix.

Numpy only.  Subjects are always the first axis.  A subject with NaN is left out; an infinite number is not left out,
and gives an infinite mean without an interval.
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
