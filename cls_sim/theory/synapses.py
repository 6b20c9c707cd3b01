"""Memory lifetimes of synapses: the signal-to-noise ratio of one memory among many, for an ideal observer.

A memory is a random pattern of ±1, one number for each of N synapses; a new memory is stored in every tick.  The
observer compares the weights w with the pattern y: SNR = y·w / |w|.  The age of a memory is the number of ticks since
it was stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from cls_sim.core.arrays import Numbers
from cls_sim.core.errors import real, whole


def chain(variables: int) -> Numbers:
    """The matrix A of the change of a Benna-Fusi chain in a tick, du = A u: [m, m].

    >>> chain(2).tolist()
    [[-0.25, 0.25], [0.125, -0.1875]]
    """
    k = np.arange(variables)
    size, coupling = 2.0**k, 2.0**-k / 4.0
    down, up = coupling[:-1] / size[:-1], coupling[:-1] / size[1:]
    return np.diag(-coupling / size) - np.diag(np.append(0.0, up)) + np.diag(down, 1) + np.diag(up, -1)


def cascade(depth: int) -> tuple[list[float], list[float]]:
    """The probabilities that an event switches the sign of a cascade, and that it goes deeper, at each depth.

    >>> cascade(3)
    ([1.0, 0.5, 0.5], [1.0, 0.5, 0.0])
    """
    q = [0.5**i for i in range(depth - 1)] + [0.5 ** (depth - 1) / 0.5]
    p = [0.5 ** (i + 1) / 0.5 for i in range(depth - 1)] + [0.0]
    return q, p


def _modes(variables: int) -> tuple[Numbers, Numbers]:
    """The modes of the Benna-Fusi chain: r(t) = Σ c λ^t for the first variable after a unit impulse."""
    m = whole("variables", variables, 1, 30)
    root = np.sqrt(2.0 ** np.arange(m))
    values, vectors = np.linalg.eigh(root[:, None] * chain(m) / root)  # symmetric in these units
    return 1.0 + values, vectors[0] ** 2


def benna_fusi_response(ticks: ArrayLike, variables: int) -> Numbers:
    """The remaining part of a unit change after t ticks of the chain: r(t), about t^(-1/2) up to 4^m.

    >>> benna_fusi_response([0, 1, 16, 64], variables=6).round(3).tolist()
    [1.0, 0.75, 0.233, 0.118]
    """
    rates, share = _modes(variables)
    return rates ** np.asarray(ticks, np.float64)[..., None] @ share


def benna_fusi_snr(age: ArrayLike, synapses: int, variables: int, lived: int | None = None) -> Numbers:
    """SNR of a memory on chains of m variables: √N r(t) / √(Σ r²), the sum over all stored memories.

    lived  number of stored memories; None: infinitely many

    A memory of age t has had t + 1 ticks.

    Source: Benna & Fusi 2016.

    >>> benna_fusi_snr([0, 15, 63], synapses=10_000, variables=6).round(2).tolist()
    [26.15, 8.12, 4.11]
    """
    rates, share = _modes(variables)
    both, weight = np.outer(rates, rates), np.outer(share, share)
    last = 0.0 if lived is None else both ** whole("lived", lived)
    noise = (weight * both * (1.0 - last) / (1.0 - both)).sum()
    signal = benna_fusi_response(np.asarray(age, np.float64) + 1.0, variables)
    return np.sqrt(whole("synapses", synapses) / noise) * signal


def fading_snr(age: ArrayLike, synapses: int, fade: float) -> Numbers:
    """SNR of a memory on synapses with one decay rate q: √N √(q (2 - q)) (1 - q)^t; its lifetime is ln(2qN) / 2q ticks.

    >>> fading_snr([0, 100], synapses=10_000, fade=0.02).round(2).tolist()
    [19.9, 2.64]
    """
    q = real("fade", fade, 0.0, 1.0, open_low=True)
    return np.sqrt(whole("synapses", synapses) * q * (2.0 - q)) * (1.0 - q) ** np.asarray(age, np.float64)


def cascade_signal(age: ArrayLike, depth: int, coding: float = 1.0) -> Numbers:
    """Signal of a memory per synapse on cascades of depth n: (⟨w⟩ after + - ⟨w⟩ after -) / 2, initially 2 / n.

    It is that of a Markov chain at equilibrium, among the synapses that had an event when the memory was stored.

    coding  chance of a later event in each tick, above 0, at most 1.  Small: a Poisson process with `coding` events a
            tick, whose signal always falls.  1: an event in every tick, which makes the first ages rise and fall

    For depths from 15 the signal falls about as t^(-3/4) over hundreds of events; shallower cascades end exponentially.

    Source: Fusi, Drew & Abbott 2005.

    >>> cascade_signal([0, 100, 200, 300], depth=8, coding=0.01).round(3).tolist()
    [0.25, 0.148, 0.109, 0.089]
    >>> cascade_signal([0, 1, 2, 3], depth=8).round(3).tolist()
    [0.25, 0.083, 0.107, 0.076]
    """
    n, share = whole("depth", depth, 1, 60), real("coding", coding, 0.0, 1.0, open_low=True)
    up = np.zeros((2 * n, 2 * n))  # states: 0 … n-1 weak at depths 1 … n, n … 2n-1 strong; an event toward strong
    for i, (switch, deepen) in enumerate(zip(*cascade(n), strict=True)):
        up[n, i] += switch
        up[i, i] += 1.0 - switch
        up[n + min(i + 1, n - 1), n + i] += deepen
        up[n + i, n + i] += 1.0 - deepen
    if n == 1:
        up = np.array([[0.0, 0.0], [1.0, 1.0]])
    swap = np.roll(np.arange(2 * n), n)
    down = up[np.ix_(swap, swap)]
    weight = np.repeat([-1.0, 1.0], n)
    first = (up - down) @ np.full(2 * n, 0.5 / n) / 2.0
    ages = np.asarray(age, np.int64)
    found, state = np.empty(int(ages.max()) + 1), first
    mixed = (1.0 - share) * np.eye(2 * n) + share * (up + down) / 2.0
    for t in range(len(found)):
        found[t] = weight @ state
        state = mixed @ state
    return np.interp(np.asarray(age, np.float64), np.arange(len(found)), found)


def cascade_snr(age: ArrayLike, synapses: int, depth: int, coding: float = 1.0) -> Numbers:
    """SNR of a memory on N cascades of which a share `coding` takes part: √(coding N) times `cascade_signal`.

    >>> cascade_snr(0, synapses=10_000, depth=10).round(6), cascade_snr(0, 40_000, 10, coding=0.25).round(6)
    (np.float64(20.0), np.float64(20.0))
    """
    return np.sqrt(whole("synapses", synapses) * coding) * cascade_signal(age, depth, coding)


def partition_snr(
    age: ArrayLike,
    synapses: int,
    regions: int,
    rate: float = 0.2,
    transfer: float = 0.2,
    slowing: float = 0.2,
    region: int | None = None,
) -> Numbers:
    """SNR of a memory in one of n regions of N binary synapses each (None: the best region): √N S_i(t).

    S_1(0) = q, S_1 ← (1 - q) S_1, and in every tick S_i ← (1 - r_i) S_i + r_i S_(i-1), with
    r_i = transfer / (1 + slowing (i - 1)).

    Source: after Roxin & Fusi 2013; the rates and the linear copying are ours.

    >>> partition_snr([0, 10, 40], synapses=4000, regions=4).round(2).tolist()
    [12.65, 3.12, 0.66]
    """
    n, ages = whole("regions", regions), np.asarray(age, np.float64)
    copy = transfer / (1.0 + slowing * np.arange(1, n))
    state = np.zeros(n)
    state[0] = rate
    found: list[Numbers] = []
    for _ in range(int(np.ceil(ages.max())) + 1):
        state = np.concatenate((state[:1], (1.0 - copy) * state[1:] + copy * state[:-1]))
        found.append(state)
        state = np.concatenate(((1.0 - rate) * state[:1], state[1:]))
    table = np.sqrt(whole("synapses", synapses)) * np.stack(found)
    curve: Numbers = table.max(1) if region is None else table[:, region]
    return np.interp(ages, np.arange(len(curve)), curve)


def lifetime(snr: Callable[[Numbers], Numbers], longest: int = 10**7) -> float:
    """The age from which an SNR stays below 1, up to `longest` (for an SNR with one last crossing).

    >>> round(lifetime(lambda t: fading_snr(t, synapses=10_000, fade=0.01)))
    263
    """
    ages = np.unique(np.geomspace(1, longest, 4000).astype(np.int64)) - 1
    alive = np.flatnonzero(snr(ages.astype(np.float64)) >= 1.0)
    if not len(alive):
        return 0.0
    low = ages[alive[-1]]
    high = ages[min(alive[-1] + 1, len(ages) - 1)]
    near = np.linspace(low, high, 200)
    return float(near[np.flatnonzero(snr(near) >= 1.0)[-1]])
