"""Two schemas: stories in which the place tells which of two rules leads from one state to the next."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from cls_sim.core.draws import each
from cls_sim.core.errors import refuse_if
from cls_sim.core.part import Spec
from cls_sim.core.settings import Settings, setting
from cls_sim.world.listed import Listed

CURRICULA = ("blocked", "interleaved", "early", "middle", "late")


class Schemas(Settings, Listed):
    """Stories of two schemas, one an experience; the subject predicts each next state.

        s_(j+1) = s_j under the one schema, 1 - s_j under the other;  s_0 by lot

    curriculum  blocked (four blocks of a quarter: ABAB), interleaved, or two blocks early, in the middle or late among
                interleaved stories
    training    stories before the test, a multiple of 8
    test        interleaved stories that follow, from 1
    steps       predictions in a story, from 2

    A row of x [s, steps, 2 + 2 · steps] has the place of the story (one of two, that of its schema) and the present
    state (one of two in each step), one-hot; y [s, steps] is the next state.  The place alone tells the schema, and
    neither place nor state alone tells the next state.  Context k has the stories of schema k.  Which schema comes
    first, and the start of every story, are drawn for each subject; interleaved stories alternate by lot, in pairs.

    Source: Beukers, Collin, Kempner, Franklin, Gershman & Norman (2024), reduced: their stories have more nodes.

    >>> world = Schemas(training=16, test=4)
    >>> spec = world.setup(Spec(seeds=(0, 1)))
    >>> spec.inputs, spec.outputs, world.length, world.evaluation(0).y[0].tolist()
    ((8,), 6, 20, [0, 2, 4, 1, 3, 5])
    """

    curriculum: str = setting("blocked", CURRICULA)
    training: int = setting(160, 8)
    test: int = setting(40)
    steps: int = setting(3, 2)

    def _ready(self) -> None:
        refuse_if(self.training % 8, "training", f"{self.training} is no multiple of 8", "give one")

    def setup(self, spec: Spec) -> Spec:
        self.length, n = self.training + self.test, self.steps
        schema, start, step = (np.ravel(part) for part in np.meshgrid([0, 1], [0, 1], np.arange(n), indexing="ij"))
        state, following = (start + schema * step) % 2, (start + schema * (step + 1)) % 2
        x = np.concatenate([np.eye(2)[schema], np.eye(2 * n)[2 * step + state]], 1).astype(np.float32)
        self._plan = each(spec.seeds, "schemas", self._stories).to(spec.device)
        answers = torch.from_numpy(2 * step + following)[None]
        facts = {"outputs": 2 * n, "batch": n, "contexts": 2, "quantum": 1.0}
        return self._keep(spec, torch.from_numpy(x)[None], answers, torch.from_numpy(schema), **facts)

    def _stories(self, source: Generator) -> np.ndarray:
        """The rows of every story: int64 [stories, steps]."""
        quarter, first = self.training // 4, source.integers(2)
        pairs = np.argsort(source.random((self.training + self.test, 2)), 1).ravel()  # more than are needed
        blocks = np.repeat([0, 1], quarter)
        start = {"early": 0, "middle": quarter, "late": 2 * quarter}.get(self.curriculum)
        if self.curriculum == "blocked":
            training = np.tile(blocks, 2)
        else:
            training = pairs[: self.training].copy()
            if start is not None:
                training[start : start + 2 * quarter] = blocks
        schema = (np.concatenate([training, pairs[-self.test :]]) + first) % 2
        begin = source.integers(0, 2, self.length)
        return ((2 * schema + begin)[:, None] * self.steps + np.arange(self.steps)).astype(np.int64)
