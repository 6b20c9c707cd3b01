"""Any `torch.nn.Module` as a neocortex, one copy for each subject, run as one batched computation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from cls_sim.core.batch import LIVED, Batch
from cls_sim.core.contract import built, unfit
from cls_sim.core.draws import generator, seeded, updated
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.neocortex.base import Neocortex
from cls_sim.neocortex.networks import checked_state, joined, line, probed, without

REMEDY = "use operations that torch.func.vmap supports"


class Module(Neocortex):
    """A user-defined network, x [b, *inputs] → scores [b, outputs], with separate weights for each subject.

    module  a function (or class) without arguments that makes the network; or a network, of which each subject gets a
            copy, initialised again by the `reset_parameters` of its layers

    Weights keep the network's parameter names, [s, …] each.  Parameters that need no gradient do not change.  Features
    are the inputs of the last `nn.Linear` if its output is the network's output; else the scores.

    Batch normalisation (`nn.BatchNorm…`) works as in PyTorch: a learning step normalises each subject's rows by their
    own statistics and updates the running statistics (`running`, name → [s, …]) once; all other calls run in evaluation
    mode, with the running statistics.  Rows of weight 0 do not count.  For a subject with fewer than two rows in a
    step, the running statistics are used and not updated.

    Dropout works as in PyTorch: on in a learning step, off in all other calls.  What is dropped depends on the
    subject's seed and on how many steps it has made (`steps` [s]).

    Networks with convolutions run subject by subject, all others as one batched computation (vmap).

    Raises ConfigError in `setup` for a network whose output is not [b, outputs], whose output for a row depends on
    other rows (BatchNorm without running statistics), or that draws random numbers in evaluation mode.

    >>> cortex = Module(module=lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    >>> spec = cortex.setup(Spec(seeds=(0, 1), inputs=(4,), outputs=3))
    >>> cortex.scores(torch.zeros(2, 5, 4)).shape, spec.features
    (torch.Size([2, 5, 3]), 8)
    """

    derived = Neocortex.derived | {"module", "fixed"}
    apart: bool = False  # whether lived and replayed rows are normalised apart (see Convolutional)

    def __init__(self, *, module: nn.Module | Callable[[], nn.Module]):
        if not isinstance(module, nn.Module) and not callable(module):
            raise ConfigError("module", f"{module!r} is not a network", "give an nn.Module or a function that makes it")
        if not isinstance(module, nn.Module) and (why := unfit(module)):
            name = getattr(module, "__name__", "the function")
            remedy = "give a function without arguments that makes the network, such as lambda: nn.Linear(4, 3)"
            raise ConfigError("module", f"{name} cannot be called without arguments ({why})", remedy)
        self.module = module

    def setup(self, spec: Spec) -> Spec:
        nets = [self._born(seed) for seed in spec.seeds]
        self.heads = spec.heads
        self._whole, self._body = nets[0], copy.deepcopy(nets[0])
        found = probed(self._body, spec)
        self._last, moving = found.readout, found.moving
        features = spec.outputs
        if self._last is not None:
            features = self._body.get_submodule(self._last).in_features
            self._body = without(self._body, self._last)
        self._lesson = copy.deepcopy(self._body)  # in training mode, for batch normalisation and dropout
        self._body.eval()
        self._seeds = spec.seeds
        self._apart = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in self._body.modules())
        if found.random:
            self.steps = np.zeros(spec.subjects, np.int64)
        self._batch: Batch | None = None
        self._moved: tuple[Batch, dict[str, Tensor]] | None = None
        stacks = [dict(net.named_parameters()) | dict(net.named_buffers()) for net in nets]
        stacked = {name: torch.stack([t[name].detach() for t in stacks]).to(spec.device) for name in stacks[0]}
        plastic = {name for name, parameter in nets[0].named_parameters() if parameter.requires_grad}
        self.weights = {name: t.requires_grad_() for name, t in stacked.items() if name in plastic}
        self.running = {name: stacked[name] for name in moving}
        self.fixed = {name: t for name, t in stacked.items() if name not in plastic | moving}
        self._check_vmap(spec)
        weights, running = ({n: tuple(t.shape) for n, t in named.items()} for named in (self.weights, self.running))
        values = 3 * found.values // (spec.subjects if self._apart else 1)  # an operation and its copies
        return replace(spec, features=features, weights=weights, running=running, row_values=max(values, 1))

    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        from torch.func import functional_call, vmap

        body, everything = self._body, self.fixed | self.running | (self.weights if weights is None else weights)
        inside = set(dict(body.named_parameters())) | set(dict(body.named_buffers()))
        tensors = {name: t for name, t in everything.items() if name in inside}
        learns = self._batch is not None and x is self._batch.x and torch.is_grad_enabled()
        if self._batch is not None and learns and (self.running or hasattr(self, "steps")):
            return self._learned_from(tensors, self._batch)
        if self._apart:
            return torch.stack([functional_call(body, mine, (x[i],)) for i, mine in enumerate(_each(tensors, len(x)))])
        return vmap(lambda t, rows: functional_call(body, t, (rows,)))(tensors, x)

    def to_module(self, subject: int = 0) -> nn.Module:
        net = copy.deepcopy(self._whole)
        net.load_state_dict({name: t.detach()[subject] for name, t in self._everything().items()})
        return net.eval()

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], subject: int = 0) -> None:
        mine = self._everything()
        checked_state(state, {name: t[subject] for name, t in mine.items()})
        for name, t in state.items():
            mine[name][subject] = t.to(mine[name])

    def _everything(self) -> dict[str, Tensor]:
        """All parameters and buffers, name → [s, …]."""
        return self.weights | self.running | self.fixed

    def learned(self) -> dict[str, Tensor]:
        return super().learned() | self.running

    @contextmanager
    def learning(self, batch: Batch) -> Iterator[None]:
        self._batch, self._moved = batch, None
        try:
            yield
        finally:
            self._batch = None

    def after_step(self, batch: Batch, active: np.ndarray) -> None:
        if hasattr(self, "steps"):
            self.steps = self.steps + active
        if self._moved is None or self._moved[0] is not batch:
            return
        self.running = {name: updated(active, self._moved[1][name], t) for name, t in self.running.items()}
        self._moved = None

    def _learned_from(self, tensors: dict[str, Tensor], batch: Batch) -> Tensor:
        """The features [s, b, f] of a training batch; rows are normalised by the statistics of the subject's rows."""
        from torch.func import functional_call

        found, moved = [], {name: t.clone() for name, t in self.running.items()}
        present = None if batch.weight is None else batch.present().cpu().numpy()  # read only if rows may be absent
        lived = (batch.source == LIVED).cpu().numpy() if self.apart and self.running else None
        for i, mine in enumerate(_each(tensors, batch.subjects)):
            mine |= {name: t[i] for name, t in moved.items()}
            there = np.arange(batch.rows) if present is None else present[i].nonzero()[0]
            parts = [there] if lived is None else [some for some in _split(there, lived[i]) if len(some)]
            out = torch.zeros(())
            with self._dropping(i):
                for some in parts or [there]:
                    few = bool(self.running) and len(some) < 2
                    whole = len(parts) < 2 and (few or len(some) == batch.rows)
                    at = None if whole else torch.from_numpy(some).to(batch.x.device)
                    rows = batch.x[i] if at is None else batch.x[i][at]
                    made = functional_call(self._body if few else self._lesson, mine, (rows,))
                    if at is None:
                        out = made
                    else:
                        out = out if out.dim() else made.new_zeros(batch.rows, *made.shape[1:])
                        out = out.index_put((at,), made)
            found.append(out)
        self._moved = (batch, moved)
        return torch.stack(found)

    def _dropping(self, subject: int) -> AbstractContextManager[None]:
        """Within this context, torch draws the subject's random numbers for its next step."""
        if not hasattr(self, "steps"):
            return nullcontext()
        source = generator(self._seeds[subject], "neocortex.dropout", int(self.steps[subject]))
        return seeded(int(source.integers(2**63)))

    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        if self._last is None:
            return features
        everything = self.fixed | (self.weights if weights is None else weights)
        scores = features @ everything[joined(self._last, "weight")].mT
        bias = everything.get(joined(self._last, "bias"))
        return scores if bias is None else scores + bias[:, None]

    def _born(self, seed: int) -> nn.Module:
        """One subject's network, initialised from its seed; the global generator is not changed."""
        if not isinstance(self.module, nn.Module):
            return built(self.module, seed)
        with seeded(seed):
            return _reset(copy.deepcopy(self.module))

    def _check_vmap(self, spec: Spec) -> None:
        """Check that the stacked networks run under vmap."""
        with torch.no_grad():
            try:
                self.features(torch.zeros(spec.subjects, 1, *spec.inputs, device=spec.device))
            except (RuntimeError, ValueError) as error:
                raise ConfigError("module", f"cannot be stacked ({line(error)})", REMEDY) from None


def _split(there: np.ndarray, lived: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows in `there` that are lived (bool [b]), and the others."""
    return there[lived[there]], there[~lived[there]]


def _each(tensors: dict[str, Tensor], subjects: int) -> list[dict[str, Tensor]]:
    """The tensors of each subject; the gradient of all of them is one stack, not a sum of padded ones."""
    apart = {name: t.unbind(0) for name, t in tensors.items()}
    return [{name: parts[i] for name, parts in apart.items()} for i in range(subjects)]


def _reset(net: nn.Module) -> nn.Module:
    for name, layer in net.named_modules():
        if any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            if not callable(reset := getattr(layer, "reset_parameters", None)):
                reason = f"its part {name or type(layer).__name__!r} has no reset_parameters"
                raise ConfigError("module", reason, "give a function that makes the network")
            reset()
    return net
