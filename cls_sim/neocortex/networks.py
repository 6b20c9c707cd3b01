"""Checks of user-defined networks by trial runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cls_sim.core.errors import ConfigError, refuse_if
from cls_sim.core.part import Spec

REMEDY = "keep running statistics (track_running_stats=True), or normalise each row (LayerNorm, GroupNorm)"


@dataclass(frozen=True)
class Probed:
    """What a trial run tells about a network.

    readout  the name of its readout layer; None if the output is not that of a linear layer
    moving   the names of the buffers that a learning step changes
    random   whether a learning step draws random numbers, as dropout does
    values   the largest number of values that a layer reads and writes for one row
    """

    readout: str | None
    moving: frozenset[str]
    random: bool
    values: int


def probed(net: nn.Module, spec: Spec) -> Probed:
    """Run a few rows through a network.  Raises ConfigError if the network does not fit the spec."""
    for name, layer in net.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
            raise ConfigError("module", f"has an output that depends on other rows of the batch in {name!r}", REMEDY)
    learns, values = copy.deepcopy(net), [0]
    calls: list[Any] = []

    def count(_: nn.Module, given: Any, out: Any) -> None:
        values[0] = max(values[0], sum(t.numel() for t in (*given, out) if isinstance(t, Tensor)) // 3)

    hooks = [
        layer.register_forward_hook(lambda _, given, out, name=name: calls.append((name, given, out)))
        for name, layer in net.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.Linear)
    ]
    for layer in learns.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    modes = {name: layer.training for name, layer in net.named_modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            net.eval()
            net(torch.zeros(1, *spec.inputs))
            calls.clear()
            out = net(torch.zeros(2, *spec.inputs))
            before = torch.default_generator.get_state()
            learns(_some(spec))
            random = not torch.equal(before, torch.default_generator.get_state())
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError("module", f"fails on an input {list(spec.inputs)} ({line(error)})", _fit(net, spec)) from None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(out, Tensor) or out.shape != (2, spec.outputs):
        shape = list(out.shape[1:]) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError("module", f"has the output {shape}", f"make its output [{spec.outputs}], as in the world")
    last = _readout(net, calls, out)
    _rows_alone(net, spec)
    for name, layer in net.named_modules():
        layer.training = modes[name]
    after = dict(learns.named_buffers())
    moving = frozenset(name for name, buffer in net.named_buffers() if not torch.equal(buffer, after[name]))
    return Probed(last, moving, random, values[0])


def _some(spec: Spec) -> Tensor:
    """Three fixed, different rows."""
    numbers = torch.arange(3 * int(torch.Size(spec.inputs).numel()), dtype=torch.float32)
    return (numbers * 0.7).sin().reshape(3, *spec.inputs)


def _rows_alone(net: nn.Module, spec: Spec) -> None:
    """Refuse a network whose output for a row depends on other rows, or whose buffers change in evaluation mode."""
    trial, x = copy.deepcopy(net), _some(spec)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for parameter in trial.parameters():  # initial weights of 0 could hide the dependence
            parameter.add_((torch.arange(parameter.numel()) * 0.3).sin().view_as(parameter), alpha=0.1)
        before = {name: buffer.clone() for name, buffer in trial.named_buffers()}
        together = trial(x)
        apart = torch.cat([trial(row[None]) for row in x])
        again = trial(x)
    for name, buffer in trial.named_buffers():
        reason = f"changes its buffer {name!r} in evaluation mode"
        refuse_if(not torch.equal(buffer, before[name]), "module", reason, "change it in training mode only")
    remedy = "draw in training mode only, as nn.Dropout does"
    refuse_if(not torch.equal(together, again), "module", "draws random numbers in evaluation mode", remedy)
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-3 * float(together.abs().max()) + 1e-6, equal_nan=True):
        raise ConfigError("module", "has an output that depends on other rows of the batch", REMEDY)


def _fit(net: nn.Module, spec: Spec) -> str:
    """The remedy for a network that does not accept the world's inputs."""
    if any(isinstance(layer, nn.Conv2d) for layer in net.modules()) and len(spec.inputs) < 3:
        size = str(spec.inputs[0]) if len(spec.inputs) == 2 else "height, width"
        return f"images come without a channel axis: begin with nn.Unflatten(1, (1, {size}))"
    return "make it fit the world"


def _readout(net: nn.Module, calls: list[Any], out: Tensor) -> str | None:
    """The name of the last linear layer, if the network's output is its output and nothing else uses it."""
    if not calls or calls[-1][2] is not out or calls[-1][1][0].dim() != 2:
        return None
    name = calls[-1][0]
    alone = [call[0] for call in calls].count(name) == 1
    shared = joined(name, "weight") not in dict(net.named_parameters()) or _tied(net, name)
    return name if alone and not shared else None


def _tied(net: nn.Module, name: str) -> bool:
    """Whether another layer shares the weight of this layer."""
    weight = net.get_submodule(name).weight
    return sum(p is weight for _, p in net.named_parameters(remove_duplicate=False)) > 1


def without(net: nn.Module, name: str) -> nn.Module:
    """The network with its readout layer replaced by the identity."""
    if not name:
        return nn.Identity()
    above, _, own = name.rpartition(".")
    setattr(net.get_submodule(above), own, nn.Identity())
    return net


def checked_state(state: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> None:
    """Raise ConfigError unless a state dict has exactly these names and shapes."""
    for name in {*state, *mine}:
        missing = "is missing" if name not in state else "is not a weight of this network"
        refuse_if(name not in state or name not in mine, f"state.{name}", missing, f"give {', '.join(mine)}")
        reason = f"has the shape {list(state[name].shape)}, not {list(mine[name].shape)}"
        refuse_if(state[name].shape != mine[name].shape, f"state.{name}", reason, "give the state of an equal network")


def joined(name: str, own: str) -> str:
    return f"{name}.{own}" if name else own


def line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
