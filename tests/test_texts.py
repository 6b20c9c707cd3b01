"""Queries in words: how they are encoded, remembered, doubted, and handed to an operator."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.probes.triage import above
from cls_sim.world import clinc, files
from cls_sim.world.texts import hashed
from tests import lives
from tests.lives import live

pytest.importorskip("sklearn")
VERBS = ("open", "close", "block", "pay", "find", "book", "cancel", "change")
THINGS = {"bank": ("account", "loan"), "travel": ("flight", "hotel"), "home": ("light", "music")}
FILLERS = ("please", "now", "for me", "today", "quickly", "again", "would you", "i want to")


def queries() -> list[tuple[str, str, str]]:
    return [
        (f"{filler} {verb} the {thing}", thing, domain)
        for domain, things in THINGS.items()
        for thing in things
        for verb in VERBS
        for filler in FILLERS
    ]


def world(**changes) -> cs.Queries:
    settings = {"queries": queries(), "out_of_scope": ["who are you", "tell a joke"], "per_context": 12, "batch": 8}
    return cs.Queries(**settings | {"width": 256} | changes)


def small(subjects: int = 2, seed: int = 0, **changes) -> cs.Life:
    parts = {
        "world": world(),
        "hippocampus": cs.Operator(cs.Store(capacity=60, eviction="balanced", code=cs.NGrams()), threshold=0.1),
        "neocortex": cs.Mlp(hidden=[], outputs="met"),
        "plasticity": cs.WakeNight(wake_rate=0.0, night_rate=0.05),
        "rhythm": cs.Nights(experiences_per_day=4, steps_per_night=60),
        "replay": cs.Uniform(batch=32),
        "readout": cs.RecallFirst(),
    }
    return cs.Life(subjects=subjects, seed=seed, **parts | changes)


# -- the world ------------------------------------------------------------------------------------------------


def test_common_words_come_to_count_less_and_only_at_the_end_of_a_day():
    w = world()
    w.setup(Spec(seeds=(0, 1)))
    clock = Clock(2, 4)
    first = w.idf(clock).clone()
    assert (first == 1).all()
    clock.experience[:] = 3
    assert torch.equal(w.idf(clock), first), "the day is not over"
    clock.experience[:] = [4, 12]
    later = w.idf(clock)
    the = torch.from_numpy(hashed(["the"], 256)[0] > 0)
    assert (later[:, the] < later.amax(1, keepdim=True)).all()
    assert later[1].max() > later[0].max(), "the longer the past, the more a rare word tells"


def test_idf_is_that_of_the_queries_lived():
    w = world()
    w.setup(Spec(seeds=(5,)))
    clock = Clock(1, 4)
    clock.experience[:] = 20
    items = torch.cat([w.next(_at(e)).item for e in range(20)], 1)[0]
    x = hashed([text for text, _, _ in queries()], 256)[items.numpy()]
    expected = np.log((1 + len(x)) / (1 + x.sum(0, dtype=np.int64))) + 1
    assert np.allclose(w.idf(clock)[0].numpy(), expected, atol=1e-5)


def _at(experience: int) -> Clock:
    clock = Clock(1, 4)
    clock.experience[:] = experience
    return clock


def test_exams_and_queries_are_of_length_one_and_encoded_as_of_now():
    life = small()
    before = life.world.evaluation(0).x.clone()
    live(life, 130)
    after = life.world.evaluation(0).x
    assert torch.allclose(after.norm(dim=2), torch.ones(after.shape[:2]))
    assert not torch.equal(before, after) and torch.equal(before > 0, after > 0)


def test_an_encoder_of_ones_own_is_taken_as_it_is():
    w = world(encoder=lambda texts: np.array([[len(t), t.count("o")] for t in texts], np.float32))
    spec = w.setup(Spec())
    assert spec.inputs == (2,) and spec.input_weights is None
    assert w.evaluation(0).x.max() > 1
    with pytest.raises(ConfigError, match="code"):
        cs.Store(code=cs.NGrams()).setup(spec)


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"width": 100}, "width"),
        ({"contexts": 4}, "contexts"),
        ({"scenario": "domain"}, "scenario"),
        ({"queries": [("a", "b")]}, "queries"),
        ({"queries": []}, "queries"),
        ({"tests": [("a", "unheard of", "bank")]}, "tests"),
        ({"encoder": 3}, "encoder"),
        ({"encoder": lambda texts: np.zeros(3)}, "encoder"),
        ({"encoder": "no-such-model"}, "encoder"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, key):
    if settings.get("encoder") == "no-such-model":
        try:
            import sentence_transformers  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            pass
        else:
            pytest.skip("sentence-transformers is installed and would look for the model")
    with pytest.raises(ConfigError, match=key) as caught:
        world(**settings).setup(Spec())
    assert "\n" not in str(caught.value)


# -- memory -------------------------------------------------------------------------------------------------------


def test_what_is_stored_is_encoded_anew_as_the_weights_change():
    """Every trace reads as the world would send its query today; without the code it stays as it was."""
    for code, same in ((cs.NGrams(), True), (None, False)):
        life = small(hippocampus=cs.Store(capacity=300, eviction="ring", code=code))
        live(life, 200)
        stored = life.view.stored()
        there, x = stored.present(), life.world.train(0).x
        lookup = {int(i): x[0, j] for j, i in enumerate(life.world.train(0).item[0])}
        rows = [i for i in there[0].nonzero().ravel().tolist() if int(stored.context[0, i]) == 0]
        now = torch.stack([lookup[int(stored.item[0, i])] for i in rows])
        assert torch.allclose(stored.x[0, rows], now, atol=1e-6) == same


def test_a_text_takes_a_bit_for_each_place():
    stores = [cs.Store(capacity=10, code=code) for code in (cs.NGrams(), None)]
    spec = world().setup(Spec())
    for store in stores:
        store.setup(spec)
    grams, plain = (int(store.stored_bytes()[0]) for store in stores)
    assert plain - grams == 10 * (256 * 4 - 256 // 8)


def test_a_twin_s_memory_goes_by_the_twin_s_own_clock():
    life = live(small(), 130)
    twin = life.twin()
    live(twin, 130)
    before = life.view.stored().x.clone()
    live(twin, 200)
    assert torch.equal(life.view.stored().x, before)


# -- the operator ---------------------------------------------------------------------------------------------------


def test_only_what_is_doubted_is_asked_and_stored():
    for threshold, expected in ((0.0, 1.0), (1.0, 0.0)):
        life = live(small(hippocampus=cs.Operator(cs.Store(capacity=300, code=cs.NGrams()), threshold=threshold)), 4)
        assert int(life.hippocampus.traces().alive.sum()) == 2 * 32 * expected
        assert cs.HandoverRate().measure(life).tolist() == [expected] * 2


def test_the_load_falls_and_what_was_answered_is_known_at_once():
    life = small(subjects=4)
    life.probes = {"load": cs.HandoverRate(), "once": cs.ImmediateRecall(readout=cs.HippocampusReadout())}
    loads, once = [], []
    for moment in life.live():
        if moment.name == "day.end":
            found = life.measure(moment)
            loads.append(found["load"].mean().item())
            once.append(found["once"])
    by_domain = np.array(loads).reshape(3, 3)
    assert (by_domain[:, 0] > by_domain[:, -1] + 0.1).all()
    assert torch.stack(once).nanmean() > 0.95


def test_the_operator_s_counts_are_state_and_life_resumes_bit_for_bit():
    whole, first = live(small(), 140), live(small(), 71)
    second = small()
    second.load(first.state())
    live(second, 140)
    assert torch.equal(whole.hippocampus.asked, second.hippocampus.asked)
    weights = [torch.cat([w.flatten() for w in one.neocortex.weights.values()]) for one in (whole, second)]
    assert torch.equal(*weights)


def test_a_subject_is_the_same_alone_and_in_company():
    many, one = live(small(subjects=3, seed=4), 69), live(small(subjects=1, seed=5), 69)
    assert many.hippocampus.asked[1] == one.hippocampus.asked[0]
    assert torch.equal(many.hippocampus.traces().item[1], one.hippocampus.traces().item[0])


def test_strange_questions_are_told_from_known_ones():
    life = live(small())
    desk = cs.TriageRates().measure(life)
    assert (desk[:, 0] < 0.2).all() and (desk[:, 1] > 0.5).all() and (desk[:, 2] > 0.9).all()
    assert (cs.OutOfScope().measure(life) > 0.9).all()
    with pytest.raises(ConfigError, match="world=clinc"):
        cs.TriageRates().measure(lives.small())


def test_auroc_is_that_of_all_pairs():
    g = torch.Generator().manual_seed(0)
    new, old = (torch.randint(0, 9, (n,), generator=g).float() for n in (40, 60))
    pairs = (new[:, None] > old).double() + 0.5 * (new[:, None] == old)
    assert above(new, old).item() == pytest.approx(pairs.mean().item())


# -- CLINC150 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(data_dir, monkeypatch):
    """The real files; without them the test is skipped."""
    if not (data_dir / "clinc150").is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{data_dir} has no folder clinc150")
        pytest.skip(f"{data_dir} has no folder clinc150")
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(data_dir))


def test_the_facts_of_clinc150(full):
    w = cs.Clinc(contexts=2, width=64)
    spec = w.setup(Spec())
    assert w.domains == ("banking", "credit_cards") and spec.outputs == 30
    assert [w.evaluation(k).rows for k in range(2)] == [450, 450] and w.out_of_scope().rows == 1000
    assert w.train(1).rows == 1500 and set(w.train(1).y[0].tolist()) == set(range(15, 30))
    w = cs.Clinc(contexts=2, width=64, eval_split="validation")
    w.setup(Spec())
    assert w.evaluation(0).rows == 300 and w.out_of_scope().rows == 100


def test_files_that_are_missing_or_wrong_are_refused_in_one_line(tmp_path, monkeypatch):
    clinc._read.cache_clear()
    monkeypatch.setenv("CLS_SIM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(clinc, "HOME", "http://127.0.0.1:9/")
    monkeypatch.setattr(files, "TIMEOUT", (0.5, 0.5))
    with pytest.raises(
        ConfigError, match=r"data_full.json .*clinc150/ of a folder named by CLS_SIM_DATA_DIR"
    ) as caught:
        cs.Clinc().setup(Spec())
    assert "\n" not in str(caught.value)
    (tmp_path / "clinc150").mkdir()
    (tmp_path / "clinc150" / "data_full.json").write_text("{}")
    with pytest.raises(ConfigError, match="sha256"):
        cs.Clinc().setup(Spec())
