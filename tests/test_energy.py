"""Energy of plasticity: labile and stable weights by hand, the perceptron rule, its world, and the laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim import theory
from cls_sim.claims import KINDS
from cls_sim.config import experiments
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.part import Spec
from cls_sim.life import Life
from cls_sim.storage.case import Case


def life(
    items: int = 20, per_day: int = 20, subjects: int = 3, rule: Any = None, probe: Any = None, **cache: Any
) -> Life:
    learner = cs.Descent(optimizer=cs.Sgd(), objective=cs.PerceptronLoss(), reduction="sum")
    return cs.Life(
        world=cs.Dichotomy(items=items, features=24),
        rhythm=cs.Nights(experiences_per_day=per_day, steps_per_night=1),
        plasticity=cs.WakeNight(wake_rate=1.0, night_rate=0.0),
        neocortex=cs.Linear(),
        hippocampus=cs.NoHippocampus(),
        replay=cs.Uniform(batch=1),
        consolidation=rule or cs.Caching(learner, **cache),
        probes={"energy": probe or cs.Energy()},
        subjects=subjects,
        seed=7,
    )


def by_hand(items: int, per_day: int, ticks: int, fade: float, subject: int = 0) -> dict[str, float]:
    """The perceptron of one unit, its stable and labile weights, and their costs; both rows of weights cost."""
    rows = life(items, per_day).world.evaluation(0)
    x, sign = rows.x[subject].double().numpy(), 2.0 * rows.y[subject].numpy() - 1.0
    stable, labile, cost = np.zeros(24), np.zeros(24), {"learned": 0.0, "consolidated": 0.0, "held": 0.0}
    for t in range(ticks):
        item = t % items
        if sign[item] * x[item] @ (stable + labile) <= 0:
            labile = labile + sign[item] * x[item]
            cost["learned"] += 2 * 24
        cost["held"] += 2 * np.abs(labile).sum()
        labile = (1 - fade) * labile
        if (t + 1) % per_day == 0:
            cost["consolidated"] += 2 * np.abs(labile).sum()
            stable, labile = stable + labile, np.zeros(24)
    return cost | {"minimum": 2 * np.abs(stable).sum()}


@pytest.mark.parametrize(("per_day", "fade"), [(20, 0.0), (7, 0.0), (10, 0.1)])
def test_costs_are_those_of_a_perceptron_by_hand(per_day: int, fade: float):
    one = life(per_day=per_day, fade=fade)
    list(one.live(4))
    cost = by_hand(20, per_day, 4 * per_day, fade)
    cache: Any = one.consolidation
    found = {name: float(getattr(cache, name)[0]) for name in ("learned", "consolidated", "held")}
    assert found == pytest.approx({name: cost[name] for name in found}, rel=1e-5)
    read = {
        cs.Energy(): cost["consolidated"] / cost["minimum"],
        cs.Energy(upkeep=0.5): (cost["consolidated"] + 0.5 * cost["held"]) / cost["minimum"],
        cs.Energy(over="learned"): cost["consolidated"] / cost["learned"],
        cs.Energy(of="learned", over="weights"): cost["learned"] / 48,
    }
    for probe, value in read.items():
        assert float(probe.measure(one)[0]) == pytest.approx(value, rel=1e-5)


def test_caching_changes_the_cost_and_not_what_is_learnt():
    lives = [
        life(),
        life(when="tick"),
        life(rule=cs.Descent(optimizer=cs.Sgd(), objective=cs.PerceptronLoss()), probe=cs.Accuracy()),
    ]
    for one in lives:
        list(one.live(3))
    night, tick, plain = (one.neocortex.weights["weight0"] for one in lives)
    assert torch.equal(night, tick) and torch.equal(night, plain)
    at_once, nightly = (cs.Energy(of=of).measure(lives[0]) for of in ("learned", "consolidated"))
    assert torch.equal(cs.Energy().measure(lives[1]), at_once) and (nightly < at_once).all()


def test_a_life_before_the_first_change_has_no_ratio_and_a_plain_rule_no_energy():
    assert cs.Energy().measure(life()).isnan().all()
    plain = life(rule=cs.Descent())
    with pytest.raises(cs.ConfigError, match="use consolidation=caching"):
        cs.Energy().measure(plain)


def test_labels_are_drawn_and_patterns_come_in_one_order():
    world, clock = cs.Dichotomy(items=40, features=6), Clock(subjects=2, per_day=40)
    spec = world.setup(Spec(seeds=(3, 4)))
    assert (spec.batch, spec.outputs, spec.items, spec.inputs) == (1, 2, 40, (6,))
    rows = world.evaluation(0)
    assert rows.x.unique().tolist() == [-1.0, 1.0] and not torch.equal(rows.x[0], rows.x[1])
    assert ((rows.y.double().mean(1) - 0.5).abs() < 0.3).all() and not torch.equal(rows.y[0], rows.y[1])
    clock.experience[:] = 41, 5  # subjects of different ages
    now = world.next(clock)
    assert (
        now.item.tolist() == [[1], [5]] and torch.equal(now.x[1, 0], rows.x[1, 5]) and now.born.tolist() == [[41], [5]]
    )


def test_the_perceptron_rule_steps_only_after_a_wrong_answer_or_a_tie():
    scores = torch.tensor([[[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]])
    batch = Batch.lived(torch.zeros(1, 4, 2), torch.tensor([[0, 0, 0, -1]]))
    slope = cs.PerceptronLoss().slopes(scores, batch, torch.ones(1, 4))
    assert slope is not None
    assert slope[0].tolist() == [[0, 0, 0], [-1, 1, 0], [-1, 1, 0], [0, 0, 0]]
    numbers = Batch.lived(torch.zeros(1, 2, 2), torch.tensor([[[1.0], [-1.0]]]))
    assert cs.PerceptronLoss().row_losses(torch.tensor([[[3.0], [3.0]]]), numbers).tolist() == [[0.0, 3.0]]


def test_energy_laws_against_walks_by_lot_and_their_limits():
    draw, chance, often = np.random.default_rng(0), 0.5, 30
    walk = (draw.choice([-1, 0, 1], p=[chance / 2, 1 - chance, chance / 2], size=(40_000, often))).cumsum(1)
    sizes = np.abs(walk).mean(0)
    # a load near 0: all updates are made in the first cycle, half as many as there are patterns
    one = theory.caching_energy([often], load=1e-3, features=10**6, upkeep=0.2)
    assert one == pytest.approx((sizes[-1] + 0.2 * sizes.sum()) / (often * chance), rel=0.01)
    assert theory.caching_energy([1.0], 1.0, 250) == pytest.approx(1.0, abs=1e-3)
    assert theory.perceptron_energy(1.0, 1000) == pytest.approx(np.sqrt(np.pi * 1000))
    q, e = 1 - (1 - 1.5 / 2) ** 2, np.arange(10_000)
    assert theory.nightly_energy(1.5) == pytest.approx((q ** (e / 2)).sum() / np.sqrt((q**e).sum()))
    # many updates between nights: the best interval is 3 / 2c
    assert theory.best_interval(0.005, load=0.2, features=10_000) == pytest.approx(300, rel=0.1)


def test_the_numbers_in_the_experiment_are_those_of_the_law():
    claims = experiments.read(["experiment=li_2020_energy"]).cfg["claims"]
    for name, upkeep in (("best_4", 0.04), ("best_8", 0.08), ("best_12", 0.12)):
        assert claims[name]["value"] == pytest.approx(theory.best_interval(upkeep, 1.0, 250), rel=0.03)


def test_a_minimum_inside_and_means_on_a_law():
    readings = {str(i): {"r": np.full(4, v)} for i, v in enumerate((3.0, 1.2, 1.0, 1.4))}
    cells = {"0": 1.0, "1": 2.0, "2": 4.0, "3": 8.0}
    low = KINDS["maximum_at"](Case({}, readings), cells, "r", 3.6, 0.1, lowest=True)
    assert low.passed and low.more["cells"]["0"] == 3.0
    assert not KINDS["maximum_at"](Case({}, readings), cells, "r", 3.6, 0.1).passed
    exact = {str(i): {"r": np.full(4, v)} for i, v in enumerate(theory.nightly_energy([0.5, 1.0]))}
    ask = {"cells": {"0": 0.5, "1": 1.0}, "reading": "r", "law": "nightly_energy"}
    assert KINDS["on_law"](Case({}, exact), tolerance=0.01, **ask).passed
    exact["1"] = {"r": exact["1"]["r"] * 1.3}
    off = KINDS["on_law"](Case({}, exact), tolerance=0.2, **ask)
    assert not off.passed and off.value == pytest.approx(0.3) and off.more["worst"] == "1"
