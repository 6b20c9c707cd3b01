"""Deep linear networks: the learning of singular modes in closed form."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import real


def mode_strength(steps: ArrayLike, singular: float, rate: float, first: float, last: float = 1.0) -> Numbers:
    """Strength of a mode of a two-layer linear network after t steps: a_f / (1 + (a_f / a_0 - 1) e^(-2 s η t)).

    steps     t, number of steps
    singular  s, singular value of the mean input-output correlation (orthonormal, equally frequent inputs)
    rate      η, learning rate
    first     a_0, initial strength, above 0
    last      a_f, final strength

    Source: Saxe, McClelland & Ganguli 2013.

    >>> mode_strength([0.0, 659.0], singular=0.484, rate=0.02, first=3e-6).round(3).tolist()
    [0.0, 0.51]
    """
    start = real("first", first, 0.0, open_low=True)
    return last / (1.0 + (last / start - 1.0) * np.exp(-2.0 * singular * rate * np.asarray(steps, np.float64)))


def half_time(singular: float, rate: float, first: float, last: float = 1.0) -> float:
    """Steps until a mode is half learnt, ln(a_f / a_0 - 1) / 2 η s; stronger modes are learnt sooner.

    >>> round(half_time(singular=0.484, rate=0.02, first=3e-6))
    657
    """
    return math.log(last / first - 1.0) / (2.0 * rate * singular)
