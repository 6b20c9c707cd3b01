"""Interventions on the neocortex, and averaged copies of its weights."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each, over
from cls_sim.core.part import Spec, View, per_subject
from cls_sim.core.settings import part, setting
from cls_sim.core.wrap import Temporary, Wrap
from cls_sim.neocortex.base import Neocortex, Tap
from cls_sim.neocortex.mlp import Mlp

OF = ("units", "weights")


class CortexLesion(Temporary, Wrap, Neocortex):
    """Lesion the neocortex: a fraction of its units or weights, drawn for each subject, is silent.

        units:    h ← m ⊙ h, of the last hidden layer;    weights:    W ← m ⊙ W, of every layer;    m in {0, 1}

    neocortex  the neocortex that is lesioned, in mid-life (of a twin) or from birth
    fraction   in [0, 1], one number or one per subject; a larger lesion includes every smaller one
    of         units (of the last hidden layer) or weights (synapses of every layer; not biases)
    until      age in days at which the silent part works again, unchanged (reversible lesion); None: for good

    Silent units and weights neither answer nor learn: scores, gradients, activations, feedback and generated replay are
    those of the rest.

    Source: graceful degradation, Rumelhart & McClelland 1986; cortical lesions of consolidated memory, Squire &
    Alvarez 1995.

    >>> from cls_sim.neocortex.mlp import Mlp
    >>> cortex = CortexLesion(Mlp(hidden=[8]), fraction=0.25)
    >>> spec = cortex.setup(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> (cortex.features(torch.ones(2, 1, 4)) == 0).sum().item() >= 4
    True
    """

    inside, null = "neocortex", {"fraction": 0.0}

    neocortex: Neocortex = part(Neocortex, kw_only=False)
    fraction: float | list[float] = setting(1.0, 0.0, 1.0)
    of: str = setting("units", OF)

    def _settle(self, spec: Spec) -> None:
        fraction = per_subject("fraction", self.fraction, spec)
        self._hurt = fraction > 0

        def spared(name: str, shape: tuple[int, ...]) -> Tensor:
            n = int(np.prod(shape))
            rank = each(spec.seeds, f"neocortex.lesion.{name}", lambda g: g.permutation(n))
            lost = torch.from_numpy((fraction * n).round())[:, None]
            return (rank >= lost).float().reshape(-1, *shape).to(spec.device)

        self._units = spared("units", (spec.features,)) if self.of == "units" else None
        matrices = {name: shape[1:] for name, shape in spec.weights.items() if len(shape) > 2 and shape[-1] > 1}
        self._synapses = {} if self.of == "units" else {name: spared(name, shape) for name, shape in matrices.items()}

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        features = self.neocortex.features(x, context, self._spared(weights))
        return features if self._units is None or self._whole() else features * self._now(self._units)[:, None]

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self.neocortex.answer(features, self._spared(weights))

    def scores(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        return self._left().scores(x, context, weights)

    def training_outputs(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self._left().training_outputs(batch, context)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self._left().reconstruct(x)

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        return self._left().dream(n, clock, view)

    def activations(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, list[Tap]] | None:
        """As in the inner neocortex; the synapses of a silent unit on the output are silent."""
        first = None if context is None else context[:, :1]
        if self._whole() or (found := self.neocortex.activations(x[:, :1], first)) is None:
            return self.neocortex.activations(x, context)
        silent = {name: self._now(mask) for name, mask in self._synapses.items()}
        if self._units is not None:
            silent = {found[1][-1].weight: self._now(self._units)[:, None]}
        scores, taps = _left(self, silent).activations(x, context)
        return scores, [replace(tap, spared=_both(tap.spared, silent.get(tap.weight))) for tap in taps]

    # -- the unlesioned rest ----------------------------------------------------------------------------

    def _left(self) -> Neocortex:
        """The inner neocortex; while units or synapses are silent, a view of it without them."""
        return self.neocortex if self._whole() else _left(self, {n: self._now(m) for n, m in self._synapses.items()})

    def _whole(self) -> bool:
        """Whether no subject has a lesion now."""
        return not (self._hurt & (True if self.clock is None else self.span.lasts(self.clock))).any()

    def _spared(self, weights: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
        """These weights (None: those of the neocortex) with silent ones set to 0."""
        if not self._synapses or self._whole():
            return weights
        given = self.weights if weights is None else weights
        return given | {name: given[name] * self._now(mask) for name, mask in self._synapses.items()}

    def _now(self, mask: Tensor) -> Tensor:
        """The mask [s, …], or ones for subjects whose lesion is over."""
        if self.clock is None or (lasts := self.span.lasts(self.clock)).all():
            return mask
        past = torch.from_numpy(~lasts).to(mask.device)
        return torch.where(over(past, mask), 1.0, mask)


def _left(lesion: CortexLesion, silent: dict[str, Tensor]) -> Any:
    """A view of the inner neocortex in which all its methods run without the silent units and weights.

    The view shares everything with the inner neocortex, but multiplies weights (and copies of weights) by these masks,
    and its methods call the lesion for features and answers.
    """
    return _seen(lesion.neocortex, lesion, silent)


def _seen(cortex: Any, lesion: Any, silent: dict[str, Tensor]) -> Any:
    kind, slot = _kind(type(cortex))
    seen = object.__new__(kind)
    object.__setattr__(seen, "__dict__", vars(cortex))
    for name in getattr(type(cortex), "lesions", ()):
        object.__setattr__(seen, name, object.__getattribute__(cortex, name))
    object.__setattr__(seen, slot, (lesion, silent))
    return seen


@functools.cache
def _kind(kind: Any) -> tuple[type, str]:
    """The class of views of a neocortex of this class, and the attribute that refers to the lesion."""
    before = getattr(kind, "lesions", ())  # a lesion of a lesion has two
    slot = f"_lesion{len(before)}"

    def asks(name: str) -> Any:
        return lambda self, *args, **kwargs: getattr(kind.__getattribute__(self, slot)[0], name)(*args, **kwargs)

    def read(self: Any, name: str) -> Any:
        value = kind.__getattribute__(self, name)
        if name == "__dict__" or not isinstance(value, (dict, Neocortex)):
            return value
        lesion, silent = kind.__getattribute__(self, slot)
        if isinstance(value, Neocortex):  # the neocortex inside a wrap
            return _seen(value, lesion, silent)
        if silent and silent.keys() <= value.keys():
            return value | {name: value[name] * mask for name, mask in silent.items()}
        return value

    own = {"__slots__": (slot,), "__module__": kind.__module__, "lesions": (*before, slot)}
    methods = {"__getattribute__": read, "features": asks("features"), "answer": asks("answer")}
    return type(kind.__name__, (kind,), own | methods), slot


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The synapses that both masks spare."""
    return other if one is None else one if other is None else one * other


class Averaged(Wrap, Neocortex):
    """A neocortex with two averaged copies of its weights, `slow` and `fast`, initially equal to the weights.

    Running statistics of normalisation layers are averaged like weights.  In mid-life the copies begin at the present
    weights.  The consolidation rule `Averaging` updates the copies, and the readout `SlowCopyReadout` answers with the
    slow one.  Everything else is as in the inner neocortex.

    cortex  the neocortex that learns; default: an Mlp

    Source: semantic memories as averages of the working model, Arani, Sarfraz & Zonooz 2022; mean teachers, Tarvainen
    & Valpola 2017.

    >>> import torch
    >>> cortex = Averaged(Mlp(hidden=[8]))
    >>> _ = cortex.setup(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> cortex.scores(torch.ones(2, 5, 4), weights=cortex.averages["slow"]).shape
    torch.Size([2, 5, 3])
    """

    inside, null = "cortex", {}
    averages: dict[str, dict[str, Tensor]]

    def __init__(self, cortex: Neocortex | None = None):
        super().__init__(Mlp() if cortex is None else cortex)
        self.averages = {}

    def setup(self, spec: Spec) -> Spec:
        return replace(super().setup(spec), averages=("slow", "fast"))

    def _fresh(self, spec: Spec) -> None:
        present = self.learned()
        self.averages = {name: {n: t.float().clone() for n, t in present.items()} for name in ("slow", "fast")}
