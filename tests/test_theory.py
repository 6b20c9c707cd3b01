"""Theory: the Go-CLS curves against the published numbers, exact limits, and a small simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cls_sim import theory
from cls_sim.core.errors import ConfigError

DOSES = np.arange(1, 2001) * 0.005  # the epochs of the published scripts: rate .005, 2000 of them, the first is 1
LOADS = st.floats(0.05, 8)
SNRS = st.one_of(st.floats(0, 1e4), st.just(math.inf))

# load 1: SNR → best dose, E_g and E_t there, memory score, generalisation score, and the latter after all epochs
BEST = {
    0.01: (0.010, 0.9999, 0.980, 0.010, 0.000, -1.595),
    0.05: (0.050, 0.9978, 0.905, 0.085, 0.002, -1.502),
    0.1: (0.090, 0.9924, 0.836, 0.155, 0.007, -1.395),
    0.3: (0.245, 0.9554, 0.619, 0.374, 0.042, -1.048),
    0.6: (0.440, 0.8902, 0.438, 0.556, 0.107, -0.690),
    1.0: (0.680, 0.8123, 0.304, 0.691, 0.184, -0.379),
    2.0: (1.270, 0.6730, 0.158, 0.840, 0.323, 0.037),
    4.0: (2.465, 0.5200, 0.070, 0.929, 0.476, 0.371),
    8.0: (4.875, 0.3819, 0.028, 0.971, 0.615, 0.594),
    100.0: (10.0, 0.1504, 0.004, 0.996, 0.848, 0.848),
    math.inf: (10.0, 0.1258, 0.003, 0.997, 0.873, 0.873),
}


def both(s, snr: float, load: float, rate: float | None = None):
    return theory.go_cls_train(s, snr, load, rate), theory.go_cls_generalise(s, snr, load, rate)


@pytest.mark.parametrize("snr", BEST)
def test_best_doses_and_scores_at_load_one(snr: float):
    train, generalise = both(DOSES, snr, 1.0)
    at = generalise.argmin()
    dose, least, e_t, memory, score, late = BEST[snr]
    assert DOSES[at] == pytest.approx(dose, abs=1e-9)
    assert generalise[at] == pytest.approx(least, abs=6e-5)
    relative = [
        train[at],
        1 - train[at] / train[0],
        1 - generalise[at] / generalise[0],
        1 - generalise[-1] / generalise[0],
    ]
    assert relative == pytest.approx([e_t, memory, score, late], abs=6e-4)
    if snr <= 8:
        assert theory.best_dose(snr, 1.0) == pytest.approx(dose, abs=0.003)


@pytest.mark.parametrize(
    ("load", "snr", "dose", "least"),
    [(0.5, 0.1, 0.095, 0.9960), (0.5, 1, 0.695, 0.8918), (0.5, 4, 2.235, 0.7161)]
    + [(2, 0.1, 0.090, 0.9859), (2, 1, 0.620, 0.7116), (2, 4, 2.000, 0.3457)],
)
def test_best_doses_at_other_loads(load: float, snr: float, dose: float, least: float):
    assert theory.best_dose(snr, load) == pytest.approx(dose, abs=0.003)
    assert theory.go_cls_generalise(theory.best_dose(snr, load), snr, load) == pytest.approx(least, abs=6e-5)


def test_the_rule_of_thumb_and_the_crossover():
    """s* ~ SNR when it is small, ~ .61 SNR when it is great; below SNR 1.873 endless consolidation harms."""
    assert theory.best_dose(0.01, 1.0) == pytest.approx(0.01, rel=0.05)
    assert theory.best_dose(50.0, 1.0) / 50 == pytest.approx(0.61, abs=0.01)
    harm = [np.diff(theory.go_cls_generalise(DOSES[[0, -1]], snr, 1.0))[0] for snr in (1.871, 1.875)]
    assert harm[0] > 0 > harm[1]


@pytest.mark.parametrize(
    ("snr", "values"), [(1.0, (0.812, 1.372, 1.593)), (4.0, (None, 0.624, 0.699))], ids=["snr1", "snr4"]
)
def test_values_at_given_doses(snr: float, values):
    for dose, value in zip((0.690, 9.985, 15.0), values, strict=True):
        if value is not None:
            assert theory.go_cls_generalise(dose, snr, 1.0) == pytest.approx(value, abs=6e-4)


def test_remote_memory_runs_from_total_dependence_to_full_transfer():
    """With the best early stopping, what a lesion leaves of a remote memory rises with predictability (Fig. 3e)."""
    scores = []
    for snr in (0.01, 0.1, 0.3, 1.0, 8.0, math.inf):
        train = theory.go_cls_train([DOSES[0], BEST[snr][0]], snr, 1.0)
        scores.append(1 - train[1] / train[0])
    assert scores == pytest.approx([0.010, 0.155, 0.374, 0.691, 0.971, 0.997], abs=6e-4)
    assert scores == sorted(scores)


# -- exact facts ----------------------------------------------------------------------------------------------


@given(LOADS)
def test_moments_of_the_spectrum(load: float):
    eigenvalues, weights, zero = theory.spectrum(load)
    # the mass alone is not exact for loads next to 1, where the density peaks close to 0
    assert weights.sum() + zero == pytest.approx(1.0, abs=2e-3)
    assert weights @ eigenvalues == pytest.approx(load, rel=1e-9)
    assert weights @ eigenvalues**2 == pytest.approx(load + load**2, rel=1e-9)
    assert weights @ eigenvalues**3 == pytest.approx(load + 3 * load**2 + load**3, rel=1e-9)


@given(SNRS, LOADS)
def test_errors_begin_at_one_and_training_only_falls(snr: float, load: float):
    train, generalise = both(np.linspace(0, 20, 50), snr, load)
    assert train[0] == pytest.approx(1.0, abs=2e-3) and generalise[0] == pytest.approx(1.0, abs=2e-3)
    assert (np.diff(train) <= 1e-12).all()


@pytest.mark.parametrize("load", [0.2, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("snr", [0.0, 0.3, 4.0, math.inf])
def test_limits(snr: float, load: float):
    limits = theory.go_cls_limits(snr, load)
    train, generalise = both(np.array([1e4]), snr, load)
    assert train[0] == pytest.approx(limits.train, abs=1e-9)
    assert generalise[0] == pytest.approx(limits.generalise, abs=1e-9)
    step = 1e-6
    slopes = [(error[1] - error[0]) / step for error in both(np.array([0.0, step]), snr, load)]
    assert slopes == pytest.approx([limits.train_slope, limits.generalise_slope], abs=1e-4)


def test_double_descent():
    """After endless consolidation of noise the error peaks where there are as many examples as inputs."""
    late = [theory.go_cls_generalise(1e3, 1.0, load) for load in (0.2, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0)]
    assert np.argmax(late) == 3 and late[3] > 10
    assert theory.go_cls_limits(1.0, 1.0).generalise == math.inf
    assert theory.go_cls_limits(math.inf, 1.0).generalise == 0.0


@settings(max_examples=40)
@given(st.floats(0.01, 200), st.floats(0.1, 6))
def test_the_best_dose_is_the_minimum(snr: float, load: float):
    dose = theory.best_dose(snr, load)
    least = theory.go_cls_generalise(dose, snr, load)
    assert (theory.go_cls_generalise(dose * np.array([0.5, 0.8, 0.97, 1.03, 1.25, 2]), snr, load) >= least).all()


def test_early_stopping_is_nearly_bayesian():
    """No stopping beats ridge regression with the right penalty; the best comes within 1.6 %."""
    ratios = [
        float(theory.go_cls_generalise(theory.best_dose(snr, load), snr, load)) / theory.bayes_bound(snr, load)
        for load in (0.5, 1.0, 2.0)
        for snr in (0.1, 1.0, 4.0)
    ]
    assert min(ratios) >= 1.0 and max(ratios) == pytest.approx(1.0159, abs=1e-4) and min(ratios) < 1.0001


def test_without_signal_or_without_noise():
    assert theory.best_dose(0.0, 1.0) == 0.0 and theory.best_dose(math.inf, 1.0) == math.inf
    assert theory.go_cls_generalise(np.array([0.0, 1.0]), 0.0, 1.0)[1] > 1.0, "nothing to learn but noise"
    assert theory.bayes_bound(0.0, 1.0) == pytest.approx(1.0)
    assert theory.bayes_bound(math.inf, 2.0) == 0.0


def test_the_first_step_of_gradient_descent():
    """Slopes of E_t over one step of .05 (published); one step is known exactly from the spectrum's moments."""
    for snr, slope in ((0.1, -0.1091), (1.0, -0.1500), (10.0, -0.1909)):
        assert theory.go_cls_limits(snr, 1.0).train_slope * 0.05 == pytest.approx(slope, abs=1e-4)
        teacher, noise = theory.variances(snr)
        first = np.diff(theory.go_cls_train([0.0, 0.05], snr, 1.0, rate=0.05))[0]
        assert first == pytest.approx(-2 * 0.05 * (2 * teacher + noise) + 0.05**2 * (5 * teacher + 2 * noise))


def test_small_steps_are_the_flow():
    s = np.array([0.1, 1.0, 5.0])
    for flow, steps in zip(both(s, 2.0, 1.0), both(s, 2.0, 1.0, rate=1e-4), strict=True):
        assert steps == pytest.approx(flow, rel=1e-3)
    assert theory.go_cls_train(1.0, 2.0, 1.0).shape == (), "a number gives a number"
    assert theory.go_cls_train(np.ones((2, 3)), 2.0, 1.0).shape == (2, 3)


# -- simulation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "snr"), [(1.0, 1.0), (0.5, 4.0), (2.0, 0.3)])
def test_a_simulated_student_follows_the_curves(load: float, snr: float):
    """Forty subjects in 100 dimensions, gradient descent on the sum of squares; also with a fading rate."""
    subjects, n, p, rate, steps = 40, 100, round(100 * load), 0.02, 300
    rng = np.random.default_rng(3)
    teacher, noise = theory.variances(snr)
    w = rng.normal(0, math.sqrt(teacher), (subjects, n, 1))
    x = rng.normal(0, 1 / math.sqrt(n), (subjects, p, n))
    y = x @ w + rng.normal(0, math.sqrt(noise), (subjects, p, 1))
    fading = 2 * rate * np.exp(-np.arange(steps) / 200)
    for rates in (np.full(steps, rate), fading):
        student, doses, train, generalise = np.zeros_like(w), [], [], []
        for i, eta in enumerate(rates):
            missed = y - x @ student
            if i % 5 == 0:
                doses.append(rates[:i].sum())
                train.append((missed**2).mean())
                generalise.append(((student - w) ** 2).mean() + noise)  # over all inputs there are
            student = student + eta * x.transpose(0, 2, 1) @ missed
        theirs = both(np.array(doses), snr, load)
        for mine, curve in zip((train, generalise), theirs, strict=True):
            assert np.linalg.norm(mine - curve) / np.linalg.norm(curve) < 0.06


# -- memories -------------------------------------------------------------------------------------------------


def test_notebook_error():
    errors = [theory.notebook_error(p, m) for p, m in ((50, 2000), (100, 2000), (200, 2000), (100, 1000))]
    assert errors == pytest.approx([0.0245, 0.0495, 0.0995, 0.0991], abs=6e-5)
    assert theory.notebook_error(1, 10) == 0.0


def test_overlap_of_winners():
    """Analytic numbers of the pattern-separation card, for correlations .5, .8, .9, .95 and .99."""
    table = {
        0.01: (0.129, 0.377, 0.542, 0.670, 0.850),
        0.05: (0.244, 0.495, 0.637, 0.742, 0.884),
        0.1: (0.324, 0.562, 0.689, 0.779, 0.901),
    }
    for activity, overlaps in table.items():
        mine = [theory.overlap_after_winners(rho, activity) for rho in (0.5, 0.8, 0.9, 0.95, 0.99)]
        assert mine == pytest.approx(overlaps, abs=6e-4)
    assert theory.overlap_after_winners(0.5, 0.5) == pytest.approx(2 / 3)  # 1/2 + asin(ρ)/π, exactly
    assert theory.overlap_after_winners(0.0, 0.1) == pytest.approx(0.1), "by chance"
    assert theory.overlap_after_winners(1.0, 0.1) == pytest.approx(1.0)


def test_the_capacity_of_an_attractor_is_that_of_hopfield_where_half_of_the_cells_are_active():
    """0.138 patterns per cell, at the overlap (1 + .967) / 2 (Amit, Gutfreund & Sompolinsky 1985)."""
    assert theory.attractor_capacity(0.5, overlap=0.9) == pytest.approx(0.1379, abs=2e-4)
    assert theory.attractor_capacity(0.5, overlap=0.983) == pytest.approx(0.1379, abs=2e-4)
    assert theory.attractor_capacity(0.5, overlap=0.99) < 0.137
    known = np.array([1e-2, 1e-4, 1e-8, 1e-16])  # toward 1 / (2 a |ln a|) from below, slowly (Tsodyks & Feigelman 1988)
    share = theory.attractor_capacity(known, overlap=0.7) * 2 * known * np.abs(np.log(known))
    assert (np.diff(share) > 0).all() and 0.6 < share[-1] < 1.0


def test_a_higher_criterion_is_no_larger_capacity():
    curve = [float(theory.attractor_capacity(0.05, overlap=q)) for q in (0.7, 0.9, 0.95, 0.99)]
    assert curve == sorted(curve, reverse=True)


@given(st.floats(0.0, 0.99), st.floats(0.001, 0.4))
def test_winners_separate_patterns(rho: float, activity: float):
    """Sparse winners overlap less than their inputs, more than by chance, and the less the sparser."""
    overlap = theory.overlap_after_winners(rho, activity)
    assert activity - 1e-9 <= overlap <= 1.0
    assert theory.overlap_after_winners(rho, activity / 2) <= overlap + 1e-9
    assert theory.overlap_after_winners(min(1.0, rho + 0.01), activity) >= overlap - 1e-9


def test_the_winners_of_random_projections():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 200))
    b = 0.8 * a + 0.6 * b
    wiring = rng.standard_normal((200, 2000))
    codes = [np.argsort(-(x @ wiring), 1)[:, :100] for x in (a, b)]
    shared = np.mean([len(np.intersect1d(one, two)) / 100 for one, two in zip(*codes, strict=True)])
    assert shared == pytest.approx(theory.overlap_after_winners(0.8, 0.05), abs=0.03)


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: theory.spectrum(0), "load"),
        (lambda: theory.spectrum(math.nan), "load"),
        (lambda: theory.variances(-1), "snr"),
        (lambda: theory.go_cls_train(1.0, 1.0, 1.0, rate=0), "rate"),
        (lambda: theory.notebook_error(0, 10), "items"),
        (lambda: theory.notebook_error(5, 1), "units"),
        (lambda: theory.overlap_after_winners(1.1, 0.1), "rho"),
        (lambda: theory.overlap_after_winners(0.5, 0.0), "activity"),
        (lambda: theory.attractor_capacity(0.97), "overlap"),
    ],
)
def test_refusals_name_the_setting(make, key: str):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.key == key
