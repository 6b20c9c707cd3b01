"""Checks of user-defined parts: once when a life is made, and once for each method, at its first call.

An error is one line that names the method, the expected type, shape or range, and the one found.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from cls_sim.core.batch import Batch
from cls_sim.core.draws import seeded
from cls_sim.core.errors import ConfigError, refuse_if, under
from cls_sim.core.part import Part, Spec

END = "end it with: return super().setup(spec)"
AXES = "the first axis is the subject, the second the row"
ROWS = 2  # rows of the trial batch with which shapes are checked
SLACK = 1e-3  # tolerance of ranges, for rounding
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FLOAT = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


# -- arguments of a life ----------------------------------------------------------------------------------


def of_kind(key: str, value: Any, kind: type[Part], remedy: str = "") -> Any:
    """Return `value` if it is a part of this kind.  Raises ConfigError that says what it is and what to write."""
    if isinstance(value, kind):
        return value
    name = kind.__name__
    one = f"{'an' if name[0] in 'AEIO' else 'a'} {name}"
    remedy = remedy or f"give {one}"
    if inspect.isclass(value):
        remedy = f"make one: {value.__name__}(...)" if issubclass(value, kind) else remedy
        raise ConfigError(key, f"{value.__name__} is a class, not {one}", remedy)
    if isinstance(value, nn.Module):
        raise ConfigError(key, f"a network ({type(value).__name__}) is not {one}", "wrap it: Module(module=...)")
    refuse_if(value is None, key, "is None", "give NoHippocampus()" if name == "Hippocampus" else remedy)
    raise ConfigError(key, f"{value!r} is not {one}", remedy)


def unfit(function: Callable[..., Any], *arguments: Any) -> str:
    """Why a function or class cannot be called with these arguments; empty if it can, or if its signature is unknown.

    >>> unfit(lambda part: part), unfit(lambda part: part, 3)
    ("missing a required argument: 'part'", '')
    """
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:
        pass
    return ""


def built(make: Callable[[], Any], seed: int) -> nn.Module:
    """The network that a function makes under this seed."""
    with seeded(seed):
        net = make()
    if not isinstance(net, nn.Module):
        raise ConfigError("module", f"makes a {type(net).__name__}", "let it return an nn.Module")
    return net


def applied(key: str, change: Callable[[Any], Any], part: Part) -> Any:
    """What a function makes of a part.  Raises ConfigError if it cannot be called with the part alone."""
    if why := unfit(change, part):
        name = getattr(change, "__name__", "the function")
        remedy = f"write lambda part: {name}(...)" if inspect.isclass(change) else "give a function part → part"
        raise ConfigError(key, f"{name} cannot be called with the present part alone ({why})", remedy)
    return change(part)


def device_of(device: Any) -> torch.device:
    """The device of this name.  Raises ConfigError if this machine does not have it."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        name = str(device).split(":")[0]
        reason = "this machine has no CUDA device" if name == "cuda" else f"{device!r} cannot be used"
        raise ConfigError("device", reason, "give device=cpu") from error
    return found


def probes_of(probes: Any, kind: type[Part]) -> dict[str, Any]:
    """Check a mapping name → probe or function life → [s], and return it as a dict."""
    if probes is not None and not isinstance(probes, Mapping):
        reason = f"is a {type(probes).__name__}, and each probe needs a name"
        raise ConfigError("probes", reason, 'write {"accuracy": Accuracy()}')
    named: dict[str, Any] = dict(cast("Mapping[str, Any]", probes or {}))
    for name, probe in named.items():
        if inspect.isclass(probe) or not callable(probe):
            of_kind(f"probes.{name}", probe, kind, "give a Probe, or a function of the life")
    return named


def begun(key: str, part: Part, spec: Spec) -> Spec:
    """Set up a part, check the spec that it returns (and, of a neocortex, its weights and shapes), and return it."""
    name = type(part).__name__
    with under(key):
        announced: Any = part.setup(spec)
    reason = f"{name} returns {type(announced).__name__}, expected the Spec"
    refuse_if(not isinstance(announced, Spec), f"{key}.setup", reason, END)
    if key == "hippocampus" and not hasattr(part, "spec"):
        raise ConfigError(f"{key}.setup", f"{name} does not call super().setup(spec)", END)
    if key == "neocortex":
        _cortex(announced, part)
    return announced


def _cortex(spec: Spec, part: Any) -> None:
    weights: dict[str, Any] | None = getattr(part, "weights", None)
    s = spec.subjects
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) and w.is_leaf for w in weights.values()):
        reason = f"{type(part).__name__} has no weights, a dict of leaf tensors [{s}, ...] by name"
        raise ConfigError("neocortex.weights", reason, "make them in setup")
    if not spec.features or {n: tuple(w.shape) for n, w in weights.items()} != dict(spec.weights):
        reason = f"{type(part).__name__} does not announce its features and the shapes of its weights"
        remedy = "return replace(spec, features=..., weights={name: tuple(w.shape) ...})"
        raise ConfigError("neocortex.setup", reason, remedy)
    x, context = torch.zeros(s, ROWS, *spec.inputs, device=spec.device), None
    if spec.task_id_known or spec.routed:
        context = torch.zeros(s, ROWS, dtype=torch.int64, device=spec.device)
    with torch.no_grad():
        features = _asked("neocortex.features", x, lambda: part.features(x, context))
        _tensor("neocortex.features", features, (s, ROWS, spec.features), FLOAT)
        answer = _asked("neocortex.answer", features, lambda: part.answer(features))
        _tensor("neocortex.answer", answer, (s, ROWS, spec.outputs), FLOAT)


# -- return values of methods -----------------------------------------------------------------------------


class Contract:
    """Checks the return value of each method at its first call, and never again.

    >>> first = Contract(Spec(seeds=(0, 1)))
    >>> first("plasticity.rate", np.array([0.1, 0.2])).tolist()
    [0.1, 0.2]
    """

    def __init__(self, spec: Spec, kept: frozenset[str] = frozenset()):
        self.spec, self.kept = spec, set(kept)

    def __call__(self, key: str, given: Any, *more: Any) -> Any:
        """Return `given`, the return value of the method `key`; check it if it is the method's first."""
        if key not in self.kept:
            CHECKS[key](self.spec, key, given, *more)
            self.kept.add(key)
        return given

    def reading(self, name: str, given: Any) -> Tensor:
        """The reading of a probe as a tensor; its shape is checked the first time."""
        key = f"probes.{name}"
        try:
            value = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(key, f"returns {given!r}", "return a tensor [s]") from None
        if key not in self.kept:
            s = self.spec.subjects
            remedy = "detach it, or compute it under torch.no_grad()"
            refuse_if(value.requires_grad, key, "returns a tensor with a gradient", remedy)
            found = f"returns a tensor {list(value.shape)}, expected [{s}] or [{s}, k]"
            fits = value.dim() in (1, 2) and len(value) == s and not value.is_complex()
            refuse_if(not fits, key, found, "return one number, or several, for each subject")
            self.kept.add(key)
        return value

    def without(self, rooms: Any) -> Contract:
        """A contract that checks the methods of these kinds of part again."""
        return Contract(self.spec, frozenset(key for key in self.kept if key.split(".")[0] not in {*rooms, "awake"}))


def _asked(key: str, x: Tensor, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ConfigError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(key, f"fails on {list(x.shape)} ({said})", AXES) from error


def _tensor(key: str, given: Any, shape: tuple[int | None, ...], kinds: tuple[torch.dtype, ...]) -> None:
    """Raise ConfigError if `given` is not a tensor of this shape (None: any size) and one of these types."""
    wanted = str(["b" if n is None else n for n in shape]).replace("'", "")
    refuse_if(not isinstance(given, Tensor), key, f"is a {type(given).__name__}, expected a tensor {wanted}", AXES)
    if given.dim() != len(shape) or any(n not in (None, m) for n, m in zip(shape, given.shape, strict=True)):
        raise ConfigError(key, f"is of shape {list(given.shape)}, expected {wanted}", AXES)
    refuse_if(given.dtype not in kinds, key, f"is of {given.dtype}, expected {kinds[-1]}", "convert it")


def _within(key: str, given: Tensor, low: float, high: float) -> None:
    if given.numel() and not (float(given.min()) >= low - SLACK and float(given.max()) <= high + SLACK):
        found = f"is from {float(given.min()):g} to {float(given.max()):g}, expected {low:g} to {high:g}"
        raise ConfigError(key, found, "keep it in this range")


def _rate(spec: Spec, key: str, given: Any) -> None:
    rate, made = np.asarray(given), type(given).__name__
    fits = isinstance(given, np.ndarray) and rate.shape == (spec.subjects,) and rate.dtype.kind == "f"
    found = f"is {made} {list(rate.shape)}, expected a float array [{spec.subjects}]"
    refuse_if(not fits, key, found, "give each subject's rate")
    if not (np.isfinite(rate) & (rate >= 0)).all():
        raise ConfigError(key, f"gives {rate.min():g}, expected finite numbers from 0", "give a rate of 0 or more")


def _asleep(spec: Spec, key: str, given: Any) -> None:
    asleep, made = np.asarray(given), type(given).__name__
    fits = isinstance(given, np.ndarray) and asleep.shape == (spec.subjects,) and asleep.dtype == bool
    found = f"is {made} {asleep.dtype} {list(asleep.shape)}, expected a bool array [{spec.subjects}]"
    refuse_if(not fits, key, found, "give one bool for each subject: whether it sleeps")


def _batch(spec: Spec, key: str, batch: Any, rows: int | None = None) -> None:
    if not isinstance(batch, Batch):
        raise ConfigError(key, f"gives a {type(batch).__name__}, expected a Batch", "make one: Batch.lived(x, y)")
    s = spec.subjects
    _tensor(f"{key}.x", batch.x, (s, rows, *spec.inputs), FLOAT)
    shape = (s, batch.x.shape[1])
    if batch.slot is not None:
        _tensor(f"{key}.slot", batch.slot, shape, (torch.int32, torch.int64))
    if batch.weight is not None:
        _tensor(f"{key}.weight", batch.weight, shape, FLOAT)
        _within(f"{key}.weight", batch.weight, 0.0, float("inf"))
    if spec.regression:
        _tensor(f"{key}.y", batch.y, (*shape, spec.outputs), FLOAT)
    else:
        _tensor(f"{key}.y", batch.y, shape, (torch.int64,))
        there = batch.y if batch.weight is None else torch.where(batch.weight > 0, batch.y, -1)
        if bool(((there < -1) | (there >= spec.outputs)).any()):
            found = f"has labels from {int(there.min())} to {int(there.max())}, expected -1 to {spec.outputs - 1}"
            raise ConfigError(f"{key}.y", found, "write -1 for an unknown label")
    for name in ("context", "born", "item", "source"):
        _tensor(f"{key}.{name}", getattr(batch, name), shape, WHOLE)
    if batch.scores is not None:
        _tensor(f"{key}.scores", batch.scores, (*shape, spec.outputs), FLOAT)


def _lived(spec: Spec, key: str, batch: Any) -> None:
    """Check an experience; in a world that asks for actions it says what followed the action."""
    _batch(spec, key, batch)
    if spec.actions:
        shape = (spec.subjects, batch.rows)
        for name in ("action", "steps"):
            _tensor(f"{key}.{name}", getattr(batch, name), shape, (torch.int64,))
        _tensor(f"{key}.reward", batch.reward, shape, FLOAT)
        _tensor(f"{key}.after", batch.after, (*shape, *spec.inputs), FLOAT)


def _drawn(spec: Spec, key: str, batch: Any, policy: Part, hippocampus: Any) -> None:
    """Check a batch of replay: rows with a slot must come from slots that hold a trace."""
    _batch(spec, key, batch)
    if batch.slot is None or not batch.rows:
        return
    alive, slot = hippocampus.traces().alive, batch.slot.long()
    n = alive.shape[1]
    reason = f"names slots up to {int(slot.max())}, there are {n}"
    refuse_if(bool(((slot < -1) | (slot >= n)).any()), f"{key}.slot", reason, f"draw from 0 to {n - 1}")
    dead = (slot >= 0) & ~alive.gather(1, slot.clamp(min=0))
    held, wrong = alive.any(1), (dead & batch.present()).any(1)
    if _foreign(policy) and bool(held.any()) and bool(dead[held].all()):  # built-in policies may find no candidate
        wrong = held
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        found = f"gives subject {i} rows of empty slots; {int(alive[i].sum())} of its {n} slots hold a trace"
        raise ConfigError(f"{key}.slot", found, "draw among hippocampus.traces().alive, or give slot=None for no rows")


def _foreign(part: Part) -> bool:
    """Whether a part, or a part inside it, comes from another package."""
    return type(part).__module__.partition(".")[0] != "cls_sim" or any(_foreign(inner) for _, inner in part.parts())


@torch.no_grad()
def _awake(spec: Spec, key: str, life: Any, lived: Batch) -> None:
    """Check hippocampus, readout and loss after the first experience."""
    s, memory, x = spec.subjects, life.hippocampus, lived.x[:, :ROWS]
    rows, o = x.shape[1], spec.outputs
    traces = _asked("hippocampus.traces", x, memory.traces)
    n = getattr(getattr(traces, "alive", None), "shape", (0, 0))[-1]
    _fields("hippocampus.traces", traces, {"alive": ((s, n), (torch.bool,)), "strength": ((s, n), FLOAT)})
    _fields("hippocampus.traces", traces, dict.fromkeys(("context", "born", "item"), ((s, n), WHOLE)))
    _fields("hippocampus.traces", traces, {"y": ((s, n, o), FLOAT) if spec.regression else ((s, n), WHOLE)})
    if n:
        slot = traces.alive.int().argmax(1, keepdim=True)
        _batch(spec, "hippocampus.fetch", _asked("hippocampus.fetch", slot, lambda: memory.fetch(slot)), 1)
    recall = _asked("hippocampus.recall", x, lambda: memory.recall(x))
    told: dict[str, Any] = {"x": (tuple(x.shape), FLOAT), "match": ((s, rows), FLOAT), "slot": ((s, rows), WHOLE)}
    _fields("hippocampus.recall", recall, told | ({"scores": ((s, rows, o), FLOAT)} if spec.recall_answers else {}))
    _within("hippocampus.recall.match", recall.match, 0.0, 1.0)
    context = life.known_contexts(lived)
    where = None if context is None else context[:, :ROWS]
    answer = _asked("readout.answer", x, lambda: life.readout.answer(x, where, memory, life.neocortex))
    _fields("readout.answer", answer, {"scores": ((s, rows, o), FLOAT), "source": ((s, rows), (*WHOLE, torch.int64))})
    _fields("readout.answer", answer, {"novelty": ((s, rows), FLOAT)})
    _within("readout.answer.novelty", answer.novelty, 0.0, 1.0)
    loss = _asked("consolidation.loss", lived.x, lambda: life.consolidation.loss(life.neocortex, lived))
    _tensor("consolidation.loss", loss, (s, lived.rows), FLOAT)


def _fields(key: str, given: Any, wanted: Mapping[str, Any]) -> None:
    for name, (shape, kinds) in wanted.items():
        named = key.split(".")[1].capitalize()
        refuse_if(not hasattr(given, name), key, f"gives a {type(given).__name__} without {name}", f"give a {named}")
        _tensor(f"{key}.{name}", getattr(given, name), shape, kinds)


CHECKS: dict[str, Callable[..., None]] = {
    "plasticity.rate": _rate,
    "rhythm.asleep": _asleep,
    "world.next": _lived,
    "replay.training_batch": _drawn,
    "replay.draw": _drawn,
    "awake": _awake,
}
