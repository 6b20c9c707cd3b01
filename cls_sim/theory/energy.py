"""The energy that a perceptron spends on plasticity, with and without synaptic caching.

A perceptron of N inputs learns P random patterns one at a time, in a fixed cycle, with steps of ±1 in each weight.
Energy is Σ|Δl|, the sum of all changes of stable weights; the minimum is Σ|w| of the final weights.  The load is P/N.
In all laws the weights go by a random walk.  Its steps in fact oppose the weights a little, because a step is made
where the answer is wrong; final weights are a quarter smaller than those of the walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import real, whole


def perceptron_updates(load: ArrayLike, features: int) -> Numbers:
    """Updates until all P = load · N patterns are right, K = 2P / (2 - load)²; also the energy per synapse, uncached.

    Source: Opper 1988; the 2 was found in simulations by Li & van Rossum 2020.

    >>> perceptron_updates([0.5, 1.0, 1.5], features=250).round().tolist()
    [111.0, 500.0, 3000.0]
    """
    x = np.asarray(load, np.float64)
    return 2.0 * x * whole("features", features) / (2.0 - x) ** 2


def perceptron_energy(load: ArrayLike, features: int) -> Numbers:
    """Energy over the minimum if each change is consolidated at once: K / √(2K/π) = √(πP) / (2 - load).

    Source: Li & van Rossum 2020, equation 3.

    >>> perceptron_energy([0.5, 1.0, 1.5], features=250).round(1).tolist()
    [13.2, 28.0, 68.6]
    """
    return np.sqrt(np.pi * perceptron_updates(load, features) / 2.0)


def nightly_energy(load: ArrayLike) -> Numbers:
    """Energy over the minimum if labile weights are consolidated after each cycle of all patterns.

        Σ_j √k_j / √(Σ_j k_j) = √((1 + √q) / (1 - √q)),    k_j = P/2 · q^j updates in cycle j,  q = 1 - (1 - load/2)²

    In the first cycle all patterns are new and half of the answers are wrong; that the number of updates then falls
    exponentially is an assumption, and q makes their sum K.  A night consolidates √(2 k_j / π) per synapse.

    Source: ours, from the K of Li & van Rossum 2020.

    >>> nightly_energy([0.5, 1.0, 1.5]).round(2).tolist()
    [2.22, 3.73, 7.87]
    """
    root = np.sqrt(1.0 - (1.0 - np.asarray(load, np.float64) / 2.0) ** 2)
    return np.sqrt((1.0 + root) / (1.0 - root))


def caching_energy(interval: ArrayLike, load: float, features: int, upkeep: float = 0.0) -> Numbers:
    """Energy with a night after every T experiences, relative to the energy if each change is consolidated at once.

        Σ_e P/T · (E|s_T| + c Σ_{t=1..T} E|s_t|) / K,    E|s_t| = 1/π ∫_0^π (1 - φ^t) / (1 - cos θ) dθ

    s_t is a walk of t experiences, each of which is an update by ±1 with probability p_e = q^e / 2 in cycle e (see
    `nightly_energy`); φ = 1 - p_e + p_e cos θ.  With many updates between nights the best interval is 3 / 2c.

    interval  T, from 1 to P
    load      P/N, above 0, up to 1.99
    upkeep    c, from 0: energy of one unit of labile weight per experience

    Source: ours, after Li & van Rossum 2020, whose cache is consolidated at a threshold.

    >>> caching_energy([1, 10, 100], load=1.0, features=250).round(2).tolist()
    [1.0, 0.51, 0.19]
    >>> caching_energy([1, 10, 100], load=1.0, features=250, upkeep=0.1).round(2).tolist()
    [1.1, 0.85, 1.45]
    """
    part, c = real("load", load, 0.0, 1.99, open_low=True), real("upkeep", upkeep, 0.0)
    items, often = part * whole("features", features), np.asarray(interval, np.float64)[..., None]
    turn = 1.0 - np.cos((np.arange(512) + 0.5) * np.pi / 512)  # 1 - cos θ at the middles of 512 parts of [0, π]
    chance, found = 0.5, np.zeros(often.shape[:-1])
    while chance * items > 1e-3:
        phi = 1.0 - chance * turn
        gone = 1.0 - phi**often
        consolidated, held = gone / turn, (often - phi * gone / (chance * turn)) / turn
        found = found + (items / often * (consolidated + c * held)).mean(-1)
        chance *= 1.0 - (1.0 - part / 2.0) ** 2
    return found / perceptron_updates(part, features)


def best_interval(upkeep: float, load: float, features: int) -> float:
    """The interval between nights at which `caching_energy` is smallest, from 1 to P, to 2 %.

    >>> [round(best_interval(c, load=1.0, features=250), 1) for c in (0.04, 0.08, 0.12)]
    [28.8, 12.7, 7.7]
    """
    fine = np.geomspace(1.0, load * features, 1 + int(50 * np.log(load * features)))
    return float(fine[np.argmin(caching_energy(fine, load, features, upkeep))])
