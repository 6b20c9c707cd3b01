"""Readouts: who answers, and with what right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import cls_sim as cs
from cls_sim.core.batch import Batch
from cls_sim.core.clock import Clock
from cls_sim.core.draws import each
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Spec
from cls_sim.neocortex.base import Neocortex
from cls_sim.readout.base import CORTEX, HIPPOCAMPUS, Readout

HEADS = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.bool).expand(2, -1, -1)


class Fixed(Neocortex):
    """A cortex that always says the same: class 1, with a confidence of choice."""

    def __init__(self, confidence: float, heads: Tensor | None = None):
        rest = (1 - confidence) / 3
        self.said = torch.tensor([rest, confidence, rest, rest]).log()
        self.averages = {"slow": {}}
        self.heads = heads

    def setup(self, spec):
        return spec

    def features(self, x, context=None, weights=None):
        return x.flatten(2)

    def answer(self, features, weights=None):
        return self.said.expand(*features.shape[:2], -1)


def spec_of(**changes) -> Spec:
    known = {"seeds": (0, 1), "inputs": (16,), "outputs": 4, "batch": 6, "quantum": 1 / 16, "averages": ("slow",)}
    return Spec(**known | changes)


def questions(spec: Spec, name: str = "x") -> Tensor:
    return each(spec.seeds, name, lambda g: g.integers(0, 17, (6, 16))).float() / 16


def remembering(spec: Spec, y: Tensor):
    store = cs.Store(capacity=10)
    store.setup(spec)
    store.encode(Batch.lived(questions(spec), y), None, Clock(2, 1))  # pyright: ignore[reportArgumentType]
    return store


def unfinished(option: type) -> bool:
    return any(getattr(getattr(option, name), "__isabstractmethod__", False) for name in dir(option))


def options() -> dict:
    classes = [getattr(cs, name) for name in cs.VOCABULARY if cs.VOCABULARY[name].startswith("readout")]
    classes = [c for c in classes if not c.__module__.endswith("prototypes")]  # see test_methods.py
    return {c.__name__: c for c in classes if not unfinished(c)} | {
        "by threshold": lambda: cs.MostConfident(threshold=0.9)
    }


TENANTS = options()
option = pytest.mark.parametrize("make", TENANTS.values(), ids=TENANTS)
Y = torch.tensor([[0, 1, 2, 3, 0, 2], [3, 3, 2, 2, 0, 0]])


def begun(readout: Readout, spec: Spec) -> Readout:
    readout.setup(spec)
    return readout


def test_the_room_has_tenants():
    assert {"CortexReadout", "HippocampusReadout", "MostConfident"} <= set(TENANTS)


@option
@pytest.mark.parametrize("told", [False, True])
def test_every_question_gets_an_answer_within_the_head(make, told):
    spec = spec_of()
    context = torch.tensor([[0, 1] * 3] * 2) if told else None
    store, cortex = remembering(spec, Y), Fixed(0.7, HEADS)
    answer = begun(make(), spec).answer(questions(spec, "other"), context, store, cortex)
    assert answer.scores.shape == (2, 6, 4) and torch.isfinite(answer.scores).all()
    assert ((answer.source == CORTEX) | (answer.source == HIPPOCAMPUS)).all()
    assert ((answer.novelty >= 0) & (answer.novelty <= 1)).all()
    if context is not None:
        assert torch.equal(answer.scores.argmax(2) // 2, context)


@option
def test_answering_changes_nothing(make):
    spec = spec_of()
    store, readout = remembering(spec, Y), begun(make(), spec)
    before = {name: value.clone() for name, value in store.state().items()}
    readout.answer(questions(spec), None, store, Fixed(0.7))
    assert all(torch.equal(before[name], value) for name, value in store.state().items())
    assert readout.state() == {}


def test_the_cortex_says_what_it_says():
    spec = spec_of()
    answer = begun(cs.CortexReadout(), spec).answer(questions(spec), None, remembering(spec, Y), Fixed(0.7))
    assert (answer.scores.argmax(2) == 1).all() and (answer.source == CORTEX).all()
    assert torch.allclose(answer.novelty, torch.full((2, 6), 0.3))
    regression = spec_of(regression=True)
    assert (
        not begun(cs.CortexReadout(), regression)
        .answer(questions(spec), None, cs.NoHippocampus(), Fixed(0.7))
        .novelty.any()
    )


def test_memory_answers_with_what_it_recalls():
    spec = spec_of()
    store, readout = remembering(spec, Y), begun(cs.HippocampusReadout(), spec)
    answer = readout.answer(questions(spec), None, store, Fixed(0.9))
    assert torch.equal(answer.scores.argmax(2), Y) and (answer.source == HIPPOCAMPUS).all()
    assert torch.allclose(answer.novelty, torch.zeros(2, 6), atol=1e-5)
    new = readout.answer(questions(spec, "other"), None, store, Fixed(0.9))
    assert torch.allclose(new.novelty, 1 - store.recall(questions(spec, "other")).match)
    assert (new.novelty > 0.01).all()


def test_the_more_confident_of_both_answers():
    spec = spec_of()
    store, readout = remembering(spec, Y), begun(cs.MostConfident(), spec)
    x = torch.cat((questions(spec), questions(spec, "other")), 1)
    match = store.recall(x).match
    between = float(match[:, 6:].max()) / 2 + 0.5
    for confidence in (0.3, between, 0.99999):
        answer = readout.answer(x, None, store, Fixed(confidence))
        assert torch.equal(answer.source == HIPPOCAMPUS, match > confidence)
    familiar = readout.answer(x, None, store, Fixed(between))
    assert torch.equal(familiar.scores[:, :6].argmax(2), Y) and (familiar.scores[:, 6:].argmax(2) == 1).all()


def test_a_threshold_of_match_decides_also_in_regression():
    spec = spec_of(regression=True)
    target = each(spec.seeds, "y", lambda g: g.standard_normal((6, 4))).float()
    store, readout = remembering(spec, target), begun(cs.MostConfident(threshold=0.999), spec)
    x = torch.cat((questions(spec), questions(spec, "other")), 1)
    answer = readout.answer(x, None, store, Fixed(0.7))
    assert torch.equal(answer.scores[:, :6], target) and torch.equal(
        answer.scores[:, 6:], Fixed(0.7).said.expand(2, 6, -1)
    )
    none = cs.NoHippocampus()
    none.setup(spec)
    for threshold in (0.0, 0.5):
        assert (
            begun(cs.MostConfident(threshold=threshold), spec).answer(x, None, none, Fixed(0.7)).source == CORTEX
        ).all()


def test_bad_settings_are_refused():
    with pytest.raises(cs.ConfigError, match=r"^threshold: "):
        cs.MostConfident(threshold=1.5)
    with pytest.raises(cs.ConfigError, match=r"^threshold: "):
        cs.MostConfident().setup(spec_of(regression=True))


def test_who_asks_a_hippocampus_that_names_nothing_is_refused():
    """An autoencoder recalls inputs without answers: its scores would be chance."""
    spec = cs.Autoencoder(renew_every=10).setup(cs.Spec(inputs=(4,), outputs=2))
    for readout in (cs.HippocampusReadout(), cs.MostConfident()):
        with pytest.raises(ConfigError, match="recalls answers"):
            readout.setup(spec)
    assert cs.LogitSum().setup(spec) and cs.CortexReadout().setup(spec)


def test_what_both_know_is_summed_in_log_odds():
    """The cortex says 1 with .7; what the hippocampus recalls (a perfect match) wins where it weighs more than that."""
    spec = spec_of()
    store, x = remembering(spec, Y), questions(spec)
    odds = math.log(0.7 / 0.1)
    for weight, expected in ((0.0, torch.ones_like(Y)), (0.9 * odds, torch.ones_like(Y)), (1.1 * odds, Y)):
        answer = begun(cs.LogitSum(weight=weight), spec).answer(x, None, store, Fixed(0.7))
        assert torch.equal(answer.scores.argmax(2), expected)
    nothing = begun(cs.LogitSum(weight=9.0), spec).answer(x, None, begun_store(spec), Fixed(0.7))
    assert torch.equal(nothing.scores.argmax(2), torch.ones_like(Y)), "an empty hippocampus has no say"
    with pytest.raises(ConfigError, match="class probabilities"):
        cs.LogitSum().setup(spec_of(regression=True))


def begun_store(spec: Spec):
    store = cs.Store(capacity=10)
    store.setup(spec)
    return store
