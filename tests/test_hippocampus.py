"""Hippocampi: what each of them must do, and what each of them claims."""

from __future__ import annotations

import copy
import inspect
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cls_sim as cs
from cls_sim.core.batch import STORED, Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import Draws, each, generator
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus import episodes
from cls_sim.hippocampus.base import Hippocampus
from cls_sim.hippocampus.dentate import active

SIZE, ROWS = 20, 12


def spec_of(seeds=(3, 4, 5, 6), **changes) -> Spec:
    return Spec(
        **{
            "seeds": seeds,
            "inputs": (8, 8),
            "outputs": 10,
            "quantum": 1 / 16,
            "batch": ROWS,
            "features": 64,
            "ends": (99,),
        }
        | changes
    )


def view() -> View:
    def blind(*_):
        raise AssertionError("of other parts, an episodic memory sees at most what the cortex makes of an input")

    return View(scores=blind, features=lambda x: x.flatten(2), loss=blind, recall=blind, revisit=blind)


def lived(spec: Spec, t: int, rows: int = ROWS) -> Batch:
    """What subjects live at experience t: a function of the seed alone."""
    kind = (lambda g: g.integers(0, 17, (rows, *spec.inputs))) if spec.quantum else None
    x = each(spec.seeds, f"x{t}", kind or (lambda g: g.standard_normal((rows, *spec.inputs)))).float()
    x = x.mul_(spec.quantum or 1)
    y = each(spec.seeds, f"y{t}", lambda g: g.integers(0, spec.outputs, rows))
    if spec.regression:
        y = each(spec.seeds, f"y{t}", lambda g: g.standard_normal((rows, spec.outputs), dtype=np.float32))
    item = torch.arange(t * rows, (t + 1) * rows).expand(spec.subjects, -1)
    return Batch.lived(x, y, item=item, context=item // 50, born=torch.full_like(item, t))


def live(part: Hippocampus, spec: Spec, times=range(3), who=None) -> Hippocampus:
    clock = Clock(spec.subjects, 10)
    for t in times:
        clock.experience[:] = t
        part.encode(lived(spec, t), view(), clock, who)
    return part


def begun(part: Hippocampus, spec: Spec) -> Hippocampus:
    part.setup(spec)
    return part


def made(option: type) -> Hippocampus:
    """A small one of its class, with the settings it has by default."""
    parameters = inspect.signature(option).parameters
    around = [cs.Store(capacity=SIZE)] if "hippocampus" in parameters else []
    width = 4 if option is cs.TwoPaths else [16]  # one hidden layer, or several
    small = {
        "capacity": SIZE,
        "bytes": SIZE * (8 + 1),
        "bits": 1,
        "hidden": width,
        "latent": 4,
        "samples": 3,
        "renew_every": 10**6,
    }
    small |= {"units": 30} if option is cs.RandomRidge else {}  # of 1,000, a solution of its equations takes a second
    return option(*around, **{name: value for name, value in small.items() if name in parameters})


def path(dentate, ca3, **settings) -> cs.Trisynaptic:
    return cs.Trisynaptic(capacity=SIZE, dentate=dentate, ca3=ca3, **settings)


def unfinished(option: type) -> bool:
    return any(getattr(getattr(option, name), "__isabstractmethod__", False) for name in dir(option))


def options() -> dict:
    named = [getattr(cs, name) for name in cs.VOCABULARY if "hippocampus" in cs.VOCABULARY[name]]
    classes = [
        c for c in named if issubclass(c, Hippocampus) and c not in (cs.CognitiveMap, cs.TwoCodes)
    ]  # test_acting, test_theta
    found = {c.__name__: (lambda c=c: made(c)) for c in classes if not unfinished(c)}
    return found | {
        "ring": lambda: cs.Store(capacity=SIZE, eviction="ring"),
        "balanced": lambda: cs.Store(capacity=SIZE, eviction="balanced"),
        "herding": lambda: cs.Store(capacity=SIZE, eviction="herding"),
        "coverage": lambda: cs.Store(capacity=SIZE, eviction="coverage"),
        "blending": lambda: cs.Sparse(capacity=SIZE, units=300, winners=20, learning_rate=0.5, fade=0.2),
        "unmerged": lambda: cs.Sparse(capacity=SIZE, units=300, winners=20, merge=None, eviction="reservoir"),
        "notebook": lambda: path(cs.Index(units=300, activity=0.1), cs.Attractor()),
        "trisynaptic": lambda: path(cs.KWinners(units=300, activity=0.1), cs.Attractor(), ca1="best", fade=0.1),
        "hopfield": lambda: path(None, cs.ModernHopfield(beta=1.0, centre="mean", equal_norms=True)),
        "dreaming": lambda: path(None, cs.DreamingHopfield(dream_time=1.0, unlearning=0.01)),
        "without CA3": lambda: path(cs.KWinners(units=300), None),
        "dentate lesion": lambda: cs.Lesion(path(cs.KWinners(), cs.Attractor()), fraction=0.5, stage="dg"),
        "half lesioned": lambda: cs.Lesion(cs.Sparse(capacity=SIZE), fraction=0.5),
        "near": lambda: cs.Compact(bytes=SIZE * 17, bits=2, repeats="sparse", units=300, winners=20, merge=0.6),
        "chosen": lambda: cs.Compact(bytes=SIZE * 9, eviction="reservoir", repeats="none"),
        "half of compact": lambda: cs.Lesion(cs.Compact(bytes=SIZE * 9, bits=1), fraction=0.5),
        "bits": lambda: cs.Store(capacity=SIZE, code=cs.Bits(bits=4)),
        "frozen lesion": lambda: cs.Frozen(cs.Lesion(cs.Store(capacity=SIZE), fraction=0.5)),
    }


TENANTS = options()
option = pytest.mark.parametrize("make", TENANTS.values(), ids=TENANTS)
keepers = pytest.mark.parametrize(
    "make", [TENANTS[n] for n in ("Store", "ring", "balanced", "Sparse", "blending", "unmerged")]
)


def flat(tree) -> dict:
    found = {}
    for name, value in tree.items():
        found |= {f"{name}.{k}": v for k, v in flat(value).items()} if isinstance(value, dict) else {name: value}
    return found


def assert_same(tree, other, rows=slice(None), atol=0.0):
    a, b = flat(tree), flat(other)
    assert a.keys() == b.keys()
    for name in a:
        mine, other = torch.as_tensor(a[name][rows]), torch.as_tensor(b[name])
        assert torch.allclose(mine, other, rtol=0, atol=atol) if atol else torch.equal(mine, other), name


def test_the_room_has_tenants():
    assert {"Store", "Sparse", "NoHippocampus", "Lesion", "Frozen"} <= set(TENANTS)


# -- the contract ---------------------------------------------------------------------------------------------


@option
def test_only_those_awake_encode(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec)
    before = copy.deepcopy(part)
    who = torch.tensor([True, False, True, False])
    live(part, spec, range(3, 5), who)
    asleep = {name: value[~who] for name, value in flat(part.state()).items()}
    assert_same(before.state(), asleep, ~who)


@option
def test_state_comes_back(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec)
    other = begun(make(), spec)
    changed = other.changed
    other.load(copy.deepcopy(part.state()))
    assert not part.state() or other.changed > changed
    assert_same(part.state(), other.state())
    for a, b in zip(vars(part.traces()).values(), vars(other.traces()).values(), strict=True):
        assert torch.equal(a, b)
    cue = lived(spec, 9).x
    assert torch.equal(part.recall(cue).scores, other.recall(cue).scores)
    assert_same(live(part, spec, [5]).state(), live(other, spec, [5]).state())


@option
def test_alone_as_in_company(make):
    together = spec_of()
    cohort = live(begun(make(), together), together, range(6))
    for i, seed in enumerate(together.seeds):
        alone = spec_of((seed,))
        solo = live(begun(make(), alone), alone, range(6))
        atol = (
            1e-5 if isinstance(solo, (cs.Autoencoder, cs.Gaussians, cs.GenerativeClassifier, cs.Theta)) else 0.0
        )  # sums and weights agree within rounding
        assert_same(cohort.state(), solo.state(), slice(i, i + 1), atol)
        one, all_ = solo.recall(lived(alone, 2).x), cohort.recall(lived(together, 2).x)
        assert torch.equal(one.slot, all_.slot[i : i + 1])
        assert torch.allclose(one.match, all_.match[i : i + 1], atol=1e-5)


@option
def test_a_twin_goes_its_own_way(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec)
    twin = copy.deepcopy(part)
    before = copy.deepcopy(part.state())
    live(twin, spec, range(3, 6))
    assert_same(before, part.state())


@option
def test_capacity_is_never_exceeded_and_looking_changes_nothing(make):
    spec = spec_of()
    part = begun(make(), spec)
    for t in range(5):
        live(part, spec, [t])
        n = part.traces().alive.shape[1]
        assert n <= SIZE and part.traces().alive.sum(1).max() <= SIZE
    before, changed = copy.deepcopy(part.state()), part.changed
    recall, bytes_ = part.recall(lived(spec, 9).x), part.stored_bytes()
    part.fetch(torch.arange(n).expand(4, -1))
    assert_same(before, part.state())
    assert part.changed == changed
    assert bytes_.shape == (4,) and (bytes_ >= 0).all()
    assert recall.scores.shape == (4, ROWS, 10) and recall.x.shape == (4, ROWS, 8, 8)
    assert ((recall.match >= 0) & (recall.match <= 1)).all()


@option
def test_traces_tell_what_fetch_gives(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec)
    traces = part.traces()
    n = traces.alive.shape[1]
    batch = part.fetch(torch.arange(n).expand(4, -1))
    assert torch.equal(batch.present(), traces.alive)
    for name in ("y", "context", "born", "item"):
        assert torch.equal(getattr(batch, name)[traces.alive], getattr(traces, name)[traces.alive])
    assert (batch.source == STORED).all() and batch.x.shape == (4, n, 8, 8)
    assert set(traces.item[traces.alive].tolist()) <= set(range(3 * ROWS))


@keepers
def test_what_was_just_lived_is_recalled(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec, [0])
    batch = lived(spec, 0)
    recall = part.recall(batch.x)
    assert torch.equal(recall.scores.argmax(2), batch.y)
    assert torch.equal(recall.x, batch.x)
    assert (recall.match > 0.999).all()
    assert part.traces().alive.sum(1).tolist() == [ROWS] * 4


@keepers
def test_absent_rows_are_not_stored(make):
    spec = spec_of()
    part = begun(make(), spec)
    weight = torch.ones(4, ROWS)
    weight[:, ::3] = 0
    part.encode(lived(spec, 0).with_(weight=weight), view(), Clock(4, 10))
    traces = part.traces()
    assert all(
        set(i[a].tolist()) == {j for j in range(ROWS) if j % 3} for i, a in zip(traces.item, traces.alive, strict=True)
    )


EPISODIC = {name: make for name, make in TENANTS.items() if hasattr(make(), "capacity")}


@pytest.mark.parametrize("make", EPISODIC.values(), ids=EPISODIC)
def test_what_is_forgotten_is_gone_and_its_slots_are_used_again(make):
    spec = spec_of()
    part = live(begun(make(), spec), spec, range(4))
    before, changed, cue = part.traces(), part.changed, lived(spec, 3).x
    lost = each(spec.seeds, "lost", lambda g: g.random(before.alive.shape[1]) < 0.4)
    lost[1] = False  # the memory of this subject stays as it is
    part.forget(lost)
    after = part.traces()
    assert part.changed > changed and torch.equal(after.alive, before.alive & ~lost)
    assert torch.equal(after.item[after.alive], before.item[after.alive])
    assert not bool(part.fetch(torch.arange(lost.shape[1]).expand_as(lost)).present()[lost].any())
    slot = part.recall(cue).slot
    assert not bool((lost.gather(1, slot.clamp(min=0)) & (slot >= 0)).any())
    other = begun(make(), spec)
    other.load(copy.deepcopy(part.state()))
    assert torch.equal(other.traces().alive, after.alive)
    for t in range(4, 7):
        assert_same(live(part, spec, [t]).state(), live(other, spec, [t]).state())
    held = part.traces()
    assert bool((held.born[held.alive] <= 6).all())
    alone = spec_of(spec.seeds[:1])
    solo = live(begun(make(), alone), alone, range(4))
    solo.forget(lost[:1])
    assert_same(part.state(), live(solo, alone, range(4, 7)).state(), slice(0, 1))


@pytest.mark.parametrize("rule", ["reservoir", "ring", "balanced"])
@pytest.mark.parametrize("least", [1, 2**14])
def test_a_memory_fills_again_where_it_forgot(monkeypatch, rule, least):
    monkeypatch.setattr(episodes, "LABELLED", least)
    monkeypatch.setattr(episodes, "UNLABELLED", least)
    spec = spec_of()
    store = live(begun(cs.Store(capacity=SIZE, eviction=rule), spec), spec, range(4))
    lost = torch.zeros(4, SIZE, dtype=torch.bool)
    lost[:, 3:6] = True
    store.forget(lost)
    kept = store.traces().item[~lost]
    store.encode(lived(spec, 4, 3), view(), Clock(4, 10))
    now = store.traces()
    assert now.alive.all() and torch.equal(now.item[~lost], kept)  # empty slots are used first
    assert torch.equal(now.item[lost].view(4, 3), torch.arange(12, 15).expand(4, 3))


def test_forgetting_needs_episodes_and_one_bool_a_slot():
    spec = spec_of()
    with pytest.raises(cs.ConfigError, match="holds no episodes"):
        begun(cs.NoHippocampus(), spec).forget(torch.zeros(4, 0, dtype=torch.bool))
    with pytest.raises(cs.ConfigError, match="one bool a slot"):
        begun(cs.Store(capacity=SIZE), spec).forget(torch.zeros(4, SIZE))


# -- exact episodes -------------------------------------------------------------------------------------------


def test_quantised_images_take_800_bytes_and_come_back_bit_for_bit():
    spec = spec_of((0,), inputs=(28, 28), quantum=1 / 255)
    x = torch.arange(256, dtype=torch.uint8).repeat(4)[:784].view(1, 1, 28, 28).float().mul_(1 / 255)
    for keep in ("reservoir", "ring", "balanced"):
        store = begun(cs.Store(capacity=7, eviction=keep), spec)
        store.encode(Batch.lived(x, torch.tensor([[3]])), view(), Clock(1, 1))
        assert torch.equal(store.fetch(torch.tensor([[0]])).x, x)
        assert store.stored_bytes().tolist() == [7 * 800]


def test_any_numbers_and_targets_come_back():
    spec = spec_of(quantum=None, regression=True, outputs=2)
    store = live(begun(cs.Store(capacity=40), spec), spec)
    batch = lived(spec, 1)
    recall = store.recall(batch.x)
    assert torch.equal(recall.x, batch.x) and torch.equal(recall.scores, batch.y)
    assert (store.recall(-batch.x).match < 0.6).all()


def test_recall_is_the_nearest_neighbour_whatever_the_chunks(monkeypatch):
    spec = spec_of(seeds=(1, 2))
    store = live(begun(cs.Store(capacity=150, eviction="ring"), spec), spec, range(12))
    cue = lived(spec, 99).x
    whole = store.recall(cue)
    monkeypatch.setattr(episodes, "WORK", 1)
    monkeypatch.setattr("cls_sim.hippocampus.search.AT_ONCE", 1)
    assert torch.equal(store.recall(cue).slot, whole.slot)
    stored = store.fetch(torch.arange(150).expand(2, -1))
    like = torch.cosine_similarity(cue.flatten(2)[:, :, None], stored.x.flatten(2)[:, None], dim=3)
    like[~stored.present()[:, None].expand_as(like)] = -1
    assert torch.equal(like.argmax(2), whole.slot)
    assert torch.allclose(like.amax(2), whole.match, atol=1e-5)


def test_a_checkpoint_of_another_capacity_is_refused():
    spec = spec_of()
    saved = begun(cs.Store(capacity=5), spec).state()
    with pytest.raises(cs.ConfigError, match="capacity"):
        begun(cs.Store(capacity=6), spec).load(saved)


# -- which episodes stay --------------------------------------------------------------------------------------


def stay(keep: str, labels: np.ndarray, capacity: int, seeds: tuple[int, ...]) -> torch.Tensor:
    """The items that stay when labels [t, b] are lived: bool [s, t · b]."""
    times, rows = labels.shape
    spec = spec_of(seeds, batch=rows, inputs=(2,), outputs=int(labels.max()) + 1, quantum=None)
    store, clock = begun(cs.Store(capacity=capacity, eviction=keep), spec), Clock(len(seeds), 10)
    for t in range(times):
        clock.experience[:] = t
        y = torch.from_numpy(labels[t]).expand(len(seeds), -1)
        item = torch.arange(t * rows, (t + 1) * rows).expand(len(seeds), -1)
        store.encode(Batch.lived(torch.zeros(*y.shape, 2), y, item=item), view(), clock)
    traces = store.traces()
    kept = torch.zeros(len(seeds), times * rows, dtype=torch.bool)
    for i in range(len(seeds)):
        kept[i, traces.item[i, traces.alive[i]]] = True
    assert (kept.sum(1) == min(capacity, times * rows)).all()  # no slot is idle, none holds an item twice
    return kept


def keys_of(seed: int, times: int, rows: int) -> np.ndarray:
    draws = Draws((seed,), "hippocampus.slots", (rows,))
    return np.concatenate([(draws.at(np.array([t])) * 2**31).long()[0].numpy() for t in range(times)])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9), st.integers(1, 5), st.integers(0, 10**6))
def test_what_stays_is_what_the_rule_keeps_of_the_whole_past(capacity, times, rows, classes, seed):
    """In batches of any size the same as if all rows ever lived were compared at once."""
    labels = generator(seed, "labels").integers(0, classes, (times, rows))
    key, y = keys_of(seed, times, rows), labels.ravel()
    rank = np.array([np.sum((y == c) & (key < k)) for c, k in zip(y, key, strict=True)])
    rules = {"ring": -np.arange(len(y)), "reservoir": key, "balanced": rank * 2**32 + key}
    for keep, priority in rules.items():
        kept = stay(keep, labels, capacity, (seed,))[0].numpy()
        assert set(np.flatnonzero(kept)) == set(np.argsort(priority)[:capacity]), keep


def even(kept: torch.Tensor) -> float:
    """p-value of the hypothesis that all columns were kept equally often."""
    counts, subjects = kept.sum(0).double(), len(kept)
    p = counts.mean() / subjects
    chi2 = ((counts - subjects * p) ** 2 / (subjects * p * (1 - p))).sum() * (len(counts) - 1) / len(counts)
    return float(stats.chi2.sf(chi2, len(counts) - 1))


def test_the_reservoir_is_a_uniform_sample_of_the_past():
    kept = stay("reservoir", np.zeros((9, 11), np.int64), 20, tuple(range(1500)))
    assert even(kept) > 0.01
    both = (kept[:, 0] & kept[:, 98]).float().mean()  # pairs too: 20 · 19 / (99 · 98)
    assert abs(both - 20 * 19 / (99 * 98)) < 0.02


def test_balanced_classes_share_evenly_and_are_sampled_uniformly():
    labels = np.repeat([0, 1, 1, 1, 2, 2, 0, 0, 3], 11).reshape(9, 11)  # classes come one after another
    labels[0, 0] = 4  # a class with one row keeps it
    kept = stay("balanced", labels, 21, tuple(range(1500)))
    for c in range(4):
        mine = torch.from_numpy(labels.ravel() == c)
        assert set(kept[:, mine].sum(1).tolist()) == {5}
        assert even(kept[:, mine]) > 0.01
    assert kept[:, 0].all()


def test_before_a_class_is_met_it_takes_no_room():
    kept = stay("balanced", np.zeros((3, 10), np.int64), 8, (0,))
    assert int(kept.sum()) == 8


# -- sparse codes ---------------------------------------------------------------------------------------------


def test_codes_overlap_as_theory_says():
    """|c ∩ c'| / k = Φ₂(-θ, -θ; r) / a for inputs of correlation r."""
    spec = Spec(seeds=(0,), inputs=(400,), outputs=2)
    sparse = begun(cs.Sparse(capacity=1, units=4000, winners=200), spec)
    a, b = each((0,), "a", lambda g: g.standard_normal((2, 150, 400), dtype=np.float32))[0]
    theta = stats.norm.ppf(0.95)
    for r in (0.0, 0.5, 0.8, 0.95):
        cue = r * a + (1 - r * r) ** 0.5 * b
        one, other = (active(sparse._code(x[None]), sparse.units)[0] for x in (a, cue))
        found = float((one * other).sum(1).mean()) / 200
        law = stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-theta, -theta]) / 0.05
        assert abs(found - law) < 0.02, r


def test_codes_have_k_winners_and_ignore_brightness():
    spec = spec_of()
    sparse = begun(cs.Sparse(units=200, winners=9), spec)
    x = lived(spec, 0).x / 2
    code = sparse._code(x)
    assert active(code, sparse.units).sum(2).unique().tolist() == [9]
    brighter = sparse._code(x + 4 / 16)
    assert torch.equal(code.sort(2).values, brighter.sort(2).values)


@pytest.mark.parametrize("quantum", [1 / 16, None])
def test_a_degraded_cue_is_completed(quantum):
    spec = spec_of(quantum=quantum)
    sparse = live(begun(cs.Sparse(capacity=40), spec), spec)
    batch = lived(spec, 1)
    cue = batch.x.clone()
    cue[:, :, :2] = cue[:, :, 2:].mean((2, 3), keepdim=True)  # a quarter of the image is gone
    recall = sparse.recall(cue)
    assert torch.equal(recall.scores.argmax(2), batch.y) and torch.equal(recall.x, batch.x)
    assert (recall.match < 0.95).all() and (recall.match > sparse.recall(lived(spec, 50).x).match.mean()).all()
    assert torch.allclose(recall.scores.sum(2), torch.ones(4, ROWS))


def test_recall_is_the_same_in_pieces(monkeypatch):
    spec = spec_of(seeds=(1, 2))
    sparse = live(begun(cs.Sparse(capacity=150), spec), spec, range(12))
    x = torch.cat([lived(spec, t).x for t in range(50, 60)], 1)
    whole = sparse.recall(x)
    monkeypatch.setattr(episodes, "WORK", 1)
    monkeypatch.setattr("cls_sim.hippocampus.search.AT_ONCE", 1)
    monkeypatch.setattr("cls_sim.hippocampus.sparse.WORK", 1)
    pieces = sparse.recall(x)
    assert torch.equal(whole.slot, pieces.slot) and torch.allclose(whole.scores, pieces.scores, atol=1e-6)


def test_the_same_episode_takes_no_second_slot():
    spec = spec_of()
    sparse, clock = begun(cs.Sparse(capacity=SIZE), spec), Clock(4, 10)
    batch = lived(spec, 0)
    for t in range(3):
        clock.experience[:] = t
        sparse.encode(
            batch.with_(x=batch.x.roll(t, 1), y=batch.y.roll(t, 1), item=batch.item.roll(t, 1)), view(), clock
        )
    traces = sparse.traces()
    assert traces.alive.sum(1).tolist() == [ROWS] * 4
    assert traces.born[traces.alive].unique().tolist() == [2]  # lived again, young again
    assert Counter(traces.item[0, traces.alive[0]].tolist()) == Counter(range(ROWS))

    twice = Batch.lived(batch.x.repeat(1, 2, 1, 1), batch.y.repeat(1, 2), item=torch.arange(2 * ROWS).expand(4, -1))
    fresh = begun(cs.Sparse(capacity=SIZE), spec)
    fresh.encode(twice, view(), clock)
    traces = fresh.traces()
    assert traces.alive.sum(1).tolist() == [ROWS] * 4
    assert set(traces.item[traces.alive].tolist()) == set(range(ROWS, 2 * ROWS))  # the last of repeated rows counts

    relabelled = begun(cs.Sparse(capacity=SIZE), spec)
    relabelled.encode(twice.with_(y=torch.arange(2 * ROWS).expand(4, -1) // ROWS), view(), clock)
    assert relabelled.traces().alive.sum(1).tolist() == [SIZE] * 4


def test_a_relived_episode_moves_toward_the_new_experience():
    spec = spec_of((0, 1), quantum=None, regression=True, outputs=2)
    sparse = begun(cs.Sparse(capacity=SIZE, learning_rate=[0.25, 1.0], eviction="ring"), spec)
    batch, clock = lived(spec, 0), Clock(2, 10)
    again = batch.with_(x=batch.x + 0.01 * lived(spec, 1).x, y=batch.y + 1)
    sparse.encode(batch, view(), clock)
    sparse.encode(again, view(), clock)
    recall = sparse.recall(again.x)
    rate = torch.tensor([0.25, 1.0])
    assert sparse.traces().alive.sum(1).tolist() == [ROWS] * 2
    assert torch.allclose(recall.x, batch.x + rate[:, None, None, None] * (again.x - batch.x), atol=1e-6)
    near = sparse.fetch(recall.slot)
    assert torch.allclose(near.y, batch.y + rate[:, None, None], atol=1e-6)


def test_traces_fade_in_sleep_and_are_gone():
    spec = spec_of((0, 1))
    sparse, clock = live(begun(cs.Sparse(capacity=SIZE, fade=[0.5, 0.0]), spec), spec, [0]), Clock(2, 10)
    cue = lived(spec, 0).x
    assert torch.allclose(sparse.recall(cue).match, torch.ones(2, ROWS))
    sparse.sleep(lived(spec, 0), clock)
    assert torch.allclose(sparse.recall(cue).match[0], torch.full((ROWS,), 0.5))
    sparse.sleep(lived(spec, 0), clock, torch.tensor([False, True]))
    assert torch.allclose(sparse.recall(cue).match[0], torch.full((ROWS,), 0.5))
    clock.experience[:] = 1
    sparse.encode(lived(spec, 0).with_(weight=(torch.arange(ROWS) < 2).float().expand(2, -1)), view(), clock)
    for _ in range(3):
        sparse.sleep(lived(spec, 0), clock)
    alive = sparse.traces().alive
    assert alive.sum(1).tolist() == [2, ROWS]  # those lived again are still there, at 1/8
    assert set(sparse.traces().item[0, alive[0]].tolist()) == {0, 1}
    live(sparse, spec, [7])
    assert sparse.traces().alive.sum(1).tolist() == [ROWS + 2, SIZE]  # freed slots are used again


# -- lesions and freezing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeper", [lambda: cs.Store(capacity=SIZE), lambda: cs.Sparse(capacity=SIZE)])
def test_a_lesion_takes_its_fraction_and_survivors_answer(keeper):
    spec = spec_of()
    part = live(begun(keeper(), spec), spec)
    whole = part.traces().alive
    lesioned = {f: cs.Lesion(copy.deepcopy(part), fraction=f) for f in (0.0, 0.25, 0.5, 1.0)}
    for lesion in lesioned.values():
        lesion.attach(spec, Clock(4, 10))
    left = {f: lesion.traces().alive for f, lesion in lesioned.items()}
    assert {f: a.sum(1).tolist() for f, a in left.items()} == {
        0.0: [20] * 4,
        0.25: [15] * 4,
        0.5: [10] * 4,
        1.0: [0] * 4,
    }
    assert torch.equal(part.traces().alive, whole)
    assert (left[0.5] <= left[0.25]).all() and not torch.equal(left[0.5][0], left[0.5][1])
    for f, lesion in lesioned.items():
        recall = lesion.recall(lived(spec, 2).x)
        rows = torch.arange(4)[:, None]
        assert (left[f][rows, recall.slot] | (f == 1.0)).all()
        assert ((recall.slot >= 0) == (f < 1)).all()
        batch = lesion.fetch(torch.arange(SIZE).expand(4, -1))
        assert torch.equal(batch.present(), left[f])
    assert not lesioned[1.0].recall(lived(spec, 2).x).scores.any()

    from_birth = live(begun(cs.Lesion(keeper(), fraction=0.5), spec), spec)
    assert torch.equal(from_birth.traces().alive, left[0.5])


def test_a_lesioned_hippocampus_encodes_in_what_is_left():
    spec = spec_of()
    half = live(begun(cs.Lesion(cs.Store(capacity=SIZE, eviction="ring"), fraction=0.5), spec), spec, range(2))
    live(half, spec, [9])
    traces = half.traces()
    assert (traces.born[traces.alive] == 9).any() and traces.alive.sum(1).tolist() == [SIZE // 2] * 4
    none = begun(cs.Lesion(cs.Store(capacity=SIZE)), spec)
    changed = none.changed
    live(none, spec)
    assert none.changed == changed and not none.hippocampus.traces().alive.any()


@pytest.mark.parametrize(
    "name", ["Store", "balanced", "Sparse", "blending", "Trisynaptic", "hopfield", "half lesioned"]
)
def test_traces_left_out_for_a_moment_are_not_recalled_and_nothing_else_changes(name: str):
    spec = spec_of()
    part = live(begun(TENANTS[name](), spec), spec)
    x, alive, changed = lived(spec, 2).x, part.traces().alive, part.changed
    before, slots = part.recall(x), torch.arange(SIZE).expand(4, -1) % 3 == 0
    left_out = copy.deepcopy(part)
    left_out.silence(slots & alive)
    with part.without(slots):
        inside = part.recall(x)
    rows = torch.arange(4)[:, None]
    assert not slots[rows, inside.slot].any() and not torch.equal(inside.slot, before.slot)
    assert_same(vars(inside), vars(left_out.recall(x)))
    assert_same(vars(before), vars(part.recall(x)))
    assert torch.equal(alive, part.traces().alive) and part.changed == changed


def test_frozen_keeps_what_it_has():
    spec = spec_of()
    part = live(begun(cs.Sparse(capacity=SIZE, fade=0.5), spec), spec, [0])
    frozen = cs.Frozen(part)
    frozen.attach(spec, Clock(4, 10))
    before = copy.deepcopy(frozen.state())
    live(frozen, spec, [1, 2])
    assert_same(before, frozen.state())
    frozen.sleep(lived(spec, 0), Clock(4, 10))
    assert frozen.changed == part.changed and torch.allclose(frozen.traces().strength.amax(1), torch.full((4,), 0.5))


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: cs.Store(capacity=0), "capacity"),
        (lambda: cs.Store(capacity=2.5), "capacity"),
        (lambda: cs.Store(eviction="resevoir"), "eviction"),
        (lambda: begun(cs.Store(eviction="balanced"), spec_of(regression=True)), "eviction"),
        (lambda: cs.Sparse(units=10, winners=11), "winners"),
        (lambda: cs.Sparse(merge=0.0), "merge"),
        (lambda: cs.Sparse(learning_rate=0), "learning_rate"),
        (lambda: cs.Sparse(fade=1.0), "fade"),
        (lambda: cs.Sparse(sharpness=float("nan")), "sharpness"),
        (lambda: begun(cs.Sparse(fade=[0.1, 0.2]), spec_of()), "fade"),
        (lambda: begun(cs.Sparse(), spec_of(inputs=(1,))), "units"),
        (lambda: cs.Lesion(cs.Store(), fraction=1.5), "fraction"),
        (lambda: begun(cs.Store(), spec_of(outputs=40000)), "capacity"),
    ],
)
def test_bad_settings_are_refused(make, key):
    with pytest.raises(cs.ConfigError) as refused:
        make()
    assert refused.value.key == key


# -- codes ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 5), st.integers(4, 13), st.integers(4, 13))
def test_a_coarse_code_is_a_fixed_point_of_bounded_error(bits: int, scale: int, high: int, wide: int):
    spec = spec_of(inputs=(high, wide), quantum=None)
    code = cs.Coarse(scale=scale, bits=bits)
    code.setup(spec)
    x = each(spec.seeds, "x", lambda g: g.random((3, high * wide), dtype=np.float32))
    content = code.write(x)
    assert content.shape == (4, 3, code.width) and content.dtype == torch.uint8
    again = code.read(content)
    assert again.shape == x.shape and again.min() >= 0 and again.max() <= 1
    if scale == 1:
        assert (again - x).abs().max() <= 0.5 / (2**bits - 1) + 1e-6
        assert torch.equal(code.write(again), content)


def test_an_index_takes_a_few_bytes_and_is_told_apart_from_others():
    spec = spec_of((0, 1), inputs=(28, 28), quantum=1 / 255)
    store = begun(cs.Store(capacity=30, code=cs.Coarse(scale=2, bits=1)), spec)
    x = each(spec.seeds, "blobs", lambda g: (g.random((20, 7, 7)) > 0.6).repeat(4, 1).repeat(4, 2)).float()
    y = torch.arange(20).expand(2, -1) % 10
    store.encode(Batch.lived(x, y), view(), Clock(2, 10))
    assert store.stored_bytes().tolist() == [30 * (25 + 16)] * 2
    recall = store.recall(x + 0.2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    assert (recall.scores.argmax(2) == y).all()
    assert ((recall.x - x).abs().mean() < 0.15) and ((recall.x > 0.5) == (x > 0.5)).float().mean() > 0.9


def test_a_coarse_code_is_for_images_of_one_channel():
    flat, square = (begun(cs.Store(code=cs.Coarse()), spec_of(inputs=inputs)) for inputs in ((64,), (8, 8)))
    assert flat.stored_bytes().tolist() == square.stored_bytes().tolist()  # a square image may come as one row
    for inputs in ((17,), (3, 8, 8)):
        with pytest.raises(cs.ConfigError, match="images"):
            cs.Store(code=cs.Coarse()).setup(spec_of(inputs=inputs))
    with pytest.raises(cs.ConfigError, match="does not divide 8"):
        cs.Coarse(bits=3)
