"""One budget of bytes for all that a subject keeps beside a plain cortex: how it is shared and kept.

    budget ≥ hippocampus + neocortex + replay + consolidation + readout

The hippocampus counts what it stores when full (`stored_bytes`), the neocortex what it has beyond a plain network
(averaged copies, masks, columns, feedback), the others all of their state but that of optimisers (see core/ledger.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cls_sim.core.errors import ConfigError
from cls_sim.core.ledger import extra_bytes
from cls_sim.core.part import Spec

LARGEST = 2**28  # largest size of a hippocampus
SHARE = ("hippocampus", "neocortex", "replay", "consolidation", "readout")  # the kinds of part that share it


def taken(parts: Mapping[str, Any], subjects: int) -> dict[str, int]:
    """The bytes of each subject beside a plain cortex, by kind of part; what several parts hold counts once."""
    found = {"hippocampus": int(parts["hippocampus"].stored_bytes().max())}
    weights, before = parts["neocortex"].weights, 0
    for i in range(1, len(SHARE)):
        total = extra_bytes([parts[kind] for kind in SHARE[1 : i + 1]], weights, subjects)
        found[SHARE[i]], before = total - before, total
    found["neocortex"] += parts["neocortex"].extra_weights()
    return found


def left(parts: Mapping[str, Any], subjects: int, budget: int) -> int:
    """The bytes that the other parts leave to the hippocampus, from 0."""
    now = taken(parts, subjects)
    return max(0, budget - sum(now.values()) + now["hippocampus"])


def within(parts: Mapping[str, Any], subjects: int, budget: int) -> None:
    """Raise ConfigError, with the bytes of each part, if the parts take more than the budget."""
    now = taken(parts, subjects)
    if (total := sum(now.values())) <= budget:
        return
    sized, memory = parts["hippocampus"].sized, now.pop("hippocampus")
    takes = [f"{kind} takes {n:,}" for kind, n in sorted(now.items(), key=lambda pair: -pair[1]) if n]
    if memory:
        smallest = f" with {sized}={getattr(parts['hippocampus'], sized)}" if sized else ""
        takes.append(f"hippocampus takes {memory:,}{smallest}")
    raise ConfigError("budget", f"{budget:,} bytes are too few: {', '.join(takes)}", f"give at least {total:,}")


def fitted(memory: Any, spec: Spec) -> None:
    """Give a hippocampus the largest size at which it stores at most `spec.budget` bytes, and at least size 1.

    A hippocampus whose size cannot be chosen stays as it is.  It must be set up again afterwards.
    """
    if not memory.sized or spec.budget is None:
        return
    one, most = _alone(spec), spec.budget
    first, second, third = (_at(memory, one, n) for n in (1, 2, 3))
    if second > first:  # else the setting has no effect
        memory.resize(_largest(lambda n: _at(memory, one, n) <= most, most, first, second - first, third - second))


def _largest(fits: Callable[[int], bool], most: int, first: int, step: int, next_step: int) -> int:
    """The largest size from 1 that fits; tried first is the one of a parabola, which is exact for most memories."""
    bend = max(0, next_step - step)

    def bytes_at(n: int) -> int:
        return first + (n - 1) * step + (n - 1) * (n - 2) // 2 * bend

    low = bisect_right(range(1, LARGEST + 1), most, key=bytes_at)
    if low < 1 or (low > 1 and not fits(low)):
        low, high = 1, max(2, low)
    else:
        high = low + 1
        while high <= LARGEST and fits(high):
            low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _at(memory: Any, spec: Spec, n: int) -> int:
    """The bytes of a subject at this size."""
    memory.resize(n)
    memory.setup(spec)
    return int(memory.stored_bytes()[0])


def _alone(spec: Spec) -> Spec:
    """The spec of the first subject alone."""
    sizes, heads, (first, cohort) = spec.context_sizes, spec.heads, spec.cohort or (0, spec.subjects)
    return replace(
        spec,
        seeds=spec.seeds[:1],
        cohort=(first, cohort),
        context_sizes=None if sizes is None else sizes[:1],
        heads=None if heads is None else heads[:1],
        weights={name: (1, *shape[1:]) for name, shape in spec.weights.items()},
        running={name: (1, *shape[1:]) for name, shape in spec.running.items()},
    )
