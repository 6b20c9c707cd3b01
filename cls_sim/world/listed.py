"""Worlds with a fixed list of rows, which are presented again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import generator
from cls_sim.core.errors import whole
from cls_sim.core.part import Spec
from cls_sim.world.base import Endless
from cls_sim.world.plan import epochs, mixed, padded


class Listed(Endless):
    """A world whose rows are all known in `setup`.

    `setup` of a subclass calls `_keep`.  An experience consists of all rows, or of those that `_plan` names.  Unless a
    subclass defines `revisit`, no context ever ends.

    _rows  all rows, [s, n, …]; the rows of a context stand together
    _plan  the rows of each experience, int64 [s, experiences, b]; None: all rows
    _exams  the questions of each context; None: its rows, as they are presented
    """

    _plan: Tensor | None = None
    _exams: list[Batch] | None = None

    def _keep(
        self, spec: Spec, x: Tensor, y: Tensor, context: Tensor | None = None, *, outputs: int, **facts: Any
    ) -> Spec:
        """Keep the rows; return the spec with their sizes and with these facts.

        x        [s or 1, n, *inputs]  inputs, the same for all subjects or different ones
        y        [s or 1, n, …]        labels, or targets [s or 1, n, o] of a regression
        context  [n]                   int64; None: all rows are in context 0
        """
        s, n, device = spec.subjects, x.shape[1], spec.device
        context = torch.zeros(n, dtype=torch.int64) if context is None else context
        self._seeds, self._contexts = spec.seeds, context.cpu().numpy()
        self._rows = Batch.lived(
            x.to(device).expand(s, *x.shape[1:]),
            y.to(device).expand(s, *y.shape[1:]),
            context=context.to(device).expand(s, n),
            item=torch.arange(n, device=device).expand(s, n),
        )
        plain = {"batch": n, "items": n, "contexts": 1, "ends": (), "visits": ()}
        plain |= {"task_id_known": False, "heads": None, "quantum": None, "regression": y.is_floating_point()}
        return replace(spec, inputs=tuple(x.shape[2:]), outputs=outputs, **(plain | facts))

    def _plan_pairs(self, purpose: str, count: int, times: int, batch: int) -> None:
        """Plan experiences of `batch` items; each item r comes at least `times` times, as the rows r and r + count."""
        self.length = length = -(-count * times // batch)
        self.ends = (length,)
        plans = [epochs(generator(seed, purpose), np.arange(count), length * batch) for seed in self._seeds]
        plan = torch.from_numpy(np.stack(plans)).view(-1, length, batch).to(self._rows.x.device)
        self._plan = torch.cat((plan, plan + count), 2)

    def _presented(self, rows: slice | Tensor = slice(None), born: np.ndarray | int = -1) -> Batch:
        """The same rows for all subjects (a slice), or other ones for each [s, b], in the experience `born` [s]."""
        batch = self._rows.part(rows) if isinstance(rows, slice) else self._rows.at(rows)
        when = torch.from_numpy(np.array(born, np.int64)).to(batch.born.device)
        return batch.with_(born=when.reshape(-1, 1).expand_as(batch.born))

    def next(self, clock: Clock) -> Batch:
        """All rows, or those in the plan of each subject (after the end of the world: the last experience)."""
        if self._plan is None:
            return self._presented(born=clock.experience)
        now = np.minimum(clock.experience, self._plan.shape[1] - 1)
        subjects = torch.arange(len(now), device=self._plan.device)
        return self._presented(self._plan[subjects, torch.from_numpy(now).to(self._plan.device)], now)

    def _in_turn(self, clock: Clock, batch: int) -> Batch:
        """Rows experience · batch …, in a cycle."""
        now, n = clock.experience, self._rows.rows
        first = now * batch % n
        if (first == first[0]).all() and first[0] + batch <= n:  # a slice is faster
            return self._presented(slice(first[0], first[0] + batch), now)
        rows = (first[:, None] + np.arange(batch)) % n
        return self._presented(torch.from_numpy(rows).to(self._rows.x.device), now)

    def evaluation(self, context: int = 0) -> Batch:
        """The questions of a context: [s, n, …]."""
        if self._exams is None:
            return self.train(context)
        return self._exams[whole("context", context, 0, len(self._exams) - 1)]

    def train(self, context: int = 0) -> Batch:
        """The rows of a context, to measure memorisation."""
        places = np.flatnonzero(self._contexts == whole("context", context, 0, self._contexts.max()))
        return self._presented(slice(places[0], places[-1] + 1))

    def _again(self, visit: np.ndarray, context: np.ndarray, born: np.ndarray, size: int) -> Iterator[Batch]:
        """The rows of each subject's context [s], in an order drawn for this visit [s], in batches of `size` rows."""
        size, mine = whole("size", size), [np.flatnonzero(self._contexts == one) for one in context]
        rows, weight = padded(mixed(self._seeds, visit, mine))
        device = self._rows.x.device
        items = torch.from_numpy(rows).to(device).expand(len(visit), -1)
        there = None if weight is None else torch.from_numpy(weight).to(device)
        for start in range(0, items.shape[1], size):
            part = slice(start, start + size)
            batch = self._presented(items[:, part], born)
            yield batch.with_(weight=None if there is None else there[:, part])
