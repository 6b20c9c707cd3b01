"""A subject's life does not depend on who else is simulated, also where subjects are out of phase.

Version 0.1 did the work at a context's end for the whole cohort whenever one subject's context ended.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.config import experiments
from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.part import Part
from tests.test_methods import METHODS, possible, settings

SUBJECTS = 3
STEPS = 50  # weights are compared over so many ticks
PRESSURE = {
    "_target_": "cls_sim.Pressure",
    "experiences_per_day": 8,
    "rise_per_experience": [0.31, 0.17, 0.23],
    "fall_per_step": [0.5, 0.26, 0.34],
    "threshold": 1.0,
}


@dataclass
class Seen:
    """What a life did: weights [s, …] after each tick, its state [s, …] after tick STEPS, and the rows of each subject
    that its cortex learnt from.
    """

    life: cs.Life
    weights: list[dict[str, torch.Tensor]] = field(default_factory=list)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    batches: list[list[tuple[int, dict[str, torch.Tensor]]]] = field(default_factory=list)


def configured(method: str, **world: Any) -> dict[str, Any]:
    """A method's configuration: a tiny life in which subjects sleep when they need it."""
    cfg = copy.deepcopy(settings(method, "class" if possible(method, "class") else "task"))
    cfg["world"] |= {"per_context": 6, "batch": 16, **world}
    if cfg["plasticity"]["_target_"] == "cls_sim.NightlyDecay":  # it needs to know how long a night will be
        cfg["plasticity"] = {"_target_": "cls_sim.WakeNight", "wake_rate": 0.0, "night_rate": 0.01}
    if "samples" in cfg["hippocampus"]:
        cfg["hippocampus"] |= {"hidden": [8], "samples": 2}
    if "fidelity" in cfg["hippocampus"]:
        cfg["hippocampus"]["bytes"] = 1500  # it is full before the life is over
    if "points" in (cfg["consolidation"].get("objective") or {}):
        cfg["consolidation"]["objective"] |= {"points": 10, "jitter": 0.1}  # kernels that are easy to invert
    return cfg | {"rhythm": PRESSURE, "subjects": SUBJECTS, "chunk": None}


def lived(cfg: dict[str, Any], first: int = 0, subjects: int = SUBJECTS) -> Seen:
    """The life of these subjects of the cohort, and what was seen of it."""
    life = experiments.make_life(cfg, subjects, cfg["seed"] + first)
    seen = Seen(life, batches=[[] for _ in range(subjects)])
    step = life.consolidation.step

    def watched(cortex: cs.Neocortex, batch: Batch, rate: np.ndarray, view: Any) -> None:
        for i, there in enumerate(batch.present() & torch.from_numpy(rate > 0)[:, None]):
            if there.any():
                rows = {k: getattr(batch, k)[i][there].clone() for k in ("x", "y", "context", "born", "item", "source")}
                seen.batches[i].append((life.clock.tick, rows))
        step(cortex, batch, rate, view)

    life.consolidation.step = watched  # pyright: ignore[reportAttributeAccessIssue]
    while not life.over:
        life.step()
        if life.clock.tick <= STEPS:
            seen.weights.append({name: w.detach().clone() for name, w in life.neocortex.weights.items()})
        if life.clock.tick == STEPS or (life.over and life.clock.tick < STEPS):
            seen.state = dict(leaves("", life.state()))
    return seen


def leaves(name: str, node: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors and arrays of a state, by path, copied."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(f"{name}.{key}", value)
    else:
        yield name, np.array(node)


def agree(together: Seen, alone: Seen, first: int) -> None:
    """The subjects of `alone` live as in company: data bit for bit, weights within 1e-5, accuracy within a question."""
    n = alone.life.spec.subjects
    mine = slice(first, first + n)
    for name in ("experience", "replay", "night"):
        assert np.array_equal(getattr(together.life.clock, name)[mine], getattr(alone.life.clock, name)), name
    for name, count in alone.life.ledger.counts.items():
        assert np.allclose(together.life.ledger.counts[name][mine], count), f"ledger: {name}"
    for i in range(n):
        ours, theirs = together.batches[first + i], alone.batches[i]
        assert [tick for tick, _ in ours] == [tick for tick, _ in theirs]
        for (tick, a), (_, b) in zip(ours, theirs, strict=True):
            for name in ("source", "context", "born", "item", "y"):
                assert torch.equal(a[name], b[name]), (tick, name)
            told = a["source"] != DREAMED  # a dream is made of weights
            assert torch.equal(a["x"][told], b["x"][told]), tick
            assert tick > STEPS or torch.allclose(a["x"], b["x"], atol=1e-4), tick
    for tick, (a, b) in enumerate(zip(together.weights, alone.weights, strict=False), 1):
        for name, w in b.items():
            assert (a[name][mine] - w).abs().max() <= 1e-5, (tick, name)
    for name, b in alone.state.items():
        if name == ".clock.tick":
            continue
        assert len(b) == n, f"{name} has no subject axis: {b.shape}"
        away = np.abs(together.state[name][mine].astype(np.float64) - b).max(initial=0)
        # of the largest number; whole numbers below a million are the same
        assert away <= (1e-6 if b.dtype.kind in "iub" else 1e-4) * max(1.0, np.abs(b).max(initial=0)), name
    for context in range(alone.life.spec.contexts):
        exam = alone.life.world.evaluation(context)
        questions = exam.present().sum(1)
        found = (grades(together.life, context)[mine] - grades(alone.life, context)).abs()
        assert (found <= 1.001 / questions).all(), (context, found * questions)


def grades(life: cs.Life, context: int) -> torch.Tensor:
    """The share of right answers [s] to the exam of one context."""
    exam = life.world.evaluation(context)
    answer = life.readout.answer(exam.x, life.known_contexts(exam), life.hippocampus, life.neocortex)
    weights = exam.weights().double()
    return ((answer.scores.argmax(2) == exam.y) * weights).sum(1) / weights.sum(1)


def compared(cfg: dict[str, Any], chunks: tuple[int, ...]) -> Seen:
    """A cohort of three, against the same subjects in chunks of these sizes."""
    together, first = lived(cfg), 0
    assert len(set(together.life.clock.replay)) > 1, "subjects are out of phase"
    for subjects in chunks:
        agree(together, lived(cfg, first, subjects), first)
        first += subjects
    return together


def parts_of(part: Part) -> list[Part]:
    return [part, *(inner for _, one in part.parts() for inner in parts_of(one))]


def works_at_ends(cfg: dict[str, Any]) -> bool:
    """Whether some part of this life has work of its own to do where a context ends."""
    life = experiments.make_life(cfg, 1, cfg["seed"])
    everything = [inner for part_kind in cs.PART_KINDS for inner in parts_of(getattr(life, part_kind))]
    return any(type(part).context_end is not Part.context_end for part in everything)


@pytest.mark.parametrize("method", METHODS)
def test_a_cohort_out_of_phase_is_three_solo_lives(method: str):
    compared(configured(method), (1, 1, 1))


@pytest.mark.parametrize("method", METHODS)
def test_so_it_is_in_every_order_of_contexts_and_for_every_chunk(method: str):
    """Methods with work at a context's end in orders that tell of ends, the others in turn in orders that do not."""
    untold = ("fuzzy", "iid")[METHODS.index(method) % 2 :][:1]
    for order in ("recurring", "cumulative") if works_at_ends(configured(method)) else untold:
        compared(configured(method, order=order), (2, 1))


WRAPPED: dict[str, dict[str, Any]] = {
    "lesion for two days": {"_target_": "cls_sim.Lesion", "fraction": 1.0, "until": 2.0},
    "half a lesion for two days": {"_target_": "cls_sim.Lesion", "fraction": 0.5, "until": 2.0},
    "frozen": {"_target_": "cls_sim.Frozen"},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_wraps_with_work_at_ends_of_contexts_do_it_for_each_subject(wrap: str):
    """Around exemplars, which are chosen when a context ends: some of them within the lesion, some after."""
    cfg = configured("icarl", order="cumulative")
    cfg["hippocampus"] = WRAPPED[wrap] | {"hippocampus": cfg["hippocampus"]}
    compared(cfg, (1, 2))


def test_networks_that_grow_unequally_do_not_disturb_one_another():
    """Of three subjects some grow a column for the second context and some do not."""
    cfg = configured("growing", order="recurring")
    losses = sorted(growth_losses(cfg))
    cfg["neocortex"]["loss_threshold"] = (losses[0] + losses[-1]) / 2
    grown = compared(cfg, (1, 2)).life.neocortex.grown  # pyright: ignore[reportAttributeAccessIssue]
    assert grown.any(0).tolist() != grown.all(0).tolist()


def growth_losses(cfg: dict[str, Any]) -> list[float]:
    """The loss of each subject of a cohort on its second context, when that has ended for it."""
    found = []
    for first in range(SUBJECTS):
        life = experiments.make_life(
            cfg | {"neocortex": cfg["neocortex"] | {"loss_threshold": 1e9}}, 1, cfg["seed"] + first
        )
        while life.clock.experience[0] < life.world.ends[1]:
            life.step()
        found.append(float(torch.cat([life.view.loss(batch) for batch in life.view.revisit(500)], 1).mean()))
    return found
