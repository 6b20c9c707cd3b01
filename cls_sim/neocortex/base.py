"""The neocortices: slow learners whose weights carry a leading subject axis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from cls_sim.core.arrays import Flags
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec, View


@dataclass(frozen=True)
class Tap:
    """A layer, drive = W h + b: the names of its weights, its inputs h [s, in, b] and its drive [s, out, b].

    The gradient of a row's loss in W is the product of its derivative in the drive with h: any sum over rows of squared
    gradients is one product of two matrices.  Where synapses are silent, `spared` [s, out, in] is 0, else 1 (None: all
    are spared); so is their gradient.
    """

    weight: str
    bias: str | None
    inputs: Tensor
    drive: Tensor
    spared: Tensor | None = None


class Neocortex(Part):
    """Weights are a dict name → leaf tensor [s, …]; answers are computed for the whole cohort at once."""

    weights: dict[str, Tensor]
    averages: dict[str, dict[str, Tensor]]  # name → averaged copy of the weights, where a cortex keeps some
    heads: Tensor | None = None
    derived = frozenset({"heads"})

    @abstractmethod
    def setup(self, spec: Spec) -> Spec:
        """Draw each subject's first weights from its seed; return the spec with `features` and `weights`."""

    @abstractmethod
    def features(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """The last hidden layer [s, b, f] for x [s, b, …] (context [s, b] for gated cortices), or of other weights."""

    @abstractmethod
    def answer(self, features: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Scores [s, b, o] (logits, or predictions in regression) from the last hidden layer."""

    def scores(self, x: Tensor, context: Tensor | None = None, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Scores [s, b, o]; where the context [s, b] is told, only the outputs of its head compete."""
        return self.mask_logits(self.answer(self.features(x, context, weights), weights), context)

    def mask_logits(self, scores: Tensor, context: Tensor | None) -> Tensor:
        """Scores [s, b, o] of which, where the context [s, b] is told, only those of its head compete."""
        if context is None or self.heads is None:
            return scores
        rows = torch.arange(len(context), device=context.device)[:, None]
        return scores.masked_fill(~self.heads[rows, context.clamp(min=0)], -1e9)

    def training_outputs(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Scores for a batch that teaches, and what the cortex wants of its rows beside the answer.

        The second is a loss [s, b] of its own (to reconstruct its input, say), or None; both differentiable.
        """
        return self.scores(batch.x, context), None

    @contextmanager
    def learning(self, batch: Batch) -> Iterator[None]:
        """Within it, gradients are taken for a learning step on this batch (layers that normalise by it do so)."""
        yield

    def before_step(self, batch: Batch, active: Flags) -> None:
        """The subjects that are active (bool [s]) are about to learn this batch."""

    def after_step(self, batch: Batch, active: Flags) -> None:
        """A step on this batch has moved the weights of the subjects that are active (bool [s])."""

    def plastic_mask(self, context: Tensor) -> dict[str, Tensor] | None:
        """How far each weight may move for rows of these contexts [s, b]: [s, …] in [0, 1] by name; None: wholly."""
        return None

    def activations(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, list[Tap]] | None:
        """Scores, and what every layer received and drove, for sums over rows of functions of single rows' gradients.

        The last tap is that of the answer; its inputs are the features.  None: this cortex does not tell, and whoever
        wants such sums asks row by row.
        """
        return None

    def reconstruct(self, x: Tensor) -> Tensor:
        """What its feedback makes of inputs [s, b, …], without noise: what the cortex alone recalls of them."""
        raise ConfigError("", f"{type(self).__name__} has no feedback to recall with", "use neocortex=feedback")

    def dream(self, n: int, clock: Clock, view: View) -> Batch:
        """What it makes up at this step of sleep: `n` rows a subject [s, n, …], source DREAMED, weight 0 where none.

        A function of (seed, clock.replay) and of what was learnt.  Whoever writes this adds "neocortex" to the
        spec's `dreams` in `setup`; the others cannot dream.
        """
        raise ConfigError("", f"{type(self).__name__} cannot dream", "choose another, or replay what is stored")
