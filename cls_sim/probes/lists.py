"""What a hippocampus answers about lists, and how much its layers keep events apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe, labelled, of_part
from cls_sim.probes.evaluations import questions

LAYERS = ("ec", "ca1", "ca3", "dg")


class CuedRecall(Settings, Probe):
    """The share of the questions of each context that the hippocampus answers [s, k].

    of  right: with the right label; any: at all (of lures, which were never studied, a false alarm)

    A memory has no answer to a question if all its scores are 0.  NaN for a context without questions.

    Source: cued recall and lures, Ketz, Morkonda & O'Reilly 2013.

    >>> CuedRecall(of="any").moments
    ('context.end', 'life.end')
    """

    of: str = setting("right", ("right", "any"))

    def setup(self, spec: Spec) -> Spec:
        return labelled(spec, "", "asks for labels", "measure Completion")

    def measure(self, life: Measured) -> Tensor:
        found: list[Tensor] = []
        for context in range(life.spec.contexts):
            asked = questions(life, "evaluation", context)
            scores = life.hippocampus.recall(asked.x).scores
            given = (scores != 0).any(2)
            if self.of == "right":
                given = given & (scores.argmax(2) == asked.y)
            there = asked.weights().double()
            found.append((given * there).sum(1) / there.sum(1))
        return torch.stack(found, 1)


def _numbers(key: str, value: Sequence[int]) -> list[int]:
    return [whole(key, one, 0) for one in value]


class LayerOverlap(Settings, Probe):
    """The overlap of the activity that two lists drive, item by item, in EC, CA1, CA3 and DG [s, 4], or its order [s].

        a · b / √(|a|² |b|²)  for the events a, b of one item in both lists: the share of active cells in common

    lists  the numbers of two contexts with the same number of questions
    of     overlap: the mean over items [s, 4]; order: 1 if EC > CA1 > CA3 > DG, else 0 [s]

    Needs a hippocampus with layers (`Theta`).

    Source: Ketz, Morkonda & O'Reilly 2013.

    >>> LayerOverlap(of="order").lists
    [0, 1]
    """

    axis = "layer"
    moments = ("life.end",)

    lists: Sequence[int] = setting((0, 1), check=_numbers)
    of: str = setting("overlap", ("overlap", "order"))

    def measure(self, life: Measured) -> Tensor:
        memory = of_part(life.hippocampus, "needs a hippocampus with layers", "use hippocampus=theta", "layers")
        asked = [questions(life, "evaluation", context) for context in self.lists]
        one, other = ([memory.layers(batch.x, batch.y)[layer] for layer in LAYERS] for batch in asked)
        found = [torch.cosine_similarity(a, b, dim=2).mean(1) for a, b in zip(one, other, strict=True)]
        overlap = torch.stack(found, 1).double()
        return overlap if self.of == "overlap" else (overlap.diff(dim=1) < 0).all(1).double()
