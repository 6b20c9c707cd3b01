"""How the Spec passes from part to part: at birth, and in a branch that replaces parts."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from cls_sim.core import budget as budgets
from cls_sim.core import contract
from cls_sim.core.errors import ConfigError, refuse_if, under
from cls_sim.core.part import Part, Spec
from cls_sim.core.wrap import Wrap

Told = dict[str, tuple[Spec, Spec]]  # kind of part → (spec that its part received, spec that it returned)

FOR_LIFE = {  # fields of Spec that no branch can change, and why
    "inputs": "weights and memories have the size of an input",
    "outputs": "weights and memories have the number of outputs",
    "actions": "weights and memories have the number of actions",
    "regression": "the subject has learned either labels or numbers",
    "contexts": "the subject's state is organised by context",
    "quantum": "memories are stored in the format of the inputs",
    "per_day": "ages in days would jump",
    "features": "other parts depend on the sizes of the neocortex's weights",
    "weights": "other parts depend on the sizes of the neocortex's weights",
}


def begun(parts: Mapping[str, Part], spec: Spec, budget: int | None = None) -> Told:
    """Set up the parts in this order; each receives the spec that the part before it has returned.

    With a budget in bytes, the parts from the hippocampus on are set up again with what the others leave to it.
    Raises ConfigError if the budget is too small (see core/budget.py).
    """
    told: Told = {}
    for kind, part in parts.items():
        told[kind] = spec, contract.begun(kind, part, spec)
        spec = told[kind][1]
    if budget is None:
        return told
    rest = budgets.left(parts, spec.subjects, budget)
    told = _leaving(rest, told)
    spec = told["hippocampus"][0]
    for kind in [*parts][[*parts].index("hippocampus") :]:
        told[kind] = spec, _new(kind, parts[kind], spec)
        spec = told[kind][1]
    budgets.within(parts, spec.subjects, budget)
    return told


def _new(kind: str, part: Part, spec: Spec) -> Spec:
    """Set up a part without a past; a hippocampus gets the largest size that fits into the budget."""
    if kind == "hippocampus":
        with under(kind):
            budgets.fitted(part, spec)
    try:
        return contract.begun(kind, part, spec)
    except ConfigError as refused:  # a memory that takes what is left has found it too little
        if refused.key != "hippocampus.budget":
            raise
        raise ConfigError("budget", refused.reason, refused.remedy) from None


def branched(
    parts: Mapping[str, Part],
    told: Told,
    changes: Mapping[str, object],
    kinds: Mapping[str, type[Part]],
    budget: int | None = None,
) -> tuple[dict[str, Part], Told]:
    """Copy the parts for a branch, apply the changes, and pass the new spec to all parts.

    A change is a part, which starts without a past, or a function part → part: a wrap, or one that returns a part
    without a past.  A part whose spec differs from the one it received before is set up again and keeps its state bit
    for bit, as after a checkpoint.  With a budget in bytes, a new hippocampus gets the largest size that fits.  Raises
    ConfigError if a change is neither, if a field of FOR_LIFE changes, if the state of a part does not fit the new
    spec, or if the budget is too small.
    """
    for kind in changes:
        refuse_if(kind not in parts, kind, "is not a kind of part", f"change one of {', '.join(parts)}")
    spec = next(iter(told.values()))[0]
    if budget is None:
        return _branched(parts, told, changes, kinds, None)
    rest = spec.budget
    if isinstance(changes.get("hippocampus"), Part):
        rest = budgets.left(_branched(parts, told, changes, kinds, None)[0], spec.subjects, budget)
    copies, again = _branched(parts, told, changes, kinds, rest)
    budgets.within(copies, spec.subjects, budget)
    return copies, _leaving(rest, again)


def _leaving(rest: int | None, told: Told) -> Told:
    """The same specs with these bytes left for the hippocampus."""
    return {kind: (replace(one, budget=rest), replace(other, budget=rest)) for kind, (one, other) in told.items()}


def _branched(
    parts: Mapping[str, Part],
    told: Told,
    changes: Mapping[str, object],
    kinds: Mapping[str, type[Part]],
    rest: int | None,
) -> tuple[dict[str, Part], Told]:
    """The copies of the parts with the changes, and what they announce; `rest`: bytes left for a new hippocampus."""
    copies: dict[str, Part] = {}
    again: Told = {}
    spec = next(iter(told.values()))[0]
    for kind, old in parts.items():
        heard, announced = told[kind]
        change = changes.get(kind)
        if isinstance(change, Part):
            part = contract.of_kind(kind, change, kinds[kind])
            said = _new(kind, part, spec if kind != "hippocampus" else replace(spec, budget=rest))
        else:
            part, said = copy.deepcopy(old), announced
            if not same(spec, heard):
                with under(kind):
                    said = rehear(part, spec)
            if kind in changes:
                past, part = part, _changed(kind, change, part, kinds[kind])
                if _within(part, past):  # a copy is set up: the part inside keeps its state
                    said = contract.begun(kind, copy.deepcopy(part), spec)
                else:
                    said = _new(kind, part, spec)
        with under(kind):
            _holds(announced, said)
        copies[kind], again[kind], spec = part, (spec, said), said
    return copies, again


def _changed(key: str, change: Any, part: Part, kind: type[Part]) -> Part:
    """Apply a function part → part (such as a wrap) and check that it returns a part of this kind."""
    makes_another = inspect.isclass(change) and not issubclass(change, Wrap)
    if change is None or isinstance(change, nn.Module) or makes_another:
        return contract.of_kind(key, change, kind)  # which refuses it
    if not callable(change):
        raise ConfigError(key, f"{change!r} is not a part", f"give a {kind.__name__}, or a function part → part")
    return contract.of_kind(key, contract.applied(key, change, part), kind)


def _within(value: object, part: Part) -> bool:
    """Whether a part, or a dict or list of parts, is or contains this part."""
    if value is part:
        return True
    inside = vars(value) if isinstance(value, Part) else value
    if isinstance(inside, Mapping):
        inside = list(cast("Mapping[Any, object]", inside).values())
    return isinstance(inside, (list, tuple)) and any(_within(v, part) for v in cast("Iterable[object]", inside))


def hear(listeners: Mapping[str, Any], spec: Spec, *, again: bool = False) -> None:
    """Set up probes with a spec, at birth or again in mid-life; functions are skipped.  Keys name probes in errors."""
    for key, one in listeners.items():
        if isinstance(one, Part):
            with under(key):
                rehear(one, spec) if again else one.setup(spec)


def rehear(part: Part, spec: Spec) -> Spec:
    """Set up a part in mid-life with another spec, keep its state, and return the spec that it announces."""
    state = copy.deepcopy(part).state()
    said = part.setup(spec)
    try:
        part.load(state)
    except ConfigError as refused:
        reason = f"does not fit what other parts announce in this branch ({refused.key.partition('.')[2]} "
        remedy = "make a change that keeps its sizes, or run this arm from birth"
        raise ConfigError("", reason + f"{refused.reason})", remedy) from None
    return said


def same(one: Spec, other: Spec) -> bool:
    """Whether two specs are equal in every field."""
    return all(_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Spec))


def _holds(before: Spec, now: Spec) -> None:
    """Raise ConfigError if a field of FOR_LIFE differs."""
    for name, why in FOR_LIFE.items():
        old, new = getattr(before, name), getattr(now, name)
        if not _equal(old, new):  # a large cohort has long values to show
            reason = f"announces {name}={_shown(new)} in a life with {name}={_shown(old)}, but {why}"
            raise ConfigError("", reason, f"keep {name}={_shown(old)}, or run this arm from birth")


def _shown(value: Any) -> str:
    return f"{len(cast('Mapping[str, object]', value))} tensors" if isinstance(value, Mapping) else str(value)


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if any(isinstance(value, np.ndarray) for value in (one, other)):
        return np.array_equal(one, other)
    return bool(one == other)
