"""Means over subjects with intervals, paired comparisons, and forgetting and transfer of an accuracy matrix.

Numpy only.  Subjects are always the first axis.  A subject with NaN is left out; an infinite number is not left out,
and gives an infinite mean without an interval.
"""

from cls_sim.statistics.comparisons import holm as holm
from cls_sim.statistics.comparisons import paired as paired
from cls_sim.statistics.comparisons import t_test as t_test
from cls_sim.statistics.curves import LAWS as LAWS
from cls_sim.statistics.curves import aic as aic
from cls_sim.statistics.curves import dominated as dominated
from cls_sim.statistics.curves import forgetting as forgetting
from cls_sim.statistics.curves import spearman as spearman
from cls_sim.statistics.curves import transfer as transfer
from cls_sim.statistics.intervals import FEWEST as FEWEST
from cls_sim.statistics.intervals import KEPT as KEPT
from cls_sim.statistics.intervals import Estimate as Estimate
from cls_sim.statistics.intervals import bca as bca
from cls_sim.statistics.intervals import estimate as estimate
from cls_sim.statistics.intervals import expanded as expanded
