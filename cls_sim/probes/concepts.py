"""What a memory of two codes recalls: the example, or the concept."""

from __future__ import annotations

import torch
from torch import Tensor

from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe, of_part, of_world
from cls_sim.probes.evaluations import shared


class ConceptOverlap(Settings, Probe):
    """Overlap of what a memory of two codes recalls from its own episodes [s]: cosines, the mean over traces.

    of      example: of dense recall and the example; concept: of dense recall and the concept of the example; beyond:
            the second minus the first; sparse: of sparse recall and the sparse code of the example
    traces  largest number of traces, spread evenly over the slots

    Needs `TwoCodes` in the world `Concepts`.

    Source: Kang & Toyoizumi 2024.

    >>> ConceptOverlap(of="concept").traces
    50
    """

    moments = ("life.end",)

    of: str = setting("concept", ("example", "concept", "beyond", "sparse"))
    traces: int = setting(50)

    def measure(self, life: Measured) -> Tensor:
        example, concept, sparse = _overlaps(life, self.traces)
        return {"example": example, "concept": concept, "beyond": concept - example, "sparse": sparse}[self.of]


@shared
def _overlaps(life: Measured, traces: int) -> tuple[Tensor, Tensor, Tensor]:
    """The overlaps with the example, with the concept, and of sparse recall: [s] each."""
    prototypes = of_world(life, "prototypes", "ConceptOverlap asks for concepts", "use world=concepts")()
    asks, remedy = "needs a memory of two codes", "use hippocampus=two_codes"
    memory = of_part(life.hippocampus, asks, remedy, "settled", "sparse")
    alive = memory.traces().alive
    count = alive.sum(1, keepdim=True)
    slots = torch.argsort(~alive, dim=1, stable=True)  # traces that are alive come first
    some = torch.arange(min(traces, slots.shape[1]), device=slots.device)
    slot = slots.gather(1, (some * count // len(some)).clamp(max=slots.shape[1] - 1))
    there = (some < count).double()
    stored = memory.fetch(slot)
    x = stored.x.flatten(2)
    dense = 2 * memory.settled(memory.cue(x, "dense"), "dense") - 1
    sparse = memory.settled(memory.cue(x, "sparse"), "sparse")
    concept = prototypes.gather(1, stored.y.clamp(min=0)[..., None].expand(-1, -1, x.shape[2]))
    pairs = ((dense, x), (dense, concept), (sparse, memory.sparse(slot)))
    found = [torch.cosine_similarity(one, other, dim=2).double() for one, other in pairs]
    example, likeness, apart = ((one * there).sum(1) / there.sum(1) for one in found)
    return example, likeness, apart
