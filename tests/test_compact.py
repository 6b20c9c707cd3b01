"""Memories counted in bytes: the code of a few bits, slots that fit, keys that are hashes, and nothing twice."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec, View
from cls_sim.hippocampus.bits import INDEX, Bits

NOBODY: Any = View(*[None] * 5)  # pyright: ignore[reportArgumentType]


def rows(seed: int, kind: str, s: int, b: int, size: int) -> torch.Tensor:
    """Inputs [s, b, x]: a picture in grey or of ones and zeros, features, or few numbers that are not zero."""
    draw = np.random.default_rng(seed)
    if kind == "features":
        return torch.from_numpy(draw.normal(draw.normal(0, 3, size), draw.random(size) + 0.1, (s, b, size))).float()
    grey = draw.random((s, b, size))
    if kind == "sparse":
        return torch.from_numpy((grey < 0.01) * 0.2).float()
    return torch.from_numpy(grey.round() if kind == "black and white" else grey).float()


def code_of(x: torch.Tensor, **given: Any) -> Bits:
    code = Bits(**given)
    code.setup(Spec(seeds=tuple(range(len(x))), inputs=(x.shape[2],)))
    code.meet(x, torch.ones(x.shape[:2], dtype=torch.bool))
    return code


def lived(memory: cs.Compact, x: torch.Tensor, y: torch.Tensor, times: int = 1, who: Any = None) -> cs.Compact:
    """The memory after these rows, in batches, `times` times."""
    clock, b = Clock(len(x), 10), memory.spec.batch
    for start in [*range(0, x.shape[1], b)] * times:
        item = torch.arange(start, start + b).expand(len(x), -1)
        memory.encode(Batch.lived(x[:, start : start + b], y[:, start : start + b], item=item), NOBODY, clock, who)
        clock.experience += 1
    return memory


def made(x: torch.Tensor, outputs: int = 3, batch: int = 5, **given: Any) -> cs.Compact:
    settings: dict[str, Any] = {"bytes": 300} | given
    memory = cs.Compact(**settings)
    memory.setup(Spec(seeds=tuple(range(len(x))), inputs=(x.shape[2],), outputs=outputs, batch=batch))
    return memory


# -- the code -----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from([1, 2, 4, 8]), st.integers(1, 70), st.sampled_from(["grey", "features"]), st.integers(0, 2**32 - 1)
)
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_written_as_it_was(bits: int, size: int, kind: str, seed: int):
    x = rows(seed, kind, 2, 4, size)
    code = code_of(x, bits=bits)
    content = code.write(x)
    assert content.shape == (2, 4, -(-size * bits // 8)) and code.episode_bytes().tolist() == [content.shape[2]] * 2
    back = code.read(content)
    assert back.shape == x.shape and torch.equal(code.write(back), content)
    assert code.common_bytes().tolist() == [0 if unit else 8 * size for unit in code.unit]
    if code.unit.all():
        assert float((back - x).abs().max()) <= 0.5 / (2**bits - 1) + 1e-6
    elif bits == 8:
        assert float((back - x).abs().max()) <= 0.1 * float(x.std() + 1)


def test_an_index_keeps_the_places_of_the_non_zeros():
    x = rows(3, "sparse", 2, 6, 640)
    code = code_of(x)
    assert code.depth.tolist() == [INDEX] * 2 and code.size(INDEX) == 40  # one bit a number: 80
    assert torch.allclose(code.read(code.write(x)), x)
    assert code.common_bytes().tolist() == [4, 4]
    dense = torch.ones(2, 1, 640)
    assert ((code.through(dense) > 0).sum(2) == 20).all()  # later rows keep what fits


@pytest.mark.parametrize(
    ("kind", "least", "depth"), [("black and white", 0.93, 1), ("grey", 0.85, 1), ("grey", 0.93, 2), ("grey", 0.999, 8)]
)
def test_the_fewest_bits_that_are_good_enough(kind: str, least: float, depth: int):
    x = rows(1, kind, 2, 8, 60)
    assert code_of(x, fidelity=least).depth.tolist() == [depth] * 2


def test_digits_take_two_bits_whatever_comes_first():
    world = cs.Digits(per_context=5, batch=10, order="iid")
    spec = world.setup(Spec(seeds=tuple(range(40))))
    x = world.next(Clock(40, 10)).x.flatten(2)
    assert code_of(x).depth.tolist() == [2] * 40 and spec.inputs == (64,)


def test_features_take_one_bit_around_their_mean():
    x = rows(1, "features", 1, 400, 60)
    code = code_of(x)
    assert code.depth.tolist() == [1] and not code.unit.any()
    back = code.read(code.write(x))[0]
    assert torch.allclose(back.mean(0), x[0].mean(0), atol=0.3)
    levels = [len(back[:, j].unique()) for j in range(60)]
    assert levels == [2] * 60
    kept = code.mean.clone()
    code.meet(rows(2, "features", 1, 400, 60) + 5, torch.ones(1, 400, dtype=torch.bool))
    assert int(code.met[0]) == 500 and not torch.equal(kept, code.mean)
    kept = code.mean.clone()
    code.meet(x + 50, torch.ones(1, 400, dtype=torch.bool))
    assert torch.equal(kept, code.mean)  # stored contents keep their meaning


def test_later_classes_are_kept_although_the_first_was_narrow():
    draw = np.random.default_rng(0)
    x = torch.from_numpy(draw.normal([[[0.0] * 4] * 40 + [[20.0, -30, 40, 5]] * 40], 0.1).repeat(2, 0)).float()
    y = torch.tensor([[0] * 40 + [1] * 40]).expand(2, -1)
    memory = lived(made(x, bytes=9000, outputs=2), x, y, times=2)
    kept = memory.traces()
    assert kept.alive.sum(1).tolist() == [80, 80]  # with levels around the first class its neighbours look the same
    assert torch.equal(memory.fetch(torch.arange(80).expand(2, -1)).x.sort(1).values, x.sort(1).values)
    assert memory.stored_bytes().tolist() == [9000 // 17 * 17] * 2
    again = made(x, bytes=9000, outputs=2)
    again.load(memory.state())
    assert torch.equal(again.recall(x).scores, memory.recall(x).scores)
    assert lived(made(x, bytes=8000, outputs=2), x, y).code.depth.max() <= 8  # no room for 500 exact episodes
    assert lived(made(x.sigmoid(), bytes=9000, outputs=2), x.sigmoid(), y).code.depth.max() <= 8


def test_constant_rows_say_nothing_and_single_rows_suffice():
    assert code_of(torch.full((1, 3, 9), 0.5)).depth.tolist() == [8]
    x = rows(0, "features", 1, 1, 64)
    back = code_of(x, fidelity=0.5).through(x)
    assert torch.corrcoef(torch.stack((x.flatten(), back.flatten())))[0, 1] > 0.5


def test_subjects_have_their_own_bits_and_begin_when_they_do():
    kinds = ("black and white", "grey", "features", "grey")
    x = torch.cat([rows(i, kind, 1, 40, 24) for i, kind in enumerate(kinds)])
    y = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (4, 40)))
    who = torch.tensor([True, True, True, False])
    for repeats in ("exact", "sparse"):
        more: dict[str, Any] = {"repeats": repeats, "units": 60, "winners": 6}
        both = lived(lived(made(x, **more), x, y, who=who), x, y)
        assert both.code.depth.tolist()[:2] == [1, 2]
        for i in range(4):
            memory = cs.Compact(bytes=300, **more)
            memory.setup(Spec(seeds=(i,), inputs=(24,), outputs=3, batch=5))
            own = slice(i, i + 1)
            alone = lived(lived(memory, x[own], y[own], who=who[own]), x[own], y[own])
            mine, its = both.state(), alone.state()
            assert torch.equal(mine["content"][own], its["content"])
            assert torch.equal(mine["what"][own], its["what"]) and torch.equal(mine["mark"][own], its["mark"])
            assert both.slots()[own].tolist() == alone.slots().tolist()
            assert both.stored_bytes()[own].tolist() == alone.stored_bytes().tolist()
            one, all_ = alone.recall(x[own, :7]), both.recall(x[:, :7])
            assert torch.equal(one.slot, all_.slot[own]) and torch.allclose(one.match, all_.match[own], atol=1e-5)


# -- bytes --------------------------------------------------------------------------------------------------------


@given(
    st.integers(30, 2000),
    st.sampled_from([None, 1, 2, 4, 8]),
    st.sampled_from(["grey", "black and white", "features", "sparse"]),
    st.sampled_from([2, 300]),
    st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_the_bytes_are_never_exceeded(total: int, bits: int | None, kind: str, outputs: int, size: int):
    x = rows(total, kind, 2, 60, size)
    y = torch.from_numpy(np.random.default_rng(total).integers(0, outputs, (2, 60)))
    try:
        memory = lived(made(x, outputs, bytes=total, bits=bits, repeats="none"), x, y)
    except ConfigError as error:
        assert error.key == "bytes"
        return
    held, slots = memory.traces().alive.sum(1), memory.slots()
    assert (memory.stored_bytes() <= total).all() and (held == torch.minimum(slots, torch.tensor(60))).all()
    label = 1 if outputs <= 256 else 2
    contents = torch.from_numpy(memory.code.episode_bytes() + label)
    assert ((slots + 1) * contents + torch.from_numpy(memory.code.common_bytes()) > total).all()
    assert memory.state()["content"].shape == (2, total)


def test_too_few_bytes_are_refused_by_the_key_that_was_given():
    spec = Spec(inputs=(64,), outputs=2)
    with pytest.raises(ConfigError, match=r"bytes: 7 hold no episode; give 9 or more"):
        cs.Compact(bytes=7).setup(spec)
    with pytest.raises(ConfigError, match=r"budget: leaves 7 bytes to the hippocampus, which hold no episode"):
        cs.Compact().setup(Spec(inputs=(64,), outputs=2, budget=7))
    memory = cs.Compact(bytes=100)
    memory.setup(spec)
    with pytest.raises(ConfigError, match=r"bytes: 100 hold no episode; give 521 or more"):  # 8 + 1 + μ and σ
        lived(memory, rows(0, "features", 1, 5, 64), torch.zeros(1, 5, dtype=torch.int64))


# -- nothing twice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", ["exact", "sparse"])
def test_what_comes_again_is_not_stored_again(repeats: str):
    x = rows(5, "grey", 2, 20, 36)
    x[:, 7] = x[:, 6]  # within one experience
    y = torch.zeros(2, 20, dtype=torch.int64)
    y[:, 3] = 1
    more: dict[str, Any] = {"bytes": 2000, "bits": 4, "units": 300, "winners": 30}
    memory = lived(made(x, repeats=repeats, **more), x, y, times=3)
    assert memory.traces().alive.sum(1).tolist() == [19, 19]
    assert sorted(memory.traces().item[0][memory.traces().alive[0]].tolist()) == [i for i in range(20) if i != 7]
    assert (memory.traces().born[memory.traces().alive] < 4).all()  # the first stays
    lived(memory, x, 1 - y)  # other labels: other episodes
    assert memory.traces().alive.sum(1).tolist() == [38, 38]
    every = lived(made(x, repeats="none", **more), x, y, times=3)
    assert every.traces().alive.sum(1).tolist() == [60, 60]
    keys = every.mark[0, :60, 2].tolist()
    assert len(set(keys)) == 60  # equal episodes do not leave together
    one = lived(made(x[:, :5], **more), x[:, :1].expand(-1, 5, -1), y[:, :5] * 0)
    assert (
        one.traces().alive.sum(1).tolist() == [1, 1]
        and (one.recall(one.fetch(torch.zeros(2, 1).long()).x).match > 0.99).all()
    )


def test_a_sparse_code_finds_what_is_nearly_the_same():
    x = rows(5, "grey", 1, 20, 200)
    again = (x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    y = torch.zeros(1, 20, dtype=torch.int64)
    for repeats, count in (("sparse", 20), ("exact", 40)):
        memory = made(x, repeats=repeats, bytes=20_000, bits=8, merge=0.7)
        assert lived(lived(memory, x, y), again, y).traces().alive.sum().item() == count


def test_the_index_of_codes_finds_the_same(monkeypatch: pytest.MonkeyPatch):
    x = rows(5, "grey", 2, 200, 64)
    x[:, 100:] = (x[:, :100] + 0.01).clamp(0, 1)
    y = torch.arange(200).expand(2, -1) % 3
    found = []
    for large in (1, 2**30):
        monkeypatch.setattr("cls_sim.hippocampus.near.LARGE", large)
        memory = made(x, repeats="sparse", bytes=1500, bits=2, units=400, winners=40)
        assert memory._near is not None and (memory._near.index is None) == (large > 1)
        lived(memory, x, y, times=2)
        twin = copy.deepcopy(memory)
        found.append(lived(memory, x.flip(1), y.flip(1)).state())
        again = lived(twin, x.flip(1), y.flip(1)).state()
        assert all(torch.equal(found[-1][name], again[name]) for name in ("content", "what", "mark"))
    assert all(torch.equal(found[0][name], found[1][name]) for name in ("content", "what", "mark"))


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eviction", ["reservoir", "balanced"])
def test_hashed_keys_keep_a_uniform_sample(eviction: str):
    x = rows(8, "black and white", 1, 60, 40).expand(400, -1, -1)
    y = torch.zeros(400, 60, dtype=torch.int64)
    memory = lived(made(x, bytes=15 * 6, bits=1, eviction=eviction), x, y)
    traces = memory.traces()
    assert (traces.alive.sum(1) == 15).all()
    count = np.bincount(traces.item[traces.alive].numpy(), minlength=60)
    assert stats.chisquare(count).pvalue > 1e-3
    assert np.corrcoef(count[:30], count[30:])[0, 1] < 0.5


def test_large_memories_choose_as_small_ones(monkeypatch: pytest.MonkeyPatch):
    x = torch.cat([rows(i, kind, 1, 200, 24) for i, kind in enumerate(("black and white", "grey", "features"))])
    y = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (3, 200)))
    for eviction in ("balanced", "reservoir"):
        for repeats in ("exact", "none"):
            states = []
            for least in (1, 2**30):
                monkeypatch.setattr("cls_sim.hippocampus.episodes.LABELLED", least)
                monkeypatch.setattr("cls_sim.hippocampus.episodes.UNLABELLED", least)
                states.append(lived(made(x, eviction=eviction, repeats=repeats), x, y, times=2).state())
            assert all(torch.equal(states[0][name], states[1][name]) for name in ("content", "what", "mark"))


# -- recall and state ---------------------------------------------------------------------------------------------


def test_recall_is_the_centred_cosine_and_a_vote(monkeypatch: pytest.MonkeyPatch):
    x = rows(4, "grey", 2, 40, 30)
    y = torch.arange(40).expand(2, -1) % 3
    memory = lived(made(x, bytes=1000, sharpness=10.0), x, y)
    cue = rows(9, "grey", 2, 6, 30)
    found = memory.recall(cue)
    held = memory.fetch(torch.arange(memory.capacity).expand(2, -1))
    for i in range(2):
        stored, label = held.x[i][held.present()[i]], held.y[i][held.present()[i]]
        middle = stored.sum(0) / (len(stored) + 1)
        like = torch.nn.functional.cosine_similarity((cue[i] - middle)[:, None], (stored - middle)[None], dim=2)
        vote = (10 * like).softmax(1) @ torch.nn.functional.one_hot(label, 3).float()
        assert torch.allclose(found.match[i], like.amax(1), atol=1e-5)
        assert torch.allclose(found.x[i], stored[like.argmax(1)]) and torch.allclose(found.scores[i], vote, atol=1e-5)
    monkeypatch.setattr("cls_sim.hippocampus.compact.WORK", 1)
    monkeypatch.setattr("cls_sim.hippocampus.search.AT_ONCE", 1)
    pieces = memory.recall(cue)
    assert torch.equal(pieces.slot, found.slot) and torch.allclose(pieces.scores, found.scores, atol=1e-5)


def test_recall_in_pieces_where_one_subject_has_fewer_slots(monkeypatch: pytest.MonkeyPatch):
    x = torch.cat([rows(i, kind, 1, 80, 24) for i, kind in enumerate(("black and white", "grey"))])
    y = torch.arange(80).expand(2, -1) % 3
    memory = lived(made(x, bytes=250), x, y)
    assert memory.code.depth.tolist()[0] < memory.code.depth.tolist()[1]
    whole = memory.recall(x[:, :6])
    monkeypatch.setattr("cls_sim.hippocampus.compact.PIECE", 4)  # the last pieces hold no slot of the second subject
    memory.changed += 1
    pieces = memory.recall(x[:, :6])
    assert torch.equal(pieces.slot, whole.slot) and torch.allclose(pieces.scores, whole.scores, atol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_no_rows_are_written_and_read_as_none(bits: int):
    x = rows(0, "grey", 2, 4, 13)
    code = code_of(x, bits=bits)
    content = code.write(x[:, :0])
    assert content.shape[:2] == (2, 0) and code.read(content).shape == (2, 0, 13)


def test_another_number_of_bytes_is_refused():
    x = rows(0, "grey", 1, 5, 9)
    with pytest.raises(ConfigError, match="bytes: are 300, and the saved memory has 200; give 200"):
        made(x).load(made(x, bytes=200).state())


def test_texts_keep_their_n_grams():
    weights = torch.rand(1, 64) + 0.5
    spec = Spec(inputs=(64,), outputs=3, batch=5, input_weights=lambda clock: weights)
    memory = cs.Compact(bytes=300)
    memory.setup(spec)
    memory.attach(spec, Clock(1, 10))
    x = torch.nn.functional.normalize(rows(0, "black and white", 1, 20, 64) * weights, dim=2)
    lived(memory, x, torch.arange(20)[None] % 3)
    assert memory.slots().tolist() == [300 // 9] and memory.code.common_bytes().tolist() == [0]
    recall = memory.recall(x)
    assert torch.allclose(recall.x, x, atol=1e-6) and (recall.match > 0.999).all()


# -- wrong labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_wrong_labels_in_memory_are_counted(scenario: str):
    def life(noise: float) -> cs.Life:
        world = cs.Digits(per_context=8, batch=10, label_noise=noise, shuffle_classes=True, scenario=scenario)
        replay, rhythm = cs.Uniform(batch=4), cs.Nights(experiences_per_day=5, steps_per_night=2)
        one = cs.Life(
            world=world, rhythm=rhythm, hippocampus=cs.Compact(bytes=9000), replay=replay,
            neocortex=cs.Mlp(hidden=[8]), plasticity=0.1, subjects=2,
        )  # fmt: skip
        while not one.over:
            one.step()
        return one

    noisy, clean = life(0.3), life(0.0)
    wrong = cs.WrongInMemory().measure(noisy)
    assert ((wrong > 0.2) & (wrong < 0.4)).all() and cs.WrongInMemory().measure(clean).isnan().all()
    world, traces = noisy.world, noisy.hippocampus.traces()
    true_clock = [life_.world.next(noisy.clock) for life_ in (noisy, clean)]
    assert torch.equal(true_clock[0].item, true_clock[1].item)
    truth = world.true_labels()
    assert truth is not None and torch.equal(truth.gather(1, true_clock[1].item), true_clock[1].y)
    lost = traces.alive & (truth.gather(1, traces.item.long().clamp(min=0)) != traces.y)
    noisy.hippocampus.forget(lost)
    assert cs.WrongInMemory().measure(noisy).tolist() == [0, 0]
