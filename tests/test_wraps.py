"""Wraps: with its null setting a wrap is the part inside, bit for bit; whatever a wrap does not define is forwarded."""

from __future__ import annotations

import copy
import inspect
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cls_sim as cs
from cls_sim.core.clock import Clock
from cls_sim.core.errors import ConfigError
from cls_sim.core.part import Part, Spec
from cls_sim.core.wrap import Wrap
from cls_sim.life import Life
from cls_sim.neocortex.base import Neocortex
from tests.lives import live

WRAPS = {name: kind for name in cs.VOCABULARY if inspect.isclass(kind := getattr(cs, name)) and issubclass(kind, Wrap)}
MIDDLE, END = 8, 13  # ticks: into the second day, and into the third; contexts last as long as days


def kind_of(part: Any) -> type:
    """The kind of part: the class right below Part."""
    kind = part if inspect.isclass(part) else type(part)
    return [base for base in kind.__mro__ if issubclass(base, Part) and not issubclass(base, Wrap)][-2]


def complete(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Part) and not inspect.isabstract(kind)


ROOM_OF = {getattr(cs, part_kind.capitalize()): part_kind for part_kind in cs.PART_KINDS}


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 10))


def stored() -> Any:
    return cs.Store(capacity=12)


# Every part that can stand inside a wrap, small; the settings of the life that a part needs stand beside it.
TASK: dict[str, Any] = {"world": lambda: cs.Digits(per_context=3, batch=4, scenario="task")}

TRACK: dict[str, Any] = {
    "world": lambda: cs.Maze(plan=["a..A"], explored=False),
    "readout": lambda: cs.Softmax(),
    "hippocampus": lambda: cs.CognitiveMap(capacity=4),
    "neocortex": lambda: cs.Linear(),
    "consolidation": lambda: cs.Descent(objective=cs.TemporalDifference()),
}


VECTORS, LABELS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32), np.arange(40) % 4
QUERIES = [(f"a{i % 3} w{i} b{i % 4}", f"intent {i % 4}", f"domain {i % 2}") for i in range(40)]


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 10))


INSIDE: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "world": {
        "Digits": (lambda: cs.Digits(per_context=3, batch=4), {}),
        "Candies": (lambda: cs.Candies(candies=40, side=8, per_context=3, batch=4), {}),
        "Species": (lambda: cs.Species(animals=40, per_context=3, batch=4), {}),
        "Patches": (lambda: cs.Patches(size=5, overlap=4, pixels=10, per_context=3), {}),
        "Arrays": (lambda: cs.Arrays(x=VECTORS, y=LABELS, contexts=2, per_context=3, batch=4), {}),
        "Features": (lambda: cs.Features(x=VECTORS, y=LABELS, contexts=2, per_context=3, batch=4), {}),
        "Teacher": (lambda: cs.Teacher(items=12, features=5, test=8, batch=4), {}),
        "Sources": (lambda: cs.Sources(items=12, features=5, test=8), {}),
        "RandomItems": (lambda: cs.RandomItems(items=12, features=10), {}),
        "Dichotomy": (lambda: cs.Dichotomy(items=12, features=10), {}),
        "Queries": (lambda: cs.Queries(queries=QUERIES, per_context=3, batch=4, width=32), {}),
        "Patterns": (lambda: cs.Patterns(synapses=20, length=12), {}),
        "Cohorts": (lambda: cs.Cohorts(times=[0, 2], items=4, length=12), {}),
        "Hierarchy": (lambda: cs.Hierarchy(), {}),
        "Tree": (lambda: cs.Tree(), {}),
        "Semantic": (lambda: cs.Semantic(epochs_before=5, epochs_with=5), {}),
        "Maze": (TRACK["world"], {part_kind: make for part_kind, make in TRACK.items() if part_kind != "world"}),
        "Bursts": (lambda: cs.Bursts(features=20, experiences=12), {}),
        "Scenes": (
            lambda: cs.Scenes(areas=2, prototypes=3, units=4, scenes=40, contexts=2, per_context=3, batch=4),
            {},
        ),
        "Communities": (
            lambda: cs.Communities(communities=2, members=4, features=12, scene=4, steps=12, asked=6),
            {},
        ),
        "Chains": (lambda: cs.Chains(chains=2, links=2, batch=2), {}),
        "Schemas": (lambda: cs.Schemas(training=8, test=4), {}),
        "Associations": (lambda: cs.Associations(items=3, features=8, per_visit=4), {}),
        "Concepts": (lambda: cs.Concepts(concepts=3, examples=8, features=20, batch=2), {}),
        "Sequences": (lambda: cs.Sequences(sequences=3, items=4, runs=9, gap=1, features=20), {}),
    },
    "rhythm": {
        "Sleepless": (lambda: cs.Sleepless(experiences_per_day=3), {}),
        "Nights": (lambda: cs.Nights(experiences_per_day=3, steps_per_night=3), {}),
        "GrowingNights": (lambda: cs.GrowingNights(experiences_per_day=3, steps_per_night=2), {}),
        "ContextNights": (lambda: cs.ContextNights(experiences_per_day=3, steps_per_night=3), {}),
        "Naps": (lambda: cs.Naps(experiences_per_day=3, experiences_between_naps=2, steps_per_nap=2), {}),
        "NremRem": (lambda: cs.NremRem(experiences_per_day=3, cycles=1, nrem=2, rem=1), {}),
        "ProportionalNights": (lambda: cs.ProportionalNights(experiences_per_day=3, batch=4, held_out=0.3), {}),
        "Pressure": (
            lambda: cs.Pressure(
                experiences_per_day=3, rise_per_experience=0.4, error_gain=0.1, novelty_gain=0.1, fall_per_step=0.3
            ),
            {},
        ),
        "Pauses": (lambda: cs.Pauses(experiences_per_day=3, steps=2), TRACK),
        "Validated": (
            lambda: cs.Validated(experiences_per_day=3, steps_per_night=4, steps_between_checks=1, held_out=0.3),
            {},
        ),
    },
    "plasticity": {
        "Constant": (lambda: cs.Constant(rate=[0.01, 0.02]), {}),
        "Exponential": (lambda: cs.Exponential(start=0.01, tau_days=2.0), {}),
        "PowerLaw": (lambda: cs.PowerLaw(start=0.01), {}),
        "CriticalPeriod": (lambda: cs.CriticalPeriod(start=0.01, closes=1.0), {}),
        "DoseLimited": (lambda: cs.DoseLimited(rate=0.01, dose=0.1), {}),
        "WakeNight": (lambda: cs.WakeNight(wake_rate=0.002, night_rate=0.01), {}),
        "NightlyDecay": (lambda: cs.NightlyDecay(start=0.01, wake_rate=0.002), {}),
        "StageRates": (
            lambda: cs.StageRates(nrem=0.01, rem=0.002),
            {"rhythm": lambda: cs.NremRem(experiences_per_day=3, cycles=1, nrem=2, rem=1)},
        ),
    },
    "neocortex": {
        "SlimResNet18": (lambda: cs.SlimResNet18(width=2), {}),
        "Cnn4": (lambda: cs.Cnn4(channels=[2, 2, 2, 2]), {}),
        "Module,dropout": (lambda: cs.Module(module=dropping), {}),
        "Linear": (lambda: cs.Linear(), {}),
        "Mlp": (lambda: cs.Mlp(hidden=[6]), {}),
        "Mlp, met": (lambda: cs.Mlp(hidden=[6], outputs="met"), {}),
        "Module": (lambda: cs.Module(module=net), {}),
        "Feedback": (
            lambda: cs.Feedback(hidden=[6], latent=3),
            {"replay": lambda: cs.Dreamed(batch=6, dreamer="neocortex")},
        ),
        "Relational": (lambda: cs.Relational(relations=4, representation=4, units=5), {}),
        "Gated": (lambda: cs.Gated(hidden=[8], share=0.5), TASK),
        "Attentive": (
            lambda: cs.Attentive(hidden=[8]),
            TASK | {"consolidation": lambda: cs.Descent(objective=cs.Hat())},
        ),
        "Columns": (lambda: cs.Columns(hidden=[4, 4]), TASK),
        "Growing": (lambda: cs.Growing(hidden=[4, 4]), TASK),
        "Packed": (lambda: cs.Packed(hidden=[8]), TASK),
    },
    "hippocampus": {
        "Store": (stored, {}),
        "Sparse": (lambda: cs.Sparse(capacity=12, units=40, winners=4), {}),
        "Gaussians": (lambda: cs.Gaussians(), {}),
        "Mixtures": (lambda: cs.Mixtures(), {}),
        "Discriminant": (lambda: cs.Discriminant(), {}),
        "RandomRidge": (lambda: cs.RandomRidge(units=20), {}),
        "Copies": (lambda: cs.Copies(), {}),
        "Compact": (lambda: cs.Compact(bytes=12 * (8 + 1), bits=1), {}),
        "Exemplars": (
            lambda: cs.Exemplars(capacity=12),
            {"consolidation": lambda: cs.Descent(objective=cs.BinaryDistillation())},
        ),
        "GenerativeClassifier": (lambda: cs.GenerativeClassifier(hidden=[4], latent=2, samples=2), {}),
        "Autoencoder": (
            lambda: cs.Autoencoder(hidden=[4], latent=2),
            {"replay": lambda: cs.Dreamed(batch=6), "readout": cs.CortexReadout},
        ),
        "Trisynaptic": (lambda: cs.Trisynaptic(capacity=12), {}),
        "Theta": (lambda: cs.Theta(units=[60, 40, 40], winners=[3, 5, 6], target=12), {"readout": cs.CortexReadout}),
        "TwoCodes": (lambda: cs.TwoCodes(capacity=12, dentate=cs.KWinners(units=64, activity=0.1)), {}),
        "TemporalContext": (lambda: cs.TemporalContext(capacity=12), {"replay": lambda: cs.Dreamed(batch=2)}),
        "NoHippocampus": (lambda: cs.NoHippocampus(), {"readout": cs.CortexReadout}),
        "CognitiveMap": (lambda: cs.CognitiveMap(capacity=4), TRACK),
        "Causes": (lambda: cs.Causes(), {"readout": cs.CortexReadout}),
        "FastWeights": (lambda: cs.FastWeights(), {"readout": cs.CortexReadout}),
        "Remerge": (lambda: cs.Remerge(capacity=12), {}),
        "Indexed": (
            lambda: cs.Indexed(capacity=12),
            {
                "neocortex": lambda: cs.Feedback(hidden=[6], latent=3),
                "replay": lambda: cs.Reencoded(cs.Uniform(batch=4)),
                "readout": cs.CortexReadout,
            },
        ),
    },
    "replay": {
        "Uniform": (lambda: cs.Uniform(batch=6), {}),
        "Recent": (lambda: cs.Recent(batch=6), {}),
        "UniformPerRow": (lambda: cs.UniformPerRow(per_row=0.5), {}),
        "OldNew": (lambda: cs.OldNew(batch=6), {}),
        "FullBatch": (lambda: cs.FullBatch(), {}),
        "Dreamed": (lambda: cs.Dreamed(batch=6), {"hippocampus": lambda: cs.Mixtures()}),
        "Pseudorehearsal": (lambda: cs.Pseudorehearsal(), {}),
        "InOrder": (lambda: cs.InOrder(batch=6, direction="either"), {}),
        "GainNeed": (lambda: cs.GainNeed(longest=3), TRACK),
        "Unfolded": (lambda: cs.Unfolded(noise=0.1), {"hippocampus": lambda: cs.Follows(cs.Store(capacity=30))}),
        "Cued": (lambda: cs.Cued(batch=6), {}),
        "Preferred": (lambda: cs.Preferred(batch=6), {}),
        "Thinned": (lambda: cs.Thinned(), {}),
        "Interleaved": (lambda: cs.Interleaved(cs.Uniform(batch=6)), {}),
        "Mixed": (lambda: cs.Mixed(cs.Uniform(batch=4), cs.Recent(batch=4), share=0.5), {}),
        "AwakeAsleep": (lambda: cs.AwakeAsleep(cs.Interleaved(cs.Uniform(batch=4)), cs.Recent(batch=4)), {}),
        "Staged": (
            lambda: cs.Staged(cs.Recent(batch=4), cs.OldNew(batch=4)),
            {"rhythm": lambda: cs.NremRem(experiences_per_day=3, cycles=1, nrem=2, rem=1)},
        ),
    },
    "readout": {
        "CortexReadout": (lambda: cs.CortexReadout(), {}),
        "HippocampusReadout": (lambda: cs.HippocampusReadout(), {}),
        "RecallFirst": (lambda: cs.RecallFirst(), {}),
        "LogitSum": (lambda: cs.LogitSum(), {}),
        "MostConfident": (lambda: cs.MostConfident(), {}),
        "MostConfident, by threshold": (lambda: cs.MostConfident(threshold=0.3), {}),
        "FittedSum": (
            lambda: cs.FittedSum(),
            {"rhythm": lambda: cs.ProportionalNights(experiences_per_day=3, batch=4, held_out=0.3)},
        ),
        "NearestMean": (lambda: cs.NearestMean(), {}),
        "SlowCopyReadout": (
            lambda: cs.SlowCopyReadout(),
            {"neocortex": lambda: cs.Averaged(cs.Mlp(hidden=[6])), "consolidation": lambda: cs.Averaging()},
        ),
        "ExpertGate": (lambda: cs.ExpertGate(components=3), {"neocortex": lambda: cs.Columns(hidden=[4, 4])}),
        "ExpertGate, told": (
            lambda: cs.ExpertGate(components=3),
            TASK | {"neocortex": lambda: cs.Columns(hidden=[4, 4])},
        ),
    },
    "consolidation": {
        "Descent": (lambda: cs.Descent(), {}),
        "Descent, pulled": (lambda: cs.Descent(penalty=cs.QuadraticPenalty(strength=10.0)), {}),
        "Descent, clipped": (lambda: cs.Descent(optimizer=cs.Clipped(optimizer=cs.Momentum(), norm=0.1)), {}),
        "Descent, Lwf": (lambda: cs.Descent(objective=cs.Lwf()), {}),
        "SpikingSleep": (lambda: cs.SpikingSleep(steps=5), {}),
        "Imm": (lambda: cs.Imm(merge="mode"), {}),
        "Retrain": (lambda: cs.Retrain(), {}),
        "FromScratch": (lambda: cs.FromScratch(), {}),
        "Projected": (lambda: cs.Projected(), {"replay": lambda: cs.Interleaved(cs.Uniform(batch=4))}),
        "Averaging": (lambda: cs.Averaging(), {"neocortex": lambda: cs.Averaged(cs.Mlp(hidden=[6]))}),
        "Downscaled": (lambda: cs.Downscaled(share=0.01), {}),
        "Homeostasis": (lambda: cs.Homeostasis(), {}),
        "BennaFusi": (lambda: cs.BennaFusi(variables=3), {}),
        "Fading": (lambda: cs.Fading(), {}),
        "Tagging": (lambda: cs.Tagging(fade=0.1), {}),
        "RecallGated": (lambda: cs.RecallGated(threshold=0.5), {}),
        "ScaledToInput": (lambda: cs.ScaledToInput(rows=10), {}),
        "Caching": (lambda: cs.Caching(fade=0.1), {}),
        "Cascade": (lambda: cs.Cascade(gain=100.0), {}),
        "Partition": (lambda: cs.Partition(gain=100.0), {}),
    },
}

NEVER_INSIDE = {  # Digits or Queries from files, which take seconds to read or may be absent; and what only others draw
    *("Mnist", "Cifar10", "Cifar100", "Omniglot", "Abalone", "Clinc"),
    "Estimated",
}
REGRESSION = ("Species", "Teacher", "Sources", "Patterns", "Cohorts", "Hierarchy", "Tree", "Semantic", "Bursts")
UNFIT = {  # a wrap and what it refuses to stand around, in words
    **{("Homeostasis", name): "not a Descent" for name in INSIDE["consolidation"] if not name.startswith("Descent")},
    **{
        ("Interleaved", name): "while awake"
        for name in (
            "Pseudorehearsal",
            "Interleaved",
            "Mixed",
            "AwakeAsleep",
            "Staged",
            "InOrder",
            "GainNeed",
            "Unfolded",
        )
    },
    **{("Mislabelled", name): "only one class" for name in REGRESSION},
    **{
        ("Deficit", name): "not images|does not divide"
        for name in INSIDE["world"]
        if name not in ("Digits", "Communities")
    },
}


def life(**parts: Any) -> Life:
    usual: dict[str, Any] = {
        "world": cs.Digits(per_context=3, batch=4),
        "rhythm": cs.Nights(experiences_per_day=3, steps_per_night=3),
        "plasticity": cs.WakeNight(wake_rate=0.002, night_rate=0.01),
        "neocortex": cs.Mlp(hidden=[6]),
        "hippocampus": stored(),
        "replay": cs.Uniform(batch=6),
        "readout": cs.CortexReadout(),
    }
    probes = {"accuracy": cs.Accuracy().at("context.end"), "dose": cs.Dose().at("context.end")}
    return Life(**usual | parts, probes=probes, subjects=2, seed=3)


Rows = list[tuple[str, dict[str, Any]]]


def same(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            same(one[name], other[name], f"{where}.{name}")
        return
    a, b = torch.as_tensor(one), torch.as_tensor(other)
    assert a.shape == b.shape and bool(
        ((a == b) | (a.isnan() & b.isnan() if a.is_floating_point() else a == b)).all()
    ), where


def traced(one: Life, end: int = END) -> Rows:
    """Live on; what probes read on the way."""
    rows = []
    while one.clock.tick < end:
        if one.over:
            break
        rows += [(moment.name, one.measure(moment)) for moment in one.step()]
    return rows


def bare(part: Any, layers: int = 1) -> Any:
    for _ in range(layers):
        part = getattr(part, part.inside)
    return part


def alike(plain: Life, mine: Rows, wrapped: Life, part_kind: str, layers: int = 1) -> None:
    """A life that was lived, with what was read of it, and one to be lived, are bit for bit the same, way and end."""
    its = traced(wrapped)
    assert [name for name, _ in mine] == [name for name, _ in its]
    for (name, one), (_, other) in zip(mine, its, strict=True):
        same(one, other, name)
    for other in cs.PART_KINDS:
        part = getattr(wrapped, other)
        same(getattr(plain, other).state(), (bare(part, layers) if other == part_kind else part).state(), other)
    same(plain.clock.state(), wrapped.clock.state())
    x = plain.world.evaluation(0).x[:, :8]
    context = torch.zeros(x.shape[:2], dtype=torch.int64) if plain.spec.task_id_known else None
    for one in (plain, wrapped):
        if not hasattr(one, "told_to"):  # that of the plain life is asked once for all its wraps
            one.told_to = one.readout.answer(x, context, one.hippocampus, one.neocortex)  # type: ignore[attr-defined]
            one.recalled = one.view.recall(x)  # type: ignore[attr-defined]
    same(vars(plain.told_to), vars(wrapped.told_to))  # type: ignore[attr-defined]
    same(vars(plain.recalled), vars(wrapped.recalled))  # type: ignore[attr-defined]


PAIRS = [  # those of one part after another: its life is lived once
    (wrap, name)
    for part_kind, parts in INSIDE.items()
    for name in parts
    for wrap, kind in WRAPS.items()
    if kind.null is not None and ROOM_OF.get(kind_of(kind)) == part_kind
]


def null(wrap: str, part: Any) -> Any:
    return WRAPS[wrap](**{WRAPS[wrap].inside: part}, **WRAPS[wrap].null or {})


def others(part_kind: str, name: str) -> dict[str, Any]:
    return {key: make() for key, make in INSIDE[part_kind][name][1].items()}


def bared(part_kind: str, name: str) -> Life:
    """A life with this part, around which there is no wrap."""
    return life(**others(part_kind, name) | {part_kind: INSIDE[part_kind][name][0]()})


@lru_cache(2)
def whole(part_kind: str, name: str) -> tuple[Life, Life, Rows, Rows]:
    """It in its middle, of which others may be twins, and at its end; what was read before its middle and after."""
    one = bared(part_kind, name)
    before = traced(one, MIDDLE)
    middle = copy.deepcopy(one)
    return middle, one, before, traced(one)


@pytest.mark.parametrize(("wrap", "name"), PAIRS, ids=lambda value: str(value))
def test_with_its_null_setting_a_wrap_is_the_part_inside(wrap: str, name: str):
    """From birth and from the middle of a life.  CortexLesion(fraction=0) differed around six of ten cortices."""
    part_kind = ROOM_OF[kind_of(WRAPS[wrap])]
    make = INSIDE[part_kind][name][0]
    if (wrap, name) in UNFIT:
        with pytest.raises(ConfigError, match=UNFIT[wrap, name]):
            life(**others(part_kind, name) | {part_kind: null(wrap, make())})
        return
    middle, plain, before, after = whole(part_kind, name)
    born = life(**others(part_kind, name) | {part_kind: null(wrap, make())})
    alike(plain, before + after, born, part_kind)
    twin = middle.twin(**{part_kind: lambda part: null(wrap, part)})
    alike(plain, after, twin, part_kind)


def neighbours() -> list[tuple[str, str]]:
    """Each wrap with a null setting, and the next of its kind (or itself)."""
    found = []
    for part_kind in cs.PART_KINDS:
        names = [
            name for name, kind in WRAPS.items() if kind.null is not None and ROOM_OF.get(kind_of(kind)) == part_kind
        ]
        names = [name for name in names if name not in ("Homeostasis", "Interleaved")]  # these stand around no wrap
        found += list(zip(names, names[1:] + names[:1], strict=True))
    return found


@pytest.mark.parametrize(("outer", "inner"), neighbours())
def test_a_wrap_of_a_wrap_is_the_part_inside(outer: str, inner: str):
    part_kind = ROOM_OF[kind_of(WRAPS[outer])]
    make = next(iter(INSIDE[part_kind].values()))[0]
    plain, wrapped = life(**{part_kind: make()}), life(**{part_kind: null(outer, null(inner, make()))})
    alike(plain, traced(plain), wrapped, part_kind, layers=2)


def test_every_part_stands_inside_a_wrap():
    """A part that is new in the vocabulary is missing here until it is listed in INSIDE."""
    listed = {name.split(",")[0] for parts in INSIDE.values() for name in parts}
    for name in cs.VOCABULARY:
        kind = getattr(cs, name)
        if complete(kind) and not issubclass(kind, Wrap) and kind_of(kind) in ROOM_OF:
            assert name in listed | NEVER_INSIDE, f"add {name} to INSIDE"


@pytest.mark.parametrize("wrap", WRAPS)
def test_every_wrap_names_its_null_setting(wrap: str):
    own = WRAPS[wrap].__mro__[: WRAPS[wrap].__mro__.index(Wrap)]
    assert any("null" in vars(kind) for kind in own), "a wrap or its family says what makes it the part inside, or None"


# -- forwarding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
def test_no_default_of_a_base_class_hides_the_part_inside(wrap: str):
    """Of every public name but the shortcuts: the wrap's own, or forwarded, never the base's default."""
    kind = WRAPS[wrap]
    bases = [b for b in kind.__mro__ if issubclass(b, Part) and not issubclass(b, Wrap) and b is not Part]
    for base in bases:
        for name in {*vars(base), *vars(base).get("__annotations__", ())} - {*vars(Part), *base.shortcuts}:
            if not name.startswith("_"):
                owner = next((b for b in kind.__mro__ if name in vars(b)), None)
                declared = any(name in vars(b).get("__annotations__", ()) for b in kind.__mro__ if issubclass(b, Wrap))
                assert declared or (owner is not None and issubclass(owner, Wrap)), f"{wrap}.{name}"


def test_a_method_that_a_base_class_gets_later_is_forwarded():
    class Kind(Part):
        def old(self) -> str:
            return "base"

    class Grown(Kind):
        def old(self) -> str:
            return "inside"

        def only_here(self) -> int:
            return 5

    Kind.new = lambda self, *, times=1: "base" * times  # type: ignore[attr-defined]
    Grown.new = lambda self, *, times=1: "inside" * times  # type: ignore[attr-defined]

    class Around(Wrap, Kind):
        inside, null = "part", {}

    around: Any = Around(Grown())
    assert (around.old(), around.new(times=2), around.only_here()) == ("inside", "insideinside", 5)
    with pytest.raises(AttributeError):
        _ = around.nowhere


@pytest.mark.parametrize("value", [cs.Store, None, cs.Mlp(), "store"], ids=str)
def test_a_wrap_refuses_what_is_not_of_its_kind(value: Any):
    with pytest.raises(ConfigError, match=r"hippocampus: .*(is not a Hippocampus|is a class|is None)"):
        cs.Lesion(value)


def test_averages_of_a_cortex_that_grows_its_outputs_learn():
    """The averaged cortex never met a label: [.5, 0] where the bare one has [1, 0]."""
    lives = [
        life(neocortex=make())
        for make in (
            lambda: cs.Mlp(hidden=[6], outputs="met"),
            lambda: cs.Averaged(cs.Mlp(hidden=[6], outputs="met")),
        )
    ]
    for one in lives:
        live(one)
    assert lives[1].neocortex.met.any()  # type: ignore[attr-defined]
    same(lives[0].neocortex.state(), lives[1].neocortex.cortex.state())  # type: ignore[attr-defined]


# -- what a cortical lesion leaves ----------------------------------------------------------------------------


def cortex(of: str, **settings: Any) -> tuple[Any, cs.CortexLesion, Spec]:
    spec = Spec(seeds=(0, 1), inputs=(5,), outputs=3, ends=(4,), contexts=2)
    inner = cs.Feedback(hidden=[6, 8], latent=3, **settings)
    lesion = cs.CortexLesion(inner, fraction=0.5, of=of)
    lesion.attach(lesion.setup(spec), Clock(2, 1))
    return inner, lesion, spec


def without(inner: Any, lesion: cs.CortexLesion) -> Any:
    """A cortex of which what is silent is cut out of the weights: W of silent synapses, or what silent units send."""
    twin = copy.deepcopy(inner)
    with torch.no_grad():
        for weights in (twin.weights, twin.before):
            for name, mask in lesion._synapses.items():
                weights[name].mul_(mask)
            if lesion._units is not None:
                for name in ("out0.weight", "mean0.weight", "spread0.weight"):
                    weights[name].mul_(lesion._units[:, None])
    return twin


@pytest.mark.parametrize("of", ["units", "weights"])
def test_all_that_a_lesioned_cortex_does_is_without_what_is_silent(of: str):
    """scores, taught, imagine and dream went past the lesion, or met the base class's default."""
    inner, lesion, _ = cortex(of)
    gen = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 4, 5, generator=gen), torch.tensor([[0, 1, 2, 0]] * 2)
    batch = cs.Batch.lived(x, y)
    inner.after_step(batch, np.ones(2, bool))
    inner._renew(np.ones(2, bool))
    left, clock = without(inner, lesion), Clock(2, 1)
    assert not torch.equal(lesion.scores(x), inner.scores(x))
    torch.testing.assert_close(lesion.scores(x), left.scores(x))
    torch.testing.assert_close(lesion.reconstruct(x), left.reconstruct(x))
    for mine, its in zip(lesion.training_outputs(batch, None), left.training_outputs(batch, None), strict=True):
        torch.testing.assert_close(mine, its)
    dreams, expected = lesion.dream(6, clock, None), left.dream(6, clock, None)  # type: ignore[arg-type]
    torch.testing.assert_close(dreams.x, expected.x)
    torch.testing.assert_close(dreams.scores, expected.scores)
    before = {name: w.detach().clone() for name, w in inner.weights.items()}
    rule = cs.Descent(optimizer=cs.Sgd())
    rule.setup(Spec(seeds=(0, 1), weights={name: tuple(w.shape) for name, w in before.items()}))
    rule.step(lesion, batch, np.full(2, 0.1), None)
    for name, mask in lesion._synapses.items():
        assert torch.equal((inner.weights[name] * (1 - mask)), before[name] * (1 - mask)), name
        assert not torch.equal(inner.weights[name], before[name]), name
    if lesion._units is not None:
        silent = lesion._units == 0
        assert torch.equal(inner.weights["up1.weight"][silent], before["up1.weight"][silent])
        assert not torch.equal(inner.weights["up1.weight"], before["up1.weight"])


@pytest.mark.parametrize("of", ["units", "weights"])
@pytest.mark.parametrize("around", [lambda c: c, cs.Averaged, lambda c: cs.CortexLesion(c, fraction=0.25)])
def test_the_taps_of_a_lesioned_cortex_give_the_gradients_of_what_is_left(of: str, around: Any):
    """Sums over rows by taps equal those asked row by row."""
    spec = Spec(seeds=(0, 1), inputs=(5,), outputs=3)
    lesion = cs.CortexLesion(around(cs.Mlp(hidden=[6, 8])), fraction=0.5, of=of)
    spec = lesion.setup(spec)
    lesion.attach(spec, Clock(2, 1))
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    tapped = lesion.activations(x)
    assert tapped is not None
    torch.testing.assert_close(tapped[0], lesion.scores(x))
    fishers = []
    for taps in (lesion.activations, lambda *_: None):
        fisher, seen = cs.Fisher(), lesion
        fisher.setup(spec)
        seen.activations = taps  # type: ignore[method-assign]
        total = {name: torch.zeros_like(w) for name, w in lesion.weights.items()}
        fisher._add(total, seen, cs.Batch.lived(x, torch.zeros(2, 4, dtype=torch.int64)))
        fishers.append(total)
    for name in fishers[0]:
        torch.testing.assert_close(fishers[0][name], fishers[1][name])


def test_a_lesioned_cortex_holds_what_the_cortex_inside_holds():
    """Weights of a frozen column moved by 3.5 inside a lesion of nothing."""
    told = Spec(
        seeds=(0,),
        inputs=(5,),
        outputs=4,
        contexts=2,
        ends=(2, 4),
        task_id_known=True,
        heads=torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 1]]]).bool(),
    )
    lesion: Neocortex = cs.CortexLesion(cs.Columns(hidden=[4]), fraction=0.5)
    lesion.setup(told)
    free = lesion.plastic_mask(torch.ones(1, 3, dtype=torch.int64))
    assert free is not None and free["weight0"].flatten().tolist() == [0.0] * 4 + [1.0] * 4
