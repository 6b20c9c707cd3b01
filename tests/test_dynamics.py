"""Parts that the theory of consolidation asks for, each against what it should be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cls_sim as cs
from cls_sim import theory
from cls_sim.claims import KINDS
from cls_sim.core.clock import Clock, Moment
from cls_sim.core.errors import ConfigError
from cls_sim.hippocampus.copies import binomial, poisson
from cls_sim.probes import drift
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace


def pairs(**settings: Any) -> cs.Batch:
    world = cs.Teacher(items=1000, features=100, **settings)
    world.setup(cs.Spec(seeds=tuple(range(40))))
    return world.train()


# -- teachers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "snr"),
    [
        ({"snr": 5.8}, 5.8),
        ({"snr": math.inf, "teacher": "sine"}, 5.71),
        ({"snr": math.inf, "teacher": "partial", "unseen": 17}, 100 / 17),
    ],
    ids=["noisy", "sine", "partial"],
)
def test_three_teachers_are_equally_predictable_for_a_linear_student(settings: dict, snr: float):
    """Var(y) is 1, and what is linear in it has the SNR that the paper says."""
    batch = pairs(**settings)
    x, y = batch.x.double(), batch.y.double()
    assert y.var().item() == pytest.approx(1.0, abs=0.08)
    left = y - x @ torch.linalg.lstsq(x, y).solution
    noise = (left.square().sum((1, 2)) / 900).mean().item()
    assert (1.0 - noise) / noise == pytest.approx(snr, rel=0.2)


def test_unseen_inputs_are_refused_where_they_mean_nothing():
    with pytest.raises(ConfigError, match="unseen"):
        cs.Teacher(unseen=3)


# -- dose -----------------------------------------------------------------------------------------------------


@given(st.floats(0.001, 0.5), st.floats(0.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_an_allowance_is_spent_to_the_last(rate: float, dose: float):
    schedule = cs.DoseLimited(rate=rate, dose=dose)
    schedule.setup(cs.Spec())
    clock, spent = Clock(1, 10), 0.0
    for _ in range(math.ceil(dose / rate) + 3):
        spent += float(schedule.rate(clock)[0])
        clock.advance(np.array([True]), np.array([False]))
    assert spent == pytest.approx(dose, abs=1e-6)
    assert schedule.rate(clock)[0] == 0


def test_estimates_of_predictability_get_better_with_more_episodes():
    def off(items: int, by: str) -> float:
        life = cs.Life(
            world=cs.Teacher(items=items, features=200, snr=2.0, test=5),
            neocortex=cs.Linear(),
            hippocampus=cs.Store(capacity=items),
            rhythm=cs.Sleepless(experiences_per_day=1),
            plasticity=cs.Constant(rate=0.0),
            replay=cs.FullBatch(),
            subjects=8,
        )
        life.step()
        with torch.no_grad():
            return float(cs.Predictability(by=by).measure(life).square().mean().sqrt())

    for by in ("likelihood", "speed", "validation"):
        assert off(400, by) < off(25, by)
    assert off(400, "likelihood") < 0.6


def test_the_speed_of_learning_tells_the_snr_up_to_four_better_than_a_guess():
    """N = P = 1000: .35, .38 and .71 octaves at .25, 1 and 4; taking the variance of y for known gives 1.20 and 2.71."""
    rng, off = np.random.default_rng(20_001), list[float]()
    for snr in (0.25, 1.0, 4.0) * 8:
        x, w = rng.standard_normal((1000, 1000)) / 1000**0.5, rng.standard_normal(1000)
        y = (snr**0.5 * x @ w + rng.standard_normal(1000)) / (1 + snr) ** 0.5
        off.append(theory.predictability.speed(x, y) - np.log2(snr))
        assert theory.predictability.speed(x, 5 * y) == pytest.approx(off[-1] + np.log2(snr), abs=1e-6)
    assert np.sqrt(np.mean(np.square(off))) < 0.7
    assert np.isfinite(theory.predictability.speed(x, 0 * y))


# -- copies ---------------------------------------------------------------------------------------------------


def test_numbers_by_lot_have_the_right_means_and_variances():
    lot = torch.from_numpy(np.random.default_rng(0).random(200_000))
    few = poisson(lot, torch.full_like(lot, 2.0))
    assert few.mean() == pytest.approx(2.0, abs=0.02) and few.var() == pytest.approx(2.0, abs=0.04)
    kept = binomial(lot, torch.full_like(lot, 7.0), torch.tensor(0.3).double())
    assert kept.mean() == pytest.approx(2.1, abs=0.02) and kept.var() == pytest.approx(1.47, abs=0.03)
    assert kept.max() <= 7 and (binomial(lot, few, torch.tensor(0.9).double()) <= few).all()


def test_expected_copies_are_two_compartments():
    """Without chance, the strengths after ten days are those of the closed form; without transfer nothing arrives."""

    def after(transfer: float) -> tuple[float, float]:
        life = cs.Life(
            world=cs.Cohorts(times=[0], items=5),
            neocortex=cs.Linear(),
            hippocampus=cs.Copies(intensity=1.0, decline=0.1, transfer=transfer, steps_per_night=10, stochastic=False),
            rhythm=cs.Nights(experiences_per_day=1, steps_per_night=10),
            plasticity=cs.WakeNight(wake_rate=0.0, night_rate=1.0),
            replay=cs.Dreamed(batch=1),
            consolidation=cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum"),
        )
        for _ in life.live(days=10):
            pass
        with torch.no_grad():
            return tuple(float(cs.MemoryStrength(of=of).measure(life)) for of in ("both", "cortex"))  # pyright: ignore

    rates = {"intensity": 1.0, "decline": 0.1, "transfer": 0.05, "cortical_decline": 0.0}
    both, cortex = after(0.05)
    assert both == pytest.approx(float(theory.compartment_both(10.0, **rates)), abs=1e-4)
    assert cortex == pytest.approx(float(theory.compartment_cortex(10.0, **rates)), abs=1e-4)
    assert after(0.0)[1] == 0.0


def test_items_of_a_branching_process_survive_less_often_than_mean_rates_say():
    """Copies of one parent come together; the relative gradient does not depend on how well an item was learned."""
    t = np.array([1.0, 5.0, 20.0])
    given = {"intensity": 2.0, "decline": 0.1, "transfer": 0.05}
    assert (theory.branching_lesion(t, **given) < theory.chain_lesion(t, **given)).all()
    for intensity in (0.5, 3.0):
        given["intensity"] = intensity
        rr = np.log1p(-theory.chain_lesion(t, **given)) / np.log1p(-theory.chain_control(t, **given))
        np.testing.assert_allclose(rr, theory.relative_gradient(t, 0.1, 0.05))


# -- representations ------------------------------------------------------------------------------------------


def test_measures_of_drift_do_not_mind_rotation_and_notice_noise():
    g = torch.Generator().manual_seed(0)
    then, alive = torch.randn(1, 60, 8, generator=g, dtype=torch.float64), torch.ones(1, 60, dtype=torch.bool)
    then = then - then.mean(1, keepdim=True)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=g, dtype=torch.float64)).Q
    other = torch.randn(1, 60, 8, generator=g, dtype=torch.float64)
    for measure, same, away in ((drift._cka, 1.0, 0.35), (drift._procrustes, 0.0, 1.0), (drift._rsa, 1.0, 0.3)):
        assert measure(then, then @ turn, alive).item() == pytest.approx(same, abs=1e-8)
        assert abs(measure(then, other, alive).item() - same) > abs(away - same) * 0.6


def test_modes_are_zero_at_birth_and_one_when_all_is_learnt():
    life = cs.Life(
        world=cs.Hierarchy(levels=2),
        neocortex=cs.Linear(),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=10),
        plasticity=cs.Constant(rate=1.0),
        replay=cs.Uniform(batch=1),
        consolidation=cs.Descent(optimizer=cs.Sgd()),
    )
    with torch.no_grad():
        assert cs.SingularModes().measure(life).abs().max() < 1e-6
    for _ in life.live(days=10):
        pass
    with torch.no_grad():
        torch.testing.assert_close(
            cs.SingularModes().measure(life), torch.ones(1, 4, dtype=torch.float64), atol=1e-4, rtol=0
        )
        assert cs.Differentiation().measure(life).isnan().all()  # a linear cortex' features are its inputs, all alike


def test_a_mode_is_half_learnt_at_its_half_time():
    for singular in (0.125, 0.484):
        half = theory.half_time(singular, rate=0.02, first=1e-6)
        assert float(theory.mode_strength(half, singular, rate=0.02, first=1e-6)) == pytest.approx(0.5)


# -- kinds of claims, which must be able to fail --------------------------------------------------------------


def told(curve: np.ndarray, days: bool = False) -> dict[str, Trace]:
    """A trace of a profile [s, k], or of a reading over days [t, s, k]."""
    trace, clock = Trace(), Clock(curve.shape[1] if days else len(curve), 1)
    for one in curve if days else [curve]:
        trace.append(Moment("day.end", np.ones(len(one), bool)), clock, {"r": one})
        clock.experience += 1
    return {"a": trace}


def test_claims_on_memories_pass_and_fail():
    t = np.array([1.0, 2, 5, 10, 20, 50, 100, 200])
    noise = 0.01 * np.random.default_rng(0).standard_normal((8, 8))
    power, exponential = told(t**-0.5 + noise), told(np.exp(-t / 20) + noise)
    ask = {"arm": "a", "reading": "r", "x": t}
    assert KINDS["forgetting_law"](Case(power, {}), by=5, **ask).passed
    assert not KINDS["forgetting_law"](Case(exponential, {}), by=5, **ask).passed
    top = told(np.exp(-((np.log(t) - 2.5) ** 2)) + 0.1 * noise)
    assert KINDS["peak"](Case(top, {}), low=5, high=20, **ask).passed
    assert not KINDS["peak"](Case(top, {}), low=30, high=50, **ask).passed
    assert not KINDS["peak"](Case(power, {}), **ask).passed
    lives = {name: told(np.sqrt(n) * (t**-0.5 + 0 * noise))["a"] for name, n in (("one", 10.0), ("four", 40.0))}
    assert KINDS["lifetimes"](Case(lives, {}), {"one": 10, "four": 40}, "r", t, "power", 0.9, 1.1).passed
    assert not KINDS["lifetimes"](Case(lives, {}), {"one": 10, "four": 40}, "r", t, "power", 0.1, 0.4).passed


def test_josts_law_needs_a_crossing():
    t, small = np.arange(1, 80.0), 0.001 * np.random.default_rng(0).standard_normal((79, 6))
    young, old = t**-0.5, 0.3 * (1 + t / 100) ** -0.5
    crossing = np.stack([old[:, None] + small, young[:, None] - small], 2)
    assert KINDS["jost_law"](Case(told(crossing, True), {}), "a", "r", 0, 1).passed
    parallel = np.stack([0.5 * np.exp(-t / 30)[:, None] + small, np.exp(-t / 30)[:, None] - small], 2)
    assert not KINDS["jost_law"](Case(told(parallel, True), {}), "a", "r", 0, 1).passed


def test_half_times_need_stages():
    t, strength = np.arange(200.0), np.array([4.0, 2.0, 1.0])
    stages = 1 / (1 + np.exp(10 - strength * t[:, None] / 4))
    together = np.broadcast_to(1 - np.exp(-t / 20)[:, None], (200, 3))
    ask = {"arm": "a", "reading": "r", "x": strength, "cv": 0.05}
    assert KINDS["half_times"](Case(told(np.repeat(stages[:, None], 4, 1), True), {}), **ask).passed
    assert not KINDS["half_times"](Case(told(np.repeat(together[:, None], 4, 1), True), {}), **ask).passed


def test_crossings_tops_and_errors():
    readings = {str(i): {"r": np.full(6, v)} for i, v in enumerate((-1.0, -0.2, 0.6, 0.1))}
    rising = {"0": 1.0, "1": 2.0, "2": 3.0}
    assert KINDS["crossing"](Case({}, readings), rising, "r", 2.25, 0.01).passed
    assert not KINDS["crossing"](Case({}, readings), {"0": 1.0, "1": 2.0}, "r", 2.25, 0.5).passed
    assert KINDS["maximum_at"](Case({}, readings), {**rising, "3": 4.0}, "r", 3.2, 0.1).passed
    assert not KINDS["maximum_at"](Case({}, readings), rising, "r", 3.0, 0.1).passed, "a top at the end is none"
    assert (
        KINDS["rms"](Case({}, readings), ["1"], "r", 0.2).passed
        and not KINDS["rms"](Case({}, readings), ["0"], "r", 0.5).passed
    )
