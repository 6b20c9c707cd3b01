"""Means, intervals, paired tests and transfer scores: against scipy, against theory and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cls_sim import statistics
from cls_sim.core.errors import ConfigError

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))


def test_mean_and_standard_error_agree_with_scipy():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=(9, 4))
    e = statistics.estimate(values)
    assert np.allclose(e.mean, values.mean(0))
    assert np.allclose(e.sem, stats.sem(values))
    assert e.n.tolist() == [9] * 4


def test_bca_ends_agree_with_scipy_before_they_are_expanded():
    from scipy import stats

    values = np.random.default_rng(5).lognormal(size=24)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    ours = statistics.bca((np.sort(values) - values.mean())[:, None], 0, 1.959963985)[:, 0] + values.mean()
    assert ours == pytest.approx(list(theirs), abs=0.03 * values.std())


@pytest.mark.parametrize("n", [2, 3, 5, 6, 16, 41, 1000])
def test_expanded_quantile_is_that_of_student(n):
    from scipy import stats

    for level in (0.5, 0.95, 0.99):
        want = math.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
        assert statistics.expanded(n, level) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "draw", "truth", "least"),
    [
        (16, lambda g, shape: g.normal(size=shape), 0.0, 0.92),
        (16, lambda g, shape: g.exponential(size=shape), 1.0, 0.89),
        (16, lambda g, shape: g.beta(9, 1, size=shape), 0.9, 0.89),  # accuracies near the ceiling
        (5, lambda g, shape: g.normal(size=shape), 0.0, 0.90),
    ],
)
def test_intervals_cover_the_truth_about_as_often_as_they_say(n, draw, truth, least):
    values = draw(np.random.default_rng(1), (n, 600))
    e = statistics.estimate(values)
    covered = ((e.low <= truth) & (truth <= e.high)).mean()
    assert least <= covered <= 0.98


def test_interval_leans_to_the_long_tail_and_narrows_with_subjects():
    values = np.random.default_rng(2).lognormal(size=(64, 200))
    few, many = statistics.estimate(values[:16]), statistics.estimate(values)
    assert ((few.high - few.mean) > (few.mean - few.low)).mean() > 0.9
    ratio = np.median(few.high - few.low) / np.median(many.high - many.low)
    assert 1.6 < ratio < 2.6  # about sqrt(64 / 16)


def test_level_widens_the_interval():
    values = np.random.default_rng(2).normal(size=12)
    narrow, wide = statistics.estimate(values, level=0.5), statistics.estimate(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


@given(hnp.arrays(np.float64, st.tuples(st.integers(5, 30), st.integers(1, 4)), elements=numbers), st.randoms())
@settings(max_examples=40, deadline=None)
def test_interval_is_deterministic_inside_the_data_and_blind_to_order(values, random):
    e = statistics.estimate(values)
    order = list(range(len(values)))
    random.shuffle(order)
    again = statistics.estimate(values[order])
    for name in ("mean", "low", "high", "sem"):
        assert np.array_equal(getattr(e, name), getattr(again, name))
    slack = 1e-9 * (1 + np.abs(values).max())
    assert (e.low <= e.mean + slack).all() and (e.mean <= e.high + slack).all()
    assert (values.min(0) - slack <= e.low).all() and (e.high <= values.max(0) + slack).all()


@given(hnp.arrays(np.float64, st.integers(5, 20), elements=st.floats(-1, 1)), st.floats(0.1, 10), st.floats(-5, 5))
@example(np.array([0.0] + [1e-5] * 17), 1.375, 2.1801090473617872)  # rounding told equal means apart
@settings(max_examples=40, deadline=None)
def test_interval_moves_and_scales_with_the_data(values, scale, shift):
    a, b = statistics.estimate(values), statistics.estimate(values * scale + shift)
    assert b.low == pytest.approx(a.low * scale + shift, abs=1e-6)
    assert b.high == pytest.approx(a.high * scale + shift, abs=1e-6)


def test_columns_are_estimated_as_if_alone():
    values = np.random.default_rng(4).normal(size=(7, 3, 2))
    values[0, 1, 1] = np.nan
    e = statistics.estimate(values)
    assert e.mean.shape == e.low.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        alone = statistics.estimate(values[:, i, j])
        assert (e.low[i, j], e.high[i, j]) == pytest.approx((alone.low, alone.high), abs=1e-12)
        assert e.n[i, j] == alone.n


def test_missing_subjects_are_left_out_and_counted():
    e = statistics.estimate([1.0, np.nan, 2.0, 3.0, 4.0, 5.0])
    assert (e.mean, e.n, e.note) == (3.0, 5, "")
    assert e.low == statistics.estimate([1.0, 2.0, 3.0, 4.0, 5.0]).low


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_too_few_subjects_get_no_interval(n):
    e = statistics.estimate(np.arange(float(n)))
    assert e.note == "n too small" and e.n == n and math.isnan(e.low) and math.isnan(e.high)
    assert math.isnan(e.mean) == (n == 0) and math.isnan(e.sem) == (n < 2)


def test_equal_subjects_have_a_point_for_an_interval():
    e = statistics.estimate([0.1] * 8)
    assert (e.low, e.high, e.sem) == pytest.approx((0.1, 0.1, 0.0)) and e.note == ""


def test_a_diverged_subject_is_not_hidden():
    e = statistics.estimate([1.0, 2.0, 3.0, 4.0, np.inf])
    assert e.mean == math.inf and e.n == 5 and math.isnan(e.low) and e.note == "not finite"


def test_very_many_subjects_work_in_blocks():
    values = np.random.default_rng(0).normal(size=statistics.KEPT + 1)
    e = statistics.estimate(values)
    assert e.high - e.low == pytest.approx(2 * 1.96 * e.sem, rel=0.05)


@pytest.mark.parametrize(("values", "level"), [(1.0, 0.95), ([1.0], 0.0), ([1.0], 1.0), ([1.0], float("nan"))])
def test_bad_questions_are_refused(values, level):
    with pytest.raises(ConfigError):
        statistics.estimate(values, level=level)


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-10, 10)))
@settings(max_examples=40, deadline=None)
def test_sign_flips_agree_with_scipy(differences):
    from scipy import stats

    differences = np.round(differences, 3)
    found = statistics.paired(differences, np.zeros(len(differences)))
    if (
        len(differences) > 1
    ):  # scipy wants two; it counts a tie within 1e-14 relative, where ours counts it within 1e-12
        one = stats.permutation_test((differences,), np.sum, permutation_type="samples", alternative="greater")
        other = stats.permutation_test((differences,), np.sum, permutation_type="samples", alternative="less")
        want = min(1.0, 2 * min(one.pvalue, other.pvalue))
        assert found.p == pytest.approx(want, abs=1e-9) or abs(differences.sum()) < 1e-9
    assert 2.0 ** (1 - len(differences)) <= found.p <= 1.0


def test_paired_finds_what_unpaired_spread_hides():
    generator = np.random.default_rng(5)
    subject = generator.normal(0, 10, 20)
    a, b = subject + 0.5 + generator.normal(0, 0.2, 20), subject + generator.normal(0, 0.2, 20)
    e = statistics.paired(a, b)
    assert 0.2 < e.low < e.mean < e.high < 0.7 and e.p < 0.001
    back = statistics.paired(b, a)
    assert back.mean == pytest.approx(-e.mean) and back.p == e.p


def test_p_is_uniform_when_nothing_differs():
    differences = np.random.default_rng(6).normal(size=(16, 300))
    p = statistics.paired(differences, np.zeros_like(differences)).p
    assert abs((p < 0.05).mean() - 0.05) < 0.04 and abs(p.mean() - 0.5) < 0.06


def test_paired_uses_subjects_that_have_both():
    e = statistics.paired([1.0, np.nan, 3.0, 4.0, 5.0, 6.0], [0.0, 0.0, np.nan, 3.0, 4.0, 5.0])
    assert (e.n, e.mean, e.note, e.p) == (4, 1.0, "n too small", 0.125)
    with pytest.raises(ConfigError):
        statistics.paired([1.0, 2.0], [1.0])


def test_transfer_by_hand():
    r = np.array(
        [
            [
                [0.1, 0.2, 0.3],
                [0.9, 0.4, 0.3],
                [0.5, 0.8, 0.6],
                [0.2, 0.6, 1.0],
            ]
        ]
    )
    scores = statistics.transfer(r)
    assert scores["final"] == pytest.approx([0.6])
    assert scores["forgetting"] == pytest.approx([((0.9 - 0.2) + (0.8 - 0.6)) / 2])
    assert scores["backward"] == pytest.approx([((0.2 - 0.9) + (0.6 - 0.8)) / 2])
    assert scores["forward"] == pytest.approx([((0.4 - 0.2) + (0.6 - 0.3)) / 2])


def test_transfer_with_another_order_of_contexts_for_each_subject():
    generator = np.random.default_rng(7)
    r = generator.random((6, 5, 4))
    orders = np.stack([generator.permutation(4) for _ in range(6)])  # context learnt at each step
    starts = np.argsort(orders, axis=1)
    sorted_ = np.take_along_axis(r, orders[:, None], 2)  # columns in the order of learning
    want, got = statistics.transfer(sorted_), statistics.transfer(r, starts)
    for name in want:
        assert got[name] == pytest.approx(want[name])


def test_transfer_without_forgetting_is_zero_and_without_rows_undefined():
    perfect = np.ones((2, 4, 3))
    assert statistics.transfer(perfect)["forgetting"].tolist() == [0.0, 0.0]
    alone = statistics.transfer(np.ones((2, 2, 1)))
    assert alone["final"].tolist() == [1.0, 1.0]
    assert all(np.isnan(alone[name]).all() for name in ("forgetting", "backward", "forward"))
    unborn = statistics.transfer(np.full((2, 1, 3), np.nan))
    assert all(np.isnan(v).all() for v in unborn.values())
    with pytest.raises(ConfigError):
        statistics.transfer(np.ones((3, 2)))


def test_transfer_of_a_life_cut_short_counts_the_contexts_lived():
    r = np.array([[[0.1, 0.1, 0.1, 0.1], [1.0, 0.3, 0.1, 0.1], [0.6, 1.0, 0.5, 0.1]]])
    scores = statistics.transfer(r)
    assert scores["forgetting"] == pytest.approx([0.4])
    assert scores["backward"] == pytest.approx([-0.4])
    assert scores["forward"] == pytest.approx([(0.2 + 0.4) / 2])


def test_statistics_needs_neither_torch_nor_scipy():
    import subprocess
    import sys

    code = "import sys, cls_sim.statistics; print('torch' in sys.modules, 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


@pytest.mark.parametrize(
    "draw, truth, covered",
    [
        (lambda rng, size: rng.standard_normal(size), 0.0, {5: 0.9185, 8: 0.9355, 16: 0.948}),
        (lambda rng, size: rng.lognormal(size=size), np.exp(0.5), {5: 0.826, 8: 0.867, 16: 0.8915}),
    ],
    ids=["normal", "lognormal"],
)
def test_how_often_the_interval_covers_the_mean(draw, truth: float, covered: dict[int, float]):
    """Of 2,000 cohorts, the share whose 95 % interval holds the true mean: what docs/concepts.md says."""
    for n, expected in covered.items():
        e = statistics.estimate(draw(np.random.default_rng(n), (n, 2000)))
        assert ((e.low <= truth) & (truth <= e.high)).mean() == pytest.approx(expected, abs=2e-3)
