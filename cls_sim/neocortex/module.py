"""Any `torch.nn.Module` as a cortex, one copy a subject, all run as one batched computation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cls_sim.core.errors import Refused
from cls_sim.core.part import Spec
from cls_sim.neocortex.base import Neocortex


class Module(Neocortex):
    """A user's own network, x [b, *inputs] → scores [b, outputs], with its own weights for each subject.

    module  a function (or class) without arguments that makes the network; or a network, of which each subject
            gets a copy drawn anew by its layers' `reset_parameters`

    Weights have the network's own names, [s, …] each.  Parameters that need no gradient stay as they are.
    Features are the inputs of the last `nn.Linear`, if its output is the network's answer; else the scores.
    Raises Refused, at `begin`, for a network whose answer is not [b, outputs], that changes its buffers as it goes
    (BatchNorm) or draws at random (dropout): neither can be told apart by subject.

    >>> cortex = Module(module=lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    >>> spec = cortex.begin(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> cortex.scores(torch.zeros(2, 5, 4)).shape, spec.features
    (torch.Size([2, 5, 3]), 8)
    """

    derived = Neocortex.derived | {"module", "fixed", "_body", "_last"}

    def __init__(self, *, module: nn.Module | Callable[[], nn.Module]):
        if not isinstance(module, nn.Module) and not callable(module):
            raise Refused("module", f"{module!r} is no network", "give an nn.Module, or a function that makes one")
        self.module = module

    def begin(self, spec: Spec) -> Spec:
        nets = [self._born(seed) for seed in spec.seeds]
        self.heads = spec.heads
        self._body = copy.deepcopy(nets[0])
        self._last = _probe(self._body, spec)
        features = spec.outputs
        if self._last is not None:
            features = self._body.get_submodule(self._last).in_features
            self._body = _without(self._body, self._last)
        stacks = [dict(net.named_parameters()) | dict(net.named_buffers()) for net in nets]
        stacked = {name: torch.stack([t[name].detach() for t in stacks]).to(spec.device) for name in stacks[0]}
        plastic = {name for name, parameter in nets[0].named_parameters() if parameter.requires_grad}
        self.weights = {name: t.requires_grad_() for name, t in stacked.items() if name in plastic}
        self.fixed = {name: t for name, t in stacked.items() if name not in plastic}
        self._check_vmap(spec)
        return replace(spec, features=features, weights={name: tuple(w.shape) for name, w in self.weights.items()})

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        from torch.func import functional_call, vmap

        body, everything = self._body, self.fixed | (self.weights if weights is None else weights)
        inside = set(dict(body.named_parameters())) | set(dict(body.named_buffers()))
        tensors = {name: t for name, t in everything.items() if name in inside}
        return vmap(lambda t, rows: functional_call(body, t, (rows,)))(tensors, x)

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        if self._last is None:
            return features
        everything = self.fixed | (self.weights if weights is None else weights)
        scores = features @ everything[_join(self._last, "weight")].mT
        bias = everything.get(_join(self._last, "bias"))
        return scores if bias is None else scores + bias[:, None]

    def _born(self, seed: int) -> nn.Module:
        """One subject's network, drawn from its seed; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the devices, too
            if isinstance(self.module, nn.Module):
                return _reset(copy.deepcopy(self.module))
            net = self.module()
        if not isinstance(net, nn.Module):
            raise Refused("module", f"makes a {type(net).__name__}", "let it return an nn.Module")
        return net

    def _check_vmap(self, spec: Spec) -> None:
        """The stacked networks answer, too; what draws at random (dropout) is found out here."""
        with torch.no_grad():
            try:
                self.features(torch.zeros(spec.subjects, 1, *spec.inputs, device=spec.device))
            except RuntimeError as error:
                raise Refused("module", f"cannot be stacked ({_line(error)})", "leave out dropout") from None


def _reset(net: nn.Module) -> nn.Module:
    for name, layer in net.named_modules():
        if any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            if not callable(reset := getattr(layer, "reset_parameters", None)):
                reason = f"its part {name or type(layer).__name__!r} has no reset_parameters"
                raise Refused("module", reason, "give a function that makes the network")
            reset()
    return net


def _probe(net: nn.Module, spec: Spec) -> str | None:
    """Run zeros through one network; refuse what does not fit.  Returns the name of its readout layer, if simple."""
    calls: list[Any] = []
    hooks = [
        layer.register_forward_hook(lambda _, given, out, name=name: calls.append((name, given, out)))
        for name, layer in net.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.Linear)
    ]
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            out = net(torch.zeros(2, *spec.inputs))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise Refused(
            "module", f"fails on an input {list(spec.inputs)} ({_line(error)})", "make it fit the world"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(out, Tensor) or out.shape != (2, spec.outputs):
        shape = list(out.shape[1:]) if isinstance(out, Tensor) else type(out).__name__
        raise Refused("module", f"answers with {shape}", f"let it answer with [{spec.outputs}], the world's outputs")
    for name, buffer in net.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise Refused(
                "module", f"changes its buffer {name!r} as it goes", "leave out BatchNorm, or its running averages"
            )
    for name, layer in net.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 and layer.training:
            raise Refused("module", f"draws at random in {name!r}", "leave out dropout")
    return _readout(net, calls, out)


def _readout(net: nn.Module, calls: list[Any], out: Tensor) -> str | None:
    """The last linear layer, if the network's answer is its output and nothing else uses it."""
    if not calls or calls[-1][2] is not out or calls[-1][1][0].dim() != 2:
        return None
    name = calls[-1][0]
    alone = [call[0] for call in calls].count(name) == 1
    shared = _join(name, "weight") not in dict(net.named_parameters()) or _tied(net, name)
    return name if alone and not shared else None


def _tied(net: nn.Module, name: str) -> bool:
    """Whether another layer uses this layer's weight, too."""
    weight = net.get_submodule(name).weight
    return sum(p is weight for _, p in net.named_parameters(remove_duplicate=False)) > 1


def _without(net: nn.Module, name: str) -> nn.Module:
    """The network up to its readout layer."""
    if not name:
        return nn.Identity()
    above, _, own = name.rpartition(".")
    setattr(net.get_submodule(above), own, nn.Identity())
    return net


def _join(name: str, own: str) -> str:
    return f"{name}.{own}" if name else own


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
