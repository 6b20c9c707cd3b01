"""What parts announce to one another in the Spec: at birth, and where a branch brings in other parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core import contract
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec

Told = dict[str, tuple[Spec, Spec]]  # kind of part → the spec that its part has heard, and the one that it announced
Change = Part | Callable[[Any], Part]

FOR_LIFE = {  # fields of Spec that no branch can change, and why
    "inputs": "weights and memories are of the size of an input",
    "outputs": "weights and memories are of the number of outputs",
    "regression": "what was learnt answers with labels or with numbers",
    "contexts": "what was learnt is kept by context",
    "quantum": "memories are kept in the form of the inputs",
    "per_day": "ages in days would jump",
    "features": "others hold the cortex' weights by their sizes",
    "weights": "others hold the cortex' weights by their sizes",
}


def begun(parts: Mapping[str, Part], spec: Spec) -> Told:
    """Begin parts in this order, each with what those before it have announced."""
    told: Told = {}
    for kind, part in parts.items():
        told[kind] = spec, contract.begun(kind, part, spec)
        spec = told[kind][1]
    return told


def branched(
    parts: Mapping[str, Part], told: Told, changes: Mapping[str, Change], kinds: Mapping[str, type[Part]]
) -> tuple[dict[str, Part], Told]:
    """Copies of parts for a branch in which some are changed, all of which have heard what the others announce.

    A change is a part, which begins fresh, or a function part → part (a wrap).  A part that hears another spec than it
    has heard so far makes its tables again, and keeps its state bit for bit, as in a life that goes on from a
    checkpoint.  Raises ConfigError where the spec differs in what holds for life, or a state no longer fits it.
    """
    for kind in changes:
        if kind not in parts:
            raise ConfigError(kind, "is no part of a life", f"change one of {', '.join(parts)}")
    copies: dict[str, Part] = {}
    again: Told = {}
    spec = next(iter(told.values()))[0]
    for kind, old in parts.items():
        heard, announced = told[kind]
        change = changes.get(kind)
        if isinstance(change, Part):
            part = contract.of_kind(kind, change, kinds[kind])
            said = contract.begun(kind, part, spec)
        else:
            part, said = copy.deepcopy(old), announced
            if not same(spec, heard):
                with under(kind):
                    said = rehear(part, spec)
            if change is not None:
                part = contract.changed(kind, change, part, kinds[kind])
                said = contract.begun(kind, copy.deepcopy(part), spec)  # a copy's: what is inside has a past
        with under(kind):
            _holds(announced, said)
        copies[kind], again[kind], spec = part, (spec, said), said
    return copies, again


def hear(listeners: Mapping[str, Any], spec: Spec, *, again: bool = False) -> None:
    """Let probes hear a spec (those that are parts), at birth or again in mid-life; the keys are those of messages."""
    for key, one in listeners.items():
        if isinstance(one, Part):
            with under(key):
                rehear(one, spec) if again else one.setup(spec)


def rehear(part: Part, spec: Spec) -> Spec:
    """Let a part in mid-life hear another spec, and return what it announces.

    Its tables are made again, its state stays.
    """
    state = copy.deepcopy(part).state()
    said = part.setup(spec)
    try:
        part.load(state)
    except ConfigError as refused:
        reason = f"does not fit what other parts announce in this branch ({refused.key.partition('.')[2]} "
        remedy = "change only what leaves its sizes as they are, or live this arm from birth"
        raise ConfigError("", reason + f"{refused.reason})", remedy) from None
    return said


def same(one: Spec, other: Spec) -> bool:
    """Whether two specs say the same."""
    return all(_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Spec))


@contextmanager
def under(key: str) -> Iterator[None]:
    """What is refused within is told under this key."""
    try:
        yield
    except ConfigError as refused:
        raise refused.under(key) from None


def _holds(before: Spec, now: Spec) -> None:
    """Refuse a branch that changes what holds for life."""
    for name, why in FOR_LIFE.items():
        old, new = getattr(before, name), getattr(now, name)
        if not _equal(old, new):
            reason = f"announces {name}={_shown(new)} in a life of {name}={_shown(old)}, but {why}"
            remedy = f"keep {name} as it is (here {_shown(old)}), or live this arm from birth"
            raise ConfigError("", reason, remedy)


def _shown(value: Any) -> str:
    return f"{len(value)} tensors" if isinstance(value, Mapping) else str(value)


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)
