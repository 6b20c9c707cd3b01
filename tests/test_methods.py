"""Every method on every scenario, tiny: it learns, keeps to its budget, grows, repeats itself and resumes; or refuses
in one line.  And what the parts of methods promise."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.commands.report import expected
from cls_sim.config import experiments
from cls_sim.core.batch import LIVED, STORED
from cls_sim.core.errors import ConfigError
from cls_sim.running.jobs import budget, fingerprint
from tests.lives import live

METHODS = sorted(file.stem for file in (experiments.conf_dir() / "method").glob("*.yaml"))
SCENARIOS = ("task", "domain", "class")
TASK_AT_TEST = {"separate", "xdg", "packnet", "hat", "progressive", "growing"}
BUFFER = {
    m for m in METHODS if (experiments.conf_dir() / "method" / f"{m}.yaml").read_text().count("hippocampus=store")
}
BUFFER = (BUFFER | {"icarl"}) - {"fearnet"}  # which dreams, too
TINY = (
    *("experiment=split_mnist", "size=small", "world=digits", "subjects=2", "seed=0", "world.contexts=2"),
    *("world.per_context=24", "world.batch=16", "rhythm.experiences_per_day=8", "probes=accuracy", "+world.test=0.15"),
)
SMALLER = {
    "Mlp": {"hidden": [32]},
    "Gated": {"hidden": [64], "share": 0.5},
    "Attentive": {"hidden": [32]},
    "Packed": {"hidden": [32]},
    "Columns": {"hidden": [16]},
    "Growing": {"hidden": [16], "loss_threshold": 0.0},
    "Feedback": {"hidden": [32]},
    "Averaged": {},
}


@cache
def settings(method: str, scenario: str) -> dict[str, Any]:
    """The method's configuration on this scenario, its parts made small."""
    experiment = experiments.read([*TINY, f"method={method}", f"scenario={scenario}"])
    cfg = copy.deepcopy(next(iter(experiment.arms.values())).cfg)
    if "cortex" in cfg["neocortex"]:
        cfg["neocortex"]["cortex"] |= {"hidden": [32]}
    cfg["neocortex"] |= SMALLER[cfg["neocortex"]["_target_"].split(".")[-1]]
    if "rows" not in cfg["consolidation"]:  # else the rate follows from the inputs
        cfg["plasticity"] = learning_at(0.01, cfg["plasticity"])
    if "capacity" in cfg["hippocampus"]:
        cfg["hippocampus"]["capacity"] = 40
    if cfg["hippocampus"]["_target_"].endswith("GenerativeClassifier"):
        cfg["hippocampus"] |= {"hidden": [32], "rate": 0.01, "samples": 5}
    if cfg["hippocampus"]["_target_"].endswith("Autoencoder"):
        cfg["hippocampus"] |= {"hidden": [64], "latent": 8, "rate": 0.01}
    if "frequencies" in cfg["hippocampus"]:
        cfg["hippocampus"]["frequencies"] = 30
    if cfg["hippocampus"].get("units", 1) > 200:
        cfg["hippocampus"]["units"] = 200
    if cfg["hippocampus"].get("components", 1) > 5:
        cfg["hippocampus"]["components"] = 5
    if "looked_at" in cfg["replay"]:
        cfg["replay"]["looked_at"] = 100
    if "steps_per_night" in cfg["rhythm"]:
        cfg["rhythm"] |= {"experiences_per_day": 8, "steps_per_night": 20} | (
            {"growth": 1.01} if "growth" in cfg["rhythm"] else {}
        )
    if "growth" in cfg["rhythm"] and "policy" in cfg["replay"]:
        cfg["replay"]["policy"] |= {"batch": 32}
    return cfg


def learning_at(rate: float, plasticity: dict[str, Any]) -> dict[str, Any]:
    by_night = "night_rate" if "night_rate" in plasticity else "start"
    return plasticity | {"wake_rate": rate if plasticity["wake_rate"] else 0.0, by_night: rate}


def made(method: str, scenario: str, **changes: Any) -> cs.Life:
    return experiments.make_life(settings(method, scenario) | changes, 2, 0)


def possible(method: str, scenario: str) -> bool:
    return scenario == "task" or method not in TASK_AT_TEST


CELLS = [(m, s) for m in METHODS for s in SCENARIOS]
IDS = [f"{m}-{s}" for m, s in CELLS]
every = pytest.mark.parametrize("method, scenario", CELLS, ids=IDS)
works = pytest.mark.parametrize(
    "method, scenario", [pytest.param(m, s, id=f"{m}-{s}") for m, s in CELLS if possible(m, s)]
)


@dataclass
class Lived:
    """A whole life; what it was after its first ticks, and in its second context; what of each step was remembered
    (watched where there is a store).
    """

    life: cs.Life
    early: str
    broken: dict[str, Any]
    touched: list[torch.Tensor]


EARLY, BROKEN = 10, 30  # ticks


@cache
def lived(method: str, scenario: str) -> Lived:
    life, touched = made(method, scenario), []
    if method in BUFFER:
        watch(life, touched)
    early = fingerprint(live(life, EARLY).state())
    broken = copy.deepcopy(live(life, BROKEN).state())
    return Lived(live(life), early, broken, touched)


@every
def test_it_learns_or_refuses_in_one_line(method: str, scenario: str):
    if not possible(method, scenario):
        with pytest.raises(ConfigError) as caught:
            made(method, scenario)
        assert "test" in str(caught.value) and "\n" not in str(caught.value)
        return
    life, touched = (whole := lived(method, scenario)).life, whole.touched
    best = life.probes["accuracy"].measure(life).amax(1)  # pyright: ignore[reportAttributeAccessIssue]
    chance = 0.1 if scenario == "class" else 0.2
    assert best.mean() > chance + 0.1, best
    assert all(w.isfinite().all() for w in life.neocortex.weights.values())
    if touched:
        stored = life.hippocampus.stored_bytes()
        assert (stored <= 40 * (64 + 16 + 8 * 10)).all()  # a byte a pixel, label and marks, and scores


# Where the cortex alone forgets: in five contexts, so many experiences long and learnt at such a rate.
FORGETS = {"task": (32, 0.04), "domain": (32, 0.04), "class": (48, 0.01)}
KEEPS = (
    "stored",
    "generated",
    "statistics",
    "dual",
    "isolation",
    "resources",
)  # families that replay, or keep apart what was learnt


@cache
def kept(method: str, scenario: str) -> float:
    """The accuracy on all contexts but the last, at the end of a life in which the cortex alone forgets."""
    per_context, rate = FORGETS[scenario]
    cfg = settings(method, scenario)
    longer = cfg["world"] | {"contexts": 5, "per_context": per_context}
    cfg = cfg | {"subjects": 4, "world": longer, "plasticity": learning_at(rate, cfg["plasticity"])}
    life = live(experiments.make_life(cfg))
    return life.probes["accuracy"].measure(life)[:, :-1].mean().item()  # pyright: ignore[reportAttributeAccessIssue]


def expected_to_keep(method: str, scenario: str) -> bool:
    told = expected.table()["methods"].get(method, {})
    return told.get("family") in KEEPS and told.get(scenario) in ("between", "near")


@pytest.mark.parametrize(
    "method, scenario", [pytest.param(m, s, id=f"{m}-{s}") for m, s in CELLS if expected_to_keep(m, s)]
)
def test_who_replays_or_keeps_apart_remembers_what_the_cortex_alone_forgets(method: str, scenario: str):
    assert kept(method, scenario) > kept("none", scenario)


@works
def test_the_ledger_counts_all_that_it_keeps(method: str, scenario: str):
    """Extra bytes are all of the learner's state beyond weights and the optimiser's memory, and those expected."""
    life = lived(method, scenario).life
    told = budget(life)
    rooms = [life.state()[room] for room in ("neocortex", "consolidation", "replay", "readout")]
    assert told["extra_bytes"] == sum(_bytes(room, life.spec.subjects) for room in rooms)
    if method in COPIES:
        numbers = told["extra_bytes"] / 4 / told["parameters"]
        assert COPIES[method] <= numbers < COPIES[method] + 0.05, "copies of the weights, and marks that are small"
    if method in BUFFER:
        assert min(told["stored_bytes"]) > 0


# How many numbers a weight a method keeps beside the weights: centres and importances, teachers, stored weights, those
# of birth.  Not listed: what it keeps is no copy of the weights (FROMP's kernels, PackNet's masks, the gate's axes).
COPIES = {
    **dict.fromkeys(("none", "joint", "cumulative", "separate", "progressive", "xdg", "hat", "growing_outputs"), 0),
    **dict.fromkeys(("er", "er_ace", "der", "derpp", "agem", "gem", "cls", "dgr", "gaussians"), 0),
    **dict.fromkeys(("from_scratch", "gdumb"), 0),
    **dict.fromkeys(("slda", "ncm", "ranpac"), 0),
    **dict.fromkeys(("lwf", "feature_distillation", "icarl", "bir"), 1),
    **dict.fromkeys(("ewc", "ewc_online", "mas", "stiffen"), 2),
    **dict.fromkeys(("imm_mean", "imm_mode"), 3),
    **dict.fromkeys(("imm_mean_l2", "imm_mode_l2"), 5),
    "si": 4,
}


def _bytes(tree: Any, subjects: int) -> int:
    """Bytes that each subject has of a state tree, without weights and the memory of optimisers."""
    if isinstance(tree, dict):
        return sum(_bytes(value, subjects) for name, value in tree.items() if name not in ("weights", "optimizer"))
    return tree.nbytes // subjects if tree.shape[:1] == (subjects,) else tree.nbytes


def watch(life: cs.Life, touched: list) -> None:
    """Whatever a step is made on was lived now, or lies in the store at this moment, as it lies there."""
    inner = life.consolidation.step

    def step(neocortex: Any, batch: cs.Batch, rate: np.ndarray, view: Any) -> None:
        remembered = (batch.source != LIVED) & batch.present()
        if remembered.any():
            touched.append(remembered)
            traces = life.hippocampus.traces()
            assert (batch.source[remembered] == STORED).all()
            for i in range(batch.subjects):
                kept = set(traces.item[i][traces.alive[i]].tolist())
                assert set(batch.item[i][remembered[i]].tolist()) <= kept
        inner(neocortex, batch, rate, view)

    life.consolidation.step = step  # pyright: ignore[reportAttributeAccessIssue]


@works
def test_it_repeats_itself_and_resumes_bit_for_bit(method: str, scenario: str):
    """Two lives begin alike; one broken off in its second context, and gone on with by another, is the whole life."""
    again, heir = (made(method, scenario) for _ in range(2))
    whole = lived(method, scenario)
    assert fingerprint(live(again, EARLY).state()) == whole.early
    heir.load(copy.deepcopy(whole.broken))
    assert fingerprint(live(heir).state()) == fingerprint(whole.life.state())


def test_the_page_has_a_paragraph_for_every_method():
    page = (experiments.conf_dir().parent / "docs" / "methods.md").read_text()
    assert not [m for m in METHODS if f"`{m}`" not in page]
