"""The base class of neocortices: slow learners whose weights have a leading subject axis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from cls_sim.core.arrays import Flags
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec, View


@dataclass(frozen=True)
class Tap:
    """The activity of a layer, drive = W h + b: names of its weights, inputs h [s, in, b] and drive [s, out, b].

    The gradient of a row's loss with respect to W is the outer product of ∂loss/∂drive and h, so a sum of squared
    gradients over rows is one matrix product.  `spared` [s, out, in] is 0 for silent synapses, whose gradient is 0, and
    1 for all others (None: no synapse is silent).
    """

    weight: str
    bias: str | None
    inputs: Tensor
    drive: Tensor
    spared: Tensor | None = None


@dataclass(frozen=True)
class ClosedForm:
    """A forward pass whose gradients are known in closed form, so that no graph of the network is recorded.

    outputs    [s, b, o]  the drive of the output layer, without gradient
    scores     outputs → scores [s, b, o], differentiable: the masks of outputs
    gradients  ∂loss/∂outputs [s, b, o] → name → ∂loss/∂weight [s, …], bit for bit what autograd gives
    """

    outputs: Tensor
    scores: Callable[[Tensor], Tensor]
    gradients: Callable[[Tensor], dict[str, Tensor]]


class Neocortex(Part):
    """The slow learner: `weights` is a dict name → leaf tensor [s, …]; methods compute the whole cohort at once."""

    weights: dict[str, Tensor]
    averages: dict[str, dict[str, Tensor]]  # name → averaged copy of the weights, if the cortex keeps any
    heads: Tensor | None = None
    derived = frozenset({"heads"})
    shortcuts = frozenset({"closed_form"})

    @abstractmethod
    def setup(self, spec: Spec) -> Spec:
        """Draw each subject's initial weights from its seed; return the spec with `features` and `weights`."""

    @abstractmethod
    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """The last hidden layer [s, b, f] for x [s, b, …]; routed cortices need `context` [s, b]; None: own weights."""

    @abstractmethod
    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Scores [s, b, o] (logits, or predictions in regression) from the last hidden layer."""

    def scores(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Scores [s, b, o] for inputs [s, b, …]; with a context [s, b], outputs outside its head are masked."""
        return self.mask_logits(self.answer(self.features(x, context, weights), weights), context)

    def mask_logits(self, scores: Tensor, context: Tensor | None) -> Tensor:
        """Scores [s, b, o] with the outputs outside each context's head set to -1e9; unchanged without context."""
        if context is None or self.heads is None:
            return scores
        rows = torch.arange(len(context), device=context.device)[:, None]
        return scores.masked_fill(~self.heads[rows, context.clamp(min=0)], -1e9)

    def training_outputs(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Differentiable scores [s, b, o] for a training batch, and an additional loss [s, b] or None.

        The additional loss is for cortices that learn more than the answer, such as to reconstruct their input.
        """
        return self.scores(batch.x, context), None

    def closed_form(self, batch: Batch, context: Tensor | None) -> ClosedForm | None:
        """The forward pass of `training_outputs` with closed-form gradients; None: autograd finds the gradients."""
        return None

    def learned(self) -> dict[str, Tensor]:
        """What this cortex has learnt: its weights [s, …], detached, and the running statistics of its layers."""
        return {name: w.detach() for name, w in self.weights.items()}

    def extra_weights(self) -> int:
        """Bytes of a subject's weights beyond those of a plain network with these hidden layers."""
        return 0

    def to_module(self, subject: int = 0) -> nn.Module:
        """A copy of one subject's network as a plain PyTorch module, x [b, *inputs] → scores [b, outputs].

        Raises ConfigError for a neocortex that has no plain form, such as one that depends on the context.
        """
        remedy = "read life.neocortex.weights, name → [s, …]"
        raise ConfigError("to_module", f"{type(self).__name__} has no plain PyTorch form", remedy)

    def state_dict(self, subject: int = 0) -> dict[str, Tensor]:
        """The weights of `to_module(subject)`, by PyTorch's names.  Raises ConfigError as `to_module` does."""
        return self.to_module(subject).state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor], subject: int = 0) -> None:
        """Set one subject's weights to those of a network like `to_module(subject)`.

        Raises ConfigError for other names or shapes; then nothing changes.
        """
        raise ConfigError("load_state_dict", f"{type(self).__name__} has no plain PyTorch form", "set its weights")

    @contextmanager
    def learning(self, batch: Batch) -> Generator[None]:
        """Context manager around the gradient of a step on this batch; normalisation layers use batch statistics."""
        yield

    def before_step(self, batch: Batch, active: Flags) -> None:
        """Called before a step on this batch, for the subjects in `active` (bool [s])."""

    def after_step(self, batch: Batch, active: Flags) -> None:
        """Called after a step on this batch, for the subjects in `active` (bool [s]), whose weights have moved."""

    def plastic_mask(self, context: Tensor) -> dict[str, Tensor] | None:
        """How plastic each weight is for rows of these contexts [s, b]: name → [s, …] in [0, 1]; None: all 1."""
        return None

    def frozen(self) -> dict[str, Flags]:
        """The weights that never change again, name → for which subjects, bool [s]; they need no gradient."""
        return {}

    def activations(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, list[Tap]] | None:
        """Scores and the activity of every layer, from which sums of squared per-row gradients are computed.

        The last tap is the output layer; its inputs are the features.  None: this cortex does not provide them, and
        the caller computes gradients row by row.
        """
        return None

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstruct inputs [s, b, …] by feedback connections, without noise; ConfigError without feedback."""
        raise ConfigError("", f"{type(self).__name__} has no feedback to recall with", "use neocortex=feedback")

    def reinstate(self, features: Tensor) -> Tensor:
        """Inputs [s, b, …] that feedback connections reinstate from patterns [s, b, f] of the last hidden layer.

        They are multiples of the world's quantum, if it has one (binary units are on or off).  ConfigError without
        feedback.
        """
        raise ConfigError("", f"{type(self).__name__} has no feedback to reinstate with", "use neocortex=feedback")

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        """Generate `n` rows for each subject at this replay step: [s, n, …], source DREAMED, weight 0 for absent rows.

        The rows depend on (seed, clock.replay) and on what was learned.  A class that overrides this method adds
        "neocortex" to `dreams` of the spec in `setup`; other classes raise ConfigError.
        """
        raise ConfigError("", f"{type(self).__name__} cannot dream", "choose another one, or replay stored rows")


def told(spec: Spec, features: int, weights: Mapping[str, Tensor], **more: Any) -> Spec:
    """The spec with what a neocortex announces: its last hidden width, the sizes of its weights, and more fields."""
    return replace(spec, features=features, weights={name: tuple(w.shape) for name, w in weights.items()}, **more)


def beyond_perceptron(weights: Mapping[str, Tensor], sizes: Sequence[int]) -> int:
    """Bytes of a subject's weights beyond those of a perceptron with layers of these sizes, from 0.

    >>> beyond_perceptron({"weight0": torch.zeros(1, 2, 3), "column": torch.zeros(1, 5)}, (3, 2))
    12
    """
    plain = 4 * sum((before + 1) * after for before, after in pairwise(sizes))
    return max(0, sum(w[0].nbytes for w in weights.values()) - plain)


FORWARD = ("features", "answer", "scores", "training_outputs", "mask_logits", "learning")


@cache
def has_closed_form(kind: type[Neocortex]) -> bool:
    """Whether the `closed_form` of a class describes its forward pass: no subclass has changed one of its steps.

    >>> has_closed_form(Neocortex)
    False
    """
    order = kind.__mro__
    first = {name: next(i for i, base in enumerate(order) if name in vars(base)) for name in (*FORWARD, "closed_form")}
    mine = first.pop("closed_form")
    return order[mine] is not Neocortex and mine <= min(first.values())
