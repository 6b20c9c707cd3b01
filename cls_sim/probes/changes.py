"""The arguments of `life.twin(…)`, as a type."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypedDict

from torch import nn

from cls_sim.consolidation.base import Consolidation
from cls_sim.core.contract import applied, of_kind
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part
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
    Plasticity can also be a number (a constant rate) or a function of the age in days.

    >>> from cls_sim import Lesion
    >>> changes: Changes = {"hippocampus": Lesion}
    """

    world: World | Callable[[World], World]
    rhythm: Rhythm | Callable[[Rhythm], Rhythm]
    plasticity: Plasticity | float | Callable[[float], float] | Callable[[Plasticity], Plasticity]
    neocortex: Neocortex | Callable[[Neocortex], Neocortex]
    hippocampus: Hippocampus | Callable[[Hippocampus], Hippocampus]
    replay: Replay | Callable[[Replay], Replay]
    consolidation: Consolidation | Callable[[Consolidation], Consolidation]
    readout: Readout | Callable[[Readout], Readout]


def changed(changes: Changes) -> dict[str, object]:
    """These changes by kind of part, with a schedule for a rate of plasticity, constant or by age.

    >>> changed({"plasticity": 0.1})
    {'plasticity': Constant(value=0.1)}
    """
    if "plasticity" not in changes:
        return dict(changes)
    given: Any = changes["plasticity"]
    if _decided_later(given):
        return dict(changes)
    if _is_function(given):
        return {**changes, "plasticity": partial(_of_part_or_age, given)}
    return {**changes, "plasticity": schedule("plasticity", given)}


def _of_part_or_age(function: Callable[[Any], Any], part: Plasticity) -> Plasticity:
    """What a function makes of the present plasticity; if that is a number, a schedule: the function is one of the age.

    >>> from cls_sim import Constant
    >>> _of_part_or_age(lambda part: Constant(rate=0.2), Constant(rate=0.1))
    Constant(value=0.2)
    """
    try:
        found = applied("plasticity", function, part)
    except ConfigError:
        raise
    except Exception:  # it may calculate with the age
        found = None
        with suppress(Exception):
            found = function(1.0)
        if not _is_rate(found):
            raise
    if _is_rate(found):
        return schedule("plasticity", function)
    return of_kind("plasticity", found, Plasticity, "give a function part → part, or one of the age in days → rate")


def _decided_later(given: object) -> bool:
    """Whether this is a class or a network: the branch applies a wrap, and refuses the others."""
    return inspect.isclass(given) or isinstance(given, nn.Module)


def _is_function(given: object) -> bool:
    return callable(given) and not isinstance(given, Part)


def _is_rate(found: object) -> bool:
    return hasattr(found, "__float__")
