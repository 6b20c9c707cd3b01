"""Who dreams: what dreams look like, from when they come, and that they keep what was learnt."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.batch import DREAMED
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from tests.lives import live, small


def awake(dreamer: str = "hippocampus", rows: int = 16) -> cs.Interleaved:
    return cs.Interleaved(cs.Dreamed(batch=rows, dreamer=dreamer))


def dgr(subjects: int = 2, **changes: Any) -> cs.Life:
    parts = {"hippocampus": cs.Autoencoder(hidden=[32], latent=6, batch=16, rate=0.01), "replay": awake()}
    return small(subjects, **{"rhythm": cs.Sleepless(experiences_per_day=6)} | parts | changes)


def bir(subjects: int = 2, **changes: Any) -> cs.Life:
    parts = {"hippocampus": cs.NoHippocampus(), "neocortex": cs.Feedback(hidden=[32], latent=6)}
    parts |= {"replay": awake("neocortex"), "consolidation": cs.Descent(objective=cs.DistillationLoss())}
    return small(subjects, **{"rhythm": cs.Sleepless(experiences_per_day=6)} | parts | changes)


def gist(subjects: int = 2, **changes: Any) -> cs.Life:
    parts = {"hippocampus": cs.Gaussians(units=24, dreams=True), "replay": awake()}
    return small(subjects, **{"rhythm": cs.Sleepless(experiences_per_day=6)} | parts | changes)


LIVES = {"dgr": dgr, "bir": bir, "gist": gist}
lives = pytest.mark.parametrize("make", LIVES.values(), ids=LIVES)


def dreams(life: cs.Life, n: int = 40) -> cs.Batch:
    who = (
        life.hippocampus
        if "hippocampus" in life.spec.dreams and not isinstance(life.hippocampus, cs.NoHippocampus)
        else life.neocortex
    )
    return who.dream(n, life.clock, life.view)


def leaves(tree: Any) -> list:
    return [leaf for branch in tree.values() for leaf in leaves(branch)] if isinstance(tree, dict) else [tree]


@lives
def test_dreams_begin_when_the_first_context_has_ended(make):
    life = live(make(), 11)
    assert make is gist or not dreams(life).present().any()  # Gaussians are what was lived, at once
    life.step()
    batch = dreams(life)
    assert batch.present().all() and (batch.source == DREAMED).all()
    assert batch.x.shape == (2, 40, 64) and batch.x.min() >= 0 and batch.x.max() <= 1
    assert (batch.item == -1).all() and (batch.born == -1).all()


@lives
def test_dreams_are_a_function_of_the_clock_and_change_nothing(make):
    life = live(make(), 30)
    before = copy.deepcopy(life.state())
    first, other = dreams(life), dreams(life, 7)
    assert torch.equal(first.x, dreams(life).x) and other.rows == 7
    life.clock.experience += 1
    assert not torch.equal(first.x, dreams(life).x)
    life.clock.experience -= 1
    for mine, other in zip(leaves(before), leaves(life.state()), strict=True):
        assert np.array_equal(np.asarray(mine), np.asarray(other))


@lives
def test_subjects_dream_alone_as_in_company(make):
    together = live(make(2), 20)
    alone = live(make(1, seed=1), 20)
    ours, its = dreams(together), dreams(alone)
    assert torch.allclose(ours.x[1], its.x[0], atol=1e-4)
    assert (ours.y[1] == its.y[0]).float().mean() > 0.9  # labels may turn at a tie


@lives
def test_a_life_resumes_where_it_was(make):
    whole = live(make(), 30)
    half = live(make(), 17)
    other = make()
    other.load(copy.deepcopy(half.state()))
    live(other, 30)
    for name, w in whole.neocortex.weights.items():
        assert torch.equal(w, other.neocortex.weights[name]), name


def test_the_cortex_dreams_only_what_it_has_lived():
    life = live(bir(4), 36)
    lived = [
        set(life.world.evaluation(k).y[i][life.world.evaluation(k).present()[i]].tolist())
        for i in range(4)
        for k in range(3)
    ]
    batch = dreams(life, 300)
    for i in range(4):
        assert set(batch.y[i].tolist()) == set().union(*lived[3 * i : 3 * i + 3])


@lives
def test_where_contexts_are_told_a_dream_is_of_one_of_the_past_and_of_its_head(make):
    """Else all dreams are learnt by the first head, whose classes most of them are not."""
    life = live(make(3, world=cs.Digits(scenario="task", contexts=5, per_context=12, batch=8)), 36)
    batch = life.replay.policy.draw(life.hippocampus, life.neocortex, life.view, life.clock)  # pyright: ignore
    assert set(batch.context.unique().tolist()) == {0, 1, 2}
    assert life.spec.heads is not None
    for i in range(3):
        assert life.spec.heads[i, batch.context[i], batch.y[i]].all()
        if batch.scores is not None:
            assert (batch.scores[i] > -1e8).sum(1).eq(2).all(), "soft targets, too, are those of the head"


def test_who_is_at_rate_zero_learns_no_feedback():
    life = bir(2, plasticity=cs.Constant(rate=[0.0, 0.01]))
    first = {name: w.detach().clone() for name, w in life.neocortex.weights.items()}
    live(life, 20)
    for name, w in life.neocortex.weights.items():
        assert torch.equal(w[0], first[name][0]), name
    assert not torch.equal(life.neocortex.weights["down0.weight"][1], first["down0.weight"][1])
    assert life.neocortex.steps.tolist() == [0, 20] and not life.neocortex.met[0].any()


def test_soft_targets_reach_the_lesson_and_lived_rows_teach_labels():
    life = live(bir(), 20)
    lesson = life.replay.training_batch(
        life.world.next(life.clock), life.hippocampus, life.neocortex, life.view, life.clock
    )
    assert lesson.scores is not None
    assert torch.equal(lesson.scores.isnan().all(2), lesson.source != DREAMED)
    assert torch.allclose(
        (lesson.weights() * (lesson.source == DREAMED)).sum(1) / lesson.weights().sum(1), torch.tensor(0.5)
    )


@cache
def learnt_by(make: Any) -> np.ndarray:
    """The mean accuracy over five contexts of digits at the end of a life, of four subjects."""
    life = live(make(4, world=cs.Digits(per_context=150, batch=20), plasticity=cs.Constant(rate=0.005)))
    return cs.Accuracy().measure(life).nanmean(1).numpy()


def alone(subjects: int, **changes: Any) -> cs.Life:
    parts = {"hippocampus": cs.NoHippocampus(), "rhythm": cs.Sleepless(experiences_per_day=6)}
    return small(subjects, **parts | changes)


@cache
def learnt_alone() -> np.ndarray:
    return learnt_by(alone)


@lives
def test_dreams_keep_what_was_learnt(make):
    """Against the same cortex alone, paired by subject."""
    more = learnt_by(make) - learnt_alone()
    assert more.min() > 0.05 and more.mean() > 0.15


def test_bytes_are_those_of_the_networks():
    life = dgr(1)
    sizes = 64 * 32 + 32 + 32 * 6 + 6 + 32 * 6 + 6 * 32 + 32 + 32 * 64 + 64
    namer = sum(w[0].numel() for w in life.neocortex.weights.values())
    assert life.hippocampus.stored_bytes().tolist() == [4 * (2 * sizes + namer)]


def test_stored_episodes_teach_the_autoencoder_by_night():
    life = dgr(1, rhythm=cs.Nights(experiences_per_day=6, steps_per_night=5))
    live(life, 6)
    steps = life.hippocampus.steps.copy()
    live(life, 11)
    assert life.hippocampus.steps.tolist() == steps.tolist()  # it does not learn from its own dreams alone
    store = cs.Store(capacity=20)
    store.setup(life.spec)
    store.encode(life.world.next(life.clock), life.view, life.clock)
    life.hippocampus.sleep(store.fetch(torch.zeros(1, 8, dtype=torch.int64)), life.clock)
    assert life.hippocampus.steps.tolist() == [int(steps[0]) + 1]


def test_feedback_recalls_what_it_has_learnt():
    """What feedback makes of a degraded input is nearer to the input as it was than the degraded one."""
    life = live(bir(2, world=cs.Digits(per_context=100, batch=30, contexts=1), plasticity=cs.Constant(rate=0.01)))
    x = life.world.evaluation(0).x[:, :50]
    gone = x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.3)
    again = life.neocortex.reconstruct(gone)
    assert (again - x).square().mean() < 0.8 * (gone - x).square().mean()


def lived(rows: int, seed: int = 0) -> tuple[cs.Gaussians, cs.Batch]:
    """Rows of two classes, N((0, 0, 0), I) and N((4, 0, 0), diag(.01, 1, 1)), seen by Gaussians on the input itself."""
    spec = cs.Spec(seeds=(seed,), inputs=(3,), outputs=4, ends=(1,))
    part, g = cs.Gaussians(features="input", prior=0.01, dreams=True), torch.Generator().manual_seed(seed)
    part.setup(spec)
    y = torch.arange(rows)[None] % 2 * 2
    x = torch.randn(1, rows, 3, generator=g)
    x[0, 1::2] = x[0, 1::2] * torch.tensor([0.1, 1, 1]) + torch.tensor([4.0, 0, 0])
    batch = cs.Batch.lived(x, y)
    for some in range(0, rows, 50):
        rows_ = {name: getattr(batch, name)[:, some : some + 50] for name in ("x", "y")}
        part.encode(cs.Batch.lived(**rows_), None, Clock(1, 1))  # pyright: ignore[reportArgumentType]
    return part, batch


def test_streaming_gaussians_are_the_moments_of_the_past_and_dream_from_them():
    part, batch = lived(400)
    mine = batch.x[0, 1::2].double()
    fit = part._fitted()
    assert fit.there.tolist() == [[True, False, True, False]]
    assert torch.allclose(fit.mean[0, 2].double(), mine.mean(0), atol=1e-4)
    found = (fit.factor[0, 2] @ fit.factor[0, 2].T).double()
    assert torch.allclose(found, torch.cov(mine.T, correction=0), atol=1e-2)
    dream = part.dream(4000, Clock(1, 1), None)  # pyright: ignore[reportArgumentType]
    assert set(dream.y[0].tolist()) == {0, 2}
    assert torch.allclose(dream.x[0, dream.y[0] == 2].double().mean(0), mine.mean(0), atol=0.1)
    assert torch.allclose(torch.cov(dream.x[0, dream.y[0] == 2].double().T), found, atol=0.12)


def test_streaming_gaussians_answer_as_quadratic_discriminants():
    part, batch = lived(400)
    from scipy.stats import multivariate_normal

    x = batch.x[0].double()
    moments = [(x[k::2].mean(0).numpy(), torch.cov(x[k::2].T, correction=0).numpy()) for k in (0, 1)]
    cue = torch.randn(1, 200, 3, generator=torch.Generator().manual_seed(5)) * 2 + torch.tensor([2.0, 0, 0])
    density = np.stack([multivariate_normal(m, c).logpdf(cue[0].numpy()) for m, c in moments], 1)  # pyright: ignore[reportArgumentType]
    recall = part.recall(cue)
    assert ((recall.scores[0].argmax(1) == 2).numpy() == (density[:, 1] > density[:, 0])).mean() > 0.98
    assert not recall.scores[..., [1, 3]].any()
    assert part.recall(cue + 50).match.max() < 0.01 < part.recall(cue).match.max()


def test_gaussians_can_stand_for_a_hippocampus():
    """Digits in five contexts, one exposure each: the statistics alone know all ten."""
    life = gist(2, world=cs.Digits(per_context=60, batch=5), readout=cs.HippocampusReadout())
    live(life)
    assert cs.Accuracy().measure(life).mean() > 0.8


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Feedback(gates=1.0), "gates"),
        (lambda: cs.Feedback(prior="two"), "prior"),
        (lambda: cs.Feedback(hidden=[]), "hidden"),
        (lambda: cs.Feedback().setup(cs.Spec(inputs=(2,), outputs=2)), "renew_every"),
        (lambda: cs.Gaussians(prior=0.0), "prior"),
        (lambda: cs.Gaussians(features="dreams"), "features"),
        (lambda: cs.Gaussians().setup(cs.Spec(inputs=(2,), outputs=1, regression=True)), ""),
        (lambda: cs.Autoencoder(targets="none"), "targets"),
        (lambda: cs.Autoencoder(hidden=8), "hidden"),  # pyright: ignore[reportArgumentType]
        (lambda: cs.Autoencoder().setup(cs.Spec(inputs=(2,), outputs=2)), "renew_every"),
        (lambda: cs.Autoencoder().setup(cs.Spec(inputs=(2,), outputs=2, regression=True, ends=(1,))), ""),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key


def test_recall_becomes_typical_in_the_cortex_and_stays_exact_in_the_hippocampus():
    life = bir(
        2,
        world=cs.Digits(contexts=2, per_context=20, batch=30),
        hippocampus=cs.Store(capacity=600, eviction="ring"),
        neocortex=cs.Feedback(hidden=[64], latent=8, prior="one", gates=0.0, reconstruction_weight=10.0),
        replay=cs.Uniform(batch=64),
        rhythm=cs.Nights(experiences_per_day=20, steps_per_night=400),
        plasticity=cs.WakeNight(wake_rate=0.0, night_rate=0.005),
    )
    before = cs.Imagery(of="restored").measure(life.twin())
    live(life, 420)
    read = {(of, who): cs.Imagery(of=of, system=who).measure(life) for of in ("restored", "spread") for who in WHO}
    assert (read["restored", "cortex"] > 0.1).all() and before.isnan().all()
    assert (read["restored", "hippocampus"] > 0.7).all() and (read["spread", "hippocampus"] > 0.99).all()
    assert (read["spread", "cortex"] < 0.9).all() and (read["spread", "cortex"] > 0.2).all()
    assert (cs.Imagery(of="strange").measure(life) > 0.6).all()


WHO = ("cortex", "hippocampus")


def test_gaussians_of_what_the_cortex_has_learnt_begin_with_the_second_context():
    memory = cs.Gaussians(features="cortex")
    life = small(
        2,
        hippocampus=memory,
        replay=cs.Uniform(),
        readout=cs.HippocampusReadout(),
        rhythm=cs.Sleepless(experiences_per_day=6),
    )
    live(life, life.spec.ends[0] - 1)
    assert not memory.count.any() and not memory.settled.any(), "features settle when the first context has ended"
    live(life, life.spec.ends[0])
    assert memory.settled.all() and (memory.count > 0).sum(1).tolist() == [2, 2], "that context is counted then"
    torch.testing.assert_close(memory.layer, life.neocortex.weights["weight0"].detach().mT)
    copied = memory.layer.clone()
    live(life)
    assert torch.equal(memory.layer, copied) and bool((memory.count > 0).all())
    exams = [life.world.evaluation(k) for k in range(5)]
    right = [(memory.recall(e.x).scores.argmax(2) == e.y).float().mean().item() for e in exams]
    assert np.mean(right) > 0.5, "all ten digits, of which the cortex knows two"
    f = 32
    assert memory.stored_bytes()[0] == 4 * (10 + 10 * f + 10 * f * (f + 1) // 2 + 64 * f + f)


@pytest.mark.parametrize(
    "parts", [{"neocortex": cs.Linear()}, {"world": cs.Digits(per_context=12, batch=8, boundaries_known=False)}]
)
def test_gaussians_of_the_cortex_need_a_layer_and_an_end(parts: dict):
    with pytest.raises(ConfigError, match="features"):
        small(1, hippocampus=cs.Gaussians(features="cortex"), replay=cs.Uniform(), **parts)
