"""The longest sequence that a memory follows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cls_sim.core.errors import flag, real
from cls_sim.probes.base import Measured, Probe, of_part


class SequenceLength(Probe):
    """The longest sequence that a memory of order follows to its end [s], in patterns; 1 if it follows none.

    For a length L the memory holds the first L of its patterns and is given the first one; it is then left to itself
    for L - 1 steps.  It follows if at most a share `wrong` of all cells in these steps is wrong.  L is found by
    halving, and is at most the number of stored patterns.

    wrong    share of wrong cells, in [0, 0.5]
    reverse  from the last pattern back to the first

    Needs `Follows`.

    Source: Chaudhry, Zavatone-Veth, Krotov & Pehlevan 2023.

    >>> SequenceLength().wrong
    0.01
    """

    moments = ("life.end",)

    def __init__(self, *, wrong: float = 0.01, reverse: bool = False):
        self.wrong, self.reverse = real("wrong", wrong, 0.0, 0.5), flag("reverse", reverse)

    def measure(self, life: Measured) -> Tensor:
        memory = of_part(life.hippocampus, "needs a memory of order", "use hippocampus=follows", "chain", "follow")
        chain = memory.chain()
        low, high = torch.ones_like(chain.count), chain.count.clamp(min=1)  # the answer is from low to high
        while bool((low < high).any()):
            middle = (low + high + 1) // 2
            fits = self._follows(memory, chain.first(middle)) & (low < high)
            low, high = torch.where(fits, middle, low), torch.where(fits | (low == high), high, middle - 1)
        return low.double()

    def _follows(self, memory: Any, chain: Any) -> Tensor:
        """Which subjects follow their whole chain: bool [s]."""
        rows = torch.arange(len(chain.count), device=chain.x.device)
        cells, last = chain.x.shape[2], chain.count - 1
        allowed = self.wrong * cells * last
        z = chain.x[rows, last if self.reverse else 0]
        errors = torch.zeros_like(allowed)
        for step in range(1, int(last.max()) + 1):
            z = memory.follow(z, chain, reverse=self.reverse)
            place = last - step if self.reverse else torch.full_like(last, step)
            right = chain.x[rows, place.clamp(min=0).minimum(last)]
            errors = errors + ((z * right) <= 0).sum(1) * (step <= last)
            if step % 16 == 0 and bool((errors > allowed).all()):
                break
        return errors <= allowed
