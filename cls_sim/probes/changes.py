"""The arguments of `life.twin(…)`, as a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from cls_sim.consolidation.base import Consolidation
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.plasticity.base import Plasticity
from cls_sim.plasticity.by_state import schedule
from cls_sim.readout.base import Readout
from cls_sim.replay.base import Replay
from cls_sim.rhythm.base import Rhythm
from cls_sim.world.base import World


class Changes(TypedDict, total=False):
    """For each kind of part: a new part, or a function from the present part to a new one (such as a wrap).
    Plasticity can also be a number, a constant rate.

    >>> from cls_sim import Lesion
    >>> changes: Changes = {"hippocampus": Lesion}
    """

    world: World | Callable[[World], World]
    rhythm: Rhythm | Callable[[Rhythm], Rhythm]
    plasticity: Plasticity | float | Callable[[Plasticity], Plasticity]
    neocortex: Neocortex | Callable[[Neocortex], Neocortex]
    hippocampus: Hippocampus | Callable[[Hippocampus], Hippocampus]
    replay: Replay | Callable[[Replay], Replay]
    consolidation: Consolidation | Callable[[Consolidation], Consolidation]
    readout: Readout | Callable[[Readout], Readout]


def changed(changes: Changes) -> dict[str, object]:
    """These changes by kind of part, with a schedule for a constant rate of plasticity.

    >>> changed({"plasticity": 0.1})
    {'plasticity': Constant(value=0.1)}
    """
    given = changes.get("plasticity")
    if given is None or callable(given):  # no change, or a wrap
        return dict(changes)
    return {**changes, "plasticity": schedule("plasticity", given)}
