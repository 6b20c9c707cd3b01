"""Layers that learn at their own pace: a rate and a critical period for each group of layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.arrays import Flags, some
from cls_sim.core.batch import Batch
from cls_sim.core.draws import over
from cls_sim.core.errors import ConfigError, real, refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, part, setting
from cls_sim.core.wrap import Wrap
from cls_sim.neocortex.base import Neocortex


def _groups(key: str, groups: Sequence[Any]) -> list[list[str]]:
    for i, group in enumerate(groups):
        wrong, remedy = isinstance(group, str) or not hasattr(group, "__iter__"), "write [[weight0, bias0], [weight1]]"
        refuse_if(wrong, f"{key}[{i}]", f"{group!r} is not a list of names", remedy)
    return [[str(name) for name in group] for group in groups]


class LayerPeriods(Settings, Wrap, Neocortex):
    """Each group of layers has its own rate and its own critical period; the plasticity of the life applies to all.

        ΔW_g ← s_g(t) ΔW_g,    s_g(t) = rate_g until the age t = close_g, then rate_g · exp(-(t - close_g) / fade)

    neocortex  the neocortex whose layers are grouped
    rates      factor of the learning rate of each group, from below (next to the input) to above, from 0
    close      age in days at which the critical period of each group closes, from 0; .inf: never
    fade       days in which plasticity falls to 1/e after that, from 0; 0: it stops at once
    groups     for each group, the beginnings of the names of its weights, such as ["weight0", "bias0"]; None: the
               layers are divided evenly, from below

    `rates` and `close` have one number for each group, or one number for all groups.  Running statistics of
    normalisation layers follow the same factors, up to 1.  A group with the factor 0 does not change at all; if it
    will never change again (rate 0, or closed without fading), its gradients are 0, and once this is so for all
    subjects, they are not computed and the optimizer does not see them.  The factors apply to learning rules that learn
    in steps (Descent and its wraps, Binary).

    Raises ConfigError for lists of different lengths, and in `setup` for more groups than layers and for a weight that
    belongs to no group or to several.

    Source: critical periods close earlier in lower areas: Hensch 2005; Reh et al. 2020.

    >>> from cls_sim.neocortex.mlp import Mlp
    >>> cortex = LayerPeriods(Mlp(hidden=[8]), close=[2.0, float("inf")])
    >>> _ = cortex.setup(Spec(inputs=(4,), outputs=3))
    >>> [sorted(names) for names in cortex.members]
    [['bias0', 'weight0'], ['bias1', 'weight1']]
    """

    inside, null = "neocortex", {"rates": [1.0], "close": [float("inf")]}
    derived = frozenset({"members"})

    neocortex: Neocortex = part(Neocortex, kw_only=False)
    rates: float | Sequence[float] = setting(1.0)
    close: float | Sequence[float] = setting(float("inf"))
    fade: float = setting(0.0, 0.0)
    groups: Sequence[Sequence[str]] | None = setting(None, check=_groups)

    def _ready(self) -> None:
        self._rates, self._close = _list("rates", self.rates), _list("close", self.close, endless=True)
        counts = {len(self._rates), len(self._close), 1 if self.groups is None else len(self.groups)} - {1}
        reason = f"has {len(self._close)} numbers, rates {len(self._rates)}, groups {len(self.groups or [])}"
        refuse_if(len(counts) > 1, "close", reason, "give one number for each group, or one for all")
        self._count = max(counts, default=1)

    def _settle(self, spec: Spec) -> None:
        self.members = self._members([*spec.weights, *spec.running])
        self._before: dict[str, Tensor] = {}
        self._running: dict[str, Tensor] = {}

    def _members(self, names: list[str]) -> list[set[str]]:
        """The names of the weights and running statistics of each group."""
        if self.groups is not None:
            found = [{n for n in names if any(n.startswith(start) for start in group)} for group in self.groups]
            for name in names:
                if (count := sum(name in group for group in found)) != 1:
                    reason = f"leave out {name}" if not count else f"name {name} more than once"
                    raise ConfigError("groups", reason, f"the names are {', '.join(names)}")
            return found
        layers = list(dict.fromkeys(map(_layer, names)))
        if self._count > len(layers):
            raise ConfigError("close", f"has {self._count} groups for {len(layers)} layers", "give fewer")
        parts = [set(part.tolist()) for part in np.array_split(np.array(layers), self._count)]
        return [{name for name in names if _layer(name) in part} for part in parts]

    def factors(self) -> list[np.ndarray]:
        """The factor of each group now: float64 [s] each."""
        assert self.clock is not None
        past, found = self.clock.day, []
        for i in range(self._count):
            rate, close = (one[i if len(one) > 1 else 0] for one in (self._rates, self._close))
            late = np.maximum(past - close, 0.0)
            after = np.exp(-late / self.fade) if self.fade else np.zeros_like(late)
            found.append(rate * np.where(past < close, 1.0, after))
        return found

    def frozen(self) -> dict[str, Flags]:
        assert self.clock is not None
        found = self.neocortex.frozen()
        for i, members in enumerate(self.members):
            rate, close = (one[i if len(one) > 1 else 0] for one in (self._rates, self._close))
            closed = (self.clock.day >= close) & (self.fade == 0) | (rate == 0)
            if some(closed):
                found |= {name: found.get(name, closed) | closed for name in members & self.weights.keys()}
        return found

    def before_step(self, batch: Batch, active: np.ndarray) -> None:
        self.neocortex.before_step(batch, active)
        slow = set[str]().union(*(m for m, f in zip(self.members, self.factors(), strict=True) if (f != 1).any()))
        self._before = {name: w.detach().clone() for name, w in self.weights.items() if name in slow}
        statistics: dict[str, Tensor] = getattr(self.neocortex, "running", {})
        self._running = {name: t for name, t in statistics.items() if name in slow and t.is_floating_point()}

    @torch.no_grad()
    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        self.neocortex.after_step(batch, active)
        if not self._before and not self._running:
            return
        for members, factor in zip(self.members, self.factors(), strict=True):
            share = torch.from_numpy(factor).float()
            for name in members & self._before.keys():
                w, old = self.weights[name], self._before[name]
                part = over(share.to(w.device), w)
                w.copy_(torch.where(part == 1, w, old + part * (w - old)))
            for name in members & self._running.keys():
                new, old = self.neocortex.running[name], self._running[name]  # pyright: ignore[reportAttributeAccessIssue]
                self.neocortex.running[name] = torch.lerp(old, new, over(share.clamp(max=1).to(new.device), new))  # pyright: ignore[reportAttributeAccessIssue]
        self._before, self._running = {}, {}


def _layer(name: str) -> str:
    """The layer to which a weight belongs: `weight0` and `bias0` to 0, `conv.weight` to conv.

    >>> _layer("bias2"), _layer("stage.1.weight")
    ('2', 'stage.1')
    """
    module, dot, _ = name.rpartition(".")
    found = re.search(r"\d+$", name)
    return module if dot else found[0] if found else name


def _list(key: str, value: Any, **more: bool) -> list[float]:
    if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__"):
        return [real(key, value, 0.0, **more)]
    found = [real(f"{key}[{i}]", one, 0.0, **more) for i, one in enumerate(list(value))]
    refuse_if(not found, key, "is an empty list", "give one number, or one for each group")
    return found
