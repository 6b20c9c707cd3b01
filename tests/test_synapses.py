"""Synapses with several time constants: what theory says of one memory, and what they are in any cortex."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim import theory
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.statistics import aic, forgetting


def hebb() -> cs.Descent:
    return cs.Descent(optimizer=cs.Sgd(), objective=cs.Hebb(), reduction="sum")


def remembered(consolidation: cs.Consolidation, ages: list[int], subjects: int = 8, coding: float = 1.0) -> np.ndarray:
    """The mean SNR at these ages, of a stream of patterns."""
    probe = cs.MemorySignal(ages=ages)
    life = cs.Life(
        world=cs.Patterns(synapses=2000, coding=coding),
        neocortex=cs.Linear(),
        hippocampus=cs.NoHippocampus(),
        rhythm=cs.Sleepless(experiences_per_day=100),
        plasticity=cs.Constant(rate=1.0),
        replay=cs.Uniform(batch=1),
        consolidation=consolidation,
        subjects=subjects,
    )
    for _ in life.live(days=2):
        pass
    with torch.no_grad():
        return probe.measure(life).mean(0).numpy()


@pytest.mark.parametrize(
    ("synapses", "law", "settings"),
    [
        (lambda: cs.BennaFusi(consolidation=hebb(), variables=5), "benna_fusi_snr", {"variables": 5, "lived": 200}),
        (lambda: cs.Fading(consolidation=hebb(), fade=0.1), "fading_snr", {"fade": 0.1}),
        (lambda: cs.Cascade(consolidation=hebb(), depth=6), "cascade_snr", {"depth": 6}),
        (lambda: cs.Cascade(consolidation=hebb(), depth=6), "cascade_snr", {"depth": 6, "coding": 0.25}),
        (lambda: cs.Partition(consolidation=hebb(), regions=1), "partition_snr", {"regions": 1, "rate": 1.0}),
    ],
)
def test_memories_fade_as_theory_says(synapses, law: str, settings: dict):
    ages = [0, 3, 10, 30]
    wanted = theory.law("law", law)(np.array(ages), synapses=2000, **settings)
    if law == "fading_snr":  # the tick itself fades, too, and so does the noise
        wanted = theory.fading_snr(np.array(ages), 2000, 0.1)
    found = remembered(synapses(), ages, coding=settings.get("coding", 1.0))
    assert np.abs(found - wanted).max() < 1.5  # five standard errors of 1/√8, and some


def test_the_markov_chain_of_cascades_starts_at_two_over_n():
    for n in (8, 10, 15):
        assert theory.cascade_signal(0, n) * n == pytest.approx(2.0, abs=0.02)


def test_with_events_by_lot_the_signal_of_a_cascade_falls():
    """The continuous-time chain has .250 .148 .109 .090 at 0 to 3 events; an event in every tick makes it rise once."""
    often, lot = theory.cascade_signal(range(4), 8), theory.cascade_signal([0, 1000, 2000, 3000], 8, coding=0.001)
    assert np.abs(lot - [0.250, 0.148, 0.109, 0.090]).max() < 0.001
    assert often[2] > often[1] and (np.diff(theory.cascade_signal(range(400), 8, coding=0.25)) < 0).all()


def test_a_deep_cascade_fades_as_a_power_near_three_quarters_and_a_shallow_one_does_not():
    """So lifetimes grow with the number of synapses near 2/3, and of shallow cascades ever less."""
    t = np.geomspace(64, 1024, 9).round()

    def slope(depth: int) -> float:
        signal = theory.cascade_signal(4 * t, depth, coding=0.25)
        return float(np.polyfit(np.log(t), np.log(signal), 1)[0])

    def lives(synapses: int, depth: int) -> float:
        return theory.lifetime(lambda age: theory.cascade_snr(age, synapses, depth), longest=5000)

    def exponents(depth: int) -> np.ndarray:
        return np.diff(np.log([lives(n, depth) for n in (20_000, 80_000, 320_000)])) / np.log(4)

    assert slope(15) == pytest.approx(-0.75, abs=0.05) and slope(8) < -2
    assert np.abs(exponents(15) - 2 / 3).max() < 0.05 and exponents(8).max() < 0.4


def test_regions_are_compared_at_equal_synapses():
    """Of 96,000 synapses in n regions: the first SNR falls as 1/√n, lifetimes grow, and with slowing the more."""

    def life(regions: int, **settings: float) -> float:
        return theory.lifetime(lambda t: theory.partition_snr(t, 96_000 // regions, regions, **settings), longest=400)

    first = [float(theory.partition_snr(0, 96_000 // n, n)) for n in (1, 2, 3, 4, 6)]
    assert first == pytest.approx([62.0 / n**0.5 for n in (1, 2, 3, 4, 6)], rel=0.01)
    slowing, even = ([life(n, slowing=s) for n in (1, 2, 3, 4, 6)] for s in (0.2, 0.0))
    assert slowing == pytest.approx([18.5, 26.4, 35.5, 45.1, 65.3], abs=0.8)
    assert even == pytest.approx([18.5, 24.2, 30.2, 35.8, 46.5], abs=0.8)
    assert slowing[-1] / life(1, rate=0.2 / 6**0.5) == pytest.approx(1.72, abs=0.05), "as strong when new"


def test_the_chain_conserves_what_its_last_variable_does_not_leak():
    """Σ C_k u_k falls by g_m u_m a tick, and by nothing else; without learning the chain moves all the same."""
    cortex, synapses = cs.Linear(), cs.BennaFusi(consolidation=hebb(), variables=4)
    synapses.setup(cortex.setup(cs.Spec(inputs=(1,), outputs=3, regression=True)))
    batch = cs.Batch.lived(torch.ones(1, 1, 1), torch.tensor([[[1.0, -1.0, 0.0]]]))
    synapses.step(cortex, batch, np.array([1.0]), None)  # pyright: ignore[reportArgumentType]
    clock, size = Clock(1, 1), 2.0 ** torch.arange(4)
    synapses.elapse(cortex, clock)
    before = (synapses.inner["weight0"] * size).sum(-1)
    leak = synapses.inner["weight0"][..., -1] * 2.0**-3 / 4
    synapses.elapse(cortex, clock)
    after = (synapses.inner["weight0"] * size).sum(-1)
    torch.testing.assert_close(after, before - leak)
    assert cortex.weights["weight0"][0, 0, 0] < 0.75 and cortex.weights["weight0"][0, 2, 0] == 0


def test_a_bound_holds_against_learning():
    cortex, synapses = cs.Linear(), cs.BennaFusi(consolidation=hebb(), variables=4, bound=1.0)
    synapses.setup(cortex.setup(cs.Spec(inputs=(1,), outputs=1, regression=True)))
    batch = cs.Batch.lived(torch.ones(1, 1, 1), torch.full((1, 1, 1), 5.0))
    synapses.step(cortex, batch, np.array([1.0]), None)  # pyright: ignore[reportArgumentType]
    assert cortex.weights["weight0"].item() == 1.0


def test_a_forgetting_curve_is_recognised():
    """Of either law, with noise, by Akaike's criterion."""
    t = np.array([0, 1, 2, 5, 10, 20, 50, 100, 200, 400], np.float64)
    for seed in range(10):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
        power, exponential = (1 + t) ** -0.5 + noise, np.exp(-t / 60) + noise
        assert aic(t, power, "power") < aic(t, power, "exponential") - 10
        assert aic(t, exponential, "exponential") < aic(t, exponential, "power") + 3
    with pytest.raises(ConfigError, match="forgetting"):
        forgetting([1.0, 2.0], [1.0], "power")


def test_times_of_cohorts_are_checked():
    for bad in (3, "now", [], [[0, -1]], [0.5]):
        with pytest.raises(ConfigError, match="times"):
            cs.Cohorts(times=bad)
