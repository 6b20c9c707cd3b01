"""Replay of each source of memories up to a dose of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cls_sim.core.arrays import Numbers
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError, choice, real, reals
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.neocortex.base import Neocortex
from cls_sim.replay.base import Replay, Within
from cls_sim.theory.predictability import best_dose, decomposed, likelihood


class Rationed(Within):
    """Replays the memories of each source up to a dose of its own, and leaves the rest to the hippocampus.

        weight of the rows of source k at replay step r:  stop  clip(s_k / rate - r, 0, 1)
                                                          fade  e^(-r rate / s_k)

    Both sum to the dose s_k; with `fade` each source has a fading plasticity of its own.  A source is a context.

    policy  the policy that chooses the rows, such as FullBatch
    doses   likelihood: s_k is the best dose for the signal-to-noise ratio of the stored rows of this source, found by
            maximum likelihood of y | X ~ N(0, σ_w² X Xᵀ + σ_e² I) (see rhythm Estimated);
            or a list, one dose from 0 for each source
    shape   stop or fade
    rate    above 0, the learning rate of a replay step, equal to that of the plasticity

    The dose refers to a linear cortex that starts at 0 and learns the sum over its memories (reduction=sum), at the
    rate 0 by day.  Raises ConfigError in classification, for several outputs, and for another number of doses than of
    sources.

    Source: each memory is consolidated as far as this helps generalisation, Sun, Advani, Spruston, Saxe & Fitzgerald
    2023; the rule by source is ours.

    >>> from cls_sim.replay.stored import FullBatch
    >>> policy = Rationed(FullBatch(), doses=[0.05, 0.2], rate=0.1)
    >>> _ = policy.setup(Spec(outputs=1, regression=True, contexts=2))
    >>> policy.weights(np.array([0])).tolist(), policy.weights(np.array([1])).tolist()
    ([[0.5, 1.0]], [[0.0, 1.0]])
    """

    null = None

    def __init__(self, policy: Replay, *, doses: Any = "likelihood", shape: str = "stop", rate: float = 0.01):
        super().__init__(policy)
        self.doses = choice("doses", doses, ("likelihood",)) if isinstance(doses, str) else reals("doses", doses, 0.0)
        self.shape, self.rate = choice("shape", shape, ("stop", "fade")), real("rate", rate, 0.0, open_low=True)

    def _settle(self, spec: Spec) -> None:
        if not spec.regression or spec.outputs > 1:
            raise ConfigError("", "needs a regression with one output, and this world has none", "use another policy")
        self._changed, self._known = -1, None  # what the doses were estimated from
        self._doses = np.zeros((spec.subjects, spec.contexts))
        if not isinstance(self.doses, str):
            if np.shape(self.doses) != (spec.contexts,):
                raise ConfigError("doses", f"{self.doses} does not fit {spec.contexts} sources", "give one for each")
            self._doses[:] = self.doses

    def weights(self, step: np.ndarray) -> Numbers:
        """The weight of the rows of each source at this replay step [s] of each subject: [s, k], from 0 to 1."""
        passed = step[:, None] * self.rate
        if self.shape == "stop":
            return np.clip((self._doses - passed) / self.rate, 0.0, 1.0)
        return np.where(self._doses > 0, np.exp(-passed / np.maximum(self._doses, 1e-300)), 0.0)

    def draw(self, hippocampus: Hippocampus, neocortex: Neocortex, view: View, clock: Clock) -> Batch:
        batch = self.policy.draw(hippocampus, neocortex, view, clock)
        if self.doses == "likelihood" and hippocampus.changed != self._changed:
            self._changed = hippocampus.changed
            self._estimate(view)
        weights = torch.from_numpy(self.weights(clock.replay)).to(batch.x)
        return batch.with_(weight=batch.weights() * weights.gather(1, batch.context.clamp(min=0)))

    def _estimate(self, view: View) -> None:
        """Find the best dose for the stored rows of each source; 0 for a source of which nothing is stored."""
        assert view.stored is not None
        batch = view.stored()
        columns = (batch.x.flatten(2), batch.y[..., 0], batch.present(), batch.context)
        rows = [column.cpu().numpy() for column in columns]
        if self._known is not None and all(map(np.array_equal, rows, self._known)):
            return  # what is lived again and again is stored again and again
        self._known, (x, y, there, source) = rows, rows
        for i, k in np.ndindex(*self._doses.shape):
            mine = there[i] & (source[i] == k)
            lessons, answers = x[i][mine].astype(np.float64), y[i][mine].astype(np.float64)
            self._doses[i, k] = 0.0
            if len(lessons) > 1 and lessons.any():
                values, _, _ = decomposed(lessons.T, np.zeros(lessons.shape[1]))  # of X Xᵀ
                self._doses[i, k] = best_dose(values, 2.0 ** likelihood(lessons, answers))
