"""Cortices that use the context, and batches with rows of several contexts: each row moves what is its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from tests.lives import small

ROUTED: dict[str, Any] = {
    "lateral": lambda: cs.Columns(hidden=[6, 5]),
    "separate": lambda: cs.Columns(hidden=[6], lateral=False),
    "growing": lambda: cs.Growing(hidden=[6, 5], loss_threshold=0.0),
    "packed": lambda: cs.Packed(hidden=[12, 10]),
    "attentive": lambda: cs.Attentive(hidden=[12, 10], s_max=20.0),
    "gated": lambda: cs.Gated(hidden=[12, 10], share=0.5),
    "lesion": lambda: cs.CortexLesion(cs.Columns(hidden=[6]), fraction=0.0),
}


def begun(name: str, optimizer: Any) -> cs.Life:
    """A life after three of five contexts."""
    rule = cs.Descent(optimizer=optimizer, objective=cs.Hat() if name == "attentive" else None, reduction="sum")
    life = small(
        world=cs.Digits(scenario="task", contexts=5, per_context=24, batch=8),
        hippocampus=cs.NoHippocampus(),
        neocortex=ROUTED[name](),
        rhythm=cs.Sleepless(experiences_per_day=24),
        plasticity=cs.Constant(rate=0.01),
        consolidation=rule,
    )
    while life.clock.experience[0] < life.world.ends[2]:
        life.step()
    return life


def of(life: cs.Life, *contexts: int) -> Batch:
    """Three rows of each of these contexts."""
    exams = [life.world.evaluation(k) for k in contexts]
    rows = [exam.at(torch.arange(3).expand(2, -1).contiguous()) for exam in exams]
    return rows[0] if len(rows) == 1 else rows[0].join(rows[1])


def moved(life: cs.Life, batch: Batch) -> dict[str, torch.Tensor]:
    twin = life.twin()
    twin.consolidation.step(twin.neocortex, batch, np.full(2, 0.1), twin.view)
    return {n: (w - life.neocortex.weights[n]).detach() for n, w in twin.neocortex.weights.items()}


@pytest.mark.parametrize("name", ROUTED)
def test_rows_of_several_contexts_move_what_each_would_move_alone(name: str):
    """The context of the first row decided for all rows."""
    life = begun(name, cs.Sgd())
    both, one, other = moved(life, of(life, 3, 1)), moved(life, of(life, 3)), moved(life, of(life, 1))
    assert any(change.any() for change in one.values()) and any(change.any() for change in other.values())
    for weight, change in both.items():
        torch.testing.assert_close(change, one[weight] + other[weight], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ROUTED)
def test_absent_rows_and_other_contexts_move_nothing(name: str):
    """Momentum moved the frozen weights of an absent first row's context."""
    life = begun(name, cs.Adam())
    one = of(life, 3)
    padded = of(life, 0, 3).with_(weight=torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(2, -1))
    expected, found = moved(life, one), moved(life, padded)
    for weight, change in found.items():
        torch.testing.assert_close(change, expected[weight], rtol=1e-4, atol=1e-6)
        assert torch.equal(change == 0, expected[weight] == 0)


def test_the_price_of_gates_is_that_of_each_rows_context():
    """Every row paid for the gates of the first row's context."""
    life = begun("attentive", cs.Sgd())
    objective, cortex = life.consolidation.objective, life.neocortex
    apart = []
    with torch.enable_grad():
        for k in (3, 1):
            batch = of(life, k)
            apart.append(objective.losses(cortex, batch, batch.context))
        batch = of(life, 3, 1)
        together = objective.losses(cortex, batch, batch.context)
    torch.testing.assert_close(together, torch.cat(apart, 1))


@pytest.mark.parametrize("name", ["growing", "packed", "attentive"])
def test_what_a_context_owns_is_found_by_its_number_not_by_its_visit(name: str):
    """The second stretch of the first context took the columns, weights and gates of the second context."""
    heads = torch.eye(3).bool().expand(2, -1, -1)
    known = {"ends": (5, 10, 15), "visits": (1, 1, 0), "task_id_known": True, "heads": heads}
    cortex = ROUTED[name]()
    cortex.setup(cs.Spec(seeds=(0, 1), inputs=(4,), outputs=3, contexts=3, **known))
    batch = Batch.lived(torch.ones(2, 4, 4), torch.zeros(2, 4, dtype=torch.int64))
    seen: Any = SimpleNamespace(revisit=lambda size: iter([batch]), loss=lambda batch: batch.weights())
    for context in (1, 1, 0):
        seen.ended = lambda context=context: np.full(2, context)
        cortex.context_end(seen, Clock(2, 1), np.ones(2, bool))
    if name == "growing":
        assert cortex.grown.tolist() == [[True, True, False]] * 2
    elif name == "packed":  # 1 has the first weights, 0 the second, and 2 those left
        assert cortex.ended.tolist() == [2, 2] and cortex.owner[0].unique().tolist() == [-1, 0, 1]
        whole = {name: torch.ones_like(w) for name, w in cortex.weights.items()}
        used = [cortex.seen(0, whole, torch.full((2, 1), k))["weight0"] != 0 for k in (1, 0, 2)]
        assert torch.equal(used[0], cortex.owner[0] == 0) and torch.equal(used[1], cortex.owner[0] >= 0)
        assert used[2].all(), "the last context also has what is free"
    else:
        opened = [(cortex.s_max * cortex.weights["gate0"].detach()[:, k]).sigmoid() for k in (1, 0)]
        torch.testing.assert_close(cortex.spent[0], torch.maximum(*opened))
