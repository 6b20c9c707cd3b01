"""Wraps: with its null setting a wrap is the part inside, bit for bit; whatever a wrap does not define is forwarded."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch

import cls_sim as cls
from cls_sim.core.clock import Clock
from cls_sim.core.errors import Refused
from cls_sim.core.part import Part, Spec
from cls_sim.core.wrap import Wrap
from cls_sim.life import Life
from cls_sim.neocortex.base import Neocortex
from tests.lives import live

WRAPS = {
    name: kind for name in cls.VOCABULARY if inspect.isclass(kind := getattr(cls, name)) and issubclass(kind, Wrap)
}
MIDDLE, END = 8, 20  # ticks: into the second day, and beyond the third; contexts last as long as days


def kind_of(part: Any) -> type:
    """The kind of part: the class right below Part."""
    kind = part if inspect.isclass(part) else type(part)
    return [base for base in kind.__mro__ if issubclass(base, Part) and not issubclass(base, Wrap)][-2]


def complete(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Part) and not inspect.isabstract(kind)


ROOM_OF = {getattr(cls, room.capitalize()): room for room in cls.ROOMS}


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 10))


def stored() -> Any:
    return cls.Store(capacity=12)


# Every part that can stand inside a wrap, small; the settings of the life that a part needs stand beside it.
TASK: dict[str, Any] = {"world": lambda: cls.Digits(per_context=3, batch=4, scenario="task")}
INSIDE: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "world": {"Digits": (lambda: cls.Digits(per_context=3, batch=4), {})},
    "rhythm": {
        "Sleepless": (lambda: cls.Sleepless(wake=3), {}),
        "Nights": (lambda: cls.Nights(wake=3, night=3), {}),
        "GrowingNights": (lambda: cls.GrowingNights(wake=3, night=2), {}),
        "ContextNights": (lambda: cls.ContextNights(wake=3, night=3), {}),
        "Naps": (lambda: cls.Naps(wake=3, every=2, nap=2), {}),
        "NremRem": (lambda: cls.NremRem(wake=3, cycles=1, nrem=2, rem=1), {}),
        "Pressure": (lambda: cls.Pressure(wake=3, rise=0.4, error=0.1, novelty=0.1, fall=0.3), {}),
        "Validated": (lambda: cls.Validated(wake=3, night=4, check=1, share=0.3), {}),
    },
    "plasticity": {
        "Constant": (lambda: cls.Constant(rate=[0.01, 0.02]), {}),
        "Exponential": (lambda: cls.Exponential(start=0.01, tau_days=2.0), {}),
        "PowerLaw": (lambda: cls.PowerLaw(start=0.01), {}),
        "CriticalPeriod": (lambda: cls.CriticalPeriod(start=0.01, closes=1.0), {}),
        "Allowance": (lambda: cls.Allowance(rate=0.01, dose=0.1), {}),
        "WakeNight": (lambda: cls.WakeNight(wake=0.002, night=0.01), {}),
        "Settling": (lambda: cls.Settling(start=0.01, wake=0.002), {}),
        "StageRates": (
            lambda: cls.StageRates(nrem=0.01, rem=0.002),
            {"rhythm": lambda: cls.NremRem(wake=3, cycles=1, nrem=2, rem=1)},
        ),
    },
    "neocortex": {
        "Linear": (lambda: cls.Linear(), {}),
        "Mlp": (lambda: cls.Mlp(hidden=[6]), {}),
        "Mlp, met": (lambda: cls.Mlp(hidden=[6], outputs="met"), {}),
        "Module": (lambda: cls.Module(module=net), {}),
        "Feedback": (
            lambda: cls.Feedback(hidden=[6], latent=3),
            {"replay": lambda: cls.Dreamed(batch=6, dreamer="neocortex")},
        ),
        "Relational": (lambda: cls.Relational(relations=4, representation=4, units=5), {}),
        "Gated": (lambda: cls.Gated(hidden=[8], share=0.5), TASK),
        "Attentive": (
            lambda: cls.Attentive(hidden=[8]),
            TASK | {"consolidation": lambda: cls.Descent(objective=cls.Hat())},
        ),
        "Columns": (lambda: cls.Columns(hidden=[4, 4]), TASK),
        "Growing": (lambda: cls.Growing(hidden=[4, 4]), TASK),
        "Packed": (lambda: cls.Packed(hidden=[8]), TASK),
    },
    "hippocampus": {
        "Store": (stored, {}),
        "Sparse": (lambda: cls.Sparse(capacity=12, units=40, winners=4), {}),
        "Gaussians": (lambda: cls.Gaussians(), {}),
        "Mixtures": (lambda: cls.Mixtures(), {}),
        "Copies": (lambda: cls.Copies(), {}),
        "Exemplars": (
            lambda: cls.Exemplars(capacity=12),
            {"consolidation": lambda: cls.Descent(objective=cls.Binary())},
        ),
        "GenerativeClassifier": (lambda: cls.GenerativeClassifier(hidden=[4], latent=2, samples=2), {}),
        "Autoencoder": (
            lambda: cls.Autoencoder(hidden=[4], latent=2),
            {"replay": lambda: cls.Dreamed(batch=6), "readout": cls.Cortex},
        ),
        "Trisynaptic": (lambda: cls.Trisynaptic(capacity=12), {}),
        "NoHippocampus": (lambda: cls.NoHippocampus(), {"readout": cls.Cortex}),
        "Remerge": (lambda: cls.Remerge(capacity=12), {}),
    },
    "replay": {
        "Uniform": (lambda: cls.Uniform(batch=6), {}),
        "Recent": (lambda: cls.Recent(batch=6), {}),
        "OldNew": (lambda: cls.OldNew(batch=6), {}),
        "Everything": (lambda: cls.Everything(), {}),
        "Dreamed": (lambda: cls.Dreamed(batch=6), {"hippocampus": lambda: cls.Mixtures()}),
        "Pseudorehearsal": (lambda: cls.Pseudorehearsal(), {}),
        "Cued": (lambda: cls.Cued(batch=6), {}),
        "Preferred": (lambda: cls.Preferred(batch=6), {}),
        "Thinned": (lambda: cls.Thinned(), {}),
        "Interleaved": (lambda: cls.Interleaved(cls.Uniform(batch=6)), {}),
        "Mixed": (lambda: cls.Mixed(cls.Uniform(batch=4), cls.Recent(batch=4), share=0.5), {}),
        "AwakeAsleep": (lambda: cls.AwakeAsleep(cls.Interleaved(cls.Uniform(batch=4)), cls.Recent(batch=4)), {}),
        "Staged": (
            lambda: cls.Staged(cls.Recent(batch=4), cls.OldNew(batch=4)),
            {"rhythm": lambda: cls.NremRem(wake=3, cycles=1, nrem=2, rem=1)},
        ),
    },
    "consolidation": {
        "Descent": (lambda: cls.Descent(), {}),
        "Descent, pulled": (lambda: cls.Descent(penalty=cls.Pull(strength=10.0)), {}),
        "Descent, clipped": (lambda: cls.Descent(rule=cls.Clipped(rule=cls.Momentum(), norm=0.1)), {}),
        "Descent, Lwf": (lambda: cls.Descent(objective=cls.Lwf()), {}),
        "SpikingSleep": (lambda: cls.SpikingSleep(steps=5), {}),
        "Imm": (lambda: cls.Imm(merge="mode"), {}),
        "Retrain": (lambda: cls.Retrain(), {}),
        "FromScratch": (lambda: cls.FromScratch(), {}),
        "Projected": (lambda: cls.Projected(), {"replay": lambda: cls.Interleaved(cls.Uniform(batch=4))}),
        "Averaging": (lambda: cls.Averaging(), {"neocortex": lambda: cls.Averaged(cls.Mlp(hidden=[6]))}),
        "Downscaled": (lambda: cls.Downscaled(share=0.01), {}),
        "Homeostasis": (lambda: cls.Homeostasis(), {}),
        "BennaFusi": (lambda: cls.BennaFusi(variables=3), {}),
        "Fading": (lambda: cls.Fading(), {}),
        "Cascade": (lambda: cls.Cascade(gain=100.0), {}),
        "Partition": (lambda: cls.Partition(gain=100.0), {}),
    },
}

NEVER_INSIDE = {  # these need data, text, or a task that a tiny life of digits does not have
    *(name for name in cls.VOCABULARY if cls.VOCABULARY[name].startswith("world.") and name != "Digits"),
    "Estimated",
}
UNFIT = {  # a wrap and what it refuses to stand around, in words
    **{("Homeostasis", name): "no Descent" for name in INSIDE["consolidation"] if not name.startswith("Descent")},
    **{
        ("Interleaved", name): "by day" for name in ("Pseudorehearsal", "Interleaved", "Mixed", "AwakeAsleep", "Staged")
    },
}


def life(**parts: Any) -> Life:
    usual: dict[str, Any] = {
        "world": cls.Digits(per_context=3, batch=4),
        "rhythm": cls.Nights(wake=3, night=3),
        "plasticity": cls.WakeNight(wake=0.002, night=0.01),
        "neocortex": cls.Mlp(hidden=[6]),
        "hippocampus": stored(),
        "replay": cls.Uniform(batch=6),
        "readout": cls.Cortex(),
    }
    probes = {"accuracy": cls.Accuracy(at="context.end"), "dose": cls.Dose(at="context.end")}
    return Life(**usual | parts, probes=probes, subjects=2, seed=3)


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


def traced(one: Life) -> list[tuple[str, dict]]:
    """Live on; what probes read on the way."""
    rows = []
    while one.clock.tick < END:
        rows += [(moment.name, one.measure(moment)) for moment in one.step()]
    return rows


def bare(part: Any, layers: int = 1) -> Any:
    for _ in range(layers):
        part = getattr(part, part.inside)
    return part


def alike(plain: Life, wrapped: Life, room: str, layers: int = 1) -> None:
    """Two lives are bit for bit the same on their way and in the end."""
    mine, its = traced(plain), traced(wrapped)
    assert [name for name, _ in mine] == [name for name, _ in its]
    for (name, one), (_, other) in zip(mine, its, strict=True):
        same(one, other, name)
    for other in cls.ROOMS:
        part = getattr(wrapped, other)
        same(getattr(plain, other).state(), (bare(part, layers) if other == room else part).state(), other)
    same(plain.clock.state(), wrapped.clock.state())
    x = plain.world.exam(0).x[:, :8]
    context = torch.zeros(x.shape[:2], dtype=torch.int64) if plain.spec.context_told else None
    for one in (plain, wrapped):
        one.told_to = one.readout.answer(x, context, one.hippocampus, one.neocortex)  # type: ignore[attr-defined]
    same(vars(plain.told_to), vars(wrapped.told_to))  # type: ignore[attr-defined]
    same(vars(plain.view.recall(x)), vars(wrapped.view.recall(x)))


PAIRS = [
    (wrap, name)
    for wrap, kind in WRAPS.items()
    if kind.null is not None and kind_of(kind) in ROOM_OF
    for name in INSIDE[ROOM_OF[kind_of(kind)]]
]


def null(wrap: str, part: Any) -> Any:
    return WRAPS[wrap](**{WRAPS[wrap].inside: part}, **WRAPS[wrap].null or {})


def others(room: str, name: str) -> dict[str, Any]:
    return {key: make() for key, make in INSIDE[room][name][1].items()}


@pytest.mark.parametrize(("wrap", "name"), PAIRS, ids=lambda value: str(value))
def test_with_its_null_setting_a_wrap_is_the_part_inside(wrap: str, name: str):
    """From birth and from the middle of a life.  CortexLesion(fraction=0) differed around six of ten cortices."""
    room = ROOM_OF[kind_of(WRAPS[wrap])]
    make = INSIDE[room][name][0]
    if (wrap, name) in UNFIT:
        with pytest.raises(Refused, match=UNFIT[wrap, name]):
            null(wrap, make())
        return
    alike(life(**others(room, name) | {room: make()}), life(**others(room, name) | {room: null(wrap, make())}), room)
    plain = live(life(**others(room, name) | {room: make()}), MIDDLE)
    twin = plain.twin(**{room: lambda part: null(wrap, part)})
    alike(plain, twin, room)


def neighbours() -> list[tuple[str, str]]:
    """Each wrap with a null setting, and the next of its kind (or itself)."""
    found = []
    for room in cls.ROOMS:
        names = [name for name, kind in WRAPS.items() if kind.null is not None and ROOM_OF.get(kind_of(kind)) == room]
        names = [name for name in names if name not in ("Homeostasis", "Interleaved")]  # these stand around no wrap
        found += list(zip(names, names[1:] + names[:1], strict=True))
    return found


@pytest.mark.parametrize(("outer", "inner"), neighbours())
def test_a_wrap_of_a_wrap_is_the_part_inside(outer: str, inner: str):
    room = ROOM_OF[kind_of(WRAPS[outer])]
    make = next(iter(INSIDE[room].values()))[0]
    alike(life(**{room: make()}), life(**{room: null(outer, null(inner, make()))}), room, layers=2)


def test_every_part_stands_inside_a_wrap():
    """A part that is new in the vocabulary is missing here until it is listed in INSIDE."""
    listed = {name.split(",")[0] for parts in INSIDE.values() for name in parts}
    for name in cls.VOCABULARY:
        kind = getattr(cls, name)
        if (
            complete(kind)
            and not issubclass(kind, Wrap)
            and kind_of(kind) in ROOM_OF
            and kind_of(kind) is not cls.Readout
        ):
            assert name in listed | NEVER_INSIDE, f"add {name} to INSIDE"


@pytest.mark.parametrize("wrap", WRAPS)
def test_every_wrap_names_its_null_setting(wrap: str):
    assert "null" in vars(WRAPS[wrap]), "a wrap says in its own class what settings make it the part inside, or None"


# -- forwarding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPS)
def test_no_default_of_a_base_class_hides_the_part_inside(wrap: str):
    """Of every public name of the kind's base classes: the wrap's own, or forwarded, never the base's default."""
    kind = WRAPS[wrap]
    bases = [b for b in kind.__mro__ if issubclass(b, Part) and not issubclass(b, Wrap) and b is not Part]
    for base in bases:
        for name in {*vars(base), *vars(base).get("__annotations__", ())} - {*vars(Part), "derived", "begin"}:
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


@pytest.mark.parametrize("value", [cls.Store, None, cls.Mlp(), "store"], ids=str)
def test_a_wrap_refuses_what_is_not_of_its_kind(value: Any):
    with pytest.raises(Refused, match=r"hippocampus: .*(is no Hippocampus|is a class|is None)"):
        cls.Lesion(value)


def test_averages_of_a_cortex_that_grows_its_outputs_learn():
    """The averaged cortex never met a label: [.5, 0] where the bare one has [1, 0]."""
    lives = [
        life(neocortex=make())
        for make in (
            lambda: cls.Mlp(hidden=[6], outputs="met"),
            lambda: cls.Averaged(cls.Mlp(hidden=[6], outputs="met")),
        )
    ]
    for one in lives:
        live(one)
    assert lives[1].neocortex.met.any()  # type: ignore[attr-defined]
    same(lives[0].neocortex.state(), lives[1].neocortex.cortex.state())  # type: ignore[attr-defined]


# -- what a cortical lesion leaves ----------------------------------------------------------------------------


def cortex(of: str, **settings: Any) -> tuple[Any, cls.CortexLesion, Spec]:
    spec = Spec(seeds=(0, 1), inputs=(5,), outputs=3, ends=(4,), contexts=2)
    inner = cls.Feedback(hidden=[6, 8], latent=3, **settings)
    lesion = cls.CortexLesion(inner, fraction=0.5, of=of)
    lesion.join(lesion.begin(spec), Clock(2, 1))
    return inner, lesion, spec


def without(inner: Any, lesion: cls.CortexLesion) -> Any:
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
    batch = cls.Batch.lived(x, y)
    inner.learnt(batch, np.ones(2, bool))
    inner._renew(np.ones(2, bool))
    left, clock = without(inner, lesion), Clock(2, 1)
    assert not torch.equal(lesion.scores(x), inner.scores(x))
    torch.testing.assert_close(lesion.scores(x), left.scores(x))
    torch.testing.assert_close(lesion.imagine(x), left.imagine(x))
    for mine, its in zip(lesion.taught(batch, None), left.taught(batch, None), strict=True):
        torch.testing.assert_close(mine, its)
    dreams, expected = lesion.dream(6, clock, None), left.dream(6, clock, None)  # type: ignore[arg-type]
    torch.testing.assert_close(dreams.x, expected.x)
    torch.testing.assert_close(dreams.scores, expected.scores)
    before = {name: w.detach().clone() for name, w in inner.weights.items()}
    rule = cls.Descent(rule=cls.Sgd())
    rule.begin(Spec(seeds=(0, 1), weights={name: tuple(w.shape) for name, w in before.items()}))
    rule.step(lesion, batch, np.full(2, 0.1), None)
    for name, mask in lesion._synapses.items():
        assert torch.equal((inner.weights[name] * (1 - mask)), before[name] * (1 - mask)), name
        assert not torch.equal(inner.weights[name], before[name]), name
    if lesion._units is not None:
        silent = lesion._units == 0
        assert torch.equal(inner.weights["up1.weight"][silent], before["up1.weight"][silent])
        assert not torch.equal(inner.weights["up1.weight"], before["up1.weight"])


@pytest.mark.parametrize("of", ["units", "weights"])
@pytest.mark.parametrize("around", [lambda c: c, cls.Averaged, lambda c: cls.CortexLesion(c, fraction=0.25)])
def test_the_taps_of_a_lesioned_cortex_give_the_gradients_of_what_is_left(of: str, around: Any):
    """Sums over rows by taps equal those asked row by row."""
    spec = Spec(seeds=(0, 1), inputs=(5,), outputs=3)
    lesion = cls.CortexLesion(around(cls.Mlp(hidden=[6, 8])), fraction=0.5, of=of)
    spec = lesion.begin(spec)
    lesion.join(spec, Clock(2, 1))
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    tapped = lesion.taps(x)
    assert tapped is not None
    torch.testing.assert_close(tapped[0], lesion.scores(x))
    fishers = []
    for taps in (lesion.taps, lambda *_: None):
        fisher, seen = cls.Fisher(), lesion
        fisher.begin(spec)
        seen.taps = taps  # type: ignore[method-assign]
        total = {name: torch.zeros_like(w) for name, w in lesion.weights.items()}
        fisher._add(total, seen, cls.Batch.lived(x, torch.zeros(2, 4, dtype=torch.int64)))
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
        context_told=True,
        heads=torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 1]]]).bool(),
    )
    lesion: Neocortex = cls.CortexLesion(cls.Columns(hidden=[4]), fraction=0.5)
    lesion.begin(told)
    free = lesion.plastic(torch.ones(1, 3, dtype=torch.int64))
    assert free is not None and free["weight0"].flatten().tolist() == [0.0] * 4 + [1.0] * 4
