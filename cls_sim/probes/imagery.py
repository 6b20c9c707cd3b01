"""Reconstruction of inputs: pattern completion, loss of variety, and detection of unfamiliar inputs."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from cls_sim.core.batch import Batch
from cls_sim.core.contract import of_kind
from cls_sim.core.draws import each
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.probes.base import Measured, Probe, undefined
from cls_sim.probes.evaluations import questions, stored
from cls_sim.world.base import World

ROWS = 1000  # rows that are recalled at once


class Imagery(Settings, Probe):
    """Reconstruction r(x) of inputs x by the feedback connections of the cortex, or by recall of the hippocampus [s].

    of      restored  1 - |r(x̃) - x|² / |x̃ - x|² over stored items, where x̃ is x with a part of its numbers set to 0:
                      above 0 if recall is nearer to the original than the cue
            spread    within-class variance of r(x) divided by that of x, over stored items: 1 if all details are kept,
                      0 for one prototype per class
            strange   area under the ROC curve: the probability that an input of a context not yet met has a larger
                      error |r(x) - x|² than a new input of a context already met; chance is ½
            kept      the same with stored items in place of inputs not yet met: above ½ if the hippocampus keeps items
                      that are unfamiliar to the system
    system    cortex or hippocampus
    lost      share of a cue that is lost, in [0, 1]
    items     largest number of items, from 2
    novel     take unfamiliar inputs from the evaluation of this world, its square images resized; None: from the next
              context
    relative  use relative errors |r(x) - x|² / |x|², so that an image with few active pixels does not count as familiar

    NaN if nothing is stored, or if all contexts have been met.  Raises ConfigError for a cortex without feedback.

    Source: the measures of Spens & Burgess 2024, A generative model of memory construction and consolidation.

    >>> Imagery(of="spread", system="hippocampus").of
    'spread'
    """

    moments = ("night.end", "life.end")

    of: str = setting("restored", ("restored", "spread", "strange", "kept"))
    system: str = setting("cortex", ("cortex", "hippocampus"))
    lost: float = setting(0.25, 0.0, 1.0)
    items: int = setting(500, 2)
    novel: World | None = setting(None, World, "give one, such as Omniglot(), or None", check=of_kind)
    relative: bool = setting(False)

    def setup(self, spec: Spec) -> Spec:
        if self.novel is not None:
            self.novel.setup(Spec(seeds=spec.seeds, device=spec.device, cohort=spec.cohort))
        return spec

    def measure(self, life: Measured) -> Tensor:
        if self.of in ("strange", "kept"):
            return self._strange(life)
        traces = life.hippocampus.traces()
        slots = torch.arange(min(self.items, traces.alive.shape[1]), device=traces.alive.device)
        batch = life.hippocampus.fetch(slots.expand(len(traces.alive), -1).contiguous())
        there, x = batch.weights(), batch.x
        if self.of == "spread":
            return _spread(self._recalled(life, x).flatten(2), batch.y, there) / _spread(x.flatten(2), batch.y, there)
        shape = tuple(x.shape[1:])
        gone = each(life.spec.seeds, "probe.imagery", lambda g: g.random(shape, np.float32) < self.lost).to(x.device)
        cue = x.masked_fill(gone, 0.0)
        return 1 - (_error(self._recalled(life, cue), x) * there).sum(1) / (_error(cue, x) * there).sum(1)

    def _strange(self, life: Measured) -> Tensor:
        """The area under the ROC curve [s]."""
        lived = int(np.searchsorted(life.world.ends, int(life.clock.experience.max()), side="right"))
        lived = min(lived, life.spec.contexts)  # a context may recur
        elsewhere = self.novel is not None or self.of == "kept"
        if lived == 0 or (not elsewhere and lived == life.spec.contexts):
            return undefined(life)
        self.setup(life.spec)
        if self.of == "kept":
            strange = stored(life)
        elif self.novel is None:
            strange = questions(life, "evaluation", lived)
        else:
            strange = _resized(self.novel.evaluation(0), life.spec.inputs, self.items)
        errors: list[Tensor] = []
        for exam in (questions(life, "evaluation", lived - 1), strange):
            x, there = exam.x[:, : self.items], exam.weights()[:, : self.items]
            error = _error(self._recalled(life, x), x) / (_error(x, torch.zeros_like(x)) if self.relative else 1.0)
            errors.append(error.masked_fill(there == 0, torch.nan))
        known, new = errors
        above = (new[:, :, None] > known[:, None]).double() + 0.5 * (new[:, :, None] == known[:, None])
        both = ~new.isnan()[:, :, None] & ~known.isnan()[:, None]
        return (above * both).sum((1, 2)) / both.sum((1, 2))

    def _recalled(self, life: Measured, x: Tensor) -> Tensor:
        if self.system == "cortex":
            return torch.cat([life.neocortex.reconstruct(some) for some in torch.split(x, ROWS, 1)], 1)
        return torch.cat([life.hippocampus.recall(some).x for some in torch.split(x, ROWS, 1)], 1)


def _error(recalled: Tensor, x: Tensor) -> Tensor:
    """The squared error of each row [s, b]."""
    return (recalled - x).flatten(2).square().sum(2)


def _resized(batch: Batch, inputs: tuple[int, ...], most: int) -> Batch:
    """At most `most` of these square images, evenly spread, resized to square images of shape `inputs`.

    >>> x = torch.tensor([[[0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 2]])
    >>> _resized(Batch.lived(x, torch.zeros(1, 1)), (4,), 10).x.tolist()
    [[[0.25, 0.5, 0.25, 0.5]]]
    """
    old, new = (math.isqrt(math.prod(shape)) for shape in (batch.x.shape[2:], inputs))
    pixels = math.prod(batch.x.shape[2:])
    reason = f"has inputs of {pixels}, to compare with {inputs}"
    refuse_if(old**2 != pixels or new**2 != math.prod(inputs), "novel", reason, "use square images in both")
    count = min(most, batch.rows)
    rows = torch.arange(count, device=batch.x.device) * batch.rows // count
    small = adaptive_avg_pool2d(batch.x[:, rows].reshape(-1, 1, old, old), new)
    return Batch.lived(small.view(batch.subjects, count, *inputs), batch.y[:, rows], weight=batch.weights()[:, rows])


def _spread(x: Tensor, y: Tensor, there: Tensor) -> Tensor:
    """The variance within classes y [s, b] of the present rows x [s, b, f], with equal weights: [s].

    >>> x = torch.tensor([[[0.0], [2.0], [5.0]]])
    >>> _spread(x, torch.tensor([[0, 0, 1]]), torch.ones(1, 3)).item()
    2.0
    """
    one = (y[:, None] == torch.arange(max(int(y.max()), 0) + 1, device=y.device)[:, None]) * there[:, None]  # [s, c, b]
    mean = (one @ x) / one.sum(2, keepdim=True).clamp(min=1)
    off = x - mean.gather(1, y.clamp(min=0)[..., None].expand_as(x))
    return (off.square().sum(2) * there).sum(1)
