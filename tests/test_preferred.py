"""Policies that prefer, blend and alter: their laws, by counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from test_replay import VIEW, begun, clock_at, draw, lesson, lived, nights, remembering, spec_of

import cls_sim as cs
from cls_sim.claims import KINDS
from cls_sim.core.batch import DREAMED, Batch
from cls_sim.core.clock import Clock, Moment
from cls_sim.replay.base import Replay
from cls_sim.storage.case import Case
from cls_sim.storage.trace import Trace


def counted(policy: Replay, spec, store, steps: int = 200) -> torch.Tensor:
    """How often each slot of subject 0 is replayed."""
    rows = nights(begun(policy, spec), store, spec, steps)
    assert rows.slot is not None
    return rows.slot[0][rows.present()[0]].bincount(minlength=store.capacity).double()


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0, 2.0])
def test_prioritised_chances_are_exact(power: float):
    """P(i) = p_i^α / Σ p^α (Schaul et al. 2016), by chi-square."""
    spec = spec_of()
    store = remembering(spec, range(3), capacity=36)
    counts = counted(cs.Preferred(cs.Surprise(eps=0.05), batch=100, power=power), spec, store)
    p = (VIEW.loss(store.fetch(torch.arange(36).expand(4, -1)))[0].double() + 0.05) ** power
    assert stats.chisquare(counts.numpy(), (p / p.sum() * counts.sum()).numpy()).pvalue > 0.001


def test_importance_weights_give_back_the_uniform_mean():
    spec = spec_of()
    store = remembering(spec, range(3), capacity=36)
    policy = cs.Preferred(cs.Surprise(eps=0.2), batch=200, correction=1.0)
    rows, weight = [], []
    for t in range(100):
        batch = draw(begun(policy, spec), store, clock_at(spec, 8, t))
        rows.append(batch.y.float())
        weight.append(batch.weights() / batch.weights().sum(1, keepdim=True))
        assert batch.weights().amax(1).allclose(torch.ones(4))
    mean = (torch.stack(rows) * torch.stack(weight)).sum((0, 2)) / 100
    fair = store.traces().y.float().mean(1)
    biased = torch.stack(rows).mean((0, 2))
    assert ((mean - fair).abs() < 0.08).all() and ((biased - fair).abs() > 0.5).all()


def test_a_pool_that_holds_everything_prefers_alike():
    spec = spec_of()
    store = remembering(spec, range(3), capacity=36)
    whole, pool = (counted(cs.Preferred(cs.Weakness(), batch=40, candidates=n), spec, store) for n in (None, 2000))
    some = whole + pool > 0
    expected = (whole / whole.sum() * pool.sum()).numpy()[some.numpy()]
    assert abs(float((pool[some].numpy() - expected).sum())) < 1e-6
    assert np.abs(pool[some].numpy() - expected).max() < 6 * np.sqrt(2 * expected.max())


def test_weakness_is_what_the_answer_lacks():
    spec = spec_of()
    batch = remembering(spec, range(3)).fetch(torch.arange(36).expand(4, -1))
    weak = begun_preference(cs.Weakness(), spec).priority(batch, VIEW, clock_at(spec, 8))
    assert torch.allclose(weak, 1 - (-VIEW.loss(batch).double()).exp())


@pytest.mark.parametrize("candidates", [None, 20])
def test_the_first_are_replayed_each_once(candidates):
    """Nothing is drawn by p: the rows with the largest p among all traces, or among the candidates."""
    spec = spec_of()
    store = remembering(spec, range(3), capacity=36)
    policy = begun(cs.Preferred(cs.Surprise(eps=0.05), batch=5, candidates=candidates, first=True), spec)
    p = VIEW.loss(store.fetch(torch.arange(36).expand(4, -1))).double()
    best = p.topk(5, 1).values
    for t in range(20):
        rows = draw(policy, store, clock_at(spec, 8, t))
        assert rows.slot is not None and all(len(set(slots)) == 5 for slots in rows.slot.tolist())
        mine = p.gather(1, rows.slot.long())
        if candidates is None:
            assert torch.equal(mine.sort(1, descending=True).values, best)
        else:  # five of about 15 different ones, drawn evenly: better than the mean, not always the best of all
            assert mine.mean() > p.mean()


def test_the_first_of_few_are_all_of_them():
    spec = spec_of((0, 1))
    store = remembering(spec, range(1), capacity=36)
    batch = draw(begun(cs.Preferred(batch=50, candidates=80, first=True), spec), store, clock_at(spec, 8))
    assert batch.rows == 50
    for i in range(2):
        assert sorted(batch.slot[i][batch.present()[i]].tolist()) == list(range(int(store.traces().alive[i].sum())))
    with pytest.raises(cs.ConfigError, match="first draws none"):
        begun(cs.Preferred(first=True, correction=0.4), spec)


def begun_preference(preference, spec):
    preference.setup(spec)
    return preference


def test_balanced_shows_every_class_alike():
    spec = spec_of((0,))
    store = remembering(spec, range(8), capacity=96)
    policy = begun(cs.Preferred(cs.Balanced(), batch=100), spec)
    counts = nights(policy, store, spec, 100).y[0].bincount(minlength=10).double()
    assert stats.chisquare(counts.numpy()).pvalue > 0.001
    plain = nights(begun(cs.Uniform(batch=100), spec), store, spec, 100).y[0].bincount(minlength=10).double()
    assert stats.chisquare(plain.numpy()).pvalue < 1e-6


def test_similar_ranks_the_old_by_their_likeness_to_the_new():
    spec = spec_of((0,), regression=True, inputs=(3,), outputs=3)
    y = torch.tensor([[[1.0, 1, 1], [1, 1, 0], [1, 0, 0], [-1, -1, 0], [1, 1, 1]]])
    batch = Batch.lived(y, y, born=torch.tensor([[0, 0, 0, 0, 7]]))
    for power in (1.0, 2.0):
        similar = begun_preference(cs.Similar(compare="answers", power=power), spec)
        p = similar.priority(batch, VIEW, clock_at(spec, 8))
        expected = torch.tensor([1.0, math.sqrt(2 / 3), math.sqrt(1 / 3), 0, 1], dtype=torch.float64) ** power
        assert torch.allclose(p[0], expected, atol=1e-6)
    absent = batch.with_(weight=torch.tensor([[0.0, 1, 1, 1, 1]]))
    p = begun_preference(cs.Similar(compare="answers"), spec).priority(absent, VIEW, clock_at(spec, 8))
    assert torch.allclose(p[0, 1:3], torch.tensor([1.0, math.sqrt(1 / 2)], dtype=torch.float64))


def test_with_classes_the_likeness_is_that_of_their_means():
    spec = spec_of((0,))
    store = remembering(spec, range(8), capacity=96)
    batch = store.fetch(torch.arange(96).expand(1, -1))
    p = begun_preference(cs.Similar(compare="inputs"), spec).priority(batch, VIEW, clock_at(spec, 8))
    old = batch.born[0] < 5
    for label in range(10):
        assert p[0, old & (batch.y[0] == label)].unique().numel() <= 1
    assert p[0, ~old].eq(1).all() and p[0, old].max() == 1 and p[0, old].min() < 0.99


def test_thinned_brings_each_with_its_own_probability():
    spec = spec_of((0,))
    store = remembering(spec, range(8), capacity=96)
    policy = begun(cs.Thinned(cs.RecencyShare(share=0.3)), spec)
    come = torch.stack([draw(policy, store, clock_at(spec, 8, t)).present()[0] for t in range(300)]).float().mean(0)
    old = store.traces().born[0] < 5
    assert (come[~old] == 1).all() and abs(float(come[old].mean()) - 0.3) < 0.01
    assert (come[old] - 0.3).abs().max() < 0.12


def test_mixed_nights_weigh_as_told_and_fill_in_for_one_another():
    spec = spec_of()
    store = remembering(spec, range(8))

    class Dream(Replay):
        there = torch.ones(4, 6)

        def draw(self, *_):
            batch = Batch.lived(torch.zeros(4, 6, 6), torch.zeros(4, 6, dtype=torch.int64))
            scores = torch.ones(4, 6, 10)
            return batch.with_(source=batch.source + DREAMED, weight=self.there, scores=scores)

    rows = draw(begun(cs.Mixed(cs.Uniform(batch=12), Dream(), share=0.25), spec), store, clock_at(spec, 8))
    dreamt = rows.source == DREAMED
    weight = rows.weights()
    assert rows.rows == 18 and torch.allclose((weight * dreamt).sum(1) / weight.sum(1), torch.full((4,), 0.25))
    assert rows.scores is not None and rows.scores[:, :12].isnan().all() and (rows.scores[:, 12:] == 1).all()
    assert rows.slot is not None and (rows.slot[:, 12:] == -1).all()
    plain = draw(begun(cs.Mixed(cs.Uniform(batch=12), Dream()), spec), store, clock_at(spec, 8))
    assert (plain.weights() == 1).all()
    none = cs.NoHippocampus()
    none.setup(spec)
    rows = draw(begun(cs.Mixed(cs.Uniform(batch=12), Dream(), share=0.25), spec), none, clock_at(spec, 8))
    assert not rows.present()[:, :12].any() and rows.present()[:, 12:].all()
    Dream.there = torch.zeros(4, 6)
    rows = draw(begun(cs.Mixed(cs.Uniform(batch=12), Dream(), share=0.25), spec), store, clock_at(spec, 8))
    assert rows.present()[:, :12].all() and not rows.present()[:, 12:].any()


# -- altered --------------------------------------------------------------------------------------------------


def images(source: int = 1) -> Batch:
    x = torch.zeros(2, 40, 64)
    x[..., 27] = 1.0  # one bright pixel at row 3, column 3
    batch = Batch.lived(x, torch.arange(40).expand(2, -1) % 10)
    return batch.with_(source=batch.source + source)


def altered(policy, batch: Batch, t: int = 0, spec=None) -> Batch:
    spec = spec or spec_of((0, 1), inputs=(64,))
    policy.setup(spec)
    return policy.alter(batch, "night", np.full(2, t))


def test_nothing_asked_nothing_altered():
    same = altered(cs.Augmented(cs.Uniform(), translation=0.0, rotation=0.0, scaling=0.0), images())
    assert torch.equal(same.x, images().x)


def test_a_shift_moves_as_far_as_told():
    moved = altered(cs.Augmented(cs.Uniform(), translation=1.0, rotation=0.0, scaling=0.0), images()).x.view(
        2, 40, 8, 8
    )
    away = torch.ones(8, 8)
    away[2:5, 2:5] = 0
    assert (moved * away).abs().max() < 1e-5 and moved.flatten(2).sum(2).allclose(torch.ones(2, 40), atol=1e-5)
    middle = (moved.sum(2) * torch.arange(8)).sum(2) - 3
    assert middle.abs().max() <= 1.0001 and middle.std() > 0.4 and not torch.equal(moved[0], moved[1])


def test_only_what_bears_it_is_moved():
    blob = torch.zeros(8, 8)
    blob[2:6, 2:6] = 1.0
    lots = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    x = torch.stack((blob.flatten(), blob.flatten()[lots], torch.ones(64))).expand(2, -1, -1)  # the last: no contrast
    batch = Batch.lived(x, torch.zeros(2, 3, dtype=torch.int64))
    moved = altered(cs.Augmented(cs.Uniform(), min_autocorrelation=0.25), batch.with_(source=batch.source + 1)).x
    assert (moved != x).any(-1).tolist() == [[True, False, False]] * 2
    free = altered(cs.Augmented(cs.Uniform()), batch.with_(source=batch.source + 1)).x
    assert torch.equal(free[:, 0], moved[:, 0]) and (free != x).any(-1).all()


def test_a_turn_keeps_the_middle_and_noise_is_as_large_as_told():
    x = torch.rand(2, 40, 64)
    turned = altered(cs.Augmented(cs.Uniform(), translation=0.0, rotation=20.0, scaling=0.0), images().with_(x=x)).x
    middle = [27, 28, 35, 36]
    assert (turned - x)[..., middle].abs().mean() < (turned - x).abs().mean()
    assert torch.allclose(turned[..., middle].mean(), x[..., middle].mean(), atol=0.03)
    noisy = altered(
        cs.Augmented(cs.Uniform(), translation=0.0, rotation=0.0, scaling=0.0, noise=0.2), images().with_(x=x)
    ).x
    assert abs(float((noisy - x).std()) - 0.2) < 0.01


def test_what_is_lived_is_left_as_it_is():
    spec = spec_of(inputs=(64,))
    store = remembering(spec)
    policy = cs.Augmented(cs.Interleaved(cs.Uniform(), share=0.5, only_old=False), noise=0.1)
    now = lived(spec, 12)
    batch = lesson(begun(policy, spec), now, store, clock_at(spec, 12))
    assert torch.equal(batch.x[:, :12], now.x) and not (batch.x[:, 12:] * 16 % 1 == 0).all()
    policy = cs.Mixup(cs.Interleaved(cs.Uniform(), share=0.5, only_old=False))
    batch = lesson(begun(policy, spec), now, store, clock_at(spec, 12))
    assert torch.equal(batch.x[:, :12], now.x)
    assert batch.scores is not None and batch.scores[:, :12].isnan().all() and not batch.scores[:, 12:].isnan().any()


def test_blended_answers_are_in_the_proportion_of_the_inputs():
    eye = torch.eye(10)[torch.arange(40) % 10].expand(2, -1, -1)
    batch = images().with_(x=torch.cat((eye, torch.zeros(2, 40, 54)), 2))
    there = torch.ones(2, 40)
    there[0, 5] = 0
    mixed = altered(cs.Mixup(cs.Uniform(), max_share=0.4), batch.with_(weight=there))
    assert mixed.scores is not None
    assert torch.allclose(mixed.scores.softmax(2), mixed.x[..., :10], atol=1e-5)
    own = mixed.x.gather(2, batch.y[..., None])[..., 0]
    assert own.min() >= 0.6 - 1e-6 and own[1].min() < 0.7 and own[0, 5] == 1


def test_images_that_are_not_square_are_refused():
    with pytest.raises(cs.ConfigError, match="square"):
        cs.Augmented(cs.Uniform()).setup(spec_of(inputs=(6,)))
    with pytest.raises(cs.ConfigError, match="class labels"):
        cs.Preferred(cs.Novelty()).setup(spec_of(regression=True))
    with pytest.raises(cs.ConfigError, match="max_share"):
        cs.Mixup(cs.Uniform(), max_share=0.7)


# -- the claim that counts how soon ---------------------------------------------------------------------------


def test_sooner_counts_to_the_criterion_subject_by_subject():
    def trace(errors, counts):
        trace, clock = Trace(), Clock(2, 1)
        for error, count in zip(errors, counts, strict=True):
            trace.append(Moment("night.end", np.ones(2, bool)), clock, {"error": np.array(error), "dose": count})
        return trace

    counts = [np.full(2, float(t)) for t in (10, 11, 12, 13)]
    traces = {
        "slow": trace([[1, 1], [0.9, 0.8], [0.5, 0.2], [0.0, 0.1]], counts),
        "fast": trace([[1, 1], [0.1, 0.4], [0.0, 0.1], [0.0, 0.1]], counts),
        "never": trace([[1, 1]] * 4, counts),
    }
    settings = {"reading": "error", "criterion": 0.2, "counted": "dose"}
    verdict = KINDS["sooner"](Case(traces, {}), "fast", "slow", at_most=0.5, **settings)
    assert verdict.value == 1.0 and not verdict.passed  # the second subject takes two of two
    assert KINDS["sooner"](Case(traces, {}), "slow", "fast", at_least=1.0, **settings).passed
    assert KINDS["sooner"](Case(traces, {}), "never", "fast", at_least=9.0, **settings).passed
    assert not KINDS["sooner"](Case(traces, {}), "never", "fast", at_most=9.0, **settings).passed


def test_sooner_of_the_mean_is_not_decided_by_the_worst_subject():
    def trace(costs):
        trace, clock = Trace(), Clock(8, 1)
        for t in range(13):
            error = np.where(np.array(costs) <= t, 0.0, 1.0)
            trace.append(Moment("night.end", np.ones(8, bool)), clock, {"error": error, "dose": np.full(8, float(t))})
        return trace

    fast, slow, never = trace([4, 5, 5, 5, 6, 5, 5, 10]), trace([10] * 8), trace([99] * 8)
    case, ask = Case({"fast": fast, "slow": slow, "never": never}, {}), {"reading": "error", "criterion": 0.2}
    ask = {**ask, "counted": "dose", "arm": "fast", "than": "slow"}
    assert not KINDS["sooner"](case, at_most=0.9, **ask).passed
    mean = KINDS["sooner"](case, at_most=0.9, each=False, **ask)
    low, high = mean.more["interval"]
    assert mean.passed and mean.value == pytest.approx(45 / 80) and low < mean.value < high < 0.9
    assert not KINDS["sooner"](case, at_least=mean.value, each=False, **ask).passed, "the interval must be inside"
    assert not KINDS["sooner"](case, at_least=0.1, each=False, **{**ask, "arm": "never"}).passed, "no interval"
